//! What values a key takes, for those who describe the configuration: a reference, a schema.

use std::{ops::RangeInclusive, time::Duration};

use crate::words::{exact_duration, exact_size};

/// What values a key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// The same; instead of the part that it turns `on` or `off` this word may stand alone.
    Switch,
    /// Any text, or a form of it that only the reader of the key knows.
    Text,
    /// A text that is not shown.
    Secret,
    /// An absolute path.
    Path,
    /// One of these words.
    OneOf(Vec<String>),
    /// `all`, or a list of these words.
    SeveralOf(Vec<String>),
    /// A list of texts.
    Texts,
    /// Names that the file chooses, and a text, a number, `true` or `false` of each.
    Values,
    /// The same; one of them may stand alone.
    TextOrTexts,
    /// A whole number.
    Integer(RangeInclusive<u64>),
    /// Percent, with or without the sign.
    Percent(RangeInclusive<u8>),
    /// A time.
    Duration {
        /// From, to.
        bounds: RangeInclusive<Duration>,
        /// Whether `off` stands for none.
        or_off: bool,
    },
    /// Bytes.
    Size {
        /// From, to.
        bounds: RangeInclusive<u64>,
        /// Whether `off` stands for none.
        or_off: bool,
    },
}

impl Shape {
    /// What it is and within which bounds, in a few words: `a time, 10ms to 10m, or off`.
    pub fn words(&self) -> String {
        let off = |or_off: &bool| if *or_off { ", or `off`" } else { "" };
        let listed = |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        match self {
            Shape::Boolean | Shape::Switch => "`true` or `false`".to_owned(),
            Shape::Text => "text".to_owned(),
            Shape::Secret => "text, secret".to_owned(),
            Shape::Path => "absolute path".to_owned(),
            Shape::OneOf(words) => format!("one of {}", listed(words)),
            Shape::SeveralOf(words) => format!("`all`, or a list of {}", listed(words)),
            Shape::Texts => "list of texts".to_owned(),
            Shape::Values => "names and their values".to_owned(),
            Shape::TextOrTexts => "text, or list of texts".to_owned(),
            Shape::Integer(bounds) => format!("number, {} to {}", bounds.start(), bounds.end()),
            Shape::Percent(bounds) => format!("percent, {}% to {}%", bounds.start(), bounds.end()),
            Shape::Duration { bounds, or_off } => {
                let [low, high] = [bounds.start(), bounds.end()].map(|time| in_days(*time));
                format!("time, {low} to {high}{}", off(or_off))
            }
            Shape::Size { bounds, or_off } => {
                let [low, high] = [bounds.start(), bounds.end()].map(|bytes| exact_size(*bytes));
                format!("size, {low} to {high}{}", off(or_off))
            }
        }
    }
}

/// Whole days as days: what else a year is made of nobody wants to know.
fn in_days(time: Duration) -> String {
    const DAY: u64 = 86_400;
    match time.as_secs() {
        seconds if seconds >= DAY && seconds % DAY == 0 => format!("{}d", seconds / DAY),
        _ => exact_duration(time),
    }
}
