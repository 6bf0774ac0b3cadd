//! A JSON document into an event: the short form, or protobuf's own JSON of `rodent.events.Event`.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MessageDescriptor, Value};
use serde_json::{Map, Value as Json};

use super::{JsonError, scalar, unknown};
use crate::{
    event::{
        EventView, Kind, Level, MASK,
        catalogue::{Catalogue, Subject},
        is_redacted,
    },
    words,
};

/// Keys that the short form knows; the last five say where an event was found, who sent it, and what it means in words: not
/// the writer's to say, and so read past.
const KEYS: [&str; 14] = [
    "kind",
    "payload",
    "id",
    "time",
    "level",
    "category",
    "source",
    "metadata",
    unknown::KEY,
    "node",
    "lane",
    "sequence",
    "origin",
    "text",
];

pub(super) fn event(catalogue: &Catalogue, document: Json) -> Result<EventView, JsonError> {
    let Json::Object(mut entries) = document else {
        return Err(JsonError::new("an event is a JSON object, such as {\"kind\": \"storage.pool.created\"}"));
    };
    entries.keys().try_for_each(|key| check_key(catalogue, key))?;
    // Null is how JSON says that something is left out.
    entries.retain(|_, value| !value.is_null());
    let mut event = DynamicMessage::new(catalogue.event.clone());
    read_payload(catalogue, &mut event, &entries)?;
    for (key, value) in &entries {
        read_entry(catalogue, &mut event, key, value)?;
    }
    if let Some(unknown) = entries.get(unknown::KEY) {
        let before = catalogue.subject_of(&event).map(|subject| &subject.name);
        unknown::merge(&mut event, text(unknown::KEY, unknown)?)?;
        if catalogue.subject_of(&event).map(|subject| &subject.name) != before {
            return Err(JsonError::new(format!("{}: they are those of another kind", unknown::KEY)));
        }
    }
    let event = check_kind(catalogue, EventView::new(catalogue, event), &entries)?;
    if entries.contains_key("level") {
        return Ok(event);
    }
    let level = event.meaning().map_or(Level::Info, |meaning| meaning.level);
    let mut event = event.into_message();
    event.set_field(&catalogue.fields.level, Value::EnumNumber(level.to_wire().into()));
    Ok(EventView::new(catalogue, event))
}

/// What is said of the payload twice must agree.
fn check_kind(catalogue: &Catalogue, event: EventView, entries: &Map<String, Json>) -> Result<EventView, JsonError> {
    if event.subject().is_none() && !entries.contains_key(unknown::KEY) {
        return Err(JsonError::new(
            "an event needs its \"kind\", such as \"storage.pool.created\", or a payload, such as \"storage_event\"",
        ));
    }
    match entries.get("kind").map(|name| text("kind", name)).transpose()? {
        Some(name) if event.kind().as_str() != name && catalogue.resolve(name).is_none() => {
            Err(unknown_kind(catalogue, name))
        }
        _ => Ok(event),
    }
}

/// The payload, from `kind` and `payload` or from the field of the event that holds it.
fn read_payload(
    catalogue: &Catalogue,
    event: &mut DynamicMessage,
    entries: &Map<String, Json>,
) -> Result<(), JsonError> {
    let mut wrappers = entries.keys().filter_map(|key| wrapper(catalogue, key).map(|field| (key, field)));
    match (entries.get("kind"), wrappers.next(), wrappers.next()) {
        (_, Some((first, _)), Some((second, _))) => {
            Err(JsonError::new(format!("an event has one payload, not both \"{first}\" and \"{second}\"")))
        }
        (Some(_), Some((key, _)), None) => {
            Err(JsonError::new(format!("an event has a \"kind\" with its \"payload\", or \"{key}\", not both")))
        }
        (None, Some((key, field)), None) => read_wrapper(catalogue, event, key, &field, &entries[key]),
        (Some(name), None, _) => read_short(catalogue, event, text("kind", name)?, entries),
        (None, None, _) if entries.contains_key("payload") => {
            Err(JsonError::new("a \"payload\" needs its \"kind\", such as \"storage.pool.created\""))
        }
        (None, None, _) => Ok(()),
    }
}

fn wrapper(catalogue: &Catalogue, key: &str) -> Option<FieldDescriptor> {
    catalogue.wrappers.iter().find(|field| field.name() == key || field.json_name() == key).cloned()
}

fn read_wrapper(
    catalogue: &Catalogue,
    event: &mut DynamicMessage,
    key: &str,
    field: &FieldDescriptor,
    json: &Json,
) -> Result<(), JsonError> {
    if let Some(value) = read_field(field, json, key)? {
        event.set_field(field, value);
    }
    let Some(subject) = catalogue.subject_of(event) else {
        let inner = field.kind().as_message().cloned().expect("a wrapper is a message");
        return Err(JsonError::new(format!("{key}: the payload is missing; it is one of {}", names(&inner))));
    };
    event.set_field(&catalogue.fields.category, Value::EnumNumber(subject.category_number));
    Ok(())
}

