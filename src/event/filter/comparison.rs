//! How a condition compares: its signs, and what they mean for an order and for a text.

use std::cmp::Ordering;

use super::Pattern;

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The value is part of the text, whatever the case.
    Contains,
}

impl Comparison {
    /// As written; the longer first, for `>=` begins with `>`.
    const ALL: [(&'static str, Comparison); 7] = [
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("=", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
        ("~", Comparison::Contains),
    ];

    /// Whether it needs an order, which only levels and numbers have.
    pub(super) fn is_by_order(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::NotEqual | Comparison::Contains)
    }

    /// Whether it holds for a value that compares like this; `!=` is asked as `=` and turned round by the caller.
    pub(super) fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal | Comparison::NotEqual | Comparison::Contains => ordering == Ordering::Equal,
            Comparison::Less => ordering == Ordering::Less,
            Comparison::LessOrEqual => ordering != Ordering::Greater,
            Comparison::Greater => ordering == Ordering::Greater,
            Comparison::GreaterOrEqual => ordering != Ordering::Less,
        }
    }

    /// Whether a text is what is asked for; `!=` is turned round by the caller.
    pub(super) fn matches(self, value: &Pattern, text: &str) -> bool {
        match self {
            Comparison::Contains => text.to_lowercase().contains(value.text()),
            _ => value.matches(text),
        }
    }

    pub(super) fn symbol(self) -> &'static str {
        Comparison::ALL.iter().find(|(_, c)| *c == self).map_or("=", |(symbol, _)| symbol)
    }
}

/// Key, comparison and value, at the first comparison.
pub(super) fn divide(word: &str) -> Option<(&str, Comparison, &str)> {
    let at = word.find(['=', '<', '>', '~']).map(|at| if word[..at].ends_with('!') { at - 1 } else { at })?;
    let (key, rest) = word.split_at(at);
    let (symbol, comparison) = Comparison::ALL.iter().find(|(symbol, _)| rest.starts_with(symbol))?;
    Some((key, *comparison, &rest[symbol.len()..]))
}
