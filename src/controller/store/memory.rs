//! The store of `try` and of tests: in memory, gone with the process. It holds the newest events up to two bounds; the
//! oldest go, and the status says how many. What has gone is still known by its number, so that a repeat of it is
//! dropped (an event without a number would be stored again).

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;

use super::{
    Arrival, ArrivedEvent, EPOCHS_MAX, EventPage, Loss, Node, Numbering, OVERTAKEN_ROWS_MAX, Overlap, Query, Ranges,
    Receipt, Record, Store, StoreError, Stream, Tail, node::overlapping, order::sort_lanes, tail::TailSender,
};
use crate::{event::json::Place, lock::lock};

/// Events that are held; beyond them the oldest go.
pub const EVENTS_KEPT_MAX: usize = 100_000;

/// Bytes of events that are held; beyond them the oldest go.
const BYTES_KEPT_MAX: usize = 64 * 1024 * 1024;

/// Reports of losses that are held of each node; beyond them the oldest go, and what they told of seems to be missing.
const LOSSES_KEPT_MAX: usize = 10_000;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    held: Mutex<Held>,
    tail: TailSender,
    events_max: usize,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::bounded(EVENTS_KEPT_MAX)
    }
}

impl MemoryStore {
    /// Holds at most `events_max` events.
    pub fn bounded(events_max: usize) -> MemoryStore {
        MemoryStore { held: Mutex::default(), tail: TailSender::new(), events_max }
    }

    /// Events that had to go, because newer ones came.
    pub fn gone(&self) -> u64 {
        self.held().gone
    }

    /// A panic while the lock was held would leave at most one batch half stored; the next is as good as ever.
    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

#[tonic::async_trait]
impl Store for MemoryStore {
    async fn store(&self, arrival: Arrival) -> Result<Receipt, StoreError> {
        let mut held = self.held();
        if held.closed {
            return Err(StoreError::Closed);
        }
        let receipt = held.store(arrival)?;
        if self.tail.is_followed() {
            let fresh = held.rows.range(held.rows.len() - receipt.stored..);
            fresh.for_each(|row| self.tail.send(Arc::clone(&row.event)));
        }
        held.trim(self.events_max);
        Ok(receipt)
    }

    async fn query(&self, query: &Query) -> Result<EventPage, StoreError> {
        let held = self.held();
        let wanted = |row: &&Row| {
            query.node.as_deref().is_none_or(|node| node == &*row.event.node) && query.takes(&row.event.bytes)
        };
        let event = |row: &Row| ArrivedEvent::clone(&row.event);
        let Some(since) = query.since else {
            let mut rows = held.rows.iter().rev();
            let mut events: Vec<_> = rows.by_ref().filter(wanted).take(query.limit).map(event).collect();
            events.extend(rows.take(OVERTAKEN_ROWS_MAX).filter(wanted).map(event));
            events.reverse();
            return Ok(EventPage::of_last(events, query.limit, held.last_row));
        };
        let behind = held.rows.partition_point(|row| row.event.row <= since);
        let mut events: Vec<_> = held.rows.range(behind..).filter(wanted).take(query.limit).map(event).collect();
        let last_row = match events.last() {
            Some(last) if events.len() == query.limit => last.row,
            _ => held.last_row,
        };
        sort_lanes(&mut events);
        Ok(EventPage { events, last_row })
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(self.held().nodes.iter().map(|(name, node)| node.described(name)).collect())
    }

    fn tail(&self) -> Tail {
        self.tail.tail()
    }

    fn about(&self) -> String {
        let gone = self.gone();
        format!("in memory, the newest {} events; {gone} older ones are gone", self.events_max)
    }

