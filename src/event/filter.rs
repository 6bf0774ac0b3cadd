//! Which events somebody wants: `storage.pool.* level>=warn pool_name=tank`.

use super::EventView;

/// A conjunction of conditions; the empty filter takes every event.
#[derive(Clone, Debug, Default)]
pub struct Filter {}

/// What is wrong with a condition, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    message: String,
}

impl Filter {
    /// Parses conditions, each a word of its own or several in one text.
    ///
    /// # Errors
    /// When a condition is not understood; the message quotes it.
    pub fn parse<S: AsRef<str>>(_conditions: &[S]) -> Result<Filter, FilterError> {
        unimplemented!()
    }

    /// Whether the event meets every condition.
    pub fn matches(&self, _event: &EventView) -> bool {
        unimplemented!()
    }
}
