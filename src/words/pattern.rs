//! Patterns of names: `*` is any text, the empty one too, `?` any one character.

/// What makes a text a pattern.
pub const WILDCARDS: [char; 2] = ['*', '?'];

/// Whether the whole text is as the pattern says. In time that grows with the product of both lengths at most: only the
/// last `*` is ever tried anew.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut star = None;
    loop {
        let (mut wanted, mut found) = (pattern.chars(), text.chars());
        match (wanted.next(), found.next()) {
            (Some('*'), _) => {
                pattern = wanted.as_str();
                star = Some((pattern, text));
            }
            (Some(wants), Some(finds)) if wants == '?' || wants == finds => {
                (pattern, text) = (wanted.as_str(), found.as_str());
            }
            (None, None) => return true,
            _ => {
                let Some((after, from)) = star else { return false };
                let mut from = from.chars();
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after, from.as_str());
                star = Some((after, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        let patterns = ["lo", "veth*", "*.10?", "a*b*c", "grö?e"];
        let is_taken = |name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        for name in ["lo", "veth", "veth12ab", "eth0.100", "abc", "a__b__bc", "größe"] {
            assert!(is_taken(name), "{name}");
        }
        for name in ["", "lo0", "eth0", "eth0.10", "eth0.1000", "acb"] {
            assert!(!is_taken(name), "{name}");
        }
        assert!(matches("*", "") && !matches("", "x") && !matches("?", ""));
    }

    #[test]
    fn many_stars_on_a_long_name_take_no_long_time() {
        let pattern = "*a".repeat(100);
        assert!(!matches(&pattern, &"a".repeat(99).replace("aa", "ab")));
    }

    /// The definition, slow and plain.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| model(rest, &text[skip..])),
            Some(('?', rest)) => !text.is_empty() && model(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && model(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[aö*?]{0,8}", text in "[aö]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), model(&chars(&pattern), &chars(&text)));
        }
    }
}
