//! Text with `*`.

/// A pattern in which `*` stands for any text, the empty one too.
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
        self.text.contains('*')
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut parts = self.text.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // Taking each part where it first occurs leaves the most for those that follow.
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
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
    use proptest::prelude::*;

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
        assert!(!matches("storage.pool.created", "storage.pool"));
    }

    /// The definition, slow and plain.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| model(rest, &text[skip..])),
            Some((c, rest)) => text.first() == Some(c) && model(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), model(&chars(&pattern), &chars(&text)));
        }
    }
}
