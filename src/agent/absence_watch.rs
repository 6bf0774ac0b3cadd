//! Looks which programs stay away from their consumers, and tells as events who does, who is released and who is back.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    consumers::programs::{Absence, Attendance, Programs},
    event::{Level, Metadata},
    pipeline::Emitter,
    schema::{
        events::{SystemHostPayload, system_host_payload::SystemHostOperation as Operation},
        local::{StateLevel, own_name},
    },
};

/// Between two looks, at the most and at the least.
const INTERVAL_MAX: Duration = Duration::from_secs(600);
const INTERVAL_MIN: Duration = Duration::from_millis(200);

/// So long it is waited for what an earlier run has told.
const RECALL_MAX: Duration = Duration::from_secs(60);
const RECALL_PAUSE: Duration = Duration::from_secs(1);

/// A tenth of the time within which somebody is told, within bounds.
fn interval(absence: Absence) -> Duration {
    let shortest = absence.release_after.map_or(absence.warn_after, |release| release.min(absence.warn_after));
    (shortest / 10).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// Looks until `shutdown`. `was_told` gives the consumers of which an earlier run has told, and how bad that is, once that is known.
pub(super) async fn watch(
    programs: Programs,
    was_told: impl Fn() -> Option<Vec<(String, StateLevel)>>,
    mut absence: watch::Receiver<Absence>,
    emitter: Emitter,
    shutdown: CancellationToken,
) {
    let (begun, mut is_recalled) = (Instant::now(), false);
    loop {
        let now = *absence.borrow_and_update();
        if let Some(told) = was_told().filter(|_| !is_recalled) {
            is_recalled = true;
            for (name, level) in told {
                let is_released = level >= StateLevel::Error;
                programs.recall(&name, if is_released { Attendance::Released } else { Attendance::Missing });
            }
        }
        if is_recalled || begun.elapsed() >= RECALL_MAX {
            for (cursor, attendance) in programs.look(now) {
                tell(&cursor, &attendance, &emitter).await;
            }
        }
        let pause = if is_recalled { interval(now) } else { interval(now).min(RECALL_PAUSE) };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
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
