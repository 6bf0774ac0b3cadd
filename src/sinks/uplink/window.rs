//! How many batches of a lane may be on their way at once: one towards a controller that only speaks the published
//! contract; towards one that sorts by sequence, one more for each round of quick answers, and half as many after a
//! slow answer or a refusal (additive increase, multiplicative decrease).
//!
//! What is slow is measured against the controller itself: more than twice the quickest answer of the last
//! [`BASELINE_ANSWERS`], and more than [`QUICK`] in any case, so that a store that groups what it writes is not taken for
//! a crowded one. Pure: whoever asks brings the times.

use std::time::Duration;

/// The most batches of a lane in flight.
pub const WINDOW_MAX: usize = 8;

/// An answer within this is never slow.
const QUICK: Duration = Duration::from_millis(100);

/// How many answers the baseline looks back on.
const BASELINE_ANSWERS: u32 = 100;

/// The window of one connection.
#[derive(Clone, Debug)]
pub struct Window {
    limit: usize,
    /// Quick answers since the limit was last changed.
    quick: usize,
    /// Answers still to come from before the last halving; they say nothing of the smaller window.
    stale: usize,
    baseline: Baseline,
}

/// The quickest of the last answers, in two halves of which the older is dropped.
#[derive(Clone, Debug)]
struct Baseline {
    older: Duration,
    newer: Duration,
    answers: u32,
}

impl Default for Window {
    fn default() -> Window {
        let baseline = Baseline { older: Duration::MAX, newer: Duration::MAX, answers: 0 };
        Window { limit: 1, quick: 0, stale: 0, baseline }
    }
}

impl Window {
    /// How many batches of a lane may be in flight.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A batch was delivered. `sorts`: the controller sorts by sequence; `in_flight`: batches still on their way.
    pub fn delivered(&mut self, latency: Duration, sorts: bool, in_flight: usize) {
        let slow = latency > QUICK.max(self.baseline.quickest().saturating_mul(2));
        self.baseline.note(latency);
        if !sorts {
            (self.limit, self.quick) = (1, 0);
        } else if self.stale > 0 {
            self.stale -= 1;
        } else if slow {
            self.halve(in_flight);
        } else {
            self.quick += 1;
            if self.quick >= self.limit && self.limit < WINDOW_MAX {
                (self.limit, self.quick) = (self.limit + 1, 0);
            }
        }
    }

    /// A batch was refused for now, with so many others still on their way.
    pub fn refused(&mut self, in_flight: usize) {
        match self.stale {
            0 => self.halve(in_flight),
            _ => self.stale -= 1,
        }
    }

    /// There was an answer that says nothing of how busy the controller is.
    pub fn answered(&mut self) {
        self.stale = self.stale.saturating_sub(1);
    }

    fn halve(&mut self, in_flight: usize) {
        (self.limit, self.quick, self.stale) = ((self.limit / 2).max(1), 0, in_flight);
    }
}

impl Baseline {
    fn quickest(&self) -> Duration {
        self.older.min(self.newer)
    }

    fn note(&mut self, latency: Duration) {
        self.newer = self.newer.min(latency);
        self.answers += 1;
        if self.answers >= BASELINE_ANSWERS / 2 {
            *self = Baseline { older: self.newer, newer: Duration::MAX, answers: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(3);

    fn grown() -> Window {
        let mut window = Window::default();
        (0..100).for_each(|_| window.delivered(FAST, true, 0));
        window
    }

    #[test]
    fn quick_answers_open_the_window_by_one_a_round_up_to_its_bound() {
        let mut window = Window::default();
        let limits: Vec<_> = (0..40)
            .map(|_| {
                window.delivered(FAST, true, 0);
                window.limit()
            })
            .collect();
        assert_eq!(limits[..7], [2, 2, 3, 3, 3, 4, 4]);
        assert_eq!(window.limit(), WINDOW_MAX);
    }

    #[test]
    fn a_controller_of_the_plain_contract_gets_one_batch_of_a_lane_at_a_time() {
        let mut window = Window::default();
        (0..100).for_each(|_| window.delivered(FAST, false, 0));
        assert_eq!(window.limit(), 1);
        let mut window = grown();
        window.delivered(FAST, false, 3);
        assert_eq!(window.limit(), 1, "also when another one answers behind the same name");
    }

    #[test]
    fn a_refusal_halves_once_for_all_that_was_on_its_way() {
        let mut window = grown();
        for in_flight in (0..8).rev() {
            window.refused(in_flight);
        }
        assert_eq!(window.limit(), WINDOW_MAX / 2);
        window.refused(0);
        assert_eq!(window.limit(), WINDOW_MAX / 4);
        (0..9).for_each(|_| window.refused(0));
        assert_eq!(window.limit(), 1);
    }

    #[test]
    fn slow_is_more_than_twice_the_controllers_own_pace() {
        let mut window = grown();
        window.delivered(Duration::from_millis(90), true, 0);
        assert_eq!(window.limit(), WINDOW_MAX, "within what is always quick");
        window.delivered(Duration::from_millis(110), true, 0);
        assert_eq!(window.limit(), WINDOW_MAX / 2);
        let mut far = Window::default();
        (0..200).for_each(|_| far.delivered(Duration::from_millis(300), true, 0));
        assert_eq!(far.limit(), WINDOW_MAX, "far away is not slow");
        far.delivered(Duration::from_millis(601), true, 0);
        assert_eq!(far.limit(), WINDOW_MAX / 2);
    }

    #[test]
    fn a_controller_that_stays_slower_becomes_the_new_baseline() {
        let mut window = grown();
        (0..BASELINE_ANSWERS).for_each(|_| window.delivered(Duration::from_millis(400), true, 0));
        (0..100).for_each(|_| window.delivered(Duration::from_millis(400), true, 0));
        assert_eq!(window.limit(), WINDOW_MAX);
    }
}
