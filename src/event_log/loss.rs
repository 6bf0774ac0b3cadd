//! The record of events that no consumer will get any more: itself an event of level ESSENTIAL, so that it is
//! delivered like one.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use super::{Lane, LogError, frame::event_at, generation::Generation, summary::Summary};
use crate::schema::{
    Payload as _,
    events::{
        self, Event, EventLevel, EventLossPayload, event::EventPayload, event_loss_payload::EventLossOperation,
        system_event::EventType,
    },
};

/// Source of the log's own events.
const SOURCE: &str = "event_log";

/// The lane that the records go to: they overtake what is routine, and are the last to go.
pub(super) const RECORDS: Lane = Lane::Urgent;

/// What is lost, and why.
pub(super) struct Loss {
    pub(super) lane: Lane,
    pub(super) epoch: Uuid,
    pub(super) cause: EventLossOperation,
    /// Who had not taken them; empty for all.
    pub(super) consumers: Vec<Arc<str>>,
    /// What the generation held; sequences of 0 when the events were never numbered.
    pub(super) summary: Summary,
    /// First sequence that somebody had not taken yet.
    pub(super) from: u64,
    /// How many of them were records of losses and are kept: those are not lost.
    pub(super) carried: u64,
}

impl Loss {
    /// The encoded event, and its time in Unix milliseconds.
    pub(super) fn event(&self) -> (Vec<u8>, i64) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let event = Event {
            event_id: Uuid::now_v7().to_string(),
            level: EventLevel::Essential.into(),
            category: EventLossPayload::CATEGORY.into(),
            source: SOURCE.to_owned(),
            timestamp: now,
            metadata: [("component", SOURCE), ("action", "loss")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            event_payload: Some(self.payload().into_event_payload()),
        };
        (event.encode_to_vec(), now)
    }

    /// How many events are lost; 0 when nobody knows.
    pub(super) fn events(&self) -> u64 {
        let numbered = if self.is_numbered() { self.summary.next_sequence - self.from } else { 0 };
        numbered.saturating_sub(self.carried)
    }

    fn is_numbered(&self) -> bool {
        self.summary.next_sequence > self.from && self.from > 0
    }

    fn payload(&self) -> EventLossPayload {
        let summary = &self.summary;
        let numbered = self.is_numbered();
        let whole = self.from <= summary.first_sequence;
        EventLossPayload {
            consumer: self.consumers.join(","),
            lane: self.lane.name().to_owned(),
            log_epoch: self.epoch.to_string(),
            first_sequence: if numbered { self.from } else { 0 },
            last_sequence: if numbered { summary.next_sequence - 1 } else { 0 },
            count: self.events(),
            count_exact: numbered,
            // Of a part of a generation only the whole's levels are known: better none than wrong ones.
            count_by_level: if whole { levels(summary) } else { Default::default() },
            first_time: summary.min_time,
            last_time: summary.max_time,
            operation: self.cause.into(),
        }
    }
}

/// A loss record as it is stored.
pub(super) struct Record {
    pub(super) event: Bytes,
    pub(super) timestamp: i64,
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
                records.push(Record { event, timestamp });
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

fn levels(summary: &Summary) -> std::collections::BTreeMap<String, u64> {
    (0i32..)
        .zip(summary.levels)
        .filter(|(_, count)| *count > 0)
        .map(|(number, count)| (level_name(number), count))
        .collect()
}

fn level_name(number: i32) -> String {
    crate::event::Level::from_wire(number).map_or_else(|| format!("level_{number}"), |level| level.name().to_owned())
}

/// Number of the level that loss records have, for the frame's mask.
pub(super) const LEVEL: i32 = EventLevel::Essential as i32;

/// Number of their category.
pub(super) const CATEGORY: i32 = events::EventCategory::System as i32;
