//! An event as it is handed to the log: bytes, and what the log notes of them.

use crate::{event::KindMark, event_log::disk::frame};

/// The metadata key that an event bears which is put into the log again, as a dead letter that is retried: what happened since
/// it happened first has happened later.
pub const APPENDED_AGAIN: &str = "rodent.retried";

/// An encoded event on its way into the log, with what the log notes of it.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The encoded `rodent.events.Event`, at most [`crate::event::EVENT_BYTES_MAX`] bytes.
    pub event: &'a [u8],
    /// Its level's number on the wire.
    pub level: i32,
    /// Its category's number on the wire.
    pub category: i32,
    /// Unix milliseconds.
    pub timestamp: i64,
    /// Its kind; `None` where nobody has looked: such an event may be of any.
    pub kind: Option<KindMark>,
}

impl Draft<'_> {
    pub(super) fn entry(&self, end: usize) -> frame::Entry {
        frame::Entry {
            end: u32::try_from(end).unwrap_or(u32::MAX),
            time: self.timestamp,
            level: u8::try_from(self.level).unwrap_or(15).min(15),
            category: u8::try_from(self.category).unwrap_or(31).min(31),
            kind: self.kind,
        }
    }
}