fn read_short(
    catalogue: &Catalogue,
    event: &mut DynamicMessage,
    name: &str,
    entries: &Map<String, Json>,
) -> Result<(), JsonError> {
    let payload = entries.get("payload");
    let Some((subject, operation)) = catalogue.resolve(name) else {
        // A newer schema's payload stands in the unknown fields alone.
        let stands_elsewhere = payload.is_none() && entries.contains_key(unknown::KEY);
        return if stands_elsewhere { Ok(()) } else { Err(unknown_kind(catalogue, name)) };
    };
    let mut message = match payload {
        Some(Json::Object(fields)) => read_message(&subject.message, fields, "payload")?,
        Some(other) => return Err(scalar::wrong("payload", other, "an object")),
        None => DynamicMessage::new(subject.message.clone()),
    };
    set_operation(&mut message, subject, operation, name)?;
    let mut wrapper = DynamicMessage::new(subject.member.parent_message().clone());
    wrapper.set_field(&subject.member, Value::Message(message));
    event.set_field(&subject.wrapper, Value::Message(wrapper));
    event.set_field(&catalogue.fields.category, Value::EnumNumber(subject.category_number));
    Ok(())
}

/// The operation of the kind; one that the payload names too must be the same.
fn set_operation(payload: &mut DynamicMessage, subject: &Subject, operation: i32, name: &str) -> Result<(), JsonError> {
    let Some(field) = subject.operation.as_ref().filter(|_| operation != 0) else { return Ok(()) };
    let stated = subject.operation_of(payload);
    if stated != 0 && stated != operation {
        let payload = subject.kind(stated);
        return Err(JsonError::new(format!(
            "the kind is \"{name}\", but the payload's operation makes it \"{payload}\""
        )));
    }
    payload.set_field(field, Value::EnumNumber(operation));
    Ok(())
}

