//! Whether everything of a node is accounted for: what has arrived, what was reported lost, and what is missing. Pure:
//! made of the facts that a store keeps ([`Node`]).
//!
//! # How an agent numbers, and what follows
//!
//! A log numbers the events of each lane from 1, without a hole, and goes on over all its epochs: a new epoch begins
//! when it cannot be proved that no number was used before, and what is not delivered yet may be sent under another
//! epoch than before, each event keeping its number. So nothing is missing of a lane when from 1 to the highest number
//! each has arrived, or was reported lost, **under any epoch of the same history**:
//!
//! ```text
//! epoch a   1 ──────────── 800   901 ── 1000        901 to 1000 overtook the rest; then a fork was found
//! epoch b                     801 ──────────── 2000     and what was not delivered was renumbered
//! ```
//!
//! Two epochs are not of one history from the first number on under which they hold different events. That is so when
//! a log was set back or copied (they agree up to some number) or made anew (never, it starts at 1 again):
//!
//! ```text
//! epoch a   1 ──────────────── 1000
//! epoch c             601 ──────────── 1500         the disk was set back to a copy with 600 events
//! epoch d   1 ── 90                                 the log was removed; a new one begins
//! ```
//!
//! Each epoch must therefore be covered from 1 to its own highest number by itself and, below the first difference, by
//! the others. What a number beyond the highest would be, nobody has heard of: such events are still on the node.
//!
//! A store compares an epoch with the last ones before it alone ([`NEIGHBOURS_MAX`]). Two that are further apart are of
//! one history up to where each of those between them is of one with the next.
//!
//! One thing cannot be seen from here: where an epoch began. When the first events of a log made anew are missing, and
//! the first of it that have arrived stand beside events of an earlier log, then that one seems to cover them.

use crate::order::Gather as _;
use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::Serialize;

use super::{Loss, Node, Overlap, Ranges, node::NEIGHBOURS_MAX};

/// While a node is heard of for no longer than this after a number was overtaken, it may still be about to send it:
/// twice the longest pause between two attempts of an agent, and a minute for the call.
pub const AWAITED_MS_MAX: i64 = 5 * 60 * 1000;

/// What has become of a node's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Whose they are.
    pub node: String,
    /// When it was last heard of, Unix milliseconds.
    pub seen_at: i64,
    /// Its lanes, by name.
    pub lanes: Vec<LaneAccount>,
    /// Events that came without a number: of them nothing can be said to be missing.
    pub unnumbered: u64,
}

/// What has become of the events of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneAccount {
    /// `urgent` or `routine`.
    pub lane: String,
    /// Numbers that have arrived, those that arrived under two epochs twice.
    pub received: u64,
    /// Events that were reported lost.
    pub lost: u64,
    /// False when the count is a lower bound.
    pub lost_exact: bool,
    /// Numbers that have neither arrived nor were reported lost.
    pub missing: u64,
    /// Events that are there twice: under two epochs of the lane, or because they were repeated too late to be dropped.
    pub repeated: u64,
    /// Its epochs, in the order in which they were first heard of.
    pub epochs: Vec<EpochAccount>,
}

/// What has become of the events of one epoch of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochAccount {
    /// Identity of the numbering; empty in reports of losses that name none.
    pub epoch: String,
    /// When it was first heard of, Unix milliseconds.
    pub since: i64,
    /// The sequences that have arrived.
    pub received: Ranges,
    /// What was reported lost of it, in the order of the reports.
    pub losses: Vec<Loss>,
    /// What is missing. A number is listed once, in the epoch that goes on above it.
    pub missing: Vec<Hole>,
    /// What has arrived under another epoch as well, in the order of those epochs; each pair is listed once, in the later.
    pub overlaps: Vec<Overlap>,
}

/// Numbers that have neither arrived nor were reported lost, while higher ones have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    pub first: u64,
    pub last: u64,
    /// When the first higher one arrived, Unix milliseconds.
    pub since: i64,
    /// Whether they may just be on their way ([`AWAITED_MS_MAX`]).
    pub awaited: bool,
}

