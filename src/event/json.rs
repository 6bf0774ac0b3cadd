//! Events as JSON, in and out.
//!
//! Out, the short form: `id`, `time` (RFC 3339, UTC, milliseconds), `node`, `lane`, `sequence`, `kind`, `level`, `category`,
//! `source`, `text` (its sentence, for people), `payload` (snake_case, 64-bit integers as numbers, enums by their short names), `metadata`, `origin` (who
//! sent it, as the kernel says). What is not set is not printed. The payload's `operation` stands in the kind alone.
//!
//! In: what came out, or the protobuf JSON of `rodent.events.Event` in snake_case or lowerCamelCase. What is printed reads
//! back as the same event, with these exceptions:
//! - redacted fields print as [`MASK`](super::MASK) and read back unset;
//! - fields that this version does not know travel in `unknown_fields` (base64 of an event that holds nothing else), but
//!   not those inside the elements of lists and maps of messages;
//! - a time outside the years 1970 to 9999 prints as a number of milliseconds;
//! - the category is that of the kind.

mod document;
mod pairs;
mod read;
mod scalar;
mod unknown;
mod write;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::{Catalogue, EventView};
use crate::schema::events::Event;

pub use pairs::from_pairs;
pub(super) use write::key_text;

/// Why a text is no event; names the key or the value at fault.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    message: String,
}

impl JsonError {
    fn new(message: impl Into<String>) -> JsonError {
        JsonError { message: message.into() }
    }
}

/// Where an event lies in the log, printed beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `urgent` or `routine`.
    pub lane: String,
    /// Number in the lane.
    pub sequence: u64,
}

/// The short form plus id, time, node, lane and sequence; exactly what [`from_str`] accepts.
pub fn to_value(event: &EventView, node: Option<&str>, place: Option<&Place>) -> Value {
    write::event(event, node, place)
}

/// Parses one event. Identifier, time and category may be left out; the default level is that of the kind. Fields that the generated
/// types do not know are dropped; [`view_from_str`] keeps them.
///
/// # Errors
/// When the text is not JSON, the kind is unknown (the nearest is suggested), a field is unknown or has the wrong
/// type, or kind and payload name different operations.
pub fn from_str(text: &str) -> Result<Event, JsonError> {
    typed(&view_from_str(text)?)
}

/// Parses one event and keeps the fields that this version does not know, as they were printed.
///
/// # Errors
/// As [`from_str`].
pub fn view_from_str(text: &str) -> Result<EventView, JsonError> {
    read::event(Catalogue::compiled(), document::parse(text)?)
}

/// Only unknown fields nested deeper than one of the two decoders follows can fail here.
fn typed(event: &EventView) -> Result<Event, JsonError> {
    event.message().transcode_to().map_err(|e| JsonError::new(format!("the event cannot be encoded: {e}")))
}
