//! What the stream tells of nodes: read from its first message to its last, headers only. Once when all is well; a second
//! time where numbers came more than once, to tell repeats from forks.
//!
//! Memory depends on nodes, epochs, holes and reports of losses, not on events; what it takes to compare has the bounds
//! below.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::{ControlFlow, RangeInclusive},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    NatsStore,
    message::{EventTold, Told},
    read::{Found, Part},
};
use crate::controller::store::{Loss, Node, Overlap, Ranges, Record, StoreError, Stream, node::overlapping};

/// Numbers that came more than once and are compared; of further ones it is not told whether they are repeats or forks.
const COMPARED_MAX: usize = 1_000_000;

/// Identifiers of events without a number that are remembered, by node; beyond them repeats are counted as events.
const UNNUMBERED_MAX: usize = 1_000_000;

/// Reports of losses that are read at once.
const REPORTS_AT_ONCE: usize = 16;

impl NatsStore {
    /// All nodes by name, or the one of this name.
    pub(super) async fn survey(&self, node: Option<&str>) -> Result<Vec<Node>, StoreError> {
        let (first, last) = self.connection.rows().await?;
        let part = Part { first, last, node, headers_only: true };
        let mut nodes: BTreeMap<Arc<str>, Seen> = BTreeMap::new();
        self.connection
            .scan(part, |found| {
                nodes.entry(Arc::clone(&found.told.node)).or_default().take(found);
                ControlFlow::Continue(())
            })
            .await?;
        for seen in nodes.values_mut() {
            seen.losses = self.losses(&seen.reports).await?;
        }
        let mut described: Vec<_> = nodes.iter().map(|(name, seen)| seen.described(name)).collect();
        let mut suspects: BTreeMap<Arc<str>, Suspects> = BTreeMap::new();
        for ((name, seen), node) in nodes.iter().zip(&described) {
            let suspect = Suspects::of(seen, node);
            if !suspect.wanted.is_empty() {
                suspects.insert(Arc::clone(name), suspect);
            }
        }
        if !suspects.is_empty() {
            let mut room = COMPARED_MAX;
            self.connection
                .scan(part, |Found { told: Told { node, event, .. }, .. }| {
                    if let (Some(suspects), Some(event)) = (suspects.get_mut(&node), event) {
                        suspects.compare(&event, &mut room);
                    }
                    ControlFlow::Continue(())
                })
                .await?;
            for node in &mut described {
                if let Some(suspects) = suspects.remove(node.node.as_str()) {
                    node.overlaps = suspects.overlaps(node);
                }
            }
        }
        Ok(described)
    }

    /// The reports in these messages, each once.
    async fn losses(&self, rows: &[(u64, i64)]) -> Result<Vec<Loss>, StoreError> {
        let reports = rows.iter().copied().map(|(row, received_at)| async move {
            let message = self.connection.message_at(row).await?;
            let record = message.and_then(|message| Record::read(message.payload).ok());
            Ok::<_, StoreError>(record.and_then(|record| Loss::read(&record, received_at)))
        });
        let losses: Vec<_> = stream::iter(reports).buffered(REPORTS_AT_ONCE).try_collect().await?;
        let mut known = HashSet::new();
        Ok(losses.into_iter().flatten().filter(|loss| known.insert(loss.event_id.clone())).collect())
    }
}

/// What was read of a node.
#[derive(Default)]
struct Seen {
    organisation: String,
    seen_at: i64,
    /// By epoch and lane; both empty for events without numbers.
    streams: BTreeMap<(Arc<str>, String), StreamSeen>,
    unnumbered: HashSet<u64>,
    /// Rows of the reports of losses, and when they were received.
    reports: Vec<(u64, i64)>,
    losses: Vec<Loss>,
}

#[derive(Default)]
struct StreamSeen {
    events: u64,
    received: Ranges,
    /// The numbers that came more than once.
    again: Ranges,
}

