//! Events that carry their own number and can be checked to the last byte, and the log's own records beside them.

use prost::Message as _;
use rodent::{
    event_log::Lane,
    schema::events::{Event, EventLossPayload, event::EventPayload, system_event::EventType},
};

use crate::dice::Dice;

/// How a numbered event begins: no message of the schema does.
const MAGIC: [u8; 8] = *b"\xFFTRIAL\xFF\xFF";
/// The shortest numbered event: magic, lane, number.
pub(crate) const BYTES_MIN: usize = 17;

/// What an event of a trial's log is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// One of the trial's, with its number.
    Numbered(u64),
    /// The log's own.
    Loss(Box<EventLossPayload>),
}

/// The event of this number: the same bytes each time, which zstd cannot shrink.
pub(crate) fn event(lane: Lane, number: u64, bytes: usize) -> Vec<u8> {
    let mut event = Vec::with_capacity(bytes + 8);
    event.extend_from_slice(&MAGIC);
    event.push(lane as u8);
    event.extend_from_slice(&number.to_le_bytes());
    let mut noise = Dice::with_seed(number);
    while event.len() < bytes {
        event.extend_from_slice(&noise.throw().to_le_bytes());
    }
    event.truncate(bytes.max(BYTES_MIN));
    event
}

/// What these bytes are.
///
/// # Panics
/// When they are nothing that was ever appended to this lane.
pub(crate) fn kind(lane: Lane, bytes: &[u8]) -> Kind {
    if let Some(loss) = loss(bytes) {
        return Kind::Loss(Box::new(loss));
    }
    let number = bytes.get(9..BYTES_MIN).and_then(|number| number.try_into().ok()).map(u64::from_le_bytes);
    let number = number.unwrap_or_else(|| panic!("{} bytes are no event of ours", bytes.len()));
    assert_eq!(bytes, event(lane, number, bytes.len()), "event {number} of {} is not what was appended", lane.name());
    Kind::Numbered(number)
}

fn loss(bytes: &[u8]) -> Option<EventLossPayload> {
    let Some(EventPayload::SystemEvent(system)) = Event::decode(bytes).ok()?.event_payload else { return None };
    match system.event_type? {
        EventType::LossEvent(loss) => Some(loss),
        _ => None,
    }
}
