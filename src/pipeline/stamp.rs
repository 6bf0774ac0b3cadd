//! Completes an event that came encoded: checks it, and appends what is absent or not the caller's to say.
//!
//! The bytes that came stay as they are and the stamp is written behind them: in protobuf the last value of a field
//! counts, so the stamp wins, and fields that this version does not know are kept.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;

use super::{EmitError, Origin, identifier, lane::Facts};
use crate::{
    event::{EVENT_BYTES_MAX, Head, Kind, KindMark, Level, RESERVED_PREFIX},
    event_log::Draft,
    schema::events::Event,
    visible::{is_hidden, visible},
};

/// Source of everything that comes through the socket.
const SOURCE: &str = "local";

/// A time that lies further ahead is one of a wrong clock, milliseconds: the event gets the one at which it came, or it would be
/// later than whatever happens until then.
const AHEAD_MAX: i64 = 5 * 60 * 1000;

/// Where the time stands then that the caller gave; and the identifier, where that one lies ahead.
const CLAIMED_TIME: &str = "rodent.claimed_time";
const CLAIMED_ID: &str = "rodent.claimed_id";

/// The longest identifier that a caller may choose, bytes.
const ID_BYTES_MAX: usize = 64;

/// An event of a request, ready for the log.
#[derive(Debug)]
pub(super) struct Stamped {
    /// Where its bytes lie among those of its request.
    place: Range<usize>,
    pub(super) id: String,
    pub(super) level: Level,
    pub(super) category: i32,
    pub(super) timestamp: i64,
    /// By which it is found in the log.
    pub(super) mark: KindMark,
    /// None where the schema has no name for it.
    pub(super) kind: Option<Kind>,
    pub(super) facts: Facts,
}

impl Stamped {
    /// For the log. `completed` is where [`Stamp::complete`] put it.
    pub(super) fn draft<'a>(&self, completed: &'a [u8]) -> Draft<'a> {
        Draft {
            event: self.bytes(completed),
            level: self.level.to_wire().into(),
            category: self.category,
            timestamp: self.timestamp,
            kind: Some(self.mark),
        }
    }

    /// Its bytes, out of where [`Stamp::complete`] put it.
    pub(super) fn bytes<'a>(&self, completed: &'a [u8]) -> &'a [u8] {
        completed.get(self.place.clone()).unwrap_or_default()
    }
}

/// What the events of one request are completed with.
pub(super) struct Stamp {
    /// Of every event, encoded: the source, and who sent it.
    common: Vec<u8>,
    /// Unix milliseconds.
    now: i64,
}

impl Stamp {
    /// At least so many bytes are written behind an event.
    const BYTES: usize = 128;

    pub(super) fn new(origin: Origin, now: i64) -> Stamp {
        let common = Event {
            source: SOURCE.to_owned(),
            metadata: [("rodent.uid", origin.uid), ("rodent.gid", origin.gid)]
                .map(|(k, v)| (k.to_owned(), v.to_string()))
                .into(),
            ..Event::default()
        };
        Stamp { common: common.encode_to_vec(), now }
    }

    /// Checks these events and completes them, in `completed`, one behind the other.
    ///
    /// # Errors
    /// [`EmitError::Refused`] with what is wrong with the first that is at fault, and its place, from 0.
    pub(super) fn complete_all(&self, events: &[Bytes]) -> Result<(Vec<Stamped>, Vec<u8>), (usize, EmitError)> {
        let bytes = events.iter().map(|event| event.len() + self.common.len() + Stamp::BYTES).sum();
        let (mut stamped, mut completed) = (Vec::with_capacity(events.len()), Vec::with_capacity(bytes));
        let mut identifiers = identifier::Block::take(self.now, events.len());
        for (place, event) in events.iter().enumerate() {
            stamped.push(self.complete(event, &mut identifiers, &mut completed).map_err(|error| (place, error))?);
        }
        Ok((stamped, completed))
    }

    fn complete(
        &self,
        event: &Bytes,
        identifiers: &mut identifier::Block,
        completed: &mut Vec<u8>,
    ) -> Result<Stamped, EmitError> {
        let head = Head::read(event).map_err(|_| refused("is not an encoded rodent.events.Event"))?;
        let category = check(&head)?;
        let (level, latest) = (head.level, self.now.saturating_add(AHEAD_MAX));
        let is_ahead = head.timestamp > latest;
        // By its identifier an event is put in order, too.
        let is_id_ahead = identifier::time_of(&head.id).is_some_and(|time| time > latest);
        let mut own = Event {
            event_id: if head.id.is_empty() || is_id_ahead { identifiers.next() } else { String::new() },
            // Written even where the caller gave one: an unknown number counts as info everywhere.
            level: level.to_wire().into(),
            category,
            timestamp: if head.timestamp == 0 || is_ahead { self.now } else { 0 },
            ..Event::default()
        };
        if is_ahead {
            own.metadata.insert(CLAIMED_TIME.to_owned(), head.timestamp.to_string());
        }
        if is_id_ahead {
            own.metadata.insert(CLAIMED_ID.to_owned(), head.id.to_string());
        }
        let start = completed.len();
        completed.extend_from_slice(event);
        completed.extend_from_slice(&self.common);
        own.encode(completed).map_err(|e| refused(&format!("cannot be completed: {e}")))?;
        let length = completed.len() - start;
        if length > EVENT_BYTES_MAX {
            return Err(refused(&format!("is {length} bytes long; at most {EVENT_BYTES_MAX} are taken")));
        }
        let (facts, mark, kind) = (Facts::of(&head, level, category).of_another(), head.kind_mark(), head.kind());
        let timestamp = if own.timestamp == 0 { head.timestamp } else { own.timestamp };
        let id = if own.event_id.is_empty() { head.id } else { own.event_id };
        Ok(Stamped { place: start..completed.len(), id, level, category, timestamp, mark, kind, facts })
    }
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
