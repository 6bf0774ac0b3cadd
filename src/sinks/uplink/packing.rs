//! How a batch goes over to the controller: a `rodent.EventBatch`, whose head is written before the events' bytes as they
//! are stored, compressed ones too.

use std::{io, sync::Arc};

use prost::Message as _;

use super::compression::{Compression, PackedBatch, Packer};
use crate::{
    consumers::{self, Batch},
    schema::wire::EventBatch,
};

/// For whom a batch is put together, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkPacking {
    /// The node's name.
    pub node_id: Arc<str>,
    /// How the message is compressed.
    pub compression: Compression,
    /// Whether what the log has compressed may go as it is stored.
    pub as_stored: bool,
}

impl consumers::Packing for UplinkPacking {
    type Message = PackedBatch;
    type Packer = Packer;

    fn pack(&self, batch: &Batch<UplinkPacking>, packer: &mut Packer, cut_at: i64) -> io::Result<PackedBatch> {
        let run = batch.run();
        let head = EventBatch {
            events: Vec::new(),
            batch_timestamp: cut_at,
            batch_id: batch.id.clone(),
            node_id: self.node_id.to_string(),
            lane: batch.lane.name().to_owned(),
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            log_epoch: run.epoch.to_string(),
            boot_id: run.boot_id.to_string(),
            clock_state: run.clock.name().to_owned(),
        };
        let head = head.encode_to_vec();
        match self.as_stored {
            true => packer.message(self.compression, &head, &run.fields),
            false => packer.message(self.compression, &head, &run.fields.plain()?.into()),
        }
    }

    fn wire_bytes(message: &PackedBatch) -> usize {
        message.wire_bytes()
    }

    fn is_as_stored(&self) -> bool {
        self.as_stored && self.compression == Compression::Zstd
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        event_log::{ClockState, Lane, Run},
        schema::events::Event,
    };

    fn batch(ids: &[&str]) -> (Batch<UplinkPacking>, Vec<Event>) {
        let events: Vec<_> =
            ids.iter().map(|id| Event { event_id: (*id).to_owned(), timestamp: 5, ..Event::default() }).collect();
        let fields = EventBatch { events: events.clone(), ..EventBatch::default() }.encode_to_vec();
        let batch = Batch::new(Run {
            lane: Lane::Routine,
            epoch: uuid::Uuid::from_u128(1),
            boot_id: uuid::Uuid::from_u128(2),
            clock: ClockState::Synchronised,
            first_sequence: 41,
            fields: Bytes::from(fields).into(),
            count: ids.len() as u64,
        });
        (batch, events)
    }

    fn decoded(batch: &mut Batch<UplinkPacking>, node: &str, now: i64) -> EventBatch {
        let packing = UplinkPacking { node_id: node.into(), compression: Compression::Off, as_stored: true };
        let bytes = batch.message(&mut Packer::default(), &packing, now).expect("in clear").pieces.concat();
        EventBatch::decode(bytes.as_slice()).expect("a batch")
    }

    #[test]
    fn a_batch_decodes_to_its_head_and_its_events() {
        let (mut batch, events) = batch(&["a", "b"]);
        let first = decoded(&mut batch, "node", 77);
        assert_eq!(first.events, events);
        assert_eq!((first.first_sequence, first.last_sequence), (41, 42));
        assert_eq!(
            (first.node_id.as_str(), first.lane.as_str(), first.clock_state.as_str()),
            ("node", "routine", "synchronised")
        );
        assert_eq!(first.batch_timestamp, 77);
        assert_eq!(decoded(&mut batch, "node", 78), first, "the same on a retry");
        let other = decoded(&mut batch, "other", 79);
        assert_eq!((other.node_id.as_str(), other.batch_timestamp, other.batch_id), ("other", 77, first.batch_id));
        assert!(batch.id.contains("/routine/41-42/") && batch.id.starts_with(&first.log_epoch));
    }

    #[test]
    fn other_events_under_the_same_numbers_are_another_batch() {
        let id = |ids: &[&str]| batch(ids).0.id;
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["a", "c"]));
    }

    #[test]
    fn halves_hold_the_same_events_under_the_same_numbers() {
        let (batch, events) = batch(&["a", "b", "c"]);
        let (mut first, mut second) = batch.halves().expect("plain");
        assert_eq!((first.first_sequence, first.last_sequence, first.count()), (41, 41, 1));
        assert_eq!((second.first_sequence, second.last_sequence, second.count()), (42, 43, 2));
        let events_of = |batch: &mut Batch<UplinkPacking>| decoded(batch, "node", 1).events;
        assert_eq!([events_of(&mut first), events_of(&mut second)].concat(), events);
        assert!(first.id != second.id);
    }
}
