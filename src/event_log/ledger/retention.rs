//! What may go, and what must: decides from the sealed generations of both lanes which are removed.
//!
//! Pure; the writer carries it out. Generations that every cursor has passed are history: kept up to a bound, removed
//! silently and first. What has become too old goes in any case. When the log's share of the disk is used up and no
//! history is left, the oldest routine generation goes, and only when there is none the oldest urgent one. Routine
//! events never take the part that is kept for urgent ones. What consumers lose by a removal is recorded.

use crate::event_log::{disk::row::Sealed, lane::Lane};
use crate::order::Sorted as _;

/// Bounds on the disk, bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::event_log) struct Bounds {
    pub(in crate::event_log) disk_bytes_max: u64,
    /// What routine generations may take of that.
    pub(in crate::event_log) routine_bytes_max: u64,
    /// `None` removes what every cursor has passed at once.
    pub(in crate::event_log) history_bytes: Option<u64>,
    /// What was sealed before this age of the log, in milliseconds, has expired.
    pub(in crate::event_log) expired_before: u64,
}

/// A lane as retention sees it.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Candidates {
    pub(in crate::event_log) lane: Lane,
    /// Oldest first.
    pub(in crate::event_log) sealed: Vec<Sealed>,
    /// What every consumer has durably taken; `None` when there is no consumer, and all of it is history.
    pub(in crate::event_log) passed: Option<u64>,
}

impl Candidates {
    /// What every consumer has.
    pub(in crate::event_log) fn history(&self) -> impl Iterator<Item = (Lane, &Sealed)> {
        self.sealed.iter().filter(|sealed| is_history(self, sealed)).map(|sealed| (self.lane, sealed))
    }
}

/// A generation that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Removal {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) number: u64,
    /// Whether somebody had not taken all of it.
    pub(in crate::event_log) loses: bool,
}

/// Decides. `other_bytes` is what is not sealed: generations being written, cursors, ballast and the like.
pub(in crate::event_log) fn decide(bounds: Bounds, lanes: &[Candidates], other_bytes: u64) -> Vec<Removal> {
    let mut kept: Vec<(Lane, &Sealed, bool)> = lanes
        .iter()
        .flat_map(|lane| lane.sealed.iter().map(|sealed| (lane.lane, sealed, is_history(lane, sealed))))
        .collect();
    // In the order in which they go: history first, then routine before urgent, oldest first.
    kept.order_by_key(|(lane, sealed, history)| (!history, *lane == Lane::Urgent, sealed.number));
    let mut history: u64 = kept.iter().filter(|k| k.2).map(|k| k.1.disk_bytes).sum();
    let mut total = other_bytes + kept.iter().map(|k| k.1.disk_bytes).sum::<u64>();
    let mut routine: u64 = kept.iter().filter(|k| k.0 == Lane::Routine).map(|k| k.1.disk_bytes).sum();
    let mut removals = Vec::new();
    for (lane, sealed, passed) in kept {
        let goes = total > bounds.disk_bytes_max
            || (lane == Lane::Routine && routine > bounds.routine_bytes_max)
            || sealed.summary.sealed_at < bounds.expired_before
            || (passed && bounds.history_bytes.is_none_or(|max| history > max));
        if goes {
            total = total.saturating_sub(sealed.disk_bytes);
            routine -= if lane == Lane::Routine { sealed.disk_bytes } else { 0 };
            history -= if passed { sealed.disk_bytes } else { 0 };
            removals.push(Removal { lane, number: sealed.number, loses: !passed });
        }
    }
    removals
}

fn is_history(lane: &Candidates, sealed: &Sealed) -> bool {
    lane.passed.is_none_or(|passed| sealed.summary.next_sequence <= passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::disk::summary::Summary;

    /// Generations of 10 bytes and 100 events each.
    fn lane(lane: Lane, count: u64, passed: u64) -> Candidates {
        let sealed = (0..count)
            .map(|number| Sealed {
                number,
                summary: Summary {
                    first_sequence: number * 100 + 1,
                    next_sequence: number * 100 + 101,
                    sealed_at: number * 1000,
                    ..Summary::default()
                },
                disk_bytes: 10,
            })
            .collect();
        Candidates { lane, sealed, passed: Some(passed) }
    }

    fn numbers(removals: &[Removal]) -> Vec<(Lane, u64, bool)> {
        removals.iter().map(|r| (r.lane, r.number, r.loses)).collect()
    }

    #[test]
    fn within_the_bounds_nothing_goes() {
        let bounds =
            Bounds { routine_bytes_max: 1000, disk_bytes_max: 100, history_bytes: Some(30), expired_before: 0 };
        assert!(decide(bounds, &[lane(Lane::Routine, 9, 301)], 10).is_empty());
    }

    #[test]
    fn history_beyond_its_bound_goes_silently_and_oldest_first() {
        let bounds =
            Bounds { routine_bytes_max: 1000, disk_bytes_max: 1000, history_bytes: Some(20), expired_before: 0 };
        let removals = decide(bounds, &[lane(Lane::Routine, 9, 501)], 0);
        assert_eq!(
            numbers(&removals),
            [(Lane::Routine, 0, false), (Lane::Routine, 1, false), (Lane::Routine, 2, false)]
        );
    }

    #[test]
    fn without_history_a_generation_goes_as_soon_as_every_cursor_has_passed_it() {
        let bounds = Bounds { routine_bytes_max: 1000, disk_bytes_max: 1000, history_bytes: None, expired_before: 0 };
        let removals = decide(bounds, &[lane(Lane::Routine, 3, 150)], 0);
        assert_eq!(numbers(&removals), [(Lane::Routine, 0, false)]);
    }

    #[test]
    fn over_the_cap_history_goes_first_then_routine_then_urgent() {
        let bounds =
            Bounds { routine_bytes_max: 1000, disk_bytes_max: 15, history_bytes: Some(1000), expired_before: 0 };
        let removals = decide(bounds, &[lane(Lane::Urgent, 2, 0), lane(Lane::Routine, 3, 101)], 0);
        assert_eq!(
            numbers(&removals),
            [(Lane::Routine, 0, false), (Lane::Routine, 1, true), (Lane::Routine, 2, true), (Lane::Urgent, 0, true)]
        );
    }

    #[test]
    fn routine_events_leave_to_urgent_ones_what_is_kept_for_them() {
        let bounds = Bounds { disk_bytes_max: 100, routine_bytes_max: 20, history_bytes: None, expired_before: 0 };
        let removals = decide(bounds, &[lane(Lane::Urgent, 6, 0), lane(Lane::Routine, 4, 0)], 0);
        assert_eq!(numbers(&removals), [(Lane::Routine, 0, true), (Lane::Routine, 1, true)]);
    }

    #[test]
    fn what_is_too_old_goes_and_says_whether_somebody_loses_by_it() {
        let bounds =
            Bounds { routine_bytes_max: 1000, disk_bytes_max: 1000, history_bytes: Some(1000), expired_before: 1500 };
        let removals = decide(bounds, &[lane(Lane::Routine, 3, 101)], 0);
        assert_eq!(numbers(&removals), [(Lane::Routine, 0, false), (Lane::Routine, 1, true)]);
    }

    #[test]
    fn without_consumers_everything_is_history() {
        let mut all = lane(Lane::Routine, 3, 0);
        all.passed = None;
        assert_eq!(
            decide(
                Bounds { routine_bytes_max: 1000, disk_bytes_max: 1000, history_bytes: None, expired_before: 0 },
                &[all],
                0
            )
            .len(),
            3
        );
    }
}
