//! Sets of sequences as ascending ranges that do not touch.

use crate::order::Sorted as _;
use std::ops::Range;

/// What is in `range` and in none of `known`, which ascend.
pub(in crate::event_log) fn without(range: Range<u64>, known: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut left, mut at) = (Vec::new(), range.start);
    for known in known.iter().filter(|known| known.start < range.end && known.end > range.start) {
        if known.start > at {
            left.push(at..known.start);
        }
        at = at.max(known.end);
    }
    if at < range.end {
        left.push(at..range.end);
    }
    left
}

/// How many sequences of `range` are in `known`.
pub(in crate::event_log) fn common(range: &Range<u64>, known: &[Range<u64>]) -> u64 {
    let within = |known: &Range<u64>| known.end.min(range.end).saturating_sub(known.start.max(range.start));
    known.iter().map(within).sum()
}

/// What of `ranges` is in `range`.
pub(in crate::event_log) fn within(ranges: &[Range<u64>], range: &Range<u64>) -> Vec<Range<u64>> {
    let cut = |one: &Range<u64>| one.start.max(range.start)..one.end.min(range.end);
    ranges.iter().map(cut).filter(|range| !range.is_empty()).collect()
}

/// Sorted, and joined where they touch or overlap.
pub(in crate::event_log) fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.order_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_left_out() {
        assert_eq!(without(10..20, &[]), [10..20, 0..0][..1]);
        assert_eq!(without(10..20, &[0..5, 12..14, 18..30]), [10..12, 14..18]);
        assert_eq!(without(10..20, &[0..15, 15..40]), []);
        assert_eq!(without(10..20, &[0..10, 20..21]), [10..20, 0..0][..1]);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(joined(vec![5..7, 1..3, 3..4, 9..9, 6..8]), [1..4, 5..8]);
        assert_eq!(common(&(2..7), &[1..4, 5..8]), 4);
    }
}
