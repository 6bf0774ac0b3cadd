//! Patterns of names in settings: `*` is any text, `?` any one character. Pure.

use serde::{Deserialize, Serialize};

/// Several patterns; a name matches when one of them does. Collectors remember them beside what they saw, for what they left out
/// was there all along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Patterns(Vec<String>);

impl Patterns {
    pub(super) fn new(patterns: Vec<String>) -> Patterns {
        Patterns(patterns)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

/// In time that grows with the product of both lengths at most: only the last `*` is ever tried anew.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(expected) if expected == byte || *expected == b'?' => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at, seen) = (after + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        let patterns = Patterns::new(vec!["lo".into(), "veth*".into(), "*.10?".into(), "a*b*c".into()]);
        for name in ["lo", "veth", "veth12ab", "eth0.100", "abc", "a__b__bc"] {
            assert!(patterns.matches(name), "{name}");
        }
        for name in ["", "lo0", "eth0", "eth0.10", "eth0.1000", "acb"] {
            assert!(!patterns.matches(name), "{name}");
        }
        assert!(Patterns::new(vec!["*".into()]).matches(""));
    }

    #[test]
    fn many_stars_on_a_long_name_take_no_long_time() {
        let pattern = "*a".repeat(100);
        assert!(!Patterns::new(vec![pattern]).matches(&"a".repeat(99).replace("aa", "ab")));
    }
}
