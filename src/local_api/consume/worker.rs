//! What a worker of a program was given and has not committed, and what of it is to come again.
//!
//! Pure. Always holds: a worker is given its events in order; while one that comes again alone is with it, nothing behind that is.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    consumers::{
        self,
        programs::{Attachment, Uncommitted},
    },
    dead_letters::Letter,
    event::Head,
    event_log::Run,
};

/// A worker, in one lane.
pub(super) struct Worker {
    /// With the worker: given and not committed, ascending.
    given: VecDeque<Uncommitted>,
    /// To be given, again or at last; ascending, and behind those.
    waiting: VecDeque<Uncommitted>,
    /// Sequence after the last that it was given.
    end: u64,
    /// Since when it has committed nothing of what is with it.
    since: Instant,
}

/// What of the waiting events may be given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// From this one on.
    From(u64),
    /// This one alone.
    Alone(u64),
    /// This one was given alone as often as it may.
    Never(u64),
}

impl Worker {
    /// One that has everything before `end`.
    pub(super) fn new(end: u64) -> Worker {
        Worker { given: VecDeque::new(), waiting: VecDeque::new(), end, since: Instant::now() }
    }

    /// The first that is not committed.
    pub(super) fn first(&self) -> Option<u64> {
        self.given.front().or(self.waiting.front()).map(|part| part.sequences.start)
    }

    /// Whether what is read next has to wait behind what it has.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.given.front().is_some_and(|part| part.alone)
    }

    /// It is given these, which have been given so often before.
    pub(super) fn give(&mut self, sequences: Range<u64>, before: u32) {
        self.put(Uncommitted { sequences, deliveries: before.saturating_add(1), alone: false });
    }

    fn put(&mut self, part: Uncommitted) {
        if self.given.is_empty() {
            self.since = Instant::now();
        }
        self.end = self.end.max(part.sequences.end);
        join(&mut self.given, part);
    }

    /// This one was read and is to be given later; it was given so often before, the last time alone or not.
    pub(super) fn wait(&mut self, sequence: u64, deliveries: u32, alone: bool) {
        join(&mut self.waiting, Uncommitted { sequences: sequence..sequence + 1, deliveries, alone });
    }

    /// It has everything up to this one, unless it was never given that far. Gives how many that are.
    pub(super) fn commit(&mut self, sequence: u64) -> Option<u64> {
        (sequence < self.end).then(|| self.drop_until(sequence + 1))
    }

    /// What is before `end` is done with. Gives how many events that are.
    pub(super) fn drop_until(&mut self, end: u64) -> u64 {
        let count = cut_until(&mut self.given, end) + cut_until(&mut self.waiting, end);
        if count > 0 {
            self.since = Instant::now();
        }
        count
    }

    /// What waits before `end` cannot be given any more. Gives how many events that are.
    pub(super) fn drop_waiting_until(&mut self, end: u64) -> u64 {
        cut_until(&mut self.waiting, end)
    }

    /// When what it has is to come again, if it commits nothing.
    pub(super) fn due(&self, after: Duration) -> Option<Instant> {
        (!self.given.is_empty()).then(|| self.since + after)
    }

    /// What is with it is to come again.
    pub(super) fn take_back(&mut self) {
        while let Some(part) = self.given.pop_back() {
            self.waiting.push_front(part);
        }
    }

    /// What may be given of what waits; an event that comes again comes alone if it may come so often only.
    pub(super) fn next(&self, deliveries_max: u32) -> Option<Next> {
        let Uncommitted { sequences, deliveries, alone } = self.waiting.front()?;
        if deliveries_max == 0 || *deliveries == 0 {
            let is_free = !self.given.front().is_some_and(|part| part.alone);
            return is_free.then_some(Next::From(sequences.start));
        }
        let what = if *alone && *deliveries >= deliveries_max { Next::Never } else { Next::Alone };
        self.given.is_empty().then(|| what(sequences.start))
    }

    /// The first that waits is with it now, alone or not. Gives how often it was given with that, and `None` when it is another.
    pub(super) fn take_up(&mut self, sequence: u64, alone: bool) -> Option<u32> {
        let first = self.waiting.front_mut().filter(|part| part.sequences.start == sequence)?;
        let deliveries = first.deliveries.saturating_add(1);
        first.sequences.start += 1;
        if first.sequences.is_empty() {
            self.waiting.pop_front();
        }
        self.put(Uncommitted { sequences: sequence..sequence + 1, deliveries, alone });
        Some(deliveries)
    }

    /// The first that waits may come once more, though it came as often as it may.
    pub(super) fn spare(&mut self) {
        if let Some(first) = self.waiting.front_mut() {
            first.alone = false;
        }
    }

    /// The first that wait without one between.
    pub(super) fn waiting(&self) -> Option<&Uncommitted> {
        self.waiting.front()
    }

    /// What it was given and has not committed.
    pub(super) fn left(&self) -> impl Iterator<Item = &Uncommitted> {
        self.given.iter().chain(&self.waiting).filter(|part| part.deliveries > 0)
    }
}

