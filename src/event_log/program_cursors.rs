//! Consumers that are programs': they come and go while the log is open, each belongs to a user, and one that stays away is
//! released.

use std::ops::Range;

use super::{
    cursor::Cursor,
    disk::summary::LEVELS,
    lane::Lane,
    ledger::{loss::Cause, ownership::Ownership},
    log::EventLog,
};

/// What a consumer loses of some sequences, as far as the ledger still knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownLoss {
    /// How many.
    pub count: u64,
    /// By level, by its number on the wire; all zero where that is not known.
    pub levels: [u64; LEVELS],
    /// Why; `None` where nothing is known.
    pub cause: Option<Cause>,
}

impl EventLog {
    /// The log's age, milliseconds: the time that the machine was on since it was made, whatever its clock says.
    pub fn age(&self) -> u64 {
        self.shared.age.milliseconds()
    }

    /// The cursor of a new program's consumer that begins at these sequences; of one that is there, where it stands. `None`
    /// when there are too many, or the name is longer than 64 bytes.
    pub fn program_cursor(&self, name: &str, program: Ownership, first: [u64; 2]) -> Option<Cursor> {
        self.register(name, first, Some(program))
    }

    /// What is known of a program's consumer; `None` for one of the agent's own, and where there is none.
    pub fn program(&self, name: &str) -> Option<Ownership> {
        self.shared.ledger.program(name)
    }

    /// Consumers that are programs'.
    pub fn programs(&self) -> Vec<(String, Ownership)> {
        self.shared.ledger.programs()
    }

    /// Notes something else of a program's consumer. One that is released is not waited for, nor told of what goes; when it is
    /// released no more, it finds what is gone as a gap.
    pub fn set_program(&self, name: &str, program: Ownership) {
        self.shared.ledger.set_program(name, program);
        self.shared.buffer.cursor_moved();
    }

    /// Has a consumer that nobody reads for begin again at these sequences. Where it stands before one of them it stays. Gives
    /// whether there is one of this name.
    pub fn rewind(&self, name: &str, to: [u64; 2]) -> bool {
        let rewound = self.shared.ledger.rewind(name, to);
        self.shared.buffer.cursor_moved();
        rewound
    }
}

impl Cursor {
    /// What its consumer loses of these sequences, until the record of it is durable.
    pub fn known_loss(&self, lane: Lane, sequences: &Range<u64>) -> KnownLoss {
        let mut known = KnownLoss::default();
        for loss in self.shared.ledger.owed(&self.name, lane, sequences) {
            known.count += loss.count;
            known.levels.iter_mut().zip(loss.levels).for_each(|(sum, count)| *sum += count);
            known.cause = Some(loss.cause);
        }
        known
    }
}