    async fn close(&self) {
        self.held().closed = true;
    }
}

#[derive(Debug, Default)]
struct Held {
    rows: VecDeque<Row>,
    last_row: u64,
    bytes: usize,
    gone: u64,
    nodes: BTreeMap<Arc<str>, NodeHeld>,
    closed: bool,
}

/// An event, and under what it is known.
#[derive(Debug)]
struct Row {
    event: Arc<ArrivedEvent>,
    key: Key,
}

#[derive(Debug, Default)]
struct NodeHeld {
    organisation: String,
    seen_at: i64,
    /// By epoch and lane; both empty for events without numbering.
    streams: BTreeMap<(String, String), StreamHeld>,
    losses: VecDeque<Loss>,
}

#[derive(Debug, Default)]
struct StreamHeld {
    events: u64,
    received: Ranges,
    /// The identifiers of the events that are held.
    ids: BTreeMap<Key, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Sequence(u64),
    Id(String),
}

impl Held {
    fn store(&mut self, arrival: Arrival) -> Result<Receipt, StoreError> {
        let name: Arc<str> = arrival.node.as_str().into();
        let node = self.nodes.entry(Arc::clone(&name)).or_default();
        node.organisation = arrival.organisation;
        // Also where it is earlier: the clock was set back.
        node.seen_at = arrival.received_at;
        if arrival.records.is_empty() {
            return Ok(Receipt::default());
        }
        let (epoch, lane) = arrival.numbering.as_ref().map_or(("", ""), |n| (n.epoch(), n.lane()));
        if !node.streams.contains_key(&(epoch.to_owned(), lane.to_owned()))
            && node.streams.keys().filter(|(_, other)| other == lane).count() >= EPOCHS_MAX
        {
            return Err(StoreError::TooManyEpochs);
        }
        let stream = node.streams.entry((epoch.to_owned(), lane.to_owned())).or_default();
        if let Some(numbering) = &arrival.numbering {
            stream.refuse_fork(numbering, &arrival.records)?;
        }
        let mut receipt = Receipt::default();
        for (index, record) in arrival.records.into_iter().enumerate() {
            let sequence = arrival.numbering.as_ref().map(|numbering| numbering.first() + index as u64);
            let key = sequence.map_or_else(|| Key::Id(record.id.clone()), Key::Sequence);
            if stream.has(&key) {
                receipt.repeated += 1;
                continue;
            }
            receipt.stored += 1;
            stream.events += 1;
            if let Some(loss) = Loss::read(&record, arrival.received_at)
                && node.losses.iter().all(|known| known.event_id != loss.event_id)
            {
                if node.losses.len() == LOSSES_KEPT_MAX {
                    node.losses.pop_front();
                }
                node.losses.push_back(loss);
            }
            stream.ids.insert(key.clone(), record.id);
            self.last_row += 1;
            self.bytes += record.bytes.len();
            let event = ArrivedEvent {
                row: self.last_row,
                node: Arc::clone(&name),
                epoch: epoch.into(),
                place: sequence.map(|sequence| Place { lane: lane.to_owned(), sequence }),
                received_at: arrival.received_at,
                // A copy: the bytes that came would keep the whole request in memory for one event of it.
                bytes: Bytes::copy_from_slice(&record.bytes),
            };
            self.rows.push_back(Row { event: Arc::new(event), key });
        }
        if let Some(numbering) = &arrival.numbering {
            stream.received.insert(numbering.first()..=numbering.last(), arrival.received_at);
        }
        Ok(receipt)
    }

    fn trim(&mut self, events_max: usize) {
        while self.rows.len() > events_max || self.bytes > BYTES_KEPT_MAX {
            let Some(Row { event, key }) = self.rows.pop_front() else { return };
            self.bytes -= event.bytes.len();
            self.gone += 1;
            let lane = event.place.as_ref().map_or_else(String::new, |place| place.lane.clone());
            let stream = (event.epoch.as_ref().to_owned(), lane);
            let stream = self.nodes.get_mut(&event.node).and_then(|node| node.streams.get_mut(&stream));
            if let Some(stream) = stream {
                stream.ids.remove(&key);
            }
        }
    }
}

impl StreamHeld {
    fn has(&self, key: &Key) -> bool {
        match key {
            Key::Sequence(sequence) => self.received.contains(*sequence),
            Key::Id(_) => self.ids.contains_key(key),
        }
    }

    fn refuse_fork(&self, numbering: &Numbering, records: &[Record]) -> Result<(), StoreError> {
        for (sequence, record) in (numbering.first()..=numbering.last()).zip(records) {
            if self.ids.get(&Key::Sequence(sequence)).is_some_and(|id| *id != record.id) {
                let (epoch, lane) = (numbering.epoch().to_owned(), numbering.lane().to_owned());
                return Err(StoreError::Fork { epoch, lane, sequence });
            }
        }
        Ok(())
    }
}

impl NodeHeld {
    fn described(&self, name: &str) -> Node {
        let streams = self.streams.iter().map(|((epoch, lane), stream)| Stream {
            epoch: epoch.clone(),
            lane: lane.clone(),
            events: stream.events,
            received: stream.received.clone(),
        });
        let streams: Vec<_> = streams.collect();
        let overlaps = overlapping(&streams);
        let overlaps = overlaps.iter().map(|(one, two, shared)| self.overlap(&streams[*one], &streams[*two], shared));
        Node {
            node: name.to_owned(),
            organisation: self.organisation.clone(),
            seen_at: self.seen_at,
            events: self.streams.values().map(|stream| stream.events).sum(),
            losses: self.losses.iter().cloned().collect(),
            overlaps: overlaps.collect(),
            streams,
        }
    }

    /// As far as both events are still held.
    fn overlap(&self, one: &Stream, two: &Stream, shared: &[RangeInclusive<u64>]) -> Overlap {
        let mut overlap = Overlap::between(one, two);
        let ids =
            |stream: &Stream| self.streams.get(&(stream.epoch.clone(), stream.lane.clone())).map(|held| &held.ids);
        let (Some(ones), Some(twos)) = (ids(one), ids(two)) else { return overlap };
        for range in shared {
            let keys = Key::Sequence(*range.start())..=Key::Sequence(*range.end());
            for (key, id) in ones.range(keys) {
                if let (Key::Sequence(sequence), Some(other)) = (key, twos.get(key)) {
                    overlap.note(*sequence, id == other);
                }
            }
        }
        overlap
    }
}
