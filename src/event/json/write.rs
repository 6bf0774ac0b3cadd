//! An event into its short form.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, Value};
use serde_json::{Map, Number, Value as Json, json};

use super::{Place, unknown};
use crate::{
    event::{EventView, Level, MASK, RESERVED_PREFIX, catalogue::value, enumeration, is_redacted},
    words,
};

pub(super) fn event(event: &EventView, node: Option<&str>, place: Option<&Place>) -> Json {
    let mut out = Map::new();
    let mut set = |key: &str, value: Json| {
        if value != "" && value != json!({}) {
            out.insert(key.to_owned(), value);
        }
    };
    set("id", event.id().into());
    if event.timestamp() != 0 {
        set("time", words::rfc3339(event.timestamp()).map_or(event.timestamp().into(), Json::from));
    }
    set("node", node.unwrap_or_default().into());
    if let Some(place) = place {
        set("lane", place.lane.as_str().into());
        set("sequence", place.sequence.into());
    }
    set("kind", event.kind().as_str().into());
    set("level", level(event.level_number()));
    set("category", category(event));
    set("source", event.source().into());
    if event.payload().is_some() {
        set("text", event.sentence().into());
    }
    if let Some((subject, payload)) = event.subject().zip(event.payload()) {
        set("payload", message(payload, subject.operation.as_ref()));
    }
    if let Some(metadata) = value(event.message(), &event.catalogue().fields.metadata) {
        let (own, given) = split_metadata(field_value(&event.catalogue().fields.metadata, metadata));
        set("metadata", given);
        set("origin", own);
    }
    if let Some(unknown) = unknown::encode(event.message()) {
        set(unknown::KEY, unknown.into());
    }
    out.into()
}

/// What the agent itself has set, without its prefix, and the rest.
fn split_metadata(metadata: Json) -> (Json, Json) {
    let Json::Object(metadata) = metadata else { return (json!({}), metadata) };
    let (own, given): (Map<_, _>, Map<_, _>) =
        metadata.into_iter().partition(|(key, _)| key.starts_with(RESERVED_PREFIX));
    let bare = |(key, value): (String, Json)| (key[RESERVED_PREFIX.len()..].to_owned(), value);
    (own.into_iter().map(bare).collect::<Map<_, _>>().into(), given.into())
}

/// By name; 0 is `unspecified`, and what this version does not know is a number.
fn level(number: i32) -> Json {
    match Level::from_wire(number) {
        Some(level) => level.name().into(),
        None if number == 0 => "unspecified".into(),
        None => number.into(),
    }
}

/// That of the payload; without one, what the event says.
fn category(event: &EventView) -> Json {
    let stated = value(event.message(), &event.catalogue().fields.category).and_then(Value::as_enum_number);
    match (event.subject(), stated) {
        (Some(subject), _) => subject.category.as_str().into(),
        (None, Some(number)) => enumerated(&event.catalogue().fields.category.kind(), number),
        (None, None) => "".into(),
    }
}

/// The fields that are set, less one that stands elsewhere.
pub(super) fn message(message: &DynamicMessage, left_out: Option<&FieldDescriptor>) -> Json {
    let fields = message.fields().filter(|(field, _)| Some(field) != left_out);
    let entries: Map<String, Json> =
        fields.map(|(field, value)| (field.name().to_owned(), field_value(&field, value))).collect();
    entries.into()
}

fn field_value(field: &FieldDescriptor, value: &Value) -> Json {
    match value {
        _ if is_redacted(field) => MASK.into(),
        Value::List(list) => list.iter().map(|value| single(&field.kind(), value)).collect(),
        Value::Map(map) => {
            let entry = field.kind().as_message().cloned().expect("a map is made of entries");
            let kind = entry.map_entry_value_field().kind();
            let entries: Map<String, Json> =
                map.iter().map(|(key, value)| (key_text(key), single(&kind, value))).collect();
            entries.into()
        }
        _ => single(&field.kind(), value),
    }
}

fn single(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        Value::F32(value) => float(shortest(*value)),
        Value::F64(value) => float(*value),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => BASE64_STANDARD.encode(value).into(),
        Value::EnumNumber(value) => enumerated(kind, *value),
        Value::Message(value) => message(value, None),
        Value::List(_) | Value::Map(_) => Json::Null,
    }
}

fn enumerated(kind: &Kind, number: i32) -> Json {
    let name = kind.as_enum().and_then(|enumeration| enumeration::short_name(enumeration, number));
    name.map_or(number.into(), Json::from)
}

/// The double that prints as shortly as the float does: 0.1 and not 0.10000000149011612.
#[expect(clippy::cast_possible_truncation, reason = "the way back that a reader takes")]
fn shortest(value: f32) -> f64 {
    let short: f64 = value.to_string().parse().unwrap_or(value.into());
    if short as f32 == value { short } else { value.into() }
}

/// What JSON has no number for, protobuf's JSON writes as text.
fn float(value: f64) -> Json {
    match Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// The key of a map's entry, in text.
pub(in crate::event) fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
