//! A batch: consecutive events of one lane, epoch and boot, encoded once and sent with the same identifier until they are
//! delivered.
//!
//! Cut from what the log gives; no event is decoded or encoded on the way: their bytes are joined as they are stored,
//! and the batch's head is written before them.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use crate::{
    event_log::{Lane, Run},
    schema::wire::EventBatch,
};

/// Events to be delivered together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Covers epoch, lane, first and last sequence: the same on every retry.
    pub id: String,
    /// Lane of the events.
    pub lane: Lane,
    /// Sequence of the first.
    pub first_sequence: u64,
    /// Sequence of the last.
    pub last_sequence: u64,
    run: Run,
    /// For which node, and the bytes.
    encoded: Option<(String, Bytes)>,
}

impl Batch {
    /// Of the events of a run.
    pub fn new(run: Run) -> Batch {
        let last_sequence = run.next_sequence() - 1;
        let id = format!("{}/{}/{}-{}", run.epoch, run.lane.name(), run.first_sequence, last_sequence);
        Batch { id, lane: run.lane, first_sequence: run.first_sequence, last_sequence, run, encoded: None }
    }

    /// Number of events.
    pub fn count(&self) -> u64 {
        self.run.count
    }

    /// The encoded `rodent.EventBatch` of a node. Cut at `now` (Unix milliseconds) when it is asked for first; the same
    /// bytes from then on, unless the node has another name.
    pub fn encoded(&mut self, node_id: &str, now: i64) -> Bytes {
        match &self.encoded {
            Some((node, bytes)) if node == node_id => bytes.clone(),
            _ => {
                let bytes = self.encode(node_id, now);
                self.encoded = Some((node_id.to_owned(), bytes.clone()));
                bytes
            }
        }
    }

    fn encode(&self, node_id: &str, now: i64) -> Bytes {
        let head = EventBatch {
            events: Vec::new(),
            batch_timestamp: now,
            batch_id: self.id.clone(),
            node_id: node_id.to_owned(),
            lane: self.lane.name().to_owned(),
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
            log_epoch: self.run.epoch.to_string(),
            boot_id: self.run.boot_id.to_string(),
            clock_state: self.run.clock.name().to_owned(),
        };
        let mut bytes = BytesMut::with_capacity(head.encoded_len() + self.run.fields.len());
        head.encode(&mut bytes).expect("the buffer grows");
        bytes.put_slice(&self.run.fields);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event_log::ClockState, schema::events::Event};

    #[test]
    fn a_batch_decodes_to_its_head_and_its_events() {
        let events: Vec<_> =
            ["a", "b"].map(|id| Event { event_id: id.to_owned(), timestamp: 5, ..Event::default() }).into();
        let fields = EventBatch { events: events.clone(), ..EventBatch::default() }.encode_to_vec();
        let mut batch = Batch::new(Run {
            lane: Lane::Routine,
            epoch: uuid::Uuid::from_u128(1),
            boot_id: uuid::Uuid::from_u128(2),
            clock: ClockState::Synchronised,
            first_sequence: 41,
            fields: fields.into(),
            count: 2,
        });
        let decoded = EventBatch::decode(batch.encoded("node", 77)).expect("a batch");
        assert_eq!(decoded.events, events);
        assert_eq!((decoded.first_sequence, decoded.last_sequence), (41, 42));
        assert_eq!(
            (decoded.node_id.as_str(), decoded.lane.as_str(), decoded.clock_state.as_str()),
            ("node", "routine", "synchronised")
        );
        assert_eq!(decoded.batch_timestamp, 77);
        assert_eq!(batch.encoded("node", 78), batch.encode("node", 77), "the same bytes on a retry");
        assert_eq!(EventBatch::decode(batch.encoded("other", 79)).expect("a batch").node_id, "other");
        assert_eq!(decoded.batch_id, batch.id);
        assert!(batch.id.ends_with("/routine/41-42") && batch.id.starts_with(&decoded.log_epoch));
    }
}