impl Account {
    /// Makes the account of a node.
    pub fn of(node: &Node) -> Account {
        let mut lanes: BTreeMap<&str, BTreeMap<&str, Known>> = BTreeMap::new();
        let mut unnumbered = 0;
        for stream in &node.streams {
            if stream.epoch.is_empty() {
                unnumbered += stream.events;
                continue;
            }
            lanes.entry(&stream.lane).or_default().entry(&stream.epoch).or_default().received = stream.received.clone();
        }
        for loss in node.losses.iter().filter(|loss| loss.concerns_controllers()) {
            lanes.entry(&loss.lane).or_default().entry(&loss.epoch).or_default().losses.push(loss.clone());
        }
        let lane = |(lane, known)| LaneAccount::of(lane, known, node);
        Account {
            node: node.node.clone(),
            seen_at: node.seen_at,
            lanes: lanes.into_iter().map(lane).collect(),
            unnumbered,
        }
    }

    /// Numbers that have neither arrived nor were reported lost.
    pub fn missing(&self) -> u64 {
        self.lanes.iter().fold(0, |sum, lane| sum.saturating_add(lane.missing))
    }

    /// Leaves out what is missing only since `latest` (Unix milliseconds) or later.
    pub fn forget_missing_since(&mut self, latest: i64) {
        for lane in &mut self.lanes {
            lane.epochs.iter_mut().for_each(|epoch| epoch.missing.retain(|hole| hole.since < latest));
            lane.count_missing();
        }
    }
}

impl LaneAccount {
    fn of(lane: &str, known: BTreeMap<&str, Known>, node: &Node) -> LaneAccount {
        let mut known: Vec<_> = known.into_iter().collect();
        known.sort_by_key(|(_, known)| known.since());
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let mut history = History::new(lane, &names, node);
        history.sets = known.iter().map(|(_, known)| known.all()).collect();
        let mut missing = history.missing();
        let lost = known.iter().flat_map(|(_, known)| &known.losses);
        let (lost, lost_exact) =
            lost.fold((0u64, true), |(sum, exact), loss| (sum.saturating_add(loss.count), exact && loss.exact));
        let mut epochs = Vec::new();
        for (index, (name, known)) in known.into_iter().enumerate() {
            let hole = |(range, since): (RangeInclusive<u64>, i64)| Hole {
                first: *range.start(),
                last: *range.end(),
                since,
                awaited: node.seen_at.saturating_sub(since) < AWAITED_MS_MAX,
            };
            epochs.push(EpochAccount {
                epoch: name.to_owned(),
                since: known.since(),
                missing: std::mem::take(&mut missing[index]).into_iter().map(hole).collect(),
                overlaps: history.overlaps_with_earlier(index),
                received: known.received,
                losses: known.losses,
            });
        }
        let mut account = LaneAccount {
            lane: lane.to_owned(),
            received: epochs.iter().fold(0, |sum, epoch| sum.saturating_add(epoch.received.count())),
            lost,
            lost_exact,
            missing: 0,
            repeated: epochs.iter().flat_map(|epoch| &epoch.overlaps).map(|overlap| overlap.same).sum(),
            epochs,
        };
        account.count_missing();
        account
    }

    fn count_missing(&mut self) {
        let holes = self.epochs.iter().flat_map(|epoch| &epoch.missing);
        self.missing = holes.fold(0, |sum, hole| sum.saturating_add(hole.last - hole.first + 1));
    }
}

/// What is known of one epoch of a lane.
#[derive(Default)]
struct Known {
    received: Ranges,
    losses: Vec<Loss>,
}

impl Known {
    fn since(&self) -> i64 {
        let reported = self.losses.iter().map(|loss| loss.received_at);
        self.received.since().into_iter().chain(reported).min().unwrap_or(0)
    }

    /// Everything that is accounted for: what has arrived and what was reported lost.
    fn all(&self) -> Ranges {
        let mut all = self.received.clone();
        for loss in &self.losses {
            loss.range.into_iter().for_each(|(first, last)| all.insert(first..=last, loss.received_at));
        }
        all
    }
}

/// The epochs of a lane in order, and how far each two are of one history.
struct History<'a> {
    sets: Vec<Ranges>,
    overlaps: BTreeMap<(usize, usize), &'a Overlap>,
    /// Of each epoch, the last number up to which it is not known to differ from the one before it.
    agree_with_last: Vec<u64>,
}

