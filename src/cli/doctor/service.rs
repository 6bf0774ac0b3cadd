//! The unit, as systemd has it, and whether the journal can explain what the agent says.

use std::{collections::BTreeMap, sync::Arc};

use super::{finding::Finding, patient::Patient};
use crate::agent::probe;

const UNIT: &str = "rodent.service";

/// What sysexits calls a refused configuration, as systemd tells it.
const EXIT_CONFIG: &str = "78";

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    match probe::unit(UNIT).await {
        Ok(Some(unit)) => judge(&unit, patient.status.is_ok()),
        Ok(None) => vec![Finding::skip("no systemd runs here")],
        Err(error) => vec![Finding::warn(
            format!("systemd does not say how {UNIT} is: {error}"),
            format!("systemctl status {UNIT}"),
        )],
    }
}

fn judge(unit: &BTreeMap<String, String>, answers: bool) -> Vec<Finding> {
    let of = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
    if of("LoadState") != "loaded" {
        let finding = Finding::skip(format!("{UNIT} is not installed here"));
        return vec![if answers { finding } else { finding.advise("install the package, or run `rodent agent`") }];
    }
    let mut findings = vec![state(&of, answers)];
    if of("UnitFileState") == "disabled" {
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

fn state<'a>(of: &impl Fn(&str) -> &'a str, answers: bool) -> Finding {
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
        "failed" if of("ExecMainStatus") == EXIT_CONFIG => {
            Finding::fail(format!("{UNIT} has stopped: it refuses its configuration"), "rodent config check")
        }
        "failed" => Finding::fail(
            format!("{UNIT} has failed ({}, exit code {})", of("Result"), of("ExecMainStatus")),
            "journalctl -u rodent -e; then systemctl restart rodent",
        ),
        "inactive" if answers => Finding::skip(format!("{UNIT} is not started; the agent that answers runs by itself")),
        "inactive" => Finding::fail(format!("{UNIT} is not started"), "systemctl enable --now rodent"),
        _ => Finding::warn(format!("{UNIT} is {active} ({sub})"), "systemctl status rodent"),
    }
}

/// The catalogue of messages.
pub(super) async fn look_at_journal() -> Vec<Finding> {
    vec![match probe::explains_messages().await {
        Ok(Some(true)) => Finding::pass("`journalctl -x` explains the agent's messages"),
        Ok(Some(false)) => Finding::warn(
            "`journalctl -x` does not explain all of the agent's messages: the catalogue is missing or old",
            "put rodent.catalog into /usr/lib/systemd/catalog, then journalctl --update-catalog",
        ),
        Ok(None) => Finding::skip("no systemd runs here, and so no journal"),
        Err(error) => Finding::warn(format!("the journal does not answer: {error}"), "journalctl --verify"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Mark;

    fn found(properties: &[(&str, &str)], answers: bool) -> Vec<Finding> {
        let pairs = [("LoadState", "loaded")].iter().chain(properties);
        judge(&pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(), answers)
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
        assert_eq!((refused[0].mark, refused[0].advice.as_str()), (Mark::Fail, "rodent config check"));
        let failed = found(&[("ActiveState", "failed"), ("Result", "signal"), ("ExecMainStatus", "9")], false);
        assert_eq!(failed[0].text, "rodent.service has failed (signal, exit code 9)");
        assert_eq!(found(&[("ActiveState", "inactive")], false)[0].advice, "systemctl enable --now rodent");
        assert_eq!(found(&[("ActiveState", "inactive")], true)[0].mark, Mark::Skip);
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
        assert_eq!(judge(&BTreeMap::new(), true)[0].mark, Mark::Skip);
    }
}
