//! Tells the controller that the event log cannot write to its disk, and when it can again: as events, which the log then
//! delivers from memory.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    event::{Level, Metadata},
    health::{BEAT, round},
    pipeline::Emitter,
    schema::events::{SystemHostPayload, system_host_payload::SystemHostOperation as Operation},
};

/// Between two looks.
pub(super) const INTERVAL: Duration = BEAT;

/// Looks each `interval` until `shutdown`. Emits one event when the log becomes `degraded`, with the reason, and one when it
/// is so no more, also where an earlier run has told the first: `was_told` says whether, once that is known.
pub(super) async fn report(
    degraded: impl Fn() -> Option<String>,
    was_told: impl Fn() -> Option<bool>,
    interval: Duration,
    emitter: Emitter,
    shutdown: CancellationToken,
) {
    let mut told = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round(interval) => {}
        }
        told = told.or_else(&was_told);
        let (level, operation, detail) = match degraded() {
            Some(reason) if told != Some(true) => (Level::Critical, Operation::EventLogDegraded, reason),
            None if told == Some(true) => {
                (Level::Info, Operation::EventLogRestored, "every event is durable again".to_owned())
            }
            _ => continue,
        };
        let payload = SystemHostPayload {
            subject: "event_log".to_owned(),
            detail,
            operation: operation.into(),
            ..Default::default()
        };
        let metadata: Metadata = [("component", "event_log"), ("action", "watch")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        // What the log did not take is told at the next look.
        if emitter.emit(level, payload, metadata).await.is_ok() {
            told = Some(operation == Operation::EventLogDegraded);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{
        event::EventView,
        event_log::{EventLog, Lane, Read, Settings},
        pipeline::Gate,
    };

    /// What these looks tell, the last of them first; `was_told` by an earlier run.
    async fn told(looks: Vec<Option<String>>, was_told: bool) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let emitter = Emitter::new(log.clone(), Gate::open(), || 1);
        let looks = RefCell::new(looks);
        let shutdown = CancellationToken::new();
        let look = || {
            let seen = looks.borrow_mut().pop();
            if seen.is_none() {
                shutdown.cancel();
            }
            seen.flatten()
        };
        report(look, || Some(was_told), Duration::from_millis(1), emitter, shutdown.clone()).await;
        let mut told = Vec::new();
        for lane in Lane::ALL {
            log.commit(lane, log.next_sequence(lane)).await.expect("durable");
            let Read::Run(run) = log.reader(lane, 1).read(9, 9999).expect("readable") else { continue };
            told.extend(run.events().map(|stored| {
                let event = EventView::decode(&stored.event).expect("an event");
                let detail = event.payload().and_then(|p| Some(p.get_field_by_name("detail")?.as_str()?.to_owned()));
                format!("{} {} {}", lane.name(), event.kind(), detail.unwrap_or_default())
            }));
        }
        log.close();
        told
    }

    #[tokio::test]
    async fn a_log_in_trouble_is_told_once_with_the_reason_and_so_is_its_end_also_by_the_next_run() {
        let full = || Some("the disk is full".to_owned());
        let begins = "urgent system.host.event_log_degraded the disk is full";
        let ends = "system.host.event_log_restored every event is durable again";
        let both = [begins.to_owned(), format!("urgent {ends}")];
        assert_eq!(told(vec![None, None, full(), full(), None], false).await, both);
        // Which states were urgent ones this emitter has not remembered.
        let end = [format!("routine {ends}")];
        assert_eq!(told(vec![None, None], true).await, end);
        assert_eq!(told(vec![None, full()], true).await, end, "it still was, and that was told");
        assert_eq!(told(vec![None], false).await, [""; 0]);
    }
}
