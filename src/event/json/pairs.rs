//! An event from the words of a command line: a kind and `field=value` pairs.

use prost_reflect::{Kind as FieldKind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::{JsonError, read, typed};
use crate::{
    event::{
        Catalogue, Level, Metadata,
        catalogue::Subject,
        unit::{self, Unit},
    },
    schema::events::Event,
};

/// Builds an event from a kind and `field=value` pairs, as `rodent emit` takes them. A list takes its field once for
/// each element, a map takes `field.key=value`. Without a level it has that of its kind.
///
/// # Errors
/// As [`from_str`](super::from_str); also when a field that holds one value is given twice, and when nothing says what
/// happened to the thing.
pub fn from_pairs(
    kind: &str,
    level: Option<Level>,
    fields: &[(String, String)],
    metadata: Metadata,
) -> Result<Event, JsonError> {
    let mut payload = Map::new();
    if let Some((subject, _)) = Catalogue::compiled().resolve(kind) {
        for (path, value) in fields {
            insert(&mut payload, &subject.message, path, value, "payload")?;
        }
    }
    let document = json!({ "kind": kind, "level": level.map(Level::name), "payload": payload, "metadata": metadata });
    let event = read::event(Catalogue::compiled(), document)?;
    match event.subject().filter(|subject| subject.operation.is_some() && subject.kinds.get(&0) == Some(&event.kind()))
    {
        Some(subject) => Err(without_operation(subject)),
        None => typed(&event),
    }
}

/// Names the kinds that do say what happened.
fn without_operation(subject: &Subject) -> JsonError {
    let kinds: Vec<_> = subject.kinds.range(1..).map(|(_, kind)| kind.as_str()).collect();
    JsonError::new(format!("{} does not say what happened; write one of {}", subject.name, kinds.join(", ")))
}

/// Puts a value where the path leads, as the JSON that the field takes.
fn insert(
    object: &mut Map<String, Json>,
    message: &MessageDescriptor,
    path: &str,
    value: &str,
    at: &str,
) -> Result<(), JsonError> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let field = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name));
    let Some(field) = field else { return Err(read::unknown_field(message, name, at)) };
    let (name, kind) = (field.name().to_owned(), field.kind());
    let value = &in_numbers(&name, &kind, value);
    let at = format!("{at}.{name}");
    let wrong = |what: &str| Err(JsonError::new(format!("{at}: {what}")));
    match (kind, rest) {
        (FieldKind::Message(entry), Some(key)) if field.is_map() => {
            let kind = entry.map_entry_value_field().kind();
            let map = object.entry(name).or_insert_with(|| json!({}));
            match map.as_object_mut().map(|map| map.insert(key.to_owned(), value_of(&kind, value))) {
                Some(None) => Ok(()),
                _ => wrong(&format!("\"{key}\" is given twice")),
            }
        }
        (FieldKind::Message(inner), Some(rest)) if !field.is_list() => {
            match object.entry(name).or_insert_with(|| json!({})).as_object_mut() {
                Some(object) => insert(object, &inner, rest, value, &at),
                None => wrong("it is given twice"),
            }
        }
        (FieldKind::Message(_), None) if field.is_map() => wrong("it holds entries: write it as field.key=value"),
        (FieldKind::Message(_), _) => wrong("it cannot be given as a pair; use JSON"),
        (_, Some(rest)) => wrong(&format!("it holds a plain value and has no \"{rest}\"")),
        (kind, None) if field.is_list() => {
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().expect("made a list above").push(value_of(&kind, value));
            Ok(())
        }
        (kind, None) => match object.insert(name, value_of(&kind, value)) {
            None => Ok(()),
            Some(_) => wrong("it is given twice, and holds one value"),
        },
    }
}

/// Bytes, seconds and times may be written as people do: `1GiB`, `90s`, `2027-01-01`.
fn in_numbers(name: &str, kind: &FieldKind, value: &str) -> String {
    let is_integer = matches!(kind, FieldKind::Int32 | FieldKind::Int64 | FieldKind::Uint32 | FieldKind::Uint64);
    let unit = Unit::of(name).filter(|_| is_integer && value.parse::<i128>().is_err());
    let number = unit.and_then(|unit| match unit {
        // Times that are named `…_at` are in milliseconds, others in seconds.
        Unit::Time => {
            let moment = unit::parse_moment(value)?;
            Some(i128::from(if name.ends_with("_at") { moment } else { moment / 1000 }))
        }
        unit => unit.parse(value).ok(),
    });
    number.map_or_else(|| value.to_owned(), |number| number.to_string())
}

/// Everything but flags is read from text.
fn value_of(kind: &FieldKind, value: &str) -> Json {
    match (kind, value) {
        (FieldKind::Bool, "true") => Json::Bool(true),
        (FieldKind::Bool, "false") => Json::Bool(false),
        _ => value.into(),
    }
}
