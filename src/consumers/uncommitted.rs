//! What a program was given and has not committed, as it is remembered from one call to the next.

use std::ops::Range;

/// Consecutive events that a program was given alike and did not commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncommitted {
    /// Which.
    pub sequences: Range<u64>,
    /// How often they were given.
    pub deliveries: u32,
    /// The last time each with nothing beside it.
    pub alone: bool,
}

impl Uncommitted {
    /// Takes in what stands right behind it and was given alike. Gives whether it did.
    pub fn join(&mut self, next: &Uncommitted) -> bool {
        let is_next = self.sequences.end == next.sequences.start;
        let is_alike = (self.deliveries, self.alone) == (next.deliveries, next.alone);
        if is_next && is_alike {
            self.sequences.end = next.sequences.end;
        }
        is_next && is_alike
    }
}
