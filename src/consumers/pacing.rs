//! When to try again: the part of pacing that many agents at once depend on, so that the simulation of a herd uses this
//! very code. Pure.

use std::time::Duration;

use crate::backoff::Backoff;

/// First and longest wait between attempts, unless the settings say otherwise.
pub const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// The shortest wait that is taken from a controller: one that asks for less in a loop is not asked again at once.
const ASKED_MIN: Duration = Duration::from_millis(100);

/// The waits of one consumer.
#[derive(Clone, Debug)]
pub struct Pacing {
    backoff: Backoff,
    /// Instead of it: the waits one after the other, the last one again and again.
    schedule: Vec<Duration>,
    /// How many of them were taken since the last success.
    taken: usize,
    /// How long what is refused waits.
    pub(super) cap: Duration,
}

impl Default for Pacing {
    fn default() -> Pacing {
        Pacing::new(BACKOFF.0, BACKOFF.1)
    }
}

impl Pacing {
    /// The first wait is at most `first`, later ones at most `cap`, where the other side does not say; what is refused waits for `cap`.
    pub fn new(first: Duration, cap: Duration) -> Pacing {
        Pacing { backoff: Backoff::new(first, cap), schedule: Vec::new(), taken: 0, cap }
    }

    /// Waits for these one after the other, where there are any, and for the last one from then on.
    #[must_use]
    pub fn with_schedule(self, schedule: Vec<Duration>) -> Pacing {
        let cap = schedule.last().copied().unwrap_or(self.cap);
        Pacing { schedule, cap, ..self }
    }

    /// How long to wait after a failure. Another side that says when (`asked`, zero otherwise) knows how much there is to do,
    /// and is heeded: its wait, and up to half as much more, so that those who were told the same do not come back in
    /// step. Without such a word the waits grow. `random` is evenly from 0 to 1.
    pub fn wait(&mut self, asked: Duration, random: f64) -> Duration {
        if !asked.is_zero() {
            return asked.max(ASKED_MIN).mul_f64(1.0 + random / 2.0);
        }
        let Some(scheduled) = self.schedule.get(self.taken).or(self.schedule.last()) else {
            return self.backoff.next(random);
        };
        self.taken += 1;
        *scheduled
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.backoff.reset();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_says_when_is_heeded_and_not_by_all_at_the_same_moment() {
        let mut pacing = Pacing::default();
        let asked = Duration::from_secs(4);
        assert_eq!([0.0, 0.5, 1.0].map(|random| pacing.wait(asked, random).as_secs_f64()), [4.0, 5.0, 6.0]);
    }

    #[test]
    fn without_a_word_on_when_the_waits_grow_to_the_cap() {
        let mut pacing = Pacing::default();
        let waits: Vec<_> = (0..50).map(|_| pacing.wait(Duration::ZERO, 1.0)).collect();
        assert_eq!((waits[0], waits[49]), BACKOFF);
        pacing.reset();
        assert_eq!(pacing.wait(Duration::ZERO, 1.0), BACKOFF.0);
    }

    #[test]
    fn a_schedule_is_kept_to_and_begins_anew_after_a_success() {
        let [first, last] = [60, 300].map(Duration::from_secs);
        let mut pacing = Pacing::default().with_schedule(vec![first, last]);
        let waits: Vec<_> = (0..3).map(|_| pacing.wait(Duration::ZERO, 0.5)).collect();
        assert_eq!(waits, [first, last, last]);
        pacing.reset();
        assert_eq!(pacing.wait(Duration::ZERO, 0.5), first);
    }
}
