//! The event log: as the agent sees it where one runs, else as it lies on the disk, by names and sizes alone.

use std::{io, path::Path, sync::Arc};

use super::{check::off_thread, finding::Finding, patient::Patient};
use crate::{
    client::StatusResponse,
    event_log::{Glance, LogError},
    telemetry::ErrorChain,
    terminal::{grouped, human_bytes},
};

/// From this share of its bound on, the log is worth a word, percent.
const FULL_PERCENT: u64 = 90;

/// What tells of events that were removed, as a condition of `rodent events`.
const LOSSES: &str = "system.loss.*";

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    if let Ok(status) = &patient.status {
        return of_agent(status);
    }
    let directory = patient.state_directory().join("log");
    off_thread(move || vec![on_disk(&directory)]).await
}

fn of_agent(status: &StatusResponse) -> Vec<Finding> {
    let log = status.log.clone().unwrap_or_default();
    let mut findings = Vec::new();
    if !log.degraded.is_empty() {
        let advice = format!("look at the disk of {}: `df -h -i`, `dmesg`", status.state_directory);
        findings.push(Finding::fail(format!("events are not durable: {}", log.degraded), advice));
    }
    findings.extend(quarantined(log.quarantined_bytes));
    let lost: u64 = log.lanes.iter().map(|lane| lane.lost_events).fold(0, u64::saturating_add);
    if lost > 0 {
        findings.push(Finding::warn(
            format!("{} events were removed before everyone had them", grouped(lost)),
            format!("rodent events '{LOSSES}' tells when and why"),
        ));
    }
    if status.dead_letters > 0 {
        findings.push(Finding::warn(
            match status.dead_letters {
                1 => "the controller refuses 1 event; it is kept".to_owned(),
                letters => format!("the controller refuses {} events; they are kept", grouped(letters)),
            },
            "rodent dead-letters list",
        ));
    }
    let percent = log.disk_bytes.saturating_mul(100).checked_div(log.disk_bytes_max).unwrap_or_default();
    let used = format!("{} of {}", human_bytes(log.disk_bytes), human_bytes(log.disk_bytes_max));
    let has_controller = status.uplink.as_ref().is_some_and(|uplink| uplink.state != "off");
    if percent >= FULL_PERCENT && has_controller {
        findings.push(Finding::warn(
            format!("the log takes {used}: the oldest events will be removed"),
            "bring the controller back, or raise `events.max_disk`",
        ));
    }
    let stored: u64 = log.lanes.iter().map(|lane| lane.stored_events).fold(0, u64::saturating_add);
    if !findings.iter().any(|finding| !finding.advice.is_empty()) {
        findings.push(Finding::pass(format!("writes, and holds {} events in {used}", grouped(stored))));
    }
    findings
}

fn quarantined(bytes: u64) -> Option<Finding> {
    (bytes > 0).then(|| {
        Finding::warn(
            format!("{} of it were damaged and lie in `quarantine`", human_bytes(bytes)),
            "keep them for whoever looks into it, or remove that directory; then `rodent log check` with the agent stopped",
        )
    })
}

fn on_disk(directory: &Path) -> Finding {
    let name = directory.display();
    let glance = match Glance::at(directory) {
        Ok(glance) => glance,
        Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Finding::skip(format!("{name} is not there yet: the agent makes it when it starts"));
        }
        Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Finding::skip(format!("this user may not look into {name}")).advise("sudo rodent doctor");
        }
        Err(error) => return Finding::fail(ErrorChain(&error).to_string(), format!("ls -la {name}")),
    };
    if let Some(finding) = quarantined(glance.quarantined_bytes) {
        return finding;
    }
    let generations = if glance.generations == 1 { "generation" } else { "generations" };
    let what = format!("{} {generations}, {}", grouped(glance.generations), human_bytes(glance.disk_bytes));
    match glance.in_use {
        true => Finding::warn(
            format!("{name} is in use, and no agent answers ({what})"),
            "an agent that starts, stops or hangs, or a `rodent log` command; `systemctl status rodent`",
        ),
        false => Finding::pass(format!("nobody works on {name} ({what})")).advise("rodent log check reads it all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::doctor::finding::Mark,
        event::{EventView, Filter},
        schema::{
            Payload as _,
            events::{Event, EventLossPayload, event_loss_payload::EventLossOperation},
            local::{LaneStatus, LogStatus, UplinkStatus},
        },
    };

    fn found(log: LogStatus, dead_letters: u64) -> Vec<Finding> {
        let uplink = Some(UplinkStatus { state: "connected".to_owned(), ..Default::default() });
        of_agent(&StatusResponse { log: Some(log), dead_letters, uplink, ..Default::default() })
    }

    #[test]
    fn a_log_that_writes_passes_and_one_that_does_not_fails() {
        let disk = LogStatus { disk_bytes: 1 << 20, disk_bytes_max: 1 << 30, ..Default::default() };
        assert_eq!(found(disk.clone(), 0), [Finding::pass("writes, and holds 0 events in 1.0 MiB of 1.0 GiB")]);
        let degraded = LogStatus { degraded: "no space left on device".to_owned(), ..disk };
        assert_eq!(found(degraded, 0)[0].mark, Mark::Fail);
    }

    #[test]
    fn what_was_lost_refused_damaged_or_is_nearly_full_is_a_warning_each() {
        let lane = LaneStatus { lost_events: 7, ..Default::default() };
        let log = LogStatus {
            lanes: vec![lane],
            quarantined_bytes: 3 << 20,
            disk_bytes: 95,
            disk_bytes_max: 100,
            ..Default::default()
        };
        let findings = found(log, 2);
        assert_eq!(findings.len(), 4);
        assert!(
            findings.iter().all(|finding| finding.mark == Mark::Warn && !finding.advice.is_empty()),
            "{findings:?}"
        );
    }

    #[test]
    fn the_events_that_are_advised_are_those_of_losses() {
        let loss = EventLossPayload { operation: EventLossOperation::Retention.into(), ..Default::default() };
        let event = Event { event_payload: Some(loss.into_event_payload()), ..Event::default() };
        let filter = Filter::parse(&[LOSSES]).expect("a condition");
        assert!(filter.matches(&EventView::from(&event)), "{} is not shown", EventView::from(&event).kind());
    }

    #[test]
    fn without_an_agent_the_directory_tells_what_it_can() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(on_disk(&directory.path().join("absent")).mark, Mark::Skip);
        assert_eq!(on_disk(directory.path()).mark, Mark::Pass);
    }
}
