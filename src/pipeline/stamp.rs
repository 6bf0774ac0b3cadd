//! Completes an event that came encoded: checks it, and appends what is absent or not the caller's to say.
//!
//! The bytes that came stay as they are and the stamp is written behind them: in protobuf the last value of a field
//! counts, so the stamp wins, and fields that this version does not know are kept.

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use super::{EmitError, Origin, lane::Facts};
use crate::{
    event::{Catalogue, EVENT_BYTES_MAX, EventView, Level, RESERVED_PREFIX},
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
        }
    }
}

/// Checks and completes one event.
///
/// # Errors
/// [`EmitError::Refused`] with what is wrong.
pub(super) fn stamp(event: &Bytes, origin: Origin, now: i64) -> Result<Stamped, EmitError> {
    let view = EventView::decode(event).map_err(|_| refused("is not an encoded rodent.events.Event"))?;
    let payload_kind = check(&view)?;
    let category = category_number(&payload_kind);
    let level = view.level_or_default();
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
    if view.id().is_empty() {
        stamp.event_id = Uuid::now_v7().to_string();
    }
    if view.timestamp() == 0 {
        stamp.timestamp = now;
    }
    let mut bytes = event.to_vec();
    stamp.encode(&mut bytes).map_err(|e| refused(&format!("cannot be completed: {e}")))?;
    if bytes.len() > EVENT_BYTES_MAX {
        return Err(refused(&format!("is {} bytes long; at most {EVENT_BYTES_MAX} are taken", bytes.len())));
    }
    let id = if stamp.event_id.is_empty() { view.id().to_owned() } else { stamp.event_id };
    let timestamp = if stamp.timestamp == 0 { view.timestamp() } else { stamp.timestamp };
    let facts = Facts::of(&view, level, category);
    Ok(Stamped { bytes, id, level, category, timestamp, facts })
}

/// What must be so whatever the payload; gives the kind.
fn check(view: &EventView) -> Result<String, EmitError> {
    if view.payload().is_none() {
        return Err(refused("has no payload that this agent knows"));
    }
    let id = view.id();
    if id.len() > ID_BYTES_MAX || id.chars().any(is_hidden) {
        return Err(refused(&format!(
            "has an identifier of more than {ID_BYTES_MAX} bytes or with characters that nobody sees"
        )));
    }
    if view.timestamp() < 0 {
        return Err(refused("has a time before 1970"));
    }
    if let Some(key) = key_of(view, |key| key.starts_with(RESERVED_PREFIX)) {
        return Err(refused(&format!(
            "sets the metadata key `{key}`; keys that begin with `{RESERVED_PREFIX}` are the agent's own"
        )));
    }
    if let Some(key) = key_of(view, |key| key.chars().any(is_hidden)) {
        return Err(refused(&format!("sets the metadata key `{}`, of which nobody sees all", visible(&key))));
    }
    let kind = view.kind().as_str().to_owned();
    let (named, number) = (category_number(&kind), category_field(view));
    if number != 0 && number != named {
        return Err(refused(&format!("is of category {number} by its field and of {named} by its payload")));
    }
    Ok(kind)
}

/// A metadata key that is so.
fn key_of(view: &EventView, is_so: impl Fn(&str) -> bool) -> Option<String> {
    let metadata = view.message().get_field_by_name("metadata")?;
    let mut keys = metadata.as_map()?.keys().filter_map(|key| key.as_str());
    keys.find(|key| is_so(key)).map(str::to_owned)
}

fn category_field(view: &EventView) -> i32 {
    view.message().get_field_by_name("category").and_then(|value| value.as_enum_number()).unwrap_or(0)
}

fn category_number(kind: &str) -> i32 {
    let category = kind.split('.').next().unwrap_or_default();
    (1..).zip(Catalogue::compiled().categories()).find(|(_, name)| *name == category).map_or(0, |(number, _)| number)
}

fn refused(what: &str) -> EmitError {
    EmitError::Refused(what.to_owned())
}
