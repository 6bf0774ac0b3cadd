//! The values of an event's fields for people: in a sentence, and in `field=value` words, in the order of the schema and under
//! the names that filters and `emit` take. What was not set is not shown, so neither is a `false`.
//!
//! Always holds: one line, no control characters, no redacted value.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, Value};

use super::{
    MASK, Manner, and_more, enumeration, left_out,
    role::{is_naming, is_redacted},
    unit::Unit,
};
use crate::{
    order::Sorted as _,
    visible::visible,
    words::{group, grouped},
};

/// Elements of a list or map that are shown; of the others only their number.
const ELEMENTS_SHOWN_MAX: usize = 8;

/// The fields that are set, in words.
pub(super) fn fields(payload: &DynamicMessage) -> String {
    let mut words = Vec::new();
    for (field, value) in payload.fields().filter(|(field, _)| field.name() != "operation") {
        add_words(&mut words, field.name(), &field, value);
    }
    let unknown = payload.unknown_fields().count();
    if unknown > 0 {
        words.push(format!("(and {unknown} that this version does not know)"));
    }
    words.join(" ")
}

/// A value as it stands in a sentence.
pub(super) fn shown(field: &FieldDescriptor, value: &Value, manner: Manner) -> String {
    match value {
        Value::List(list) => shown_list(field, list, 0, manner),
        _ if is_redacted(field) => MASK.to_owned(),
        Value::Map(map) => {
            let (kind, entries) = entries(field, map);
            let entry = |(key, value): &(&MapKey, &Value)| {
                format!("{} {}", scalar(field, &kind, value), visible(&super::json::key_text(key)))
            };
            let more = entries.len().saturating_sub(ELEMENTS_SHOWN_MAX);
            let shown = entries.iter().take(ELEMENTS_SHOWN_MAX).map(entry);
            shown.chain((more > 0).then(|| and_more(more as u64))).collect::<Vec<_>>().join(", ")
        }
        // More digits than a person reads: a measured value has no more to say.
        Value::F32(value) => tenths((*value).into()),
        Value::F64(value) => tenths(*value),
        value => match (integer(value), Unit::of(field.name())) {
            (Some(number), Some(unit)) => unit.say(number, manner.times),
            (Some(number), None) if !is_naming(field) => grouped(number),
            _ => named(field, value, manner),
        },
    }
}

/// A list of which whoever emitted it has left out `more`. Where no field says so, its last element may: `and 12 more`.
pub(super) fn shown_list(field: &FieldDescriptor, list: &[Value], more: u64, manner: Manner) -> String {
    if is_redacted(field) {
        return MASK.to_owned();
    }
    let (list, left_out) = match list.split_last().and_then(|(last, rest)| Some((rest, left_out(last.as_str()?)?))) {
        Some((rest, left_out)) => (rest, left_out),
        None => (list, 0),
    };
    let elements = list.iter().take(ELEMENTS_SHOWN_MAX).map(|value| named(field, value, manner));
    let hidden = u64::try_from(list.len().saturating_sub(ELEMENTS_SHOWN_MAX)).unwrap_or(u64::MAX);
    let more = [hidden, left_out].into_iter().fold(more, u64::saturating_add);
    elements.chain((more > 0).then(|| and_more(more))).collect::<Vec<_>>().join(", ")
}

/// A value of which the middle is left out where it is too long for a name: what names the thing, and what is one word.
fn named(field: &FieldDescriptor, value: &Value, manner: Manner) -> String {
    let text = scalar(field, &field.kind(), value);
    let is_name = is_naming(field) || !text.contains(char::is_whitespace);
    if is_name { manner.name(text) } else { text }
}

/// `91.2`, `90`, `1,500`; what is smaller than a tenth is told as it is.
fn tenths(value: f64) -> String {
    let text = if value.abs() < 0.1 { value.to_string() } else { format!("{value:.1}") };
    group(text.strip_suffix(".0").unwrap_or(&text))
}

pub(super) fn integer(value: &Value) -> Option<i128> {
    Some(match value {
        Value::I32(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        _ => return None,
    })
}

fn add_words(words: &mut Vec<String>, name: &str, field: &FieldDescriptor, value: &Value) {
    match value {
        _ if is_redacted(field) => words.push(format!("{name}={MASK}")),
        Value::List(list) => words.push(format!("{name}={}", quote(&list_text(field, list)))),
        Value::Map(map) => {
            let (kind, entries) = entries(field, map);
            for (key, value) in entries.iter().take(ELEMENTS_SHOWN_MAX) {
                let key = super::json::key_text(key);
                let key = visible(&key);
                words.push(format!("{name}.{key}={}", quote(&scalar(field, &kind, value))));
            }
            if let Some(more) = more_than_shown(entries.len()) {
                words.push(format!("{name}…{more}"));
            }
        }
        Value::Message(message) => {
            for (inner, value) in message.fields() {
                add_words(words, &format!("{name}.{}", inner.name()), &inner, value);
            }
        }
        _ => words.push(format!("{name}={}", quote(&scalar(field, &field.kind(), value)))),
    }
}

/// What the values of a map are, and its entries in the order of their keys.
fn entries<'a>(field: &FieldDescriptor, map: &'a HashMap<MapKey, Value>) -> (Kind, Vec<(&'a MapKey, &'a Value)>) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.order_by(|a, b| a.0.cmp(b.0));
    let kind = field.kind().as_message().map_or(Kind::String, |entry| entry.map_entry_value_field().kind());
    (kind, entries)
}

fn list_text(field: &FieldDescriptor, list: &[Value]) -> String {
    let shown = list.iter().take(ELEMENTS_SHOWN_MAX).map(|value| scalar(field, &field.kind(), value));
    shown.chain(more_than_shown(list.len())).collect::<Vec<_>>().join(",")
}

fn more_than_shown(count: usize) -> Option<String> {
    count.checked_sub(ELEMENTS_SHOWN_MAX).filter(|more| *more > 0).map(|more| format!("+{more}"))
}

fn scalar(field: &FieldDescriptor, kind: &Kind, value: &Value) -> String {
    let number = |number: i128| Unit::of(field.name()).map_or_else(|| number.to_string(), |unit| unit.show(number));
    match value {
        _ if is_redacted(field) => MASK.to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => number((*value).into()),
        Value::I64(value) => number((*value).into()),
        Value::U32(value) => number((*value).into()),
        Value::U64(value) => number((*value).into()),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(value) => visible(value).into_owned(),
        Value::Bytes(value) => format!("({} bytes)", value.len()),
        Value::EnumNumber(value) => {
            let name = kind.as_enum().and_then(|enumeration| enumeration::short_name(enumeration, *value));
            name.unwrap_or_else(|| value.to_string())
        }
        Value::Message(_) | Value::List(_) | Value::Map(_) => "{…}".to_owned(),
    }
}

/// As a shell would need it: in quotes where it has spaces or is empty.
fn quote(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    match text {
        _ if plain => text.to_owned(),
        _ if !text.contains('\'') && text.contains('"') => format!("'{text}'"),
        _ => format!("\"{}\"", text.replace('"', "\\\"")),
    }
}
