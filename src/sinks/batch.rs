//! A batch: consecutive events of one lane, epoch and boot, put into one message and sent with the same identifier until
//! they are delivered.
//!
//! Cut from what the log gives; no event is decoded or encoded on the way: their bytes are joined as they are stored,
//! compressed ones too, and the batch's head is written before them.

use std::{io, sync::Arc};

use prost::Message as _;

use super::compression::{Compression, Message, Packer};
use crate::{
    event_log::{Lane, Pieces, Run},
    schema::wire::EventBatch,
};

/// Events to be delivered together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Covers epoch, lane, first and last sequence, and what the events are: the same on every retry, and never that of other
    /// events, also when the log was set back or copied and gives numbers a second time.
    pub id: String,
    /// Lane of the events.
    pub lane: Lane,
    /// Sequence of the first.
    pub first_sequence: u64,
    /// Sequence of the last.
    pub last_sequence: u64,
    run: Run<Pieces>,
    packed: Option<(Packing, Message)>,
    /// Unix milliseconds of the first packing; what the batch says of itself.
    cut_at: Option<i64>,
    /// Answers in a row that may mean that it is too much at a time.
    pub strained: u32,
}

/// For whom a batch is packed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// The node's name.
    pub node_id: Arc<str>,
    /// How the message is compressed.
    pub compression: Compression,
    /// Whether what the log has compressed may go as it is stored.
    pub as_stored: bool,
}

impl Batch {
    /// Of the events of a run.
    pub fn new(run: Run<Pieces>) -> Batch {
        let last_sequence = run.next_sequence() - 1;
        let (epoch, lane) = (run.epoch, run.lane.name());
        let id = format!("{epoch}/{lane}/{}-{last_sequence}/{:08x}", run.first_sequence, run.fields.digest());
        let (lane, first_sequence) = (run.lane, run.first_sequence);
        Batch { id, lane, first_sequence, last_sequence, run, packed: None, cut_at: None, strained: 0 }
    }

    /// Number of events.
    pub fn count(&self) -> u64 {
        self.run.count
    }

    /// What the events are.
    pub fn run(&self) -> &Run<Pieces> {
        &self.run
    }

    /// Bytes of the events, in clear.
    pub fn raw_bytes(&self) -> usize {
        self.run.fields.raw_bytes()
    }

    /// Two batches of half as many events each. Of a batch of at least two.
    ///
    /// # Errors
    /// When the events cannot be decompressed.
    pub fn halves(self) -> io::Result<(Batch, Batch)> {
        let (first, second) = self.run.clone().split(self.count() / 2)?;
        Ok((Batch::new(first), Batch::new(second)))
    }

    /// The encoded `rodent.EventBatch`, ready for the wire: the same bytes each time, unless it is packed in another way.
    /// `now` (Unix milliseconds) counts the first time.
    ///
    /// # Errors
    /// When what is stored cannot be decompressed.
    pub fn message(&mut self, packer: &mut Packer, packing: &Packing, now: i64) -> io::Result<Message> {
        if let Some((packed, message)) = &self.packed
            && packed == packing
        {
            return Ok(message.clone());
        }
        let head = EventBatch {
            events: Vec::new(),
            batch_timestamp: *self.cut_at.get_or_insert(now),
            batch_id: self.id.clone(),
            node_id: packing.node_id.to_string(),
            lane: self.lane.name().to_owned(),
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
            log_epoch: self.run.epoch.to_string(),
            boot_id: self.run.boot_id.to_string(),
            clock_state: self.run.clock.name().to_owned(),
        };
        let head = head.encode_to_vec();
        let message = match packing.as_stored {
            true => packer.message(packing.compression, &head, &self.run.fields)?,
            false => packer.message(packing.compression, &head, &self.run.fields.plain()?.into())?,
        };
        self.packed = Some((packing.clone(), message.clone()));
        Ok(message)
    }

    /// Whether [`Batch::message`] has nothing left to do for this packing.
    pub fn is_packed(&self, packing: &Packing) -> bool {
        self.packed.as_ref().is_some_and(|(packed, _)| packed == packing)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{event_log::ClockState, schema::events::Event};

    fn batch(ids: &[&str]) -> (Batch, Vec<Event>) {
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

    fn decoded(batch: &mut Batch, node: &str, now: i64) -> EventBatch {
        let packing = Packing { node_id: node.into(), compression: Compression::Off, as_stored: true };
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
        let events_of = |batch: &mut Batch| decoded(batch, "node", 1).events;
        assert_eq!([events_of(&mut first), events_of(&mut second)].concat(), events);
        assert!(first.id != second.id);
    }
}
