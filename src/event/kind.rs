//! The name of what happened: `category.subject.operation`, made from the schema and from nothing else.

use std::fmt;

/// `storage.pool.scrub_started`, `system.registration`, `network.interface.op_107`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(String);

impl Kind {
    /// The name in full.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Every kind that the schema can name, sorted.
pub fn all() -> &'static [Kind] {
    unimplemented!()
}

/// The kind that is spelt most like this one, if any is near.
pub fn nearest(_name: &str) -> Option<&'static Kind> {
    unimplemented!()
}

/// Names of all categories: `system`, `storage`, … in the order of their numbers.
pub fn categories() -> &'static [String] {
    unimplemented!()
}
