//! What a store knows of a node: when it was last heard of, and which numbers of each of its lanes have arrived.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Serialize, Serializer};

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

/// A set of numbers, kept as the ranges that it consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    last_by_first: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds a range, joining those that it touches.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        while let Some((&before, &end)) = self.last_by_first.range(..=last.saturating_add(1)).next_back()
            && end.saturating_add(1) >= first
        {
            self.last_by_first.remove(&before);
            first = first.min(before);
            last = last.max(end);
        }
        self.last_by_first.insert(first, last);
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.last_by_first.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    /// The ranges, lowest first; no two of them touch.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.last_by_first.iter().map(|(first, last)| *first..=*last)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.last_by_first.last_key_value().map(|(_, last)| *last)
    }

    /// How many numbers from 1 to the highest are not in the set.
    pub fn missing(&self) -> u64 {
        let held = self.last_by_first.iter().fold(0u64, |sum, (first, last)| sum.saturating_add(last - first + 1));
        self.last().unwrap_or(0).saturating_sub(held)
    }
}

/// As a list of pairs: `[[1, 500], [502, 900]]`.
impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.last_by_first.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_would_hold(pieces in prop::collection::vec((1u64..60, 0u64..9), 0..20)) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (first, more) in pieces {
                ranges.insert(first..=first + more);
                model.extend(first..=first + more);
            }
            prop_assert!((0..80).all(|number| ranges.contains(number) == model.contains(&number)));
            prop_assert_eq!(ranges.iter().flatten().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            let missing = model.last().map_or(0, |last| (1..=*last).filter(|n| !model.contains(n)).count());
            prop_assert_eq!(ranges.missing(), missing as u64);
        }
    }

    #[test]
    fn the_highest_numbers_are_numbers_too() {
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX..=u64::MAX);
        ranges.insert(1..=u64::MAX - 1);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [1..=u64::MAX]);
        assert_eq!(ranges.missing(), 0);
    }
}
