//! The agent's socket: whether it answers, and whether the agent behind it is of the same version as this command. And what
//! the agent says of its collectors.

use std::{path::Path, sync::Arc, time::SystemTime};

use super::{
    finding::{self, Finding},
    patient::{NoStatus, Patient},
};
use crate::{
    client::StatusResponse,
    terminal::{human_duration, moment::ago},
};

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let socket = patient.socket.display();
    let mut findings = vec![match &patient.status {
        Ok(status) => answers(status, &socket.to_string(), env!("CARGO_PKG_VERSION"), SystemTime::now()),
        Err(NoStatus::NotRunning(why)) => {
            Finding::fail(why.clone(), "systemctl start rodent; why it ended: journalctl -u rodent -e")
        }
        Err(NoStatus::NoPermission(why)) => Finding::skip(why.clone()).advise("sudo rodent doctor"),
        Err(NoStatus::Other(why)) => Finding::fail(why.clone(), "journalctl -u rodent -e"),
    }];
    if let Ok(status) = &patient.status {
        findings.extend(elsewhere(status, patient.configured_directory()));
        findings.extend(finding::of_agent(status, "socket"));
    }
    findings
}

/// An agent that keeps its events elsewhere than its configuration says: what is looked at here is not its own.
fn elsewhere(status: &StatusResponse, configured: Option<&Path>) -> Option<Finding> {
    let said = Path::new(&status.state_directory);
    let configured = configured.filter(|configured| !status.state_directory.is_empty() && *configured != said)?;
    let (said, configured) = (said.display(), configured.display());
    let text = format!("the agent that answers keeps its events in {said}, and the configuration says {configured}");
    Some(Finding::warn(text, "is it the configuration of this agent? A change of it waits for a restart"))
}

fn answers(status: &StatusResponse, socket: &str, own: &str, now: SystemTime) -> Finding {
    let version = &status.version;
    if version != own {
        return Finding::warn(
            format!("the agent that runs is version {version}, this command is {own}"),
            "systemctl restart rodent",
        );
    }
    let up = ago(status.started_at, now).map(|up| format!(", up {}", human_duration(up))).unwrap_or_default();
    Finding::pass(format!("rodent {version} answers on {socket}{up}"))
}

/// What the agent collects.
pub(super) async fn look_at_collectors(patient: Arc<Patient>) -> Vec<Finding> {
    match &patient.status {
        Ok(status) => collectors(status),
        Err(_) => vec![Finding::skip("only a running agent has collectors")],
    }
}

fn collectors(status: &StatusResponse) -> Vec<Finding> {
    let of = |state: &str| {
        let names = status.collectors.iter().filter(|collector| collector.state == state);
        names.map(|collector| collector.name.as_str()).collect::<Vec<_>>()
    };
    let mut findings = finding::of_agent(status, "collectors");
    let running = of("running");
    let rest: Vec<String> = ["absent", "off"]
        .into_iter()
        .filter_map(|state| Some(format!("{state}: {}", Some(of(state)).filter(|names| !names.is_empty())?.join(", "))))
        .collect();
    let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join("; ")) };
    if running.is_empty() {
        findings.push(Finding::warn(format!("no collector runs{rest}"), "rodent config show"));
    } else {
        findings.push(Finding::pass(format!("{} run{rest}", running.join(", "))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{cli::doctor::finding::Mark, schema::local::CollectorStatus};

    #[test]
    fn an_agent_of_another_version_is_to_be_restarted() {
        let status = StatusResponse { version: "1.2.3".to_owned(), ..Default::default() };
        assert_eq!(answers(&status, "/s", "1.2.3", UNIX_EPOCH).text, "rodent 1.2.3 answers on /s");
        let other = answers(&status, "/s", "1.2.4", UNIX_EPOCH);
        assert_eq!((other.mark, other.advice.as_str()), (Mark::Warn, "systemctl restart rodent"));
    }

    #[test]
    fn where_the_agent_says_it_keeps_its_events_is_compared_and_stands_in_no_command() {
        let status = StatusResponse { state_directory: "/etc".to_owned(), ..Default::default() };
        let told = elsewhere(&status, Some(Path::new("/var/lib/rodent"))).expect("a difference");
        assert!(told.mark == Mark::Warn && told.text.contains("in /etc,") && !told.advice.contains("/etc"), "{told:?}");
        assert_eq!(elsewhere(&status, Some(Path::new("/etc"))), None);
        assert_eq!(elsewhere(&status, None), None);
    }

    #[test]
    fn collectors_that_run_are_named_and_the_others_counted_up() {
        let collector = |name: &str, state: &str| CollectorStatus {
            name: name.to_owned(),
            state: state.to_owned(),
            detail: "no such device".to_owned(),
            ..Default::default()
        };
        let collectors_of = |list: &[(&str, &str)]| StatusResponse {
            collectors: list.iter().map(|(name, state)| collector(name, state)).collect(),
            ..Default::default()
        };
        let found = collectors(&collectors_of(&[("network", "running"), ("storage", "failed"), ("zfs", "absent")]));
        assert_eq!(found[0].text, "network run (absent: zfs)");
        assert_eq!(collectors(&collectors_of(&[("network", "off")]))[0].mark, Mark::Warn);
    }
}