impl<'a> History<'a> {
    fn new(lane: &str, epochs: &[&str], node: &'a Node) -> History<'a> {
        let indices: BTreeMap<&str, usize> = epochs.iter().enumerate().map(|(index, name)| (*name, index)).gather();
        let index = |name: &str| indices.get(name).copied();
        let mut overlaps = BTreeMap::new();
        for overlap in node.overlaps.iter().filter(|overlap| overlap.lane == lane) {
            if let (Some(one), Some(two)) = (index(&overlap.epochs[0]), index(&overlap.epochs[1])) {
                overlaps.insert((one.min(two), one.max(two)), overlap);
            }
        }
        let mut history = History { sets: Vec::new(), overlaps, agree_with_last: Vec::new() };
        history.agree_with_last =
            (0..epochs.len()).map(|index| history.compared_to(index.saturating_sub(1), index)).collect();
        history
    }

    fn overlaps_with_earlier(&self, index: usize) -> Vec<Overlap> {
        let of = |((_, later), overlap): (&(usize, usize), &&Overlap)| (*later == index).then(|| (*overlap).clone());
        self.overlaps.iter().filter_map(of).collect()
    }

    /// For each epoch the last number up to which it and this one are not known to differ: of two that are far apart, up to
    /// where those between them agree, each with the next.
    fn reach(&self, index: usize) -> Vec<u64> {
        let mut reach = vec![u64::MAX; self.sets.len()];
        let mut put = |other: usize, between: u64| {
            let compared = self.compared_to(other.min(index), other.max(index));
            let far = other.abs_diff(index) > NEIGHBOURS_MAX;
            if let Some(place) = reach.get_mut(other) {
                *place = if far { compared.min(between) } else { compared };
            }
        };
        let agree = |later: usize| self.agree_with_last.get(later).copied().unwrap_or(u64::MAX);
        let mut between = u64::MAX;
        for other in (0..index).rev() {
            between = between.min(agree(other + 1));
            put(other, between);
        }
        between = u64::MAX;
        for other in index + 1..self.sets.len() {
            between = between.min(agree(other));
            put(other, between);
        }
        reach
    }

    /// The same of two that were compared.
    fn compared_to(&self, one: usize, two: usize) -> u64 {
        let differs_at = self.overlaps.get(&(one, two)).and_then(|overlap| overlap.differs_at);
        differs_at.map_or(u64::MAX, |first| first.saturating_sub(1))
    }

    /// By epoch, what is missing and since when that is known; each number once.
    fn missing(&self) -> Vec<Vec<(RangeInclusive<u64>, i64)>> {
        let all: Vec<Vec<_>> = (0..self.sets.len()).map(|index| self.holes(index)).collect();
        let owned = |index: usize| {
            if all[index].is_empty() {
                return Vec::new();
            }
            let reach = self.reach(index);
            let mine = |(hole, _): &&(RangeInclusive<u64>, i64)| self.owner(index, hole, &all, &reach) == index;
            all[index].iter().filter(mine).cloned().collect()
        };
        (0..self.sets.len()).map(owned).collect()
    }

    /// The holes in the history that leads to the highest number of an epoch.
    fn holes(&self, index: usize) -> Vec<(RangeInclusive<u64>, i64)> {
        let mut covered = self.sets[index].clone();
        let Some(last) = covered.last() else { return Vec::new() };
        if covered.holes(last).is_empty() {
            return Vec::new();
        }
        let others = self.sets.iter().zip(self.reach(index)).enumerate().filter(|(other, _)| *other != index);
        for (_, (set, reach)) in others {
            covered.extend(set, reach);
        }
        let since = |hole: RangeInclusive<u64>| {
            let since = covered.since_above(*hole.end()).unwrap_or(0);
            (hole, since)
        };
        covered.holes(last).into_iter().map(since).collect()
    }

    /// Of the epochs in whose history there is this hole of `index`, the last one that holds the number above it; or, where
    /// none of them does, the last one.
    fn owner(
        &self,
        index: usize,
        hole: &RangeInclusive<u64>,
        all: &[Vec<(RangeInclusive<u64>, i64)>],
        reach: &[u64],
    ) -> usize {
        let above = hole.end().saturating_add(1);
        // Holes are in order.
        let has_it = |other: &usize| {
            let shares = *other == index || reach.get(*other).is_some_and(|reach| above <= *reach);
            let found = |holes: &Vec<(RangeInclusive<u64>, i64)>| {
                holes
                    .binary_search_by_key(hole.start(), |(known, _)| *known.start())
                    .is_ok_and(|at| holes[at].0 == *hole)
            };
            shares && all.get(*other).is_some_and(found)
        };
        let mut owners = (0..self.sets.len()).rev().filter(has_it).peekable();
        let last = owners.peek().copied();
        owners.find(|other| self.sets[*other].contains(above)).or(last).unwrap_or(index)
    }
}

#[cfg(test)]
mod tests;