/// Whose an event is of so many workers: all about one subject are one's.
pub(super) fn share(event: &[u8], workers: usize) -> usize {
    if workers <= 1 {
        return 0;
    }
    crc32c::crc32c(Head::name_of(event).as_bytes()) as usize % workers
}

/// What is kept of an event that came so often.
pub(super) fn letter(run: &Run, event: Bytes, attachment: &Attachment, deliveries: u32) -> Letter {
    Letter {
        refusals: deliveries,
        code: "not committed".to_owned(),
        message: format!("given {deliveries} times and not committed"),
        ..consumers::letter(run, event, attachment.name(), attachment.now())
    }
}

/// Takes what is before `end` out of these. Gives how many events that are.
fn cut_until(parts: &mut VecDeque<Uncommitted>, end: u64) -> u64 {
    let mut count = 0;
    while let Some(first) = parts.front_mut()
        && first.sequences.start < end
    {
        let until = first.sequences.end.min(end);
        count += until - first.sequences.start;
        first.sequences.start = until;
        if first.sequences.is_empty() {
            parts.pop_front();
        }
    }
    count
}

fn join(parts: &mut VecDeque<Uncommitted>, part: Uncommitted) {
    if !parts.back_mut().is_some_and(|last| last.join(&part)) {
        parts.push_back(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_commits_what_it_was_given_and_no_more() {
        let mut worker = Worker::new(1);
        worker.give(3..5, 0);
        worker.give(7..9, 0);
        assert_eq!((worker.first(), worker.commit(9)), (Some(3), None));
        assert_eq!((worker.commit(3), worker.commit(3), worker.first()), (Some(1), Some(0), Some(4)));
        assert_eq!((worker.commit(8), worker.first()), (Some(3), None));
    }

    #[test]
    fn what_is_not_committed_comes_again_in_order_before_what_was_read_meanwhile() {
        let mut worker = Worker::new(1);
        worker.give(1..3, 0);
        assert!(!worker.is_behind() && worker.due(Duration::ZERO).is_some());
        worker.take_back();
        assert!(worker.is_behind() && worker.due(Duration::ZERO).is_none());
        worker.wait(5, 0, false);
        assert_eq!(worker.next(0), Some(Next::From(1)));
        assert_eq!([1, 2, 5].map(|sequence| worker.take_up(sequence, false)), [Some(2), Some(2), Some(1)]);
        let left: Vec<_> = worker.left().map(|left| (left.sequences.clone(), left.deliveries)).collect();
        assert_eq!(left, [(1..3, 2), (5..6, 1)]);
        // Late, but it was given that far.
        worker.take_back();
        assert_eq!((worker.commit(5), worker.first()), (Some(3), None));
    }

    #[test]
    fn what_is_gone_of_what_waits_leaves_what_was_given_to_be_committed() {
        let mut worker = Worker::new(1);
        worker.give(1..3, 0);
        worker.give(7..9, 0);
        worker.take_back();
        assert_eq!([1, 2].map(|sequence| worker.take_up(sequence, false)), [Some(2), Some(2)]);
        assert_eq!((worker.drop_waiting_until(8), worker.first()), (1, Some(1)), "the cursor stays before it");
        assert_eq!((worker.commit(2), worker.first()), (Some(2), Some(8)));
    }

    #[test]
    fn with_a_bound_what_comes_again_comes_alone_and_ends_when_it_was_alone_as_often() {
        let mut worker = Worker::new(1);
        worker.give(1..4, 0);
        worker.take_back();
        assert_eq!(worker.next(2), Some(Next::Alone(1)));
        assert_eq!(worker.take_up(1, true), Some(2));
        assert_eq!((worker.next(2), worker.is_behind()), (None, true), "nothing beside it");
        worker.take_back();
        assert_eq!(worker.next(2), Some(Next::Never(1)));
        worker.spare();
        assert_eq!(worker.next(2), Some(Next::Alone(1)));
        assert_eq!((worker.drop_until(2), worker.next(2)), (1, Some(Next::Alone(2))), "it was not alone to blame");
    }
}
