//! A batch that was checked, on its way into a store.

use bytes::Bytes;

use crate::event::{DecodeError, EventView, Head, Kind};

/// The highest sequence that a store can keep: the largest integer of SQLite. At a million events a second it lasts
/// for 290,000 years.
pub(super) const SEQUENCE_MAX: u64 = i64::MAX as u64;

/// Events of one node, in order.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who sent them.
    pub node: String,
    /// Whose the node is; may be empty.
    pub organisation: String,
    /// The numbers of the events; none from an agent that does not number. Then events are told apart by their id.
    pub numbering: Option<Numbering>,
    /// The events. With a numbering: as many as it has numbers.
    pub records: Vec<Record>,
    /// Unix milliseconds.
    pub received_at: i64,
}

/// The numbers of a batch: a row of a lane without a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    epoch: String,
    lane: String,
    first: u64,
    last: u64,
}

impl Numbering {
    /// From the first to the last sequence; `None` when they are no row of numbers that a store can keep: from 1, and
    /// the last not before the first.
    pub fn new(epoch: &str, lane: &str, first: u64, last: u64) -> Option<Numbering> {
        (1 <= first && first <= last && last <= SEQUENCE_MAX).then(|| Numbering {
            epoch: epoch.to_owned(),
            lane: lane.to_owned(),
            first,
            last,
        })
    }

    /// Identity of the numbering.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// `urgent` or `routine`.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// Sequence of the first event, from 1.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Sequence of the last event.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// One event, as it came, and what stores ask of each.
#[derive(Clone, Debug)]
pub struct Record {
    /// The event as it came.
    pub bytes: Bytes,
    /// Identifier; may be empty in a numbered batch.
    pub id: String,
    /// What happened.
    pub kind: Kind,
}

impl Record {
    /// Reads what stores ask for.
    ///
    /// # Errors
    /// When the bytes are no event.
    pub fn read(bytes: Bytes) -> Result<Record, DecodeError> {
        let head = Head::read(&bytes)?;
        let kind = head.kind().map_or_else(|| EventView::decode(&bytes).map(|event| event.kind()), Ok)?;
        Ok(Record { id: head.id, kind, bytes })
    }
}
