//! The record of a loss as an event. Level ESSENTIAL, so that it is delivered whatever is filtered.
//!
//! The event log says what is lost; how an event is built it does not know.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use uuid::Uuid;

use super::{EventView, Head, Level};
use crate::schema::{
    Payload as _,
    events::{self, Event, EventLevel, EventLossPayload, event_loss_payload::EventLossOperation},
};

/// The source of the event log's own events.
const SOURCE: &str = "event_log";

/// What a loss record says.
#[derive(Clone, Copy, Debug)]
pub struct LossRecord<'a> {
    /// Who loses the events; empty for whoever reads on.
    pub consumer: &'a str,
    /// Name of their lane.
    pub lane: &'a str,
    /// Under which they were to be delivered.
    pub epoch: Uuid,
    /// The first and the last; `None` when nobody knows which, nor how many.
    pub sequences: Option<(u64, u64)>,
    /// How many are lost.
    pub count: u64,
    /// How many of each level, by its number on the wire; all zero when that is not known.
    pub levels: &'a [u64],
    /// Unix milliseconds of the oldest and the newest.
    pub times: [i64; 2],
    /// Why: the name of the operation, as it stands in a kind.
    pub cause: &'a str,
}

impl LossRecord<'_> {
    /// Number of the level that loss records have.
    pub const LEVEL: i32 = EventLevel::Essential as i32;

    /// Number of their category.
    pub const CATEGORY: i32 = events::EventCategory::System as i32;

    /// Whether an event is a record of a loss of the event log's own that is for this consumer: of what it loses itself, or of what
    /// nobody in particular does and so may be lost to anybody, such as at an unclean stop.
    pub fn is_for(event: &EventView, consumer: &str) -> bool {
        loss_record_cause(event).is_some() && loss_record_consumer(event).is_none_or(|whose| whose == consumer)
    }

    /// The event, encoded, and its time in Unix milliseconds. The same identifier makes the same event.
    pub fn encode(&self, id: Uuid) -> (Vec<u8>, i64) {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let noted = id
            .get_timestamp()
            .map(|time| time.to_unix())
            .map(|(seconds, nanoseconds)| u128::from(seconds) * 1000 + u128::from(nanoseconds / 1_000_000));
        let timestamp = i64::try_from(noted.unwrap_or_else(now)).unwrap_or(i64::MAX);
        let event = Event {
            event_id: id.to_string(),
            level: Self::LEVEL,
            category: EventLossPayload::CATEGORY.into(),
            source: SOURCE.to_owned(),
            timestamp,
            metadata: [("component", SOURCE), ("action", "loss")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            event_payload: Some(self.payload().into_event_payload()),
        };
        (event.encode_to_vec(), timestamp)
    }

    fn payload(&self) -> EventLossPayload {
        let (first_sequence, last_sequence) = self.sequences.unwrap_or_default();
        let levels = (0i32..).zip(self.levels).filter(|(_, count)| **count > 0);
        EventLossPayload {
            consumer: self.consumer.to_owned(),
            lane: self.lane.to_owned(),
            log_epoch: self.epoch.to_string(),
            first_sequence,
            last_sequence,
            count: self.count,
            count_exact: self.sequences.is_some(),
            count_by_level: levels.map(|(number, count)| (level_name(number), *count)).collect(),
            first_time: self.times[0],
            last_time: self.times[1],
            operation: operation(self.cause).into(),
        }
    }
}

/// The operation of a loss record of the event log's own; `None` for any other event.
pub fn loss_record_cause(event: &EventView) -> Option<String> {
    let kind = event.kind();
    let operation = kind.as_str().strip_prefix(EventLossPayload::SUBJECT)?.strip_prefix('.')?;
    (event.source() == SOURCE).then(|| operation.to_owned())
}

/// Whether an event with this head may be a record of a loss.
pub fn may_be_loss_record(head: &Head) -> bool {
    head.kind().is_some_and(|kind| kind.as_str().starts_with(EventLossPayload::SUBJECT))
}

/// Whose loss a record of the event log's own is; `None` for any other event, and where it is nobody's in particular.
pub fn loss_record_consumer(event: &EventView) -> Option<String> {
    loss_record_cause(event)?;
    let consumer = event.payload()?.get_field_by_name("consumer")?.as_str()?.to_owned();
    (!consumer.is_empty()).then_some(consumer)
}

/// What a loss record of the event log's own says, and the name of its cause; `None` for any other event.
pub fn loss_record(event: &EventView) -> Option<(EventLossPayload, String)> {
    let cause = loss_record_cause(event)?;
    Some((event.payload()?.transcode_to().ok()?, cause))
}

fn operation(cause: &str) -> EventLossOperation {
    let name = format!("EVENT_LOSS_OPERATION_{}", cause.to_uppercase());
    EventLossOperation::from_str_name(&name).unwrap_or(EventLossOperation::Unspecified)
}

fn level_name(number: i32) -> String {
    Level::from_wire(number).map_or_else(|| format!("level_{number}"), |level| level.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_lost_and_is_known_as_one() {
        let mut levels = [0; 10];
        (levels[2], levels[9]) = (3, 1);
        let lost = LossRecord {
            consumer: "uplink",
            lane: "routine",
            epoch: Uuid::from_u128(7),
            sequences: Some((5, 9)),
            count: 4,
            levels: &levels,
            times: [10, 20],
            cause: "memory_bound",
        };
        let id = Uuid::now_v7();
        let (bytes, timestamp) = lost.encode(id);
        assert_eq!(lost.encode(id), (bytes.clone(), timestamp), "the same identifier makes the same event");
        let view = EventView::decode(&bytes).expect("an event");
        assert_eq!((view.id(), view.timestamp(), view.level()), (id.to_string().as_str(), timestamp, Level::Essential));
        assert_eq!(loss_record_cause(&view).as_deref(), Some("memory_bound"));

        let payload = lost.payload();
        assert_eq!((payload.first_sequence, payload.last_sequence, payload.count_exact), (5, 9, true));
        assert_eq!(payload.count_by_level, [("warn".to_owned(), 3), ("level_9".to_owned(), 1)].into());
        let unknown = LossRecord { sequences: None, ..lost }.payload();
        assert_eq!((unknown.first_sequence, unknown.last_sequence, unknown.count_exact), (0, 0, false));

        let others = Event { source: "local".to_owned(), ..Event::decode(bytes.as_slice()).expect("an event") };
        assert_eq!(loss_record_cause(&EventView::from(&others)), None, "somebody else's is not the log's own");
    }

    #[test]
    fn a_record_is_for_whom_it_names_and_for_all_where_it_names_nobody() {
        let record = |consumer: &str| {
            let lost = LossRecord {
                consumer,
                lane: "routine",
                epoch: Uuid::from_u128(7),
                sequences: None,
                count: 0,
                levels: &[0; 10],
                times: [10, 20],
                cause: "unclean_stop",
            };
            lost.encode(Uuid::now_v7()).0
        };
        let is_for = |bytes: &[u8]| {
            let view = EventView::decode(bytes).expect("an event");
            ["phone", "bridge"].map(|consumer| LossRecord::is_for(&view, consumer))
        };
        assert_eq!((is_for(&record("phone")), is_for(&record(""))), ([true, false], [true, true]));
        let others = Event { source: "local".to_owned(), ..Event::decode(record("").as_slice()).expect("an event") };
        assert_eq!(is_for(&others.encode_to_vec()), [false, false], "somebody else's");
    }
}
