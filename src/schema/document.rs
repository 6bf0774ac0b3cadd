//! A message as a JSON document for people and scripts: the names of the schema, everything that the message has, numbers
//! as numbers.

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;

use super::DESCRIPTORS;

/// The document of a message of this full name. Not for events, which have a form of their own.
///
/// # Panics
/// When the schema has no message of that name, or `message` is another one.
pub fn document(name: &str, message: &impl Message) -> Value {
    let descriptor = DESCRIPTORS.get_message_by_name(name).expect("the schema is compiled in");
    let message =
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).expect("encoded by the same schema");
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false).skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("plain messages have a JSON form")
}
