//! Patterns of names in settings, and what they take. Pure.

use serde::{Deserialize, Serialize};

use crate::words;

/// Several patterns; a name matches when one of them does. Collectors remember them beside what they saw, for what they left out
/// was there all along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Patterns(Vec<String>);

impl Patterns {
    pub(super) fn new(patterns: Vec<String>) -> Patterns {
        Patterns(patterns)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| words::matches(pattern, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_when_one_of_the_patterns_takes_it() {
        let patterns = Patterns::new(vec!["lo".into(), "veth*".into()]);
        assert!(patterns.matches("lo") && patterns.matches("veth12ab") && !patterns.matches("lo0"));
        assert!(!Patterns::new(Vec::new()).matches(""));
    }
}
