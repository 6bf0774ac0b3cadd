//! Losses counted by lane and cause, since the log was opened: for whoever watches the log, beside the records, which
//! are for whoever receives the events.
//!
//! Given every record that the log makes of a loss; nothing here is kept on the disk.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::event_log::{lane::Lane, ledger::loss::Cause};

/// Losses of a lane with one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossCount {
    /// Why.
    pub cause: Cause,
    /// How many records were made.
    pub records: u64,
    /// Of the records that know how many events.
    pub events: u64,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct LossCounts {
    /// Records, and the events of those that know how many.
    counts: [[(AtomicU64, AtomicU64); Cause::OWN.len()]; 2],
}

impl LossCounts {
    /// A record was made.
    pub(super) fn add(&self, lane: Lane, cause: Cause, events: u64) {
        if let Some(place) = Cause::OWN.iter().position(|one| *one == cause) {
            let (records, lost) = &self.counts[lane.index()][place];
            records.fetch_add(1, Ordering::Relaxed);
            lost.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// Of every cause, also those that there was no loss for.
    pub(super) fn of(&self, lane: Lane) -> Vec<LossCount> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = Cause::OWN.iter().zip(&self.counts[lane.index()]);
        counts
            .map(|(cause, (records, events))| LossCount {
                cause: *cause,
                records: count(records),
                events: count(events),
            })
            .collect()
    }
}
