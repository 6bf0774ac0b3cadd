//! The unit, as systemd has it, and whether the journal can explain what the agent says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{finding::Finding, patient::Patient};
use crate::agent::{config::STATE_DIRECTORY, probe};

const UNIT: &str = "rodent.service";

/// Made by systemd for the unit.
const RUNTIME_DIRECTORY: &str = "/run/rodent";

/// Takes what the agent says.
const JOURNAL: &str = "systemd-journald.service";

/// What systemd ends with where it cannot make the unit's surroundings, before there is an agent (systemd.exec(5)).
const SURROUNDINGS: std::ops::RangeInclusive<u64> = 200..=243;

/// What sysexits calls a refused configuration, as systemd tells it.
const EXIT_CONFIG: &str = "78";

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    match probe::unit(UNIT).await {
        Ok(Some(unit)) => {
            let is_config_right = patient.config.is_ok() && patient.is_of_service();
            let mut findings = judge(&unit, patient.status.is_ok(), is_config_right);
            findings.extend(places(&patient).and_then(|places| out_of_reach(&unit, &places)));
            findings
        }
        Ok(None) => vec![Finding::skip("no systemd runs here")],
        Err(error) => vec![Finding::warn(
            format!("systemd does not say how {UNIT} is: {error}"),
            format!("systemctl status {UNIT}"),
        )],
    }
}

fn judge(unit: &BTreeMap<String, String>, answers: bool, is_config_right: bool) -> Vec<Finding> {
    let of = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
    if of("LoadState") == "masked" {
        let advice = "systemctl unmask rodent, then systemctl enable --now rodent";
        return vec![Finding::fail(format!("{UNIT} is masked: nothing starts it"), advice)];
    }
    if of("LoadState") != "loaded" {
        let finding = Finding::skip(format!("{UNIT} is not installed here"));
        return vec![if answers { finding } else { finding.advise("install the package, or run `rodent agent`") }];
    }
    let mut findings = vec![state(&of, answers, is_config_right)];
    // One that is not started is advised to be enabled, too.
    if of("UnitFileState") == "disabled" && of("ActiveState") != "inactive" {
        findings.push(Finding::warn(format!("{UNIT} does not start at boot"), format!("systemctl enable {UNIT}")));
    }
    if of("NeedDaemonReload") == "yes" {
        findings.push(Finding::warn(
            format!("{UNIT} has changed on the disk since systemd read it"),
            "systemctl daemon-reload, then systemctl restart rodent",
        ));
    }
    let restarts: u64 = of("NRestarts").parse().unwrap_or_default();
    if restarts > 0 {
        let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
        findings.push(Finding::warn(
            format!("systemd has started it again {times} since it was last started by hand or at boot"),
            "journalctl -u rodent -p warning",
        ));
    }
    findings
}

