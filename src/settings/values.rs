//! From a written value to a typed one: pure, and each with what was expected when it is none.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use serde_json::Value as Json;

use super::{
    fault::excerpt,
    tree::{Node, Position, Value},
};
use crate::words::{DURATION_EXPECTED, SIZE_EXPECTED, exact_duration, exact_size, parse_duration, parse_size};

/// Why a value was refused: where (the value itself if nowhere else), what stands there, what was expected.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: Option<Position>,
    pub(super) found: Option<String>,
    pub(super) message: String,
}

/// Said of a number or a word that is right but for its quotes.
const UNQUOTED: &str = ", without quotes";

/// A typed value, or every reason why it is none.
pub(super) type Reading<T> = Result<T, Vec<Wrong>>;

/// A refusal of the value as a whole.
pub(super) fn wrong<T>(value: &Value, message: impl Into<String>) -> Reading<T> {
    Err(vec![Wrong { at: None, found: shown(value), message: message.into() }])
}

/// What stands there, as it may be printed.
pub(super) fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Nothing => None,
        Value::Scalar { text, .. } if text.is_empty() => Some("\"\"".to_owned()),
        Value::Scalar { text, .. } => Some(excerpt(text)),
        Value::List(_) => Some("a list".to_owned()),
        Value::Map(_) => Some("a table".to_owned()),
    }
}

/// Whether a value is the word `off`. YAML tools of the older standard write `false` for it, so that is taken too.
pub(super) fn is_off(value: &Value) -> bool {
    matches!(value, Value::Scalar { text, .. } if text.eq_ignore_ascii_case("off") || text == "false")
}

/// The same for `on` and `true`.
pub(super) fn is_on(value: &Value) -> bool {
    matches!(value, Value::Scalar { text, .. } if text.eq_ignore_ascii_case("on") || text == "true")
}

pub(super) fn text<'v>(value: &'v Value, expects: &str) -> Reading<&'v str> {
    match value {
        Value::Scalar { text, .. } => Ok(text),
        Value::Nothing => wrong(value, format!("nothing is set; expected {expects}, or no such line")),
        other => wrong(other, format!("expected {expects}")),
    }
}

pub(super) fn boolean(value: &Value, expects: &str) -> Reading<bool> {
    match (text(value, expects)?, value) {
        ("true", Value::Scalar { quoted: false, .. }) => Ok(true),
        ("false", Value::Scalar { quoted: false, .. }) => Ok(false),
        ("true" | "false", _) => wrong(value, format!("expected {expects}{UNQUOTED}")),
        _ => wrong(value, format!("expected {expects}")),
    }
}

pub(super) fn integer(value: &Value, bounds: &RangeInclusive<u64>, expects: &str) -> Reading<u64> {
    let digits = text(value, expects)?;
    let plain = matches!(value, Value::Scalar { quoted: false, .. }) && !digits.starts_with('+');
    match digits.parse::<u64>() {
        Ok(number) if plain && bounds.contains(&number) => Ok(number),
        Ok(number) if bounds.contains(&number) && !digits.starts_with('+') => {
            wrong(value, format!("expected {expects}{UNQUOTED}"))
        }
        _ => wrong(value, format!("expected {expects}")),
    }
}

/// `25%`, or the number alone.
pub(super) fn percent(value: &Value, bounds: &RangeInclusive<u8>, expects: &str) -> Reading<u8> {
    let written = text(value, expects)?;
    let digits = written.strip_suffix('%').unwrap_or(written);
    match digits.parse::<u8>() {
        Ok(percent) if bounds.contains(&percent) && !digits.starts_with('+') => Ok(percent),
        _ => wrong(value, format!("expected {expects}")),
    }
}

pub(super) fn duration(value: &Value, bounds: &RangeInclusive<Duration>, expects: &str) -> Reading<Duration> {
    match parse_duration(text(value, expects)?) {
        Ok(duration) if bounds.contains(&duration) => Ok(duration),
        Ok(_) => wrong(value, format!("out of bounds; expected {expects}")),
        Err(_) => wrong(value, format!("expected {expects}")),
    }
}

