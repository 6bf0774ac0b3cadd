//! What a collector remembers between runs of the agent.

use std::path::PathBuf;

/// A collector's own small store. What is remembered becomes durable only after every event emitted before it, so a
/// crash repeats events and never loses them.
#[derive(Clone)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    /// The most that may be remembered, bytes of JSON.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;

    /// What was remembered last, if it can be read as `T`.
    pub fn recall<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        unimplemented!()
    }

    /// Replaces what is remembered. Returns at once; written in the background after the events emitted so far are
    /// durable. Of several in a row the last one wins.
    pub fn remember<T: serde::Serialize>(&self, _state: &T) {
        unimplemented!()
    }
}
