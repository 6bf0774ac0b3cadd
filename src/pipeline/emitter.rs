//! The front door of the pipeline.

use std::sync::Arc;

use crate::{
    event::{Level, Metadata},
    schema::Payload,
};

/// Emits events under one source. Cheap to copy.
#[derive(Clone)]
pub struct Emitter {
    source: Arc<str>,
}

/// Who sent an event through the socket: recorded as `rodent.uid` and `rodent.gid`, and not to be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// User of the peer, as the kernel says.
    pub uid: u32,
    /// Group of the peer, as the kernel says.
    pub gid: u32,
}

/// When a caller gets its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the events are durable.
    Committed,
    /// As soon as they are in memory.
    Buffered,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the log, under this identifier.
    Accepted(uuid::Uuid),
    /// Left out by the configured levels or categories.
    Filtered,
}

/// Why an event was not taken. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The caller sent something that is no acceptable event; says what is wrong.
    #[error("{0}")]
    Refused(String),
    /// The log is closing or cannot write.
    #[error("the event log takes no events: {0}")]
    Unavailable(String),
}

impl Emitter {
    /// The same pipeline under another source.
    pub fn for_source(&self, _source: &str) -> Emitter {
        unimplemented!()
    }

    /// Takes encoded events from a caller outside the agent: all of them or none. Checks each (size, kind, reserved
    /// metadata keys), stamps what is absent and the origin, keeps fields it does not know. Outcomes in order.
    ///
    /// # Errors
    /// [`EmitError::Refused`] names the first event at fault by its place in `events`, from 1.
    pub async fn submit(
        &self,
        _events: Vec<bytes::Bytes>,
        _origin: Origin,
        _durability: Durability,
    ) -> Result<Vec<Outcome>, EmitError> {
        unimplemented!()
    }

    /// Makes durable what has been accepted so far.
    ///
    /// # Errors
    /// When the log cannot write.
    pub async fn flush(&self) -> Result<(), EmitError> {
        unimplemented!()
    }

    /// Emits a payload; answers when it is in the log's memory. Waits while that is full.
    ///
    /// # Errors
    /// When the event is larger than [`crate::event::EVENT_BYTES_MAX`] or the log is closing.
    pub async fn emit<P: Payload>(
        &self,
        _level: Level,
        _payload: P,
        _metadata: Metadata,
    ) -> Result<Outcome, EmitError> {
        unimplemented!()
    }
}

include!(concat!(env!("OUT_DIR"), "/emitter_methods.rs"));
