//! Answers that say that the other side has other events under our numbers: what is not delivered is renumbered, but not
//! for ever.

use super::{Batch, Packing};
use crate::event_log::Lane;

/// How often in a row what is not delivered gets other numbers. Beyond it the other side is at fault, and its consumer holds.
const RENUMBERINGS_MAX: u32 = 3;

/// Renumberings in a row.
#[derive(Default)]
pub(super) struct Renumbering {
    count: u32,
    /// Where the last one was. Only what arrives of it ends the row; the answers to what was beside it do not.
    at: Option<(Lane, u64)>,
    /// What the other side said; what is on its way is waited for, then the rest is renumbered.
    pending: Option<String>,
}

impl Renumbering {
    /// Notes that numbers stand for other events; false when that has been so too often.
    pub(super) fn note<P: Packing>(&mut self, batch: &Batch<P>, error: &str) -> bool {
        if self.count >= RENUMBERINGS_MAX {
            return false;
        }
        self.at = Some((batch.lane, batch.first_sequence));
        self.pending.get_or_insert_with(|| error.to_owned());
        true
    }

    /// Whether something is to be renumbered.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Gives what the other side said, for it is renumbered now, and whether it is for the first time in a row.
    pub(super) fn begin(&mut self) -> Option<(String, bool)> {
        let error = self.pending.take()?;
        self.count += 1;
        Some((error, self.count == 1))
    }

    /// A batch has arrived.
    pub(super) fn arrived<P: Packing>(&mut self, batch: &Batch<P>) {
        let covers =
            |(lane, sequence)| lane == batch.lane && (batch.first_sequence..=batch.last_sequence).contains(&sequence);
        if !self.is_pending() && self.at.is_none_or(covers) {
            (self.count, self.at) = (0, None);
        }
    }
}