pub(super) fn size(value: &Value, bounds: &RangeInclusive<u64>, expects: &str) -> Reading<u64> {
    match parse_size(text(value, expects)?) {
        Ok(bytes) if bounds.contains(&bytes) => Ok(bytes),
        Ok(_) => wrong(value, format!("out of bounds; expected {expects}")),
        Err(message) if message.starts_with("unclear") => wrong(value, message),
        Err(_) => wrong(value, format!("expected {expects}")),
    }
}

pub(super) fn path(value: &Value, expects: &str) -> Reading<PathBuf> {
    match text(value, expects)? {
        path if path.starts_with('/') && !path.contains('\0') => Ok(PathBuf::from(path)),
        _ => wrong(value, format!("expected {expects}")),
    }
}

pub(super) fn one_of<T: Copy>(value: &Value, allowed: &[(&str, T)], expects: &str) -> Reading<T> {
    let word = text(value, expects)?;
    match allowed.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, meaning)) => Ok(*meaning),
        None => wrong(value, format!("expected {expects}")),
    }
}

/// A list, each item read by `item`; every item that is wrong is told.
pub(super) fn list<T>(value: &Value, expects: &str, item: impl Fn(&Value) -> Reading<T>) -> Reading<Vec<T>> {
    let nodes: &[Node] = match value {
        Value::List(nodes) => nodes,
        Value::Nothing => return wrong(value, format!("nothing is set; expected {expects}, or no such line")),
        other => return wrong(other, format!("expected {expects}")),
    };
    let (mut items, mut faults) = (Vec::new(), Vec::new());
    for node in nodes {
        match item(&node.value) {
            Ok(value) => items.push(value),
            Err(wrongs) => {
                faults.extend(wrongs.into_iter().map(|wrong| Wrong { at: wrong.at.or(Some(node.at)), ..wrong }))
            }
        }
    }
    if faults.is_empty() { Ok(items) } else { Err(faults) }
}

/// A table of names and a value of each: as JSON has it, text where it stands in quotes or is no number.
pub(super) fn pairs(value: &Value, expects: &str) -> Reading<Vec<(String, Json)>> {
    let map = match value {
        Value::Map(map) => map,
        Value::Nothing => return wrong(value, format!("nothing is set; expected {expects}, or no such line")),
        other => return wrong(other, format!("expected {expects}")),
    };
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    for entry in &map.entries {
        match &entry.node.value {
            Value::Scalar { text, quoted } => pairs.push((entry.key.clone(), json(text, *quoted))),
            other => faults.push(Wrong {
                at: Some(entry.node.at),
                found: shown(other),
                message: format!("`{}` has no value; expected {expects}", entry.key),
            }),
        }
    }
    if faults.is_empty() { Ok(pairs) } else { Err(faults) }
}

fn json(text: &str, is_quoted: bool) -> Json {
    let plain = serde_json::from_str(text).ok().filter(|value: &Json| value.is_boolean() || value.is_number());
    plain.filter(|_| !is_quoted).unwrap_or_else(|| text.into())
}

pub(super) fn integer_expected(bounds: &RangeInclusive<u64>) -> String {
    format!("a whole number from {} to {}", bounds.start(), bounds.end())
}

pub(super) fn percent_expected(bounds: &RangeInclusive<u8>) -> String {
    format!("a whole number of percent from {}% to {}%", bounds.start(), bounds.end())
}

pub(super) fn duration_expected(bounds: &RangeInclusive<Duration>) -> String {
    let (low, high) = (exact_duration(*bounds.start()), exact_duration(*bounds.end()));
    format!("{DURATION_EXPECTED} from {low} to {high}")
}

pub(super) fn size_expected(bounds: &RangeInclusive<u64>) -> String {
    format!("{SIZE_EXPECTED} from {} to {}", exact_size(*bounds.start()), exact_size(*bounds.end()))
}
