//! Losses counted by lane and cause, since the log was opened: for whoever watches the log, beside the records, which
//! are for whoever receives the events.
//!
//! Given every record that the log makes of a loss; nothing here is kept on the disk.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Lane;
use crate::schema::{events::event_loss_payload::EventLossOperation, local::LossStatus};

/// What the names of the causes begin with in the schema.
const PREFIX: &str = "EVENT_LOSS_OPERATION_";

/// What the log itself loses events for.
const CAUSES: [EventLossOperation; 5] = [
    EventLossOperation::Retention,
    EventLossOperation::DiskFull,
    EventLossOperation::Damage,
    EventLossOperation::MemoryBound,
    EventLossOperation::UncleanStop,
];

/// The counters.
#[derive(Debug, Default)]
pub(super) struct LossCounts {
    /// Records, and the events of those that know how many.
    counts: [[(AtomicU64, AtomicU64); CAUSES.len()]; 2],
}

impl LossCounts {
    /// A record was made.
    pub(super) fn add(&self, lane: Lane, cause: EventLossOperation, events: u64) {
        if let Some(place) = CAUSES.iter().position(|one| *one == cause) {
            let (records, lost) = &self.counts[lane.index()][place];
            records.fetch_add(1, Ordering::Relaxed);
            lost.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// Of every cause, also those that there was no loss for.
    pub(super) fn status(&self, lane: Lane) -> Vec<LossStatus> {
        let counts = CAUSES.iter().zip(&self.counts[lane.index()]);
        counts
            .map(|(cause, (records, events))| LossStatus {
                cause: cause.as_str_name().trim_start_matches(PREFIX).to_lowercase(),
                records: records.load(Ordering::Relaxed),
                events: events.load(Ordering::Relaxed),
            })
            .collect()
    }
}
