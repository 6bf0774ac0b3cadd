//! Fields that this version does not know, carried through JSON: base64 of an event in which only they, and the
//! messages around them, stand. Decoding it over an event puts each where it was.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::JsonError;

/// The key under which they stand.
pub(super) const KEY: &str = "unknown_fields";

/// `None` when there are none.
pub(super) fn encode(event: &DynamicMessage) -> Option<String> {
    skeleton(event).map(|bytes| BASE64_STANDARD.encode(bytes))
}

/// Puts them back.
///
/// # Errors
/// When the text is no such encoding, or sets anything that the schema does know: that has to stand in clear.
pub(super) fn merge(event: &mut DynamicMessage, text: &str) -> Result<(), JsonError> {
    let wrong = |what: &str| JsonError::new(format!("{KEY}: {what}"));
    let bytes = BASE64_STANDARD.decode(text).map_err(|e| wrong(&format!("this is not base64: {e}")))?;
    let unknown = DynamicMessage::decode(event.descriptor(), bytes.as_slice())
        .map_err(|_| wrong("this is not an encoded event"))?;
    if !is_skeleton(&unknown) {
        return Err(wrong("it sets fields that have a name; write them in clear"));
    }
    // Encoded anew: a named field at its default would otherwise wipe out the one in clear.
    event.merge(unknown.encode_to_vec().as_slice()).map_err(|_| wrong("this does not fit the event"))
}

fn skeleton(message: &DynamicMessage) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for field in message.unknown_fields() {
        field.encode(&mut bytes);
    }
    for (field, value) in message.fields() {
        let inner = match value {
            Value::Message(inner) => skeleton(inner),
            _ => None,
        };
        if let Some(inner) = inner {
            prost::encoding::encode_key(field.number(), prost::encoding::WireType::LengthDelimited, &mut bytes);
            prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
            bytes.extend(inner);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Whether nothing with a name is set but the messages on the way to what has none.
fn is_skeleton(message: &DynamicMessage) -> bool {
    let holds_unknown = message.unknown_fields().next().is_some() || message.fields().next().is_some();
    holds_unknown
        && message.fields().all(|(_, value)| match value {
            Value::Message(inner) => is_skeleton(inner),
            _ => false,
        })
}
