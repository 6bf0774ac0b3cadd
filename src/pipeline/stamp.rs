//! Completes an event that came encoded: checks it, and appends what is absent or not the caller's to say.
//!
//! The bytes that came stay as they are and the stamp is written behind them: in protobuf the last value of a field
//! counts, so the stamp wins, and fields that this version does not know are kept.

use bytes::Bytes;
use prost::Message as _;

use super::{EmitError, Origin, identifier, lane::Facts};
use crate::{
    event::{EVENT_BYTES_MAX, Head, KindMark, Level, RESERVED_PREFIX},
    event_log::Draft,
    schema::events::Event,
    visible::{is_hidden, visible},
};

/// Source of everything that comes through the socket.
const SOURCE: &str = "local";

/// The longest identifier that a caller may choose, bytes.
const ID_BYTES_MAX: usize = 64;

/// An event ready for the log.
#[derive(Debug)]
pub(super) struct Stamped {
    pub(super) bytes: Vec<u8>,
    pub(super) id: String,
    pub(super) level: Level,
    pub(super) category: i32,
    pub(super) timestamp: i64,
    pub(super) kind: KindMark,
    pub(super) facts: Facts,
}

impl Stamped {
    /// For the log.
    pub(super) fn draft(&self) -> Draft<'_> {
        Draft {
            event: &self.bytes,
            level: self.level.to_wire().into(),
            category: self.category,
            timestamp: self.timestamp,
            kind: Some(self.kind),
        }
    }
}

/// Checks and completes one event.
///
/// # Errors
/// [`EmitError::Refused`] with what is wrong.
pub(super) fn stamp(event: &Bytes, origin: Origin, now: i64) -> Result<Stamped, EmitError> {
    let head = Head::read(event).map_err(|_| refused("is not an encoded rodent.events.Event"))?;
    let category = check(&head)?;
    let level = head.level;
    let mut stamp = Event {
        source: SOURCE.to_owned(),
        category,
        metadata: [("rodent.uid", origin.uid), ("rodent.gid", origin.gid)]
            .map(|(k, v)| (k.to_owned(), v.to_string()))
            .into(),
        // Written even where the caller gave one: an unknown number counts as info everywhere.
        level: level.to_wire().into(),
        ..Event::default()
    };
    if head.id.is_empty() {
        stamp.event_id = identifier::new().to_string();
    }
    if head.timestamp == 0 {
        stamp.timestamp = now;
    }
    let mut bytes = Vec::with_capacity(event.len() + stamp.encoded_len());
    bytes.extend_from_slice(event);
    stamp.encode(&mut bytes).map_err(|e| refused(&format!("cannot be completed: {e}")))?;
    if bytes.len() > EVENT_BYTES_MAX {
        return Err(refused(&format!("is {} bytes long; at most {EVENT_BYTES_MAX} are taken", bytes.len())));
    }
    let (facts, kind) = (Facts::of(&head, level, category), head.kind_mark());
    let id = if stamp.event_id.is_empty() { head.id } else { stamp.event_id };
    let timestamp = if stamp.timestamp == 0 { head.timestamp } else { stamp.timestamp };
    Ok(Stamped { bytes, id, level, category, timestamp, kind, facts })
}

/// What must be so whatever the payload; gives the payload's category.
fn check(head: &Head) -> Result<i32, EmitError> {
    let named = head.payload_category().ok_or_else(|| refused("has no payload that this agent knows"))?;
    let id = &head.id;
    if id.len() > ID_BYTES_MAX || id.chars().any(is_hidden) {
        return Err(refused(&format!(
            "has an identifier of more than {ID_BYTES_MAX} bytes or with characters that nobody sees"
        )));
    }
    if head.timestamp < 0 {
        return Err(refused("has a time before 1970"));
    }
    if let Some(key) = &head.reserved_key {
        return Err(refused(&format!(
            "sets the metadata key `{key}`; keys that begin with `{RESERVED_PREFIX}` are the agent's own"
        )));
    }
    if let Some(key) = &head.hidden_key {
        return Err(refused(&format!("sets the metadata key `{}`, of which nobody sees all", visible(key))));
    }
    let number = head.category;
    if number != 0 && number != named {
        return Err(refused(&format!("is of category {number} by its field and of {named} by its payload")));
    }
    Ok(named)
}

fn refused(what: &str) -> EmitError {
    EmitError::Refused(what.to_owned())
}
