//! Which events somebody wants: `storage.pool.* level>=warn pool_name=tank`.
//!
//! A word without a comparison is a pattern of kinds: `*` matches anything, dots too; without `*` it takes the kind and
//! all below it (`storage.pool` takes `storage.pool.created`). Several patterns are alternatives. All else are
//! conditions, and all of them must hold:
//!
//! - `level>=warn` by severity, `category=storage`, `kind=…`, `source=…`, `id=…`;
//! - `meta.KEY=…`, a metadata value; `pool_name=…`, a field of the payload (`payload.source=…` where the event has one
//!   of that name too), `system_info.os=…` an entry of a map;
//! - `=` and `!=` take `*` in the value; `<` `<=` `>` `>=` compare numbers and take `1GiB` for bytes, `2h` for seconds.
//!
//! A field that is not set has its default (`graceful=false`, `size_bytes=0`). A list matches when one element does.
//! `!=` is exactly what `=` is not: it holds for events without the field too. Quotes keep spaces together.

mod condition;
mod field;
mod pattern;
mod words;

use condition::Condition;
use pattern::Pattern;

use super::{EventView, kind, spelling};

/// Patterns and conditions in one filter; more are refused.
const WORDS_MAX: usize = 64;
/// Length of one word; a longer one is refused.
const WORD_BYTES_MAX: usize = 1024;

/// A conjunction of conditions; the empty filter takes every event.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    patterns: Vec<Pattern>,
    conditions: Vec<Condition>,
}

/// What is wrong with a condition, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    message: String,
}

impl FilterError {
    fn new(message: impl Into<String>) -> FilterError {
        FilterError { message: message.into() }
    }
}

impl Filter {
    /// Parses conditions, each a word of its own or several in one text.
    ///
    /// # Errors
    /// When a condition is not understood; the message quotes it.
    pub fn parse<S: AsRef<str>>(conditions: &[S]) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        for text in conditions {
            for word in words::split(text.as_ref())? {
                filter.add(&word)?;
            }
        }
        Ok(filter)
    }

    /// Whether the event meets every condition.
    pub fn matches(&self, event: &EventView) -> bool {
        if !self.patterns.is_empty() {
            let kind = event.kind();
            if !self.patterns.iter().any(|pattern| pattern.matches_at_dots(kind.as_str())) {
                return false;
            }
        }
        self.conditions.iter().all(|condition| condition.holds(event))
    }

    /// Whether it takes every event.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.conditions.is_empty()
    }

    fn add(&mut self, word: &str) -> Result<(), FilterError> {
        if word.len() > WORD_BYTES_MAX {
            return Err(FilterError::new(format!(
                "a filter's word has {} bytes; at most {WORD_BYTES_MAX}",
                word.len()
            )));
        }
        if self.patterns.len() + self.conditions.len() >= WORDS_MAX {
            return Err(FilterError::new(format!("a filter has at most {WORDS_MAX} words")));
        }
        match Condition::parse(word)? {
            Some(condition) => self.conditions.push(condition),
            None => self.patterns.push(kind_pattern(word)?),
        }
        Ok(())
    }
}

/// A pattern of kinds. One that can take no kind of the schema is a slip, unless it says that it knows better.
fn kind_pattern(word: &str) -> Result<Pattern, FilterError> {
    let pattern = Pattern::new(&word.to_lowercase());
    let beyond_the_schema = word.contains('*') || word.contains("op_") || word.contains("event_") || word == "unknown";
    if beyond_the_schema || kind::all().iter().any(|kind| pattern.matches_at_dots(kind.as_str())) {
        return Ok(pattern);
    }
    let names = kind::all().iter().map(kind::Kind::as_str).chain(kind::categories().iter().map(String::as_str));
    let nearest = spelling::nearest(word, names).or_else(|| kind::nearest(word).map(kind::Kind::as_str));
    Err(FilterError::new(format!("no kind is called \"{word}\"{}", spelling::suggestion(nearest))))
}

#[cfg(test)]
mod tests;
