//! Where events rest: one trait, three stores. `ingest` gives batches that it has checked; the commands, `try` and
//! tests read.
//!
//! What holds for all (the stream on NATS says what differs there): a batch is stored whole or not at all; an event that is there already is a repeat, not an
//! error; another event under the same (node, epoch, lane, sequence) is a fork, and nothing of its batch is stored.
//! Bytes are kept as they came. Rows are numbered from 1 in the order of storing and never renumbered. A page of events
//! shows each lane by its sequences, whatever the order in which they came.

mod account;
mod arrival;
mod loss;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod node;
mod order;
mod ranges;
#[cfg(any(feature = "sqlite", feature = "nats"))]
mod space;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tail;

use std::{io, path::PathBuf, sync::Arc};

pub use account::{AWAITED_MS_MAX, Account, EpochAccount, Hole, LaneAccount};
pub use arrival::{Arrival, Numbering, Record};
pub use loss::Loss;
pub use memory::{EVENTS_KEPT_MAX, MemoryStore};
#[cfg(feature = "nats")]
pub use nats::{NatsSettings, NatsStore};
pub use node::{Node, Overlap, Stream};
pub use ranges::Ranges;
#[cfg(any(feature = "sqlite", feature = "nats"))]
pub use space::Quota;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteReader, SqliteStore};
pub use tail::{Tail, Tailed};

use crate::event::{DecodeError, EventView, Filter, Head, json::Place};

/// A place for events.
#[tonic::async_trait]
pub trait Store: Send + Sync {
    /// Stores a batch; when this answers, it is as durable as the store is. A batch without events marks its node as
    /// seen.
    ///
    /// # Errors
    /// When another event stands where one of these belongs, or the store cannot write. Nothing of the batch is stored
    /// then.
    async fn store(&self, arrival: Arrival) -> Result<Receipt, StoreError>;

    /// Stored events, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn query(&self, query: &Query) -> Result<EventPage, StoreError>;

    /// Every node that was ever seen, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn nodes(&self) -> Result<Vec<Node>, StoreError>;

    /// Events that are stored from now on.
    fn tail(&self) -> Tail;

    /// Why batches had better go elsewhere although the store takes some. May block for a moment.
    fn trouble(&self) -> Option<&'static str> {
        None
    }

    /// What the store is, in a few words for people.
    fn about(&self) -> String;

    /// Finishes what is under way and lets go of files. Batches that come later are refused.
    async fn close(&self);
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events that are new.
    pub stored: usize,
    /// Events that were there already.
    pub repeated: usize,
}

/// Which stored events somebody wants.
#[derive(Clone, Debug)]
pub struct Query {
    /// Conditions on the event.
    pub filter: Filter,
    /// None that happened before, Unix milliseconds by the clock of its node.
    pub from: i64,
    /// Of this node alone.
    pub node: Option<String>,
    /// The first ones behind this row; without it the last ones of all.
    pub since: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl Query {
    /// Whether it asks for this event, whoever sent it. What cannot be read it never asks for.
    fn takes(&self, event: &[u8]) -> bool {
        Head::read(event).is_ok_and(|head| head.timestamp >= self.from && self.filter.takes(&head, event))
    }
}

/// Numberings of one lane of one node that are kept; on NATS, that one controller has seen since its start. A log begins
/// one when it cannot prove how the last one ended, or was made anew: a few in a year. Each takes memory and time of
/// whoever asks for the nodes.
pub const EPOCHS_MAX: usize = 1000;

/// Rows before the first of the last ones that are looked at too: among them may be some that were overtaken by others of
/// their lane, and belong to the last ones by their sequence.
const OVERTAKEN_ROWS_MAX: usize = 10_000;

/// Stored events in the order of storing, the oldest first; but those of a lane in the order of their sequences.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// What matched.
    pub events: Vec<ArrivedEvent>,
    /// The last row that was looked at: where the next query begins.
    pub last_row: u64,
}

impl EventPage {
    /// Of the last events that match, with some before them that may have been overtaken, the last ones by their places.
    fn of_last(mut events: Vec<ArrivedEvent>, limit: usize, last_row: u64) -> EventPage {
        order::sort_lanes(&mut events);
        events.drain(..events.len().saturating_sub(limit));
        EventPage { events, last_row }
    }
}

/// One event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrivedEvent {
    /// Number in the order of storing.
    pub row: u64,
    /// Who sent it.
    pub node: Arc<str>,
    /// Epoch of its numbering; empty from an agent that does not number.
    pub epoch: Arc<str>,
    /// Lane and sequence; none from an agent that does not number.
    pub place: Option<Place>,
    /// When it was stored, Unix milliseconds.
    pub received_at: i64,
    /// The event as it came.
    pub bytes: bytes::Bytes,
}

impl ArrivedEvent {
    /// Decodes the event.
    ///
    /// # Errors
    /// When the bytes are no event: the store was damaged, for what came in was checked.
    pub fn view(&self) -> Result<EventView, DecodeError> {
        EventView::decode(&self.bytes)
    }
}

/// Why a store did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another event stands there already.
    #[error("another event is stored as {lane} {sequence} of epoch {epoch}: this numbering has forked")]
    Fork {
        /// Epoch of the numbering.
        epoch: String,
        /// Its lane.
        lane: String,
        /// The first number with two events.
        sequence: u64,
    },
    /// The node begins more numberings than are kept.
    #[error("this node has begun {EPOCHS_MAX} numberings of a lane, and no more are kept")]
    TooManyEpochs,
    /// As much is kept of the node as may be.
    #[error("the controller keeps no more events of this node")]
    NodeFull,
    /// Little is free, and the node has had its share of that.
    #[error("the controller has little room left for events, and this node has had its share")]
    Scarce,
    /// Shutting down.
    #[error("the store is closed")]
    Closed,
    /// No database is there to be read.
    #[error("there is no database at {path}; `rodent-controller serve` creates it")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file belongs to another program or to a later version.
    #[error("{path} is no event database of this version ({found})")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// The file system refuses.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The database refuses.
    #[cfg(feature = "sqlite")]
    #[error("{action} the event database")]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: Arc<rusqlite::Error>,
    },
    /// The servers have no such stream.
    #[cfg(feature = "nats")]
    #[error("there is no stream {stream}; `rodent-controller serve` creates it")]
    MissingStream {
        /// Which one.
        stream: String,
    },
    /// The servers are away, slow, or refuse.
    #[cfg(feature = "nats")]
    #[error("{action} the event stream")]
    Nats {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether the store is at fault, and not what a node wants of it.
    pub(super) fn is_of_store(&self) -> bool {
        use StoreError::{Fork, NodeFull, Scarce, TooManyEpochs};
        !matches!(self, Fork { .. } | TooManyEpochs | NodeFull | Scarce)
    }
}

#[cfg(test)]
mod tests;
