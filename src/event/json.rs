//! Events as JSON, in and out. Out: snake_case, 64-bit integers as numbers, redacted fields masked. In: what came out,
//! the protobuf JSON of `rodent.events.Event`, or the short form `{"kind": …, "level": …, "payload": {…}, "metadata": {…}}`.

use serde_json::Value;

use super::EventView;
use crate::schema::events::Event;

/// Why a text is no event; names the key or the value at fault.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    message: String,
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
pub fn to_value(_event: &EventView, _node: Option<&str>, _place: Option<&Place>) -> Value {
    unimplemented!()
}

/// Parses one event. Identifier, time and category may be left out; the default level is info.
///
/// # Errors
/// When the text is not JSON, the kind is unknown (the nearest is suggested), a field is unknown or has the wrong
/// type, or kind and payload name different operations.
pub fn from_str(_text: &str) -> Result<Event, JsonError> {
    unimplemented!()
}

/// Builds an event from a kind and `field=value` pairs, as `rodent emit` takes them.
///
/// # Errors
/// As [`from_str`].
pub fn from_pairs(
    _kind: &str,
    _level: super::Level,
    _fields: &[(String, String)],
    _metadata: super::Metadata,
) -> Result<Event, JsonError> {
    unimplemented!()
}