/// Where the configuration of the service has the agent write: each place, and below what the unit makes room by itself.
fn places(patient: &Patient) -> Option<[(PathBuf, &'static str); 2]> {
    let config = &patient.config.as_ref().ok()?.config;
    patient
        .is_of_service()
        .then(|| [(config.state_directory.clone(), STATE_DIRECTORY), (config.socket.clone(), RUNTIME_DIRECTORY)])
}

/// The places that the unit's sandbox keeps from the agent.
fn out_of_reach(unit: &BTreeMap<String, String>, places: &[(PathBuf, &str)]) -> Option<Finding> {
    let of = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
    if of("LoadState") != "loaded" || of("ProtectSystem") != "strict" {
        return None;
    }
    // `-` stands before one that may be missing, `+` before one below the service's own root.
    let writable: Vec<_> =
        of("ReadWritePaths").split_whitespace().map(|path| path.trim_start_matches(['-', '+'])).collect();
    let is_covered = |path: &Path, own: &str| path.starts_with(own) || writable.iter().any(|it| path.starts_with(it));
    let shut: Vec<_> = places.iter().filter(|(path, own)| !is_covered(path, own)).collect();
    let names: Vec<_> = shut.iter().map(|(path, _)| path.display().to_string()).collect();
    (!names.is_empty()).then(|| {
        Finding::warn(
            format!("{UNIT} may not write {}: its sandbox does not let it (ProtectSystem=strict)", names.join(" and ")),
            "make the directory for the agent's user, and name it in ReadWritePaths= of a drop-in (`systemctl edit rodent`): \
             docs/systemd.md",
        )
    })
}

fn state<'a>(of: &impl Fn(&str) -> &'a str, answers: bool, is_config_right: bool) -> Finding {
    let (active, sub) = (of("ActiveState"), of("SubState"));
    match active {
        "active" => {
            let watchdog = match of("WatchdogUSec") {
                "" | "0" | "infinity" => "no watchdog".to_owned(),
                time => format!("watchdog {time}"),
            };
            let enabled = if of("UnitFileState").is_empty() { "" } else { of("UnitFileState") };
            let words: Vec<_> = [enabled, active].into_iter().filter(|word| !word.is_empty()).collect();
            Finding::pass(format!("{UNIT} is {} ({sub}), {watchdog}", words.join(" and ")))
        }
        "failed" if of("ExecMainStatus") == EXIT_CONFIG && is_config_right => Finding::fail(
            format!("{UNIT} has stopped: it refused the configuration as it was then; now it is right"),
            "systemctl restart rodent",
        ),
        "failed" if of("ExecMainStatus") == EXIT_CONFIG => Finding::fail(
            format!("{UNIT} has stopped: it refuses its configuration"),
            "rodent config check; then systemctl restart rodent",
        ),
        "failed" => Finding::fail(
            format!("{UNIT} has failed ({})", end(of)),
            "journalctl -u rodent -e; then systemctl restart rodent",
        ),
        "activating" if sub.starts_with("auto-restart") => Finding::fail(
            format!("{UNIT} has ended ({}), and systemd starts it again", end(of)),
            "journalctl -u rodent -e tells why",
        ),
        "inactive" if answers => Finding::skip(format!("{UNIT} is not started; the agent that answers runs by itself")),
        "inactive" => Finding::fail(format!("{UNIT} is not started"), "systemctl enable --now rodent"),
        _ => Finding::warn(format!("{UNIT} is {active} ({sub})"), "systemctl status rodent"),
    }
}

/// How the agent ended last.
fn end<'a>(of: &impl Fn(&str) -> &'a str) -> String {
    let (status, result) = (of("ExecMainStatus"), of("Result"));
    let number: Option<u64> = status.parse().ok();
    match result {
        "exit-code" if number.is_some_and(|number| SURROUNDINGS.contains(&number)) => {
            format!("its surroundings could not be made: status {status}")
        }
        "exit-code" => format!("exit code {status}"),
        "signal" | "core-dump" => format!("signal {status}"),
        _ => result.to_owned(),
    }
}

/// Whether somebody takes what the agent says, and the catalogue of messages.
pub(super) async fn look_at_journal() -> Vec<Finding> {
    let journal = probe::unit(JOURNAL).await.ok().flatten().unwrap_or_default();
    let stopped = is_stopped(&journal).then(|| {
        Finding::warn(
            "systemd-journald does not run: nobody keeps what the agent says",
            "systemctl start systemd-journald",
        )
    });
    stopped.into_iter().chain([catalogue().await]).collect()
}

fn is_stopped(unit: &BTreeMap<String, String>) -> bool {
    unit.get("ActiveState").is_some_and(|state| ["inactive", "failed"].contains(&state.as_str()))
}

