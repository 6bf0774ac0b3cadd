//! A consumer's place in each lane, as the consumer has it. The log keeps what a cursor has not passed, as far as space
//! allows.
//!
//! Consumers commit, the writer makes it durable a little later: after a crash a cursor may stand a little behind, never
//! ahead.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::event_log::{
    lane::Lane,
    ledger::loss::{Cause, Loss},
    ranges::without,
    read::reader::Gap,
    shared::Shared,
};

/// How long the disk may take to keep what somebody waits for.
const KEEP_TIME_MAX: Duration = Duration::from_secs(2);

/// How often it is looked whether it does: a write takes milliseconds.
const KEEP_LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A consumer's place in each lane. Cheap to copy; every copy is of the same consumer.
#[derive(Clone)]
pub struct Cursor {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Arc<str>,
}

impl Cursor {
    /// Sequence of the next event that the consumer has to take.
    pub fn next(&self, lane: Lane) -> u64 {
        self.shared.ledger.next(&self.name, lane)
    }

    /// Notes that everything before `next` has been taken. A cursor never moves back.
    pub fn commit(&self, lane: Lane, next: u64) {
        self.take(lane, next, None);
    }

    /// The same, and keeps `blob` with it, in one write: both are there after a crash or neither. At most
    /// [`BLOB_BYTES_MAX`](super::BLOB_BYTES_MAX) bytes; gives false, and does nothing, when there are more.
    pub fn commit_with(&self, lane: Lane, next: u64, blob: &[u8]) -> bool {
        let fits = blob.len() <= super::BLOB_BYTES_MAX;
        if fits {
            self.take(lane, next, Some(blob));
        }
        fits
    }

    /// Keeps `blob` with the cursor where it stands, and gives true once that is durable; false when it is too long, when the disk
    /// does not take it within [`KEEP_TIME_MAX`], or when something else is kept meanwhile.
    pub async fn keep(&self, blob: &[u8]) -> bool {
        if !self.commit_with(Lane::Urgent, self.next(Lane::Urgent), blob) {
            return false;
        }
        self.shared.buffer.ledger_is_due();
        let is_durable = async {
            while self.shared.ledger.durable_blob(&self.name) != blob {
                tokio::time::sleep(KEEP_LOOK_INTERVAL).await;
            }
        };
        tokio::time::timeout(KEEP_TIME_MAX, is_durable).await.is_ok()
    }

    /// What was committed with the cursor last; empty when nothing was.
    pub fn blob(&self) -> Vec<u8> {
        self.shared.ledger.blob(&self.name)
    }

    fn take(&self, lane: Lane, next: u64, blob: Option<&[u8]>) {
        let next = next.min(self.shared.visible(lane));
        if self.shared.ledger.take(&self.name, lane, next, blob) {
            self.shared.buffer.cursor_moved();
        }
    }

    /// Before a read of at most `count` events at `from`: gives which it may read, for what the log has already recorded as lost
    /// is not to be taken, if it is still there or not. When the log has to make room from now on, those are not lost to the
    /// consumer. [`Reader::until`](super::Reader::until) keeps a reader to them.
    pub fn hold(&self, lane: Lane, from: u64, count: u64) -> Range<u64> {
        self.shared.ledger.hold(&self.name, lane, from, count)
    }

    /// After it: everything before `position` is with the consumer, in its memory or on its way, and nothing behind.
    pub fn held(&self, lane: Lane, position: u64) {
        self.shared.ledger.held(&self.name, lane, position);
    }

    /// Has the log account for sequences that a reader of this consumer found gone: what of them is in no loss record for it
    /// yet is recorded now.
    pub fn lost(&self, lane: Lane, gap: Gap) {
        self.lost_by(Cause::Damage, lane, gap);
    }

    /// The same, where it is known why they are gone.
    pub fn lost_by(&self, cause: Cause, lane: Lane, gap: Gap) {
        let shared = &self.shared;
        // Of what is gone it has nothing in its hands.
        shared.ledger.held(&self.name, lane, gap.from);
        let told = shared.rows[lane.index()].told_to_all();
        let misses = shared.ledger.misses(Some(&self.name), lane, &(gap.from..gap.to));
        for range in misses.into_iter().flat_map(|range| without(range, &told)) {
            for (range, epoch) in shared.numbering.parts(lane, &range, shared.numbering.epoch()) {
                shared.lose(&Loss::of(lane, cause, epoch, range.clone()), &[range], &[]);
            }
        }
        if shared.tell() {
            shared.buffer.cursor_moved();
        }
    }
}
