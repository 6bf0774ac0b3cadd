//! The two rows of the log: what must not wait, and the rest.

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

    /// The opposite of [`Lane::name`].
    pub fn from_name(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.name() == name)
    }

    /// Its place in [`Lane::ALL`], and in whatever has an entry a lane.
    pub fn index(self) -> usize {
        self as usize
    }

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.number() == number)
    }
}
