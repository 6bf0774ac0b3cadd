//! A loop's signs of life, for whoever watches it.
//!
//! The loop says each time that it comes round, at least every [`BEAT`] while all is well, and before a wait that takes
//! longer, how long it may take at the most. What a silence means is not decided here: a disk may be to blame.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A loop that waits for nothing in particular comes round this often.
pub const BEAT: Duration = Duration::from_secs(3);

/// The signs of one loop. Cheap to copy; every copy is of the same loop.
#[derive(Clone)]
pub struct Pulse {
    shared: Arc<Shared>,
}

struct Shared {
    started: Instant,
    beats: AtomicU64,
    /// Until then no beat is owed, milliseconds since `started`.
    excused: AtomicU64,
    runs: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Pulse {
        let (beats, excused, runs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Pulse { shared: Arc::new(Shared { started: Instant::now(), beats, excused, runs }) }
    }
}

impl Pulse {
    /// The loop comes round; from the first time on it is to be watched.
    pub fn beat(&self) {
        self.shared.excused.store(0, Ordering::Relaxed);
        self.shared.runs.store(true, Ordering::Relaxed);
        self.shared.beats.fetch_add(1, Ordering::Release);
    }

    /// A wait begins that ends by itself within `wait_max`; no beat is owed until then.
    pub fn wait(&self, wait_max: Duration) {
        let until = (self.shared.started.elapsed() + wait_max).as_millis();
        self.shared.excused.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.shared.beats.fetch_add(1, Ordering::Release);
    }

    /// The loop has ended, as it should: nothing is owed any more.
    pub fn rest(&self) {
        self.shared.runs.store(false, Ordering::Relaxed);
    }

    /// How often it has beaten.
    pub fn beats(&self) -> u64 {
        self.shared.beats.load(Ordering::Acquire)
    }

    /// Whether a beat is owed at this moment: the loop runs and has not said that it waits.
    pub fn owes(&self, now: Instant) -> bool {
        let excused = Duration::from_millis(self.shared.excused.load(Ordering::Relaxed));
        self.shared.runs.load(Ordering::Relaxed) && now >= self.shared.started + excused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_owes_a_beat_while_it_runs_and_has_not_said_that_it_waits() {
        let (pulse, now) = (Pulse::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(!pulse.owes(later(0)), "it has not begun");
        pulse.beat();
        assert!(pulse.owes(later(0)));
        pulse.wait(Duration::from_secs(40));
        assert!(!pulse.owes(later(39)) && pulse.owes(later(41)));
        pulse.beat();
        assert!(pulse.owes(later(1)), "the wait is over");
        assert_eq!(pulse.beats(), 3);
        pulse.rest();
        assert!(!pulse.owes(later(1000)));
    }
}
