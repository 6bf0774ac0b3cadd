//! The wire: compared with the published contract, with the bytes of earlier versions, and walked payload by payload,
//! so that a new payload needs no code but its .proto.

mod contract;
mod golden;
mod payloads;

use std::path::PathBuf;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use rodent::{event::is_redacted, schema::DESCRIPTORS};

/// A file of the repository.
fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// A payload of the schema and the two fields through which an event holds it.
struct Subject {
    name: String,
    wrapper: FieldDescriptor,
    member: FieldDescriptor,
    message: MessageDescriptor,
}

/// Found in the descriptors alone, without the library's own catalogue.
fn subjects() -> Vec<Subject> {
    let event = DESCRIPTORS.get_message_by_name("rodent.events.Event").expect("in the schema");
    let members = |message: &MessageDescriptor, oneof: &str| -> Vec<FieldDescriptor> {
        message.oneofs().filter(|o| o.name() == oneof).flat_map(|o| o.fields().collect::<Vec<_>>()).collect()
    };
    let part = |field: &FieldDescriptor| field.name().trim_end_matches("_event").to_owned();
    let mut subjects = Vec::new();
    for wrapper in members(&event, "event_payload") {
        for member in members(wrapper.kind().as_message().expect("a message"), "event_type") {
            let message = member.kind().as_message().expect("a message").clone();
            let name = format!("{}.{}", part(&wrapper), part(&member));
            subjects.push(Subject { name, wrapper: wrapper.clone(), member, message });
        }
    }
    assert!(subjects.len() > 30, "the schema has its payloads");
    subjects
}

impl Subject {
    /// An event around a payload, its category as it must be and nothing else.
    fn event(&self, payload: DynamicMessage) -> DynamicMessage {
        let mut wrapper = DynamicMessage::new(self.member.parent_message().clone());
        wrapper.set_field(&self.member, Value::Message(payload));
        let mut event = DynamicMessage::new(self.wrapper.parent_message().clone());
        event.set_field(&self.wrapper, Value::Message(wrapper));
        event
    }

    /// The payload with every field set.
    fn full(&self) -> DynamicMessage {
        filled(&self.message)
    }

    /// The payload with every field set that may be shown: redacted ones do not come back from JSON.
    fn shown(&self) -> DynamicMessage {
        let mut payload = self.full();
        for field in self.message.fields().filter(is_redacted) {
            payload.clear_field(&field);
        }
        payload
    }
}

fn filled(message: &MessageDescriptor) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        filled.set_field(&field, sample(&field));
    }
    filled
}

/// A value told by the field's name and type, so that it stays when the number does not. Of an enum the first named one.
fn sample(field: &FieldDescriptor) -> Value {
    let kind = field.kind();
    match kind.as_message() {
        Some(entry) if field.is_map() => {
            let value = sample(&entry.map_entry_value_field());
            let key = match entry.map_entry_key_field().kind() {
                Kind::String => MapKey::String("key".into()),
                other => single(&other, field.name()).into_map_key().expect("a key"),
            };
            Value::Map([(key, value)].into())
        }
        _ if field.is_list() => Value::List(vec![single(&kind, field.name()), single(&kind, "second")]),
        _ => single(&kind, field.name()),
    }
}

fn single(kind: &Kind, name: &str) -> Value {
    let number: u16 = name.bytes().map(u16::from).sum();
    match kind {
        Kind::Bool => Value::Bool(true),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number.into()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number.into()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number.into()),
        Kind::Float => Value::F32(f32::from(number) + 0.5),
        Kind::Double => Value::F64(f64::from(number) + 0.5),
        Kind::String => Value::String(name.to_owned()),
        Kind::Bytes => Value::Bytes(name.as_bytes().to_vec().into()),
        Kind::Enum(enumeration) => {
            let named = enumeration.values().find(|value| value.number() != 0).expect("an enum names something");
            Value::EnumNumber(named.number())
        }
        Kind::Message(message) => Value::Message(filled(message)),
    }
}
