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
/// is so no more.
pub(super) async fn report(
    degraded: impl Fn() -> Option<String>,
    interval: Duration,
    emitter: Emitter,
    shutdown: CancellationToken,
) {
    let mut told = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round(interval) => {}
        }
        let (level, operation, detail) = match degraded() {
            Some(reason) if !told => (Level::Critical, Operation::EventLogDegraded, reason),
            None if told => (Level::Info, Operation::EventLogRestored, "every event is durable again".to_owned()),
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
            told = !told;
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

    #[tokio::test]
    async fn a_log_in_trouble_is_told_once_with_the_reason_and_so_is_its_end_and_both_are_urgent() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let emitter = Emitter::new(log.clone(), Gate::open(), || 1);
        let full = || Some("the disk is full".to_owned());
        let looks = RefCell::new(vec![None, None, full(), full(), None]);
        let shutdown = CancellationToken::new();
        let look = || {
            let seen = looks.borrow_mut().pop();
            if seen.is_none() {
                shutdown.cancel();
            }
            seen.flatten()
        };
        report(look, Duration::from_millis(1), emitter, shutdown.clone()).await;
        log.commit(Lane::Urgent, log.next_sequence(Lane::Urgent)).await.expect("durable");
        let Read::Run(run) = log.reader(Lane::Urgent, 1).read(9, 9999).expect("readable") else {
            panic!("nothing told")
        };
        let told: Vec<_> = run
            .events()
            .map(|stored| {
                let event = EventView::decode(&stored.event).expect("an event");
                let detail = event.payload().and_then(|p| Some(p.get_field_by_name("detail")?.as_str()?.to_owned()));
                format!("{} {}", event.kind(), detail.unwrap_or_default())
            })
            .collect();
        assert_eq!(
            told,
            [
                "system.host.event_log_degraded the disk is full",
                "system.host.event_log_restored every event is durable again"
            ]
        );
        log.close();
    }
}
