//! Answers that say that the controller has other events under our numbers: what is not delivered is renumbered, but not for
//! ever.

use crate::{event_log::Lane, sinks::Batch};

/// How often in a row what is not delivered gets other numbers. Beyond it the controller is at fault, and holds.
const FORKS_MAX: u32 = 3;

/// Forks in a row.
#[derive(Default)]
pub(super) struct Forks {
    count: u32,
    /// Where the last one was. Only what arrives of it ends the row; the answers to what was beside it do not.
    at: Option<(Lane, u64)>,
    /// What the controller said; what is on its way is waited for, then the rest is renumbered.
    pending: Option<String>,
}

impl Forks {
    /// Notes a fork; false when there have been too many of them.
    pub(super) fn note(&mut self, batch: &Batch, error: &str) -> bool {
        if self.count >= FORKS_MAX {
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

    /// Gives what the controller said, for it is renumbered now, and whether it is for the first time in a row.
    pub(super) fn begin(&mut self) -> Option<(String, bool)> {
        let error = self.pending.take()?;
        self.count += 1;
        Some((error, self.count == 1))
    }

    /// A batch has arrived.
    pub(super) fn arrived(&mut self, batch: &Batch) {
        let covers =
            |(lane, sequence)| lane == batch.lane && (batch.first_sequence..=batch.last_sequence).contains(&sequence);
        if !self.is_pending() && self.at.is_none_or(covers) {
            (self.count, self.at) = (0, None);
        }
    }
}
