//! Looks which programs stay away from their consumers, and tells as events who does, who is released and who is back.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    consumers::programs::{Absence, Attendance, Programs},
    event::{Level, Metadata},
    pipeline::Emitter,
    schema::{
        events::{SystemHostPayload, system_host_payload::SystemHostOperation as Operation},
        local::own_name,
    },
};

/// Between two looks, at the most and at the least.
const INTERVAL_MAX: Duration = Duration::from_secs(600);
const INTERVAL_MIN: Duration = Duration::from_millis(200);

/// A tenth of the time within which somebody is told, within bounds.
fn interval(absence: Absence) -> Duration {
    let shortest = absence.release_after.map_or(absence.warn_after, |release| release.min(absence.warn_after));
    (shortest / 10).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// Looks until `shutdown`.
pub(super) async fn watch(
    programs: Programs,
    mut absence: watch::Receiver<Absence>,
    emitter: Emitter,
    shutdown: CancellationToken,
) {
    loop {
        let now = *absence.borrow_and_update();
        for (cursor, attendance) in programs.look(now) {
            tell(&cursor, &attendance, &emitter).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval(now)) => {}
            Ok(()) = absence.changed() => {}
        }
    }
}

async fn tell(cursor: &str, attendance: &Attendance, emitter: &Emitter) {
    let (level, operation) = match attendance {
        Attendance::Missing => (Level::Warn, Operation::ConsumerMissing),
        Attendance::Released => (Level::Error, Operation::ConsumerReleased),
        Attendance::Back => (Level::Info, Operation::ConsumerBack),
    };
    let subject = own_name(cursor).to_owned();
    let payload = SystemHostPayload { subject, operation: operation.into(), ..Default::default() };
    let metadata: Metadata =
        [("component", "consumers"), ("action", "watch")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if let Err(error) = emitter.emit(level, payload, metadata).await {
        tracing::warn!(consumer = cursor, %error, "it could not be told how a consumer is attended");
    }
}
