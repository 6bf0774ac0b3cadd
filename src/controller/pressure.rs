//! How the store keeps up: batches that wait for it, for how long, and whether it takes them at all. `service` asks
//! before it takes another batch: a caller that is told when to come back is better off than one that waits until its
//! call runs out. The health of the controller is read here too.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::{backoff, lock::lock};

/// Batches that wait for the store; more are refused.
pub const WAITING_MAX: usize = 512;

/// When the oldest batch that waits is older than this, the store is slow, and only a few may try.
pub const AGE_MAX: Duration = Duration::from_secs(5);

/// Batches that are let through to a slow store: what comes of them tells whether it is fast again.
const PROBES_MAX: usize = 8;

/// How long the store counts as failing after it has failed: with nobody sent here any more, nobody could find out
/// that it works again.
const FAILING_TIME: Duration = Duration::from_secs(10);

/// The wait that is asked for: at least, at most.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// When to come back: after as long as a batch waits now (`age`), and up to five times that the more of them wait; half as
/// much more or less, so that those who were refused together do not come back together. `random` is from 0 to 1.
pub fn wait(age: Duration, waiting: usize, random: f64) -> Duration {
    let queue = waiting as f64 / WAITING_MAX as f64;
    age.max(WAIT_MIN).mul_f64(1.0 + 4.0 * queue).mul_f64(0.5 + random).clamp(WAIT_MIN, WAIT_MAX)
}

/// What is known of the store.
#[derive(Default)]
pub(super) struct Pressure {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Since when each batch waits, by its number: the first is the oldest.
    waiting: BTreeMap<u64, Instant>,
    next: u64,
    /// How long batches wait, lately.
    pace: Duration,
    failed_at: Option<Instant>,
}

/// The store has enough to do: come back after so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Busy {
    pub(super) after: Duration,
}

/// A batch that waits for the store, until this is dropped.
pub(super) struct Waiting<'a> {
    pressure: &'a Pressure,
    number: u64,
}

impl Pressure {
    /// Whether another batch would be taken.
    pub(super) fn check(&self, now: Instant) -> Result<(), Busy> {
        self.known().check(now, backoff::random)
    }

    /// Counts a batch that waits for the store.
    pub(super) fn enter(&self, now: Instant) -> Result<Waiting<'_>, Busy> {
        let mut known = self.known();
        known.check(now, backoff::random)?;
        let number = known.next;
        known.next += 1;
        known.waiting.insert(number, now);
        Ok(Waiting { pressure: self, number })
    }

    /// When to come back whose batch has waited in vain.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.known().wait(now, backoff::random())
    }

    /// Notes whether the store has taken a batch.
    pub(super) fn note(&self, taken: bool, now: Instant) {
        self.known().failed_at = (!taken).then_some(now);
    }

    /// Whether the store has failed lately and taken nothing since.
    pub(super) fn store_fails(&self, now: Instant) -> bool {
        self.known().failed_at.is_some_and(|at| now.saturating_duration_since(at) < FAILING_TIME)
    }

    /// Batches that wait.
    pub(super) fn waiting(&self) -> usize {
        self.known().waiting.len()
    }

    /// For how long the oldest batch has been waiting.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.known().age(now)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Known {
    /// `random`, from 0 to 1, spreads those who come back; it is drawn for them alone.
    fn check(&self, now: Instant, random: impl FnOnce() -> f64) -> Result<(), Busy> {
        let slow = self.age(now) > AGE_MAX && self.waiting.len() >= PROBES_MAX;
        if slow || self.waiting.len() >= WAITING_MAX {
            return Err(Busy { after: self.wait(now, random()) });
        }
        Ok(())
    }

    fn wait(&self, now: Instant, random: f64) -> Duration {
        wait(self.pace.max(self.age(now)), self.waiting.len(), random)
    }

    fn age(&self, now: Instant) -> Duration {
        self.waiting.first_key_value().map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }

    fn leave(&mut self, number: u64, now: Instant) {
        if let Some(since) = self.waiting.remove(&number) {
            // A mean in which each batch counts for an eighth.
            self.pace = self.pace.mul_f64(0.875) + now.saturating_duration_since(since).mul_f64(0.125);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pressure.known().leave(self.number, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;

    #[test]
    fn more_batches_than_the_store_can_hold_are_told_when_to_come_back() {
        let (pressure, start) = (Pressure::default(), Instant::now());
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| pressure.enter(start).expect("there is room")).collect();
        let after =
            |seconds| pressure.known().check(start + Duration::from_secs(seconds), || MIDDLE).expect_err("full").after;
        assert_eq!((after(0), after(4), after(1000)), (WAIT_MIN * 5, Duration::from_secs(20), WAIT_MAX));
        assert!(pressure.enter(start).is_err());
        drop(waiting);
        assert_eq!((pressure.waiting(), pressure.known().check(start, || MIDDLE)), (0, Ok(())));
    }

    #[test]
    fn a_store_that_stands_still_gets_a_few_batches_and_the_wait_grows_with_the_queue() {
        let (pressure, start) = (Pressure::default(), Instant::now());
        let late = start + AGE_MAX + Duration::from_secs(1);
        let mut waiting: Vec<_> = (1..PROBES_MAX).map(|_| pressure.enter(start).expect("a probe")).collect();
        assert_eq!(pressure.known().check(late, || MIDDLE), Ok(()));
        waiting.push(pressure.enter(start).expect("the last probe"));
        let few = pressure.known().check(late, || MIDDLE).expect_err("slow").after;
        waiting.extend((0..100).map(|_| pressure.enter(start).expect("not slow then")));
        let many = pressure.known().check(late, || MIDDLE).expect_err("slow").after;
        assert!(Duration::from_secs(6) < few && few < many, "{few:?} {many:?}");
        let soon = pressure.known().check(late, || 0.0).expect_err("slow").after;
        let later = pressure.known().check(late, || 1.0).expect_err("slow").after;
        assert!(soon < many && many < later);
    }

    #[test]
    fn a_failing_store_counts_as_failing_until_it_takes_something_or_for_a_while() {
        let (pressure, start) = (Pressure::default(), Instant::now());
        assert!(!pressure.store_fails(start));
        pressure.note(false, start);
        assert!(pressure.store_fails(start + Duration::from_secs(1)));
        assert!(!pressure.store_fails(start + FAILING_TIME));
        pressure.note(true, start);
        assert!(!pressure.store_fails(start));
    }
}
