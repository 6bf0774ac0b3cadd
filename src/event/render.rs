//! An event in one line, for people.

use super::EventView;

/// Subject (whom it is about: a pool, a unit, a user) and text (the rest, in `key=value` words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The payload's name of the thing, or the source.
    pub subject: String,
    /// The other fields that are set.
    pub text: String,
}

impl Summary {
    /// Describes an event.
    pub fn of(_event: &EventView) -> Summary {
        unimplemented!()
    }
}
