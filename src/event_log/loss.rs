//! The record of events that no consumer will get any more: itself an event of level ESSENTIAL, so that it is
//! delivered like one.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use uuid::Uuid;

use super::{Lane, summary::Summary};
use crate::schema::{
    Payload as _,
    events::{self, Event, EventLevel, EventLossPayload, event_loss_payload::EventLossOperation},
};

/// Source of the log's own events.
const SOURCE: &str = "event_log";

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

    fn payload(&self) -> EventLossPayload {
        let summary = &self.summary;
        let numbered = summary.next_sequence > self.from && self.from > 0;
        let whole = self.from <= summary.first_sequence;
        EventLossPayload {
            consumer: self.consumers.join(","),
            lane: self.lane.name().to_owned(),
            log_epoch: self.epoch.to_string(),
            first_sequence: if numbered { self.from } else { 0 },
            last_sequence: if numbered { summary.next_sequence - 1 } else { 0 },
            count: if numbered { summary.next_sequence - self.from } else { 0 },
            count_exact: numbered,
            // Of a part of a generation only the whole's levels are known: better none than wrong ones.
            count_by_level: if whole { levels(summary) } else { Default::default() },
            first_time: summary.min_time,
            last_time: summary.max_time,
            operation: self.cause.into(),
        }
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
