//! A message as a JSON document for people and scripts: the names of the schema, everything that the message has, numbers
//! as numbers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MapKey, Value as Held};
use serde_json::Value;

use super::DESCRIPTORS;

/// The document of a message of this full name. Not for events, which have a form of their own.
///
/// Fields without presence are in it whatever they hold, others only where they are set; bytes are base64, and a value of an
/// enumeration that the schema does not know is its number. Well-known types have no form of their own: the schema uses none.
///
/// # Panics
/// When the schema has no message of that name, or `message` is another one.
pub fn document(name: &str, message: &impl Message) -> Value {
    let descriptor = DESCRIPTORS.get_message_by_name(name).expect("the schema is compiled in");
    let message =
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).expect("encoded by the same schema");
    object(&message)
}

fn object(message: &DynamicMessage) -> Value {
    let descriptor = prost_reflect::ReflectMessage::descriptor(message);
    let fields = descriptor.fields().filter(|field| !field.supports_presence() || message.has_field(field));
    Value::Object(
        fields.map(|field| (field.name().to_owned(), value(&message.get_field(&field), &field.kind()))).collect(),
    )
}

fn value(held: &Held, kind: &Kind) -> Value {
    match held {
        Held::Bool(is) => (*is).into(),
        Held::I32(number) => (*number).into(),
        Held::I64(number) => (*number).into(),
        Held::U32(number) => (*number).into(),
        Held::U64(number) => (*number).into(),
        Held::F32(number) => (*number).into(),
        Held::F64(number) => (*number).into(),
        Held::String(text) => text.as_str().into(),
        Held::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Held::EnumNumber(number) => {
            let known = kind.as_enum().and_then(|its| its.get_value(*number));
            known.map_or_else(|| (*number).into(), |known| known.name().into())
        }
        Held::Message(message) => object(message),
        Held::List(values) => values.iter().map(|held| value(held, kind)).collect(),
        Held::Map(entries) => {
            let of_entry = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
            let of_value = of_entry.as_ref().unwrap_or(kind);
            Value::Object(entries.iter().map(|(key, held)| (name(key), value(held, of_value))).collect())
        }
    }
}

fn name(key: &MapKey) -> String {
    match key {
        MapKey::Bool(is) => is.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}
