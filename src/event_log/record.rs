//! The records of losses: where they go, and how they are found again before they go themselves.

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    event::{EventView, LossRecord, loss_record_cause},
    event_log::{
        disk::{frame::event_at, generation::Generation},
        error::LogError,
        lane::Lane,
        ledger::loss::Loss,
    },
};

/// The lane that the records go to: they overtake what is routine, and are the last to go.
pub(super) const RECORDS: Lane = Lane::Urgent;

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
        let record = LossRecord {
            consumer,
            lane: loss.lane.name(),
            epoch: loss.epoch,
            sequences: loss.is_numbered().then(|| (loss.sequences.start, loss.sequences.end - 1)),
            count: loss.count,
            levels: &loss.levels,
            times: loss.times,
            cause: loss.cause.name(),
        };
        let (event, timestamp) = record.encode(id);
        Record { sequence: 0, event: event.into(), timestamp }
    }
}

/// The loss records of a generation from a sequence on.
///
/// # Errors
/// When a frame cannot be read.
pub(super) fn records_in(generation: &Generation, from: u64) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    for slot in 0..generation.frames() {
        let header = generation.header(slot)?;
        if header.levels & 1 << LossRecord::LEVEL == 0 || header.next_sequence() <= from {
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
fn time_of_record(event: &[u8]) -> Option<i64> {
    let event = EventView::decode(event).ok()?;
    loss_record_cause(&event).map(|_| event.timestamp())
}