impl Seen {
    fn take(&mut self, found: Found) {
        let Told { organisation, received_at, event, .. } = found.told;
        self.organisation = organisation;
        // Messages are read as they came; where this one's time is earlier, the clock was set back.
        self.seen_at = received_at;
        let Some(EventTold { epoch, place, id, kind }) = event else { return };
        if kind.starts_with(crate::controller::store::loss::KIND) {
            self.reports.push((found.row, received_at));
        }
        let lane = place.as_ref().map_or_else(String::new, |place| place.lane.clone());
        let stream = self.streams.entry((epoch, lane)).or_default();
        match place {
            Some(place) if stream.received.contains(place.sequence) => {
                stream.again.insert(place.sequence..=place.sequence, received_at);
            }
            Some(place) => {
                stream.events += 1;
                stream.received.insert(place.sequence..=place.sequence, received_at);
            }
            None => {
                let is_new = self.unnumbered.len() >= UNNUMBERED_MAX || self.unnumbered.insert(hash(&id));
                stream.events += u64::from(is_new);
            }
        }
    }

    fn described(&self, name: &str) -> Node {
        let streams = self.streams.iter().map(|((epoch, lane), stream)| Stream {
            epoch: epoch.as_ref().to_owned(),
            lane: lane.clone(),
            events: stream.events,
            received: stream.received.clone(),
        });
        Node {
            node: name.to_owned(),
            organisation: self.organisation.clone(),
            seen_at: self.seen_at,
            events: self.streams.values().map(|stream| stream.events).sum(),
            streams: streams.collect(),
            losses: self.losses.clone(),
            overlaps: Vec::new(),
        }
    }
}

/// The numbers of a node that came more than once, in one epoch or in two.
struct Suspects {
    /// By epoch and lane.
    wanted: BTreeMap<(String, String), Ranges>,
    /// By epoch and lane, the first event that was read under each of them, by its hash.
    first: BTreeMap<(String, String), HashMap<u64, u64>>,
    /// Of a single stream: how often the same event came again, and the first number with two events.
    again: BTreeMap<(String, String), Overlap>,
    /// Of two streams, the numbers that both have.
    shared: Vec<(usize, usize, Vec<RangeInclusive<u64>>)>,
}

impl Suspects {
    fn of(seen: &Seen, node: &Node) -> Suspects {
        let shared = overlapping(&node.streams);
        let mut wanted: BTreeMap<(String, String), Ranges> = BTreeMap::new();
        for ((epoch, lane), stream) in &seen.streams {
            if stream.again.last().is_some() {
                wanted.insert((epoch.as_ref().to_owned(), lane.clone()), stream.again.clone());
            }
        }
        for (one, two, ranges) in &shared {
            for stream in [one, two].into_iter().filter_map(|index| node.streams.get(*index)) {
                let wanted = wanted.entry((stream.epoch.clone(), stream.lane.clone())).or_default();
                ranges.iter().for_each(|range| wanted.insert(range.clone(), 0));
            }
        }
        Suspects { wanted, first: BTreeMap::new(), again: BTreeMap::new(), shared }
    }

    fn compare(&mut self, event: &EventTold, room: &mut usize) {
        let Some(place) = &event.place else { return };
        let stream = (event.epoch.as_ref().to_owned(), place.lane.clone());
        if !self.wanted.get(&stream).is_some_and(|wanted| wanted.contains(place.sequence)) {
            return;
        }
        let hash = hash(&event.id);
        match self.first.get(&stream).and_then(|first| first.get(&place.sequence)) {
            Some(first) => {
                let is_same = *first == hash;
                let epochs = [stream.0.clone(), stream.0.clone()];
                let none = Overlap { lane: place.lane.clone(), epochs, same: 0, differs_at: None };
                self.again.entry(stream).or_insert(none).note(place.sequence, is_same);
            }
            None if *room > 0 => {
                *room -= 1;
                self.first.entry(stream).or_default().insert(place.sequence, hash);
            }
            None => {}
        }
    }

    fn overlaps(self, node: &Node) -> Vec<Overlap> {
        let mut overlaps: Vec<_> = self.again.into_values().collect();
        for (one, two, ranges) in &self.shared {
            let (Some(one), Some(two)) = (node.streams.get(*one), node.streams.get(*two)) else { continue };
            let mut overlap = Overlap::between(one, two);
            let first = |stream: &Stream| self.first.get(&(stream.epoch.clone(), stream.lane.clone()));
            if let (Some(ones), Some(twos)) = (first(one), first(two)) {
                for sequence in ranges.iter().cloned().flatten() {
                    if let (Some(first), Some(second)) = (ones.get(&sequence), twos.get(&sequence)) {
                        overlap.note(sequence, first == second);
                    }
                }
            }
            overlaps.push(overlap);
        }
        overlaps
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
