//! What a store knows of a node: when it was last heard of, which numbers of each of its lanes have arrived, and what it
//! has reported as lost. Facts only; what follows from them is told by [`Account`](super::Account).

use std::ops::RangeInclusive;

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

/// Pairs of streams of one lane in which the same sequences have arrived: their indices, and these sequences.
pub(super) fn overlapping(streams: &[Stream]) -> Vec<(usize, usize, Vec<RangeInclusive<u64>>)> {
    let mut pairs = Vec::new();
    for (one, stream) in streams.iter().enumerate() {
        for (two, other) in streams.iter().enumerate().skip(one + 1).filter(|(_, other)| other.lane == stream.lane) {
            let shared = stream.received.shared(&other.received);
            if !shared.is_empty() {
                pairs.push((one, two, shared));
            }
        }
    }
    pairs
}
