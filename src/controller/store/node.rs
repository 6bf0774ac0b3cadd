//! What a store knows of a node: when it was last heard of, which numbers of each of its lanes have arrived, and what it
//! has reported as lost. Facts only; what follows from them is told by [`Account`](super::Account).

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::Serialize;

use super::{Loss, Ranges};

/// A node, as the store has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name: the token's `rid`.
    pub node: String,
    /// Whose it is; may be empty.
    pub organisation: String,
    /// When it last registered or sent something, Unix milliseconds.
    pub seen_at: i64,
    /// Events that were stored of it.
    pub events: u64,
    /// Its numberings, by epoch and lane.
    pub streams: Vec<Stream>,
    /// What it has reported as lost, in the order in which the reports came.
    pub losses: Vec<Loss>,
    /// Where numbers of one lane have arrived under two epochs.
    pub overlaps: Vec<Overlap>,
}

/// One lane in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// Identity of the numbering; empty for events without one.
    pub epoch: String,
    /// `urgent` or `routine`; empty for events without numbering.
    pub lane: String,
    /// Events that were stored.
    pub events: u64,
    /// The sequences that have arrived.
    pub received: Ranges,
}

/// Two epochs of a lane in which the same sequences have arrived. Twice the same epoch where a store that forgets holds
/// messages under one number: `same` were repeated too late to be dropped, and from `differs_at` on there are two events
/// under one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// The lane of both.
    pub lane: String,
    /// The two epochs.
    pub epochs: [String; 2],
    /// Sequences under which both hold the event with the same identifier: it arrived twice, before and after a
    /// renumbering.
    pub same: u64,
    /// The first sequence under which they hold different events: from there on they are two histories, as after a log
    /// was set back, copied or made anew.
    pub differs_at: Option<u64>,
}

impl Overlap {
    /// None yet.
    pub(super) fn between(one: &Stream, two: &Stream) -> Overlap {
        let epochs = [one.epoch.clone(), two.epoch.clone()];
        Overlap { lane: one.lane.clone(), epochs, same: 0, differs_at: None }
    }

    /// Whether both hold the same event under a sequence. Sequences may come in any order.
    pub(super) fn note(&mut self, sequence: u64, is_same: bool) {
        match is_same {
            true => self.same += 1,
            false => self.differs_at = Some(self.differs_at.map_or(sequence, |least| least.min(sequence))),
        }
    }
}

/// How many of the streams before it, by when they were first heard of, a stream is compared with. A log that was set back
/// goes on from one of the last; comparing all with all would be work that a node can multiply.
pub(super) const NEIGHBOURS_MAX: usize = 16;

/// Pairs of neighbouring streams of one lane in which the same sequences have arrived: their indices, the lower first, and
/// these sequences.
pub(super) fn overlapping(streams: &[Stream]) -> Vec<(usize, usize, Vec<RangeInclusive<u64>>)> {
    let mut pairs = Vec::new();
    let mut lanes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, stream) in streams.iter().enumerate() {
        lanes.entry(&stream.lane).or_default().push(index);
    }
    for mut indices in lanes.into_values() {
        indices.sort_by_key(|index| streams.get(*index).and_then(|stream| stream.received.since()));
        for window in (0..indices.len()).filter_map(|from| indices.get(from..)) {
            let Some((one, later)) = window.split_first() else { continue };
            for two in later.iter().take(NEIGHBOURS_MAX) {
                let (one, two) = (*one.min(two), *one.max(two));
                let (Some(first), Some(second)) = (streams.get(one), streams.get(two)) else { continue };
                let shared = first.received.shared(&second.received);
                if !shared.is_empty() {
                    pairs.push((one, two, shared));
                }
            }
        }
    }
    pairs.sort_unstable_by_key(|(one, two, _)| (*one, *two));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_compared_with_those_next_to_it_in_time_alone() {
        let stream = |at: i64, lane: &str| {
            let mut received = Ranges::default();
            received.insert(1..=3, at);
            // By name the order is another.
            Stream { epoch: format!("{:03}", 999 - at), lane: lane.into(), events: 3, received }
        };
        const STREAMS: usize = 3_000;
        let mut streams: Vec<_> = (0..STREAMS as i64).map(|at| stream(at, "routine")).collect();
        streams.push(stream(0, "urgent"));
        let pairs = overlapping(&streams);
        assert!(pairs.iter().all(|(one, two, shared)| two - one <= NEIGHBOURS_MAX && *shared == [1..=3]));
        let missing_at_the_end = NEIGHBOURS_MAX * (NEIGHBOURS_MAX + 1) / 2;
        assert_eq!(pairs.len(), STREAMS * NEIGHBOURS_MAX - missing_at_the_end);
    }
}