/// Everything but the payload.
fn read_entry(catalogue: &Catalogue, event: &mut DynamicMessage, key: &str, json: &Json) -> Result<(), JsonError> {
    let fields = &catalogue.fields;
    match key {
        "id" | "event_id" | "eventId" => set_once(event, &fields.id, key, Value::String(text(key, json)?.to_owned())),
        "time" | "timestamp" => set_once(event, &fields.timestamp, key, Value::I64(time(key, json)?)),
        "level" => set_once(event, &fields.level, key, Value::EnumNumber(level(json)?)),
        "category" => check_category(catalogue, event, json),
        "source" => set_once(event, &fields.source, key, Value::String(text(key, json)?.to_owned())),
        "metadata" => match read_field(&fields.metadata, json, key)? {
            Some(metadata) => set_once(event, &fields.metadata, key, metadata),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_key(catalogue: &Catalogue, key: &str) -> Result<(), JsonError> {
    let names = catalogue.event.get_field_by_name(key).or_else(|| catalogue.event.get_field_by_json_name(key));
    if KEYS.contains(&key) || names.is_some() {
        return Ok(());
    }
    let fields: Vec<FieldDescriptor> = catalogue.event.fields().collect();
    let nearest = words::nearest(key, KEYS.into_iter().chain(fields.iter().map(FieldDescriptor::name)));
    let (nearest, known) = (words::did_you_mean(nearest), KEYS[..8].join(", "));
    Err(JsonError::new(format!("an event has no \"{key}\" among {known}{nearest}")))
}

/// `id` and `event_id` in one event would be two answers to one question.
fn set_once(event: &mut DynamicMessage, field: &FieldDescriptor, key: &str, value: Value) -> Result<(), JsonError> {
    if event.has_field(field) {
        return Err(JsonError::new(format!("\"{key}\" stands twice, under two names")));
    }
    event.set_field(field, value);
    Ok(())
}

fn text<'a>(key: &str, json: &'a Json) -> Result<&'a str, JsonError> {
    json.as_str().ok_or_else(|| scalar::wrong(key, json, "text"))
}

/// RFC 3339, or Unix milliseconds.
fn time(key: &str, json: &Json) -> Result<i64, JsonError> {
    let rfc3339 = json.as_str().and_then(words::parse_rfc3339);
    let number = || scalar::read(&FieldKind::Int64, json, key).ok()?.as_i64();
    rfc3339
        .or_else(number)
        .ok_or_else(|| scalar::wrong(key, json, "a time such as \"2026-01-31T12:00:00Z\", or Unix milliseconds,"))
}

/// By name in any case. Numbers are those of the wire, which are not in the order of severity.
fn level(json: &Json) -> Result<i32, JsonError> {
    match json {
        Json::String(name) if name.eq_ignore_ascii_case("unspecified") => Ok(0),
        Json::String(name) if name.eq_ignore_ascii_case("EVENT_LEVEL_UNSPECIFIED") => Ok(0),
        Json::String(name) => {
            let level: Level = name.parse().map_err(|e| JsonError::new(format!("level: {e}")))?;
            Ok(level.to_wire().into())
        }
        _ => scalar::read(&FieldKind::Int32, json, "level")
            .ok()
            .and_then(|number| number.as_i32())
            .ok_or_else(|| scalar::wrong("level", json, "a name such as \"warn\"")),
    }
}

/// The category is that of the payload; one that is stated must agree.
fn check_category(catalogue: &Catalogue, event: &mut DynamicMessage, json: &Json) -> Result<(), JsonError> {
    let field = &catalogue.fields.category;
    let stated = scalar::read(&field.kind(), json, "category")?.as_enum_number().unwrap_or(0);
    match catalogue.subject_of(event) {
        Some(subject) if stated != 0 && stated != subject.category_number => {
            let (category, name) = (&subject.category, &subject.name);
            Err(JsonError::new(format!("category: {json} does not fit; {name} belongs to \"{category}\"")))
        }
        Some(_) => Ok(()),
        None => {
            event.set_field(field, Value::EnumNumber(stated));
            Ok(())
        }
    }
}

pub(super) fn read_message(
    descriptor: &MessageDescriptor,
    fields: &Map<String, Json>,
    at: &str,
) -> Result<DynamicMessage, JsonError> {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (key, json) in fields {
        let field = descriptor.get_field_by_name(key).or_else(|| descriptor.get_field_by_json_name(key));
        let Some(field) = field else { return Err(unknown_field(descriptor, key, at)) };
        let at = format!("{at}.{}", field.name());
        let Some(value) = read_field(&field, json, &at)? else { continue };
        if message.has_field(&field) {
            return Err(JsonError::new(format!(
                "{at}: it stands twice, as {} and {}",
                field.name(),
                field.json_name()
            )));
        }
        let oneof = field.containing_oneof();
        if let Some(other) = oneof.and_then(|oneof| oneof.fields().find(|other| message.has_field(other))) {
            return Err(JsonError::new(format!("{at}: only one of it and {} can be set", other.name())));
        }
        message.set_field(&field, value);
    }
    Ok(message)
}

/// `None` for what counts as left out: null, and a masked value.
fn read_field(field: &FieldDescriptor, json: &Json, at: &str) -> Result<Option<Value>, JsonError> {
    if json.is_null() || (is_redacted(field) && json == MASK) {
        return Ok(None);
    }
    let value = match json {
        Json::Array(list) if field.is_list() => {
            let element = |(i, json)| read_single(&field.kind(), json, &format!("{at}[{i}]"));
            Value::List(list.iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
        _ if field.is_list() => return Err(scalar::wrong(at, json, "a list")),
        Json::Object(entries) if field.is_map() => read_map(field, entries, at)?,
        _ => read_single(&field.kind(), json, at)?,
    };
    Ok(Some(value))
}

fn read_map(field: &FieldDescriptor, entries: &Map<String, Json>, at: &str) -> Result<Value, JsonError> {
    let entry = field.kind().as_message().cloned().expect("a map is made of entries");
    let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
    let mut map = std::collections::HashMap::with_capacity(entries.len());
    for (key, json) in entries {
        let value = read_single(&value_kind, json, &format!("{at}.{key}"))?;
        map.insert(scalar::read_key(&key_kind, key, at)?, value);
    }
    Ok(Value::Map(map))
}

fn read_single(kind: &FieldKind, json: &Json, at: &str) -> Result<Value, JsonError> {
    match (kind, json) {
        (FieldKind::Message(descriptor), Json::Object(fields)) => {
            read_message(descriptor, fields, at).map(Value::Message)
        }
        _ => scalar::read(kind, json, at),
    }
}

fn unknown_kind(catalogue: &Catalogue, name: &str) -> JsonError {
    let nearest = catalogue.nearest(name).map(Kind::as_str);
    JsonError::new(format!("no kind is called \"{name}\"{}", words::did_you_mean(nearest)))
}

pub(super) fn unknown_field(descriptor: &MessageDescriptor, key: &str, at: &str) -> JsonError {
    let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
    let nearest = words::did_you_mean(words::nearest(key, fields.iter().map(FieldDescriptor::name)));
    JsonError::new(format!("{at}: there is no field \"{key}\" among {}{nearest}", names(descriptor)))
}

fn names(descriptor: &MessageDescriptor) -> String {
    descriptor.fields().map(|field| field.name().to_owned()).collect::<Vec<_>>().join(", ")
}
