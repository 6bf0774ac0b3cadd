//! An event as it is handed to the log: bytes, and what the log notes of them.

use super::frame;

/// Whether something kept the wall clock in step when an event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockState {
    /// Nobody has looked.
    Unknown,
    /// Something did.
    Synchronised,
    /// Nothing did: times may be off.
    Unsynchronised,
}

impl ClockState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ClockState::Unknown => "unknown",
            ClockState::Synchronised => "synchronised",
            ClockState::Unsynchronised => "unsynchronised",
        }
    }

    /// The opposite of [`ClockState::name`].
    pub fn from_name(name: &str) -> Option<ClockState> {
        [ClockState::Unknown, ClockState::Synchronised, ClockState::Unsynchronised]
            .into_iter()
            .find(|state| state.name() == name)
    }

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u8) -> ClockState {
        match number {
            1 => ClockState::Synchronised,
            2 => ClockState::Unsynchronised,
            _ => ClockState::Unknown,
        }
    }
}

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
}

impl Draft<'_> {
    pub(super) fn entry(&self, end: usize) -> frame::Entry {
        frame::Entry {
            end: u32::try_from(end).unwrap_or(u32::MAX),
            time: self.timestamp,
            level: u8::try_from(self.level).unwrap_or(15).min(15),
            category: u8::try_from(self.category).unwrap_or(31).min(31),
        }
    }
}
