//! A set of sequences, kept as the ranges that it consists of, each with the time since when something of it is there.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Serialize, Serializer};

/// A set of numbers from 1 on. Takes memory by its ranges, not by its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    by_first: BTreeMap<u64, Rest>,
}

/// What a range is beside its first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    last: u64,
    since: i64,
}

impl Ranges {
    /// Adds a range that came at a time (Unix milliseconds), joining those that it touches. Of what is joined the
    /// earliest time stays.
    pub fn insert(&mut self, range: RangeInclusive<u64>, since: i64) {
        let (mut first, mut rest) = (*range.start(), Rest { last: *range.end(), since });
        while let Some((&before, &other)) = self.by_first.range(..=rest.last.saturating_add(1)).next_back()
            && other.last.saturating_add(1) >= first
        {
            self.by_first.remove(&before);
            first = first.min(before);
            rest = Rest { last: rest.last.max(other.last), since: rest.since.min(other.since) };
        }
        self.by_first.insert(first, rest);
    }

    /// Adds what of another set lies at or below `last`.
    pub fn extend(&mut self, other: &Ranges, last: u64) {
        for (range, since) in other.iter_since().filter(|(range, _)| *range.start() <= last) {
            self.insert(*range.start()..=*range.end().min(&last), since);
        }
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.by_first.range(..=number).next_back().is_some_and(|(_, rest)| rest.last >= number)
    }

    /// The ranges, lowest first; no two of them touch.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.iter_since().map(|(range, _)| range)
    }

    /// The ranges, lowest first, each with the earliest time of what it was made of.
    pub fn iter_since(&self) -> impl Iterator<Item = (RangeInclusive<u64>, i64)> {
        self.by_first.iter().map(|(first, rest)| (*first..=rest.last, rest.since))
    }

    /// The earliest time of all.
    pub fn since(&self) -> Option<i64> {
        self.by_first.values().map(|rest| rest.since).min()
    }

    /// The earliest time of what lies above a number: since when it is known that there are higher ones.
    pub fn since_above(&self, number: u64) -> Option<i64> {
        self.by_first.values().rev().take_while(|rest| rest.last > number).map(|rest| rest.since).min()
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.by_first.last_key_value().map(|(_, rest)| rest.last)
    }

    /// How many numbers there are; the most that the type holds when there are more.
    pub fn count(&self) -> u64 {
        self.iter().fold(0u64, |sum, range| sum.saturating_add((range.end() - range.start()).saturating_add(1)))
    }

    /// The ranges from 1 to `last` that are not in the set.
    pub fn holes(&self, last: u64) -> Vec<RangeInclusive<u64>> {
        let mut holes = Vec::new();
        let mut next = 1;
        for range in self.iter().take_while(|range| *range.start() <= last) {
            if next < *range.start() {
                holes.push(next..=range.start() - 1);
            }
            next = range.end().saturating_add(1);
        }
        if next <= last && !self.contains(last) {
            holes.push(next..=last);
        }
        holes
    }

    /// What is in both sets.
    pub fn shared(&self, other: &Ranges) -> Vec<RangeInclusive<u64>> {
        let mut shared = Vec::new();
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(one), Some(two)) = (left.peek(), right.peek()) {
            let (first, last) = (*one.start().max(two.start()), *one.end().min(two.end()));
            if first <= last {
                shared.push(first..=last);
            }
            if one.end() <= two.end() {
                left.next()
            } else {
                right.next()
            };
        }
        shared
    }
}

/// As a list of pairs: `[[1, 500], [502, 900]]`.
impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(RangeInclusive::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    type Pieces = Vec<(u64, u64)>;

    fn pieces() -> impl Strategy<Value = Pieces> {
        prop::collection::vec((1u64..60, 0u64..9), 0..20)
    }

    fn both(pieces: &Pieces) -> (Ranges, BTreeSet<u64>) {
        let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
        for (first, more) in pieces {
            ranges.insert(*first..=first + more, 0);
            model.extend(*first..=first + more);
        }
        (ranges, model)
    }

    fn flat(ranges: impl IntoIterator<Item = RangeInclusive<u64>>) -> Vec<u64> {
        ranges.into_iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_would_hold(pieces in pieces(), others in pieces(), last in 0u64..80) {
            let (mut ranges, mut model) = both(&pieces);
            prop_assert!((0..80).all(|number| ranges.contains(number) == model.contains(&number)));
            prop_assert_eq!(flat(ranges.iter()), Vec::from_iter(model.iter().copied()));
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            prop_assert_eq!(ranges.count(), model.len() as u64);
            prop_assert_eq!(flat(ranges.holes(last)), Vec::from_iter((1..=last).filter(|n| !model.contains(n))));
            let (other, other_model) = both(&others);
            prop_assert_eq!(flat(ranges.shared(&other)), Vec::from_iter(model.intersection(&other_model).copied()));
            ranges.extend(&other, last);
            model.extend(other_model.range(..=last));
            prop_assert_eq!(flat(ranges.iter()), Vec::from_iter(model));
        }

        #[test]
        fn what_is_above_a_number_is_there_since_the_first_of_it_came(pieces in pieces(), number in 0u64..80) {
            let mut ranges = Ranges::default();
            for (at, (first, more)) in (0..).zip(&pieces) {
                ranges.insert(*first..=first + more, at);
            }
            // Where a range begins above the number, only what lies above it was joined to it.
            if !ranges.contains(number) {
                let came = (0..).zip(&pieces).find(|(_, (first, _))| *first > number).map(|(at, _)| at);
                prop_assert_eq!(ranges.since_above(number), came);
            }
        }
    }

    #[test]
    fn the_highest_numbers_are_numbers_too() {
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX..=u64::MAX, 5);
        assert_eq!(ranges.holes(u64::MAX), [1..=u64::MAX - 1]);
        ranges.insert(1..=u64::MAX - 1, 3);
        assert_eq!(ranges.iter_since().collect::<Vec<_>>(), [(1..=u64::MAX, 3)]);
        assert_eq!((ranges.holes(u64::MAX), ranges.count()), (vec![], u64::MAX));
    }
}
