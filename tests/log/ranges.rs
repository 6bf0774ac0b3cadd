//! Sets of sequences, as ranges.

use std::collections::BTreeMap;

/// Sequences, as ranges that do not touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `from` to `to`, without `to`.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (mut from, mut to) = (from, to);
        while let Some((&start, &end)) = self.0.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            self.0.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.0.insert(from, to);
    }

    /// The first of `from` to `to` that is not in here.
    pub(crate) fn first_missing(&self, from: u64, to: u64) -> Option<u64> {
        if from >= to {
            return None;
        }
        match self.0.range(..=from).next_back() {
            Some((_, &end)) if end > from => (end < to).then_some(end),
            _ => Some(from),
        }
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.first_missing(sequence, sequence + 1).is_none()
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    /// Calls `visit` with each range, the end not included.
    pub(crate) fn each(&self, mut visit: impl FnMut(u64, u64)) {
        self.0.iter().for_each(|(from, to)| visit(*from, *to));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }
}

#[test]
fn ranges_join_where_they_touch() {
    let mut ranges = Ranges::default();
    for (from, to) in [(1, 3), (7, 9), (5, 5), (3, 4)] {
        ranges.add(from, to);
    }
    assert_eq!((ranges.first_missing(1, 4), ranges.first_missing(1, 9), ranges.count()), (None, Some(4), 5));
    ranges.add(2, 8);
    assert_eq!((ranges.first_missing(1, 9), ranges.first_missing(0, 2), ranges.contains(9)), (None, Some(0), false));
    assert_eq!(ranges.count(), 8);
}
