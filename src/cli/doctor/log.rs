//! The event log: as the agent sees it where one runs, else as it lies on the disk, by names and sizes alone.

use std::{io, path::Path, sync::Arc};

use super::{
    finding::{self, Finding, off_thread},
    patient::Patient,
};
use crate::{
    client::StatusResponse,
    event_log::{Glance, LogError},
    telemetry::{ErrorChain, message},
    terminal::{grouped, human_bytes},
};

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    if let Ok(status) = &patient.status {
        return of_agent(status);
    }
    let directory = patient.state_directory().join("log");
    off_thread(move || vec![on_disk(&directory)]).await
}

fn of_agent(status: &StatusResponse) -> Vec<Finding> {
    let findings = finding::of_agent(status, "log");
    if !findings.is_empty() {
        return findings;
    }
    let log = status.log.clone().unwrap_or_default();
    let used = format!("{} of {}", human_bytes(log.disk_bytes), human_bytes(log.disk_bytes_max));
    let stored: u64 = log.lanes.iter().map(|lane| lane.stored_events).fold(0, u64::saturating_add);
    vec![Finding::pass(format!("writes, and holds {} events in {used}", grouped(stored)))]
}

fn quarantined(bytes: u64) -> Option<Finding> {
    (bytes > 0).then(|| {
        Finding::warn(
            format!("{} of it were damaged and lie in `quarantine`", human_bytes(bytes)),
            message::LOG_DAMAGED.advice,
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
            local::{ConditionStatus, LogStatus},
        },
    };

    #[test]
    fn a_log_that_writes_passes_and_what_is_wrong_with_it_stands_in_place_of_that() {
        let log = LogStatus { disk_bytes: 1 << 20, disk_bytes_max: 1 << 30, ..Default::default() };
        let mut status = StatusResponse { log: Some(log), ..Default::default() };
        assert_eq!(of_agent(&status), [Finding::pass("writes, and holds 0 events in 1.0 MiB of 1.0 GiB")]);
        let (part, id, level) = ("log".to_owned(), "disk_fails".to_owned(), "error".to_owned());
        status.conditions = vec![ConditionStatus { part, id, level, ..Default::default() }];
        assert_eq!(of_agent(&status).iter().map(|finding| finding.mark).collect::<Vec<_>>(), [Mark::Fail]);
    }

    #[test]
    fn the_events_that_are_advised_are_those_of_losses() {
        let loss = EventLossPayload { operation: EventLossOperation::Retention.into(), ..Default::default() };
        let event = Event { event_payload: Some(loss.into_event_payload()), ..Event::default() };
        let pattern = message::EVENTS_LOST.advice.split('\'').nth(1).expect("a pattern");
        let filter = Filter::parse(&[pattern]).expect("a condition");
        assert!(filter.matches(&EventView::from(&event)), "{} is not shown", EventView::from(&event).kind());
    }

    #[test]
    fn without_an_agent_the_directory_tells_what_it_can() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(on_disk(&directory.path().join("absent")).mark, Mark::Skip);
        assert_eq!(on_disk(directory.path()).mark, Mark::Pass);
    }
}
