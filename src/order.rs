//! Sorting that weighs little: the order is found by one piece of code for all types, where the library's sort is compiled anew
//! for each type and each key, 6 KB a time. Its maps and sets in order sort, too, when they are collected.
//!
//! For lists of up to some thousands. Stable, as the library's is. Where a list may be long or is sorted for each event, the
//! library's own is right.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// Collects into a map or a set in order, one by one.
pub(crate) trait Gather: Iterator + Sized {
    /// As `collect` does: of equal keys the last one's value stays.
    fn gather<C: InOrder + Extend<Self::Item>>(self) -> C {
        let mut gathered = C::default();
        gathered.extend(self);
        gathered
    }
}

impl<I: Iterator> Gather for I {}

/// What sorts when it is collected.
pub(crate) trait InOrder: Default {}

impl<K, V> InOrder for BTreeMap<K, V> {}

impl<T> InOrder for BTreeSet<T> {}

/// Sorts slices.
pub(crate) trait Sorted<T> {
    /// By a key, the least first.
    fn order_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K);

    /// As this compares two.
    fn order_by(&mut self, compare: impl Fn(&T, &T) -> Ordering);
}

impl<T> Sorted<T> for [T] {
    fn order_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.order_by(|one, other| key(one).cmp(&key(other)));
    }

    fn order_by(&mut self, compare: impl Fn(&T, &T) -> Ordering) {
        let places = places(self.len(), &|one, other| match (self.get(one), self.get(other)) {
            (Some(one), Some(other)) => compare(one, other),
            _ => Ordering::Equal,
        });
        arrange(places, &mut |one, other| self.swap(one, other));
    }
}

/// Where what belongs at each place stands now.
fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|one, other| compare(*one, *other));
    places
}

/// Brings it there.
fn arrange(mut places: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for at in 0..places.len() {
        let mut from = places.get(at).copied().unwrap_or(at);
        // What stood there before has been swapped away, to where it says.
        while from < at {
            from = places.get(from).copied().unwrap_or(at);
        }
        if from != at {
            swap(at, from);
        }
        if let Some(place) = places.get_mut(at) {
            *place = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Sorted as _;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_library(keys in prop::collection::vec(0_u8..20, 0..200)) {
            let mut items: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            items.order_by_key(|(key, _)| *key);
            prop_assert_eq!(&items, &expected);
            expected.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
            items.order_by(|one, other| other.0.cmp(&one.0));
            prop_assert_eq!(items, expected);
        }
    }
}
