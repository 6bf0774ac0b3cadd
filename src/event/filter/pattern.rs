//! Text with `*` and `?`, as it stands in filters.

use crate::words;

/// A pattern in which `*` stands for any text, the empty one too, and `?` for one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn has_wildcard(&self) -> bool {
        self.text.contains(words::WILDCARDS)
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        words::matches(&self.text, text)
    }

    /// Whether the text matches, or begins with the pattern and goes on with a dot.
    pub(super) fn matches_at_dots(&self, text: &str) -> bool {
        if self.has_wildcard() {
            return self.matches(text);
        }
        text.strip_prefix(&self.text).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let matches = |pattern, text| Pattern::new(pattern).matches(text);
        assert!(matches("storage.pool.*", "storage.pool.created"));
        assert!(matches("storage.*", "storage.pool.created"));
        assert!(matches("*.failed", "service.status.failed"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "aXbbYc"));
        assert!(!matches("a*b*c", "acb"));
        assert!(!matches("ab*b", "ab"));
        assert!(!matches("storage.pool.*", "storage.pool"));
        assert!(!matches("", "x"));
    }

    #[test]
    fn without_a_star_it_takes_what_is_below() {
        let matches = |pattern, text| Pattern::new(pattern).matches_at_dots(text);
        assert!(matches("storage.pool", "storage.pool.created"));
        assert!(matches("storage.pool", "storage.pool"));
        assert!(!matches("storage.po", "storage.pool"));
        assert!(!matches("storage.poo?", "storage.pool.created"), "with one it takes the whole text");
        assert!(!matches("storage.pool.created", "storage.pool"));
    }
}
