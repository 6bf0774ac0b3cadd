//! The event log: keeps encoded events in the order in which they were accepted and lets each consumer read at its own
//! pace. The only user of sled.
//!
//! Stub interface for readers; the log itself follows.

mod reader;

pub use reader::{Gap, LogError, Read, Reader, Run, StoredEvent};

/// One of the two rows of the log.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What must not wait.
    Urgent,
    /// The rest.
    Routine,
}

impl Lane {
    /// Both, urgent first.
    pub const ALL: [Lane; 2] = [Lane::Urgent, Lane::Routine];

    /// The name on the wire, in directories and in text.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Urgent => "urgent",
            Lane::Routine => "routine",
        }
    }
}

/// The open log. Cheap to copy; every copy is the same log.
#[derive(Clone)]
pub struct EventLog {}

impl EventLog {
    /// First sequence that is still stored, and the one after the last durable event. Equal when the lane is empty.
    pub fn bounds(&self, _lane: Lane) -> (u64, u64) {
        unimplemented!()
    }

    /// A reader that begins at `from`. It holds no cursor: the log does not wait for it.
    pub fn reader(&self, _lane: Lane, _from: u64) -> Reader {
        unimplemented!()
    }

    /// State for `status`.
    pub fn status(&self) -> crate::schema::local::LogStatus {
        unimplemented!()
    }
}
