//! Reads a lane in order.

use bytes::Bytes;

use super::Lane;

/// Reads durable events of one lane in order. Blocking I/O: not on the async threads.
pub struct Reader {
    lane: Lane,
}

/// What a read gave.
#[derive(Debug)]
pub enum Read {
    /// Events, at least one, without a hole, of one boot and one epoch.
    Run(Run),
    /// The next sequences are gone; the reader now stands behind them.
    Gap(Gap),
    /// Nothing durable is there yet.
    End,
}

/// Sequences that can no longer be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First that is gone.
    pub from: u64,
    /// First that is there again.
    pub to: u64,
}

/// Consecutive events.
#[derive(Clone, Debug)]
pub struct Run {
    /// Their lane.
    pub lane: Lane,
    /// Identity of the numbering.
    pub epoch: uuid::Uuid,
    /// Boot in which they were accepted.
    pub boot_id: uuid::Uuid,
    /// Sequence of the first.
    pub first_sequence: u64,
    /// The events as fields 1 of an `EventBatch`: tag, length, bytes; again and again.
    pub fields: Bytes,
    /// Number of events.
    pub count: u64,
}

/// One event out of a run.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its number in the lane.
    pub sequence: u64,
    /// The encoded event.
    pub event: Bytes,
}

impl Run {
    /// The events one by one.
    pub fn events(&self) -> impl Iterator<Item = StoredEvent> + '_ {
        std::iter::empty()
    }
}

/// The log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct LogError {
    action: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Reader {
    /// The sequence that the next read begins with.
    pub fn position(&self) -> u64 {
        unimplemented!()
    }

    /// Reads on: at most `events_max` events and about `bytes_max` bytes, but at least one event.
    ///
    /// # Errors
    /// When the storage fails or what it gives back is damaged.
    pub fn read(&mut self, _events_max: usize, _bytes_max: usize) -> Result<Read, LogError> {
        unimplemented!()
    }

    /// Waits until something durable stands at the position. Cancel safe.
    pub async fn ready(&self) {
        unimplemented!()
    }
}
