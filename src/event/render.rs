//! An event in one line, for people.
//!
//! The subject is the payload's first text field, or the first set one that is named like a name (`…name`, `…id`,
//! `…path`); where there is none, the event's source. The text is the rest in `field=value` words, in the order of the
//! schema and under the names that filters and `emit` take; a field called `detail` is prose and stands first, bare.
//! What was not set is not shown, so neither is a `false`.
//!
//! Always holds: one line, no control characters, no redacted value.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, Value};

use super::{EventView, MASK, enumeration, is_redacted, unit::Unit};

/// Elements of a list or map that are shown; of the others only their number.
const ELEMENTS_SHOWN_MAX: usize = 8;

/// The last word of a field that names a thing.
const NAMING: [&str; 5] = ["name", "username", "id", "path", "ip"];

/// Fields of plain text, which name nothing.
const PROSE: [&str; 4] = ["detail", "reason", "message", "description"];

/// Subject (whom it is about: a pool, a unit, a user) and text (the rest, in `key=value` words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The payload's name of the thing, or the source.
    pub subject: String,
    /// The other fields that are set.
    pub text: String,
}

impl Summary {
    /// Describes an event.
    pub fn of(event: &EventView) -> Summary {
        let Some(payload) = event.payload() else {
            let text = "(no payload that this version knows)".to_owned();
            return Summary { subject: escape(event.source()), text };
        };
        Summary::of_payload(payload, event.source())
    }

    fn of_payload(payload: &DynamicMessage, source: &str) -> Summary {
        let subject = subject_field(payload);
        let (mut prose, mut words) = (Vec::new(), Vec::new());
        for (field, value) in payload.fields() {
            if subject.as_ref() == Some(&field) || field.name() == "operation" {
                continue;
            }
            match value.as_str().filter(|_| field.name() == "detail" && !is_redacted(&field)) {
                Some(detail) => prose.push(escape(detail)),
                None => add_words(&mut words, field.name(), &field, value),
            }
        }
        let unknown = payload.unknown_fields().count();
        if unknown > 0 {
            words.push(format!("(and {unknown} that this version does not know)"));
        }
        prose.append(&mut words);
        let name = subject.as_ref().map(|field| scalar(field, &field.kind(), &payload.get_field(field)));
        Summary { subject: name.unwrap_or_else(|| escape(source)), text: prose.join(" ") }
    }
}

/// The field that names the thing, if it is set.
fn subject_field(payload: &DynamicMessage) -> Option<FieldDescriptor> {
    let descriptor = prost_reflect::ReflectMessage::descriptor(payload);
    let mut texts: Vec<FieldDescriptor> = descriptor.fields().filter(is_text).collect();
    texts.sort_by_key(FieldDescriptor::number);
    let names = |(place, field): &(usize, FieldDescriptor)| {
        let last_word = field.name().rsplit('_').next().unwrap_or_default();
        (*place == 0 && !PROSE.contains(&field.name())) || NAMING.contains(&last_word)
    };
    let mut candidates = texts.into_iter().enumerate().filter(names).map(|(_, field)| field);
    candidates.find(|field| payload.has_field(field))
}

fn is_text(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && field.kind() == Kind::String
}

fn add_words(words: &mut Vec<String>, name: &str, field: &FieldDescriptor, value: &Value) {
    match value {
        _ if is_redacted(field) => words.push(format!("{name}={MASK}")),
        Value::List(list) => words.push(format!("{name}={}", quote(&list_text(field, list)))),
        Value::Map(map) => {
            let mut entries: Vec<(&MapKey, &Value)> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let kind = field.kind().as_message().map(|entry| entry.map_entry_value_field().kind());
            for (key, value) in entries.iter().take(ELEMENTS_SHOWN_MAX) {
                let key = escape(&super::json::key_text(key));
                let kind = kind.clone().unwrap_or(Kind::String);
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
        Value::String(value) => escape(value),
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

/// Control characters, and those that turn the direction of text, would let an event write over the terminal.
fn escape(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if c.is_control() => out.extend(c.escape_default()),
            _ if turns(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
