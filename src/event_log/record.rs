//! The record of a loss: an event of level ESSENTIAL in the urgent lane, so that it is delivered like one. The one place of
//! the log that knows how an event is built.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::{
    event_log::{
        disk::{frame::event_at, generation::Generation},
        error::LogError,
        lane::Lane,
        ledger::loss::{Cause, Loss},
    },
    schema::{
        Payload as _,
        events::{
            self, Event, EventLevel, EventLossPayload, event::EventPayload, event_loss_payload::EventLossOperation,
            system_event::EventType,
        },
    },
};

/// Source of the log's own events.
const SOURCE: &str = "event_log";

/// The lane that the records go to: they overtake what is routine, and are the last to go.
pub(super) const RECORDS: Lane = Lane::Urgent;

/// Number of the level that loss records have, for the frame's mask.
pub(super) const LEVEL: i32 = EventLevel::Essential as i32;

/// Number of their category.
pub(super) const CATEGORY: i32 = events::EventCategory::System as i32;

/// A loss record, encoded.
pub(super) struct Record {
    /// Where it stands, for one that was read.
    pub(super) sequence: u64,
    pub(super) event: Bytes,
    /// Unix milliseconds.
    pub(super) timestamp: i64,
}

impl Record {
    /// That `consumer`, or with an empty name whoever reads it, loses these events. The same identifier makes the same event.
    pub(super) fn new(consumer: &str, id: Uuid, loss: &Loss) -> Record {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let noted = id
            .get_timestamp()
            .map(|time| time.to_unix())
            .map(|(seconds, nanoseconds)| u128::from(seconds) * 1000 + u128::from(nanoseconds / 1_000_000));
        let timestamp = i64::try_from(noted.unwrap_or_else(now)).unwrap_or(i64::MAX);
        let event = Event {
            event_id: id.to_string(),
            level: EventLevel::Essential.into(),
            category: EventLossPayload::CATEGORY.into(),
            source: SOURCE.to_owned(),
            timestamp,
            metadata: [("component", SOURCE), ("action", "loss")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            event_payload: Some(payload(consumer, loss).into_event_payload()),
        };
        Record { sequence: 0, event: event.encode_to_vec().into(), timestamp }
    }
}

fn payload(consumer: &str, loss: &Loss) -> EventLossPayload {
    let is_numbered = loss.is_numbered();
    EventLossPayload {
        consumer: consumer.to_owned(),
        lane: loss.lane.name().to_owned(),
        log_epoch: loss.epoch.to_string(),
        first_sequence: if is_numbered { loss.sequences.start } else { 0 },
        last_sequence: if is_numbered { loss.sequences.end - 1 } else { 0 },
        count: loss.count,
        count_exact: is_numbered,
        count_by_level: levels(loss),
        first_time: loss.times[0],
        last_time: loss.times[1],
        operation: operation(loss.cause).into(),
    }
}

fn operation(cause: Cause) -> EventLossOperation {
    match cause {
        Cause::Retention => EventLossOperation::Retention,
        Cause::DiskFull => EventLossOperation::DiskFull,
        Cause::Damage => EventLossOperation::Damage,
        Cause::MemoryBound => EventLossOperation::MemoryBound,
        Cause::UncleanStop => EventLossOperation::UncleanStop,
        Cause::Refused => EventLossOperation::Refused,
    }
}

fn levels(loss: &Loss) -> std::collections::BTreeMap<String, u64> {
    let levels = (0i32..).zip(loss.levels).filter(|(_, count)| *count > 0);
    levels.map(|(number, count)| (level_name(number), count)).collect()
}

fn level_name(number: i32) -> String {
    crate::event::Level::from_wire(number).map_or_else(|| format!("level_{number}"), |level| level.name().to_owned())
}

/// The loss records of a generation from a sequence on.
///
/// # Errors
/// When a frame cannot be read.
pub(super) fn records_in(generation: &Generation, from: u64) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    for slot in 0..generation.frames() {
        let header = generation.header(slot)?;
        if header.levels & 1 << LEVEL == 0 || header.next_sequence() <= from {
            continue;
        }
        let frame = generation.frame(slot)?;
        let mut at = 0;
        for sequence in header.first_sequence..header.next_sequence() {
            let Some((begin, end)) = event_at(&frame.fields, at) else { break };
            at = end;
            let event = frame.fields.slice(begin..end);
            if let (true, Some(timestamp)) = (sequence >= from, time_of_record(&event)) {
                records.push(Record { sequence, event, timestamp });
            }
        }
    }
    Ok(records)
}

/// When the event was recorded, if it is a loss record of the log's own.
fn time_of_record(event: &Bytes) -> Option<i64> {
    let event = Event::decode(event.clone()).ok()?;
    record_of(&event).map(|_| event.timestamp)
}

/// What an event says, if it is a loss record of the log's own.
pub(super) fn record_of(event: &Event) -> Option<&EventLossPayload> {
    match &event.event_payload {
        Some(EventPayload::SystemEvent(events::SystemEvent { event_type: Some(EventType::LossEvent(loss)) }))
            if event.source == SOURCE =>
        {
            Some(loss)
        }
        _ => None,
    }
}
