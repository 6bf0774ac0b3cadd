//! Whether the wall clock could be trusted when an event was accepted.

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