async fn catalogue() -> Finding {
    match probe::explains_messages().await {
        Ok(Some(true)) => Finding::pass("`journalctl -x` explains the agent's messages"),
        Ok(Some(false)) => Finding::warn(
            "`journalctl -x` does not explain all of the agent's messages: the catalogue is missing or old",
            "put rodent.catalog into /usr/lib/systemd/catalog, then journalctl --update-catalog",
        ),
        Ok(None) => Finding::skip("no systemd runs here, and so no journal"),
        Err(error) => Finding::warn(format!("the journal does not answer: {error}"), "journalctl --verify"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Mark;

    fn found(properties: &[(&str, &str)], answers: bool) -> Vec<Finding> {
        let pairs = [("LoadState", "loaded")].iter().chain(properties);
        judge(&pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(), answers, false)
    }

    #[test]
    fn a_service_that_runs_passes_with_what_keeps_it_running() {
        let properties =
            [("ActiveState", "active"), ("SubState", "running"), ("UnitFileState", "enabled"), ("WatchdogUSec", "30s")];
        let findings = found(&properties, true);
        assert_eq!(findings, [Finding::pass("rodent.service is enabled and active (running), watchdog 30s")]);
    }

    #[test]
    fn a_service_that_does_not_run_fails_with_the_command_that_helps() {
        let refused = found(&[("ActiveState", "failed"), ("ExecMainStatus", "78")], false);
        let advice = "rodent config check; then systemctl restart rodent";
        assert_eq!((refused[0].mark, refused[0].advice.as_str()), (Mark::Fail, advice));
        let failed = found(&[("ActiveState", "failed"), ("Result", "signal"), ("ExecMainStatus", "9")], false);
        assert_eq!(failed[0].text, "rodent.service has failed (signal 9)");
        let again = [("ActiveState", "activating"), ("SubState", "auto-restart"), ("Result", "exit-code")];
        let again = |status| found(&[&again[..], &[("ExecMainStatus", status)]].concat(), false).remove(0);
        let text = "rodent.service has ended (exit code 1), and systemd starts it again";
        assert_eq!((again("1").mark, again("1").text.as_str()), (Mark::Fail, text));
        assert!(again("226").text.contains("its surroundings could not be made"), "{:?}", again("226"));
        assert_eq!(found(&[("ActiveState", "inactive")], false)[0].advice, "systemctl enable --now rodent");
        assert_eq!(found(&[("ActiveState", "inactive")], true)[0].mark, Mark::Skip);
    }

    #[test]
    fn a_place_that_the_sandbox_keeps_from_the_agent_is_a_warning() {
        let unit = |writable: &str| {
            let pairs = [("LoadState", "loaded"), ("ProtectSystem", "strict"), ("ReadWritePaths", writable)];
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        };
        let places = |state: &str, socket: &str| {
            [(PathBuf::from(state), STATE_DIRECTORY), (PathBuf::from(socket), RUNTIME_DIRECTORY)]
        };
        let moved = places("/srv/rodent/state", "/run/rodent/rodent.sock");
        let told = out_of_reach(&unit("/srv/rod /proc"), &moved).expect("a finding");
        assert!(told.mark == Mark::Warn && told.text.contains("may not write /srv/rodent/state: "), "{told:?}");
        assert_eq!(out_of_reach(&unit("/proc -/srv/rodent"), &moved), None);
        let both = out_of_reach(&unit(""), &places("/srv/rodent", "/srv/rodent.sock")).expect("a finding");
        assert!(both.text.contains("/srv/rodent and /srv/rodent.sock"), "{both:?}");
        assert_eq!(out_of_reach(&unit(""), &places(STATE_DIRECTORY, "/run/rodent/a.sock")), None);
        let open = BTreeMap::from([("LoadState".to_owned(), "loaded".to_owned())]);
        assert_eq!(out_of_reach(&open, &moved), None, "without that sandbox all is as its files are");
    }

    #[test]
    fn what_may_bite_later_is_a_warning() {
        let properties = [
            ("ActiveState", "active"),
            ("SubState", "running"),
            ("UnitFileState", "disabled"),
            ("NRestarts", "3"),
            ("NeedDaemonReload", "yes"),
        ];
        let marks: Vec<_> = found(&properties, true).iter().map(|finding| finding.mark).collect();
        assert_eq!(marks, [Mark::Pass, Mark::Warn, Mark::Warn, Mark::Warn]);
        assert_eq!(judge(&BTreeMap::new(), true, true)[0].mark, Mark::Skip);
    }

    #[test]
    fn a_service_that_nothing_starts_and_a_configuration_that_was_corrected_are_told_as_they_are() {
        let unit = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let masked = judge(&unit(&[("LoadState", "masked"), ("ActiveState", "inactive")]), false, true);
        assert!(masked.len() == 1 && masked[0].advice.starts_with("systemctl unmask rodent"), "{masked:?}");
        let refused = [("LoadState", "loaded"), ("ActiveState", "failed"), ("ExecMainStatus", "78")];
        let corrected = judge(&unit(&refused), false, true);
        assert_eq!((corrected[0].mark, corrected[0].advice.as_str()), (Mark::Fail, "systemctl restart rodent"));
        let disabled = [("LoadState", "loaded"), ("ActiveState", "inactive"), ("UnitFileState", "disabled")];
        assert_eq!(judge(&unit(&disabled), false, true).len(), 1, "one advice enables and starts it");
        assert!(is_stopped(&unit(&[("ActiveState", "inactive")])) && !is_stopped(&unit(&[("ActiveState", "active")])));
        assert!(!is_stopped(&BTreeMap::new()), "no systemd, no journal");
    }
}
