//! A loop's signs of life, for whoever watches it: they tell a loop that is stuck from a disk that is slow.
//!
//! The loop says each time that it comes round, at least every [`BEAT`] while all is well; before a wait that ends by
//! itself, how long that may take at the most; and when it is at the disk, which may take as long as it likes.
//!
//! Always holds: of a silence only what was seen counts, from one look to the next. A machine that was suspended, a
//! process that was stopped and a watcher that was given no processor make nobody stuck.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A loop that waits for nothing in particular comes round this often.
pub const BEAT: Duration = Duration::from_secs(5);

/// Waits for the next of the moments that lie this far apart for the whole program. Loops that come round every few seconds do
/// so in the same moments: where nothing happens the machine is woken once for all of them. Cancel safe.
pub async fn round(interval: Duration) {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let now = tokio::time::Instant::now();
    let since = now.into_std().saturating_duration_since(*FIRST).as_nanos();
    let passed = since.checked_rem(interval.as_nanos()).unwrap_or_default();
    let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or_default());
    tokio::time::sleep_until(now + interval - passed).await;
}

/// A loop that has been seen to be silent for so long, and not at the disk, is stuck. A new process must be there within
/// thirty seconds; no loop computes for a fraction of this without coming round.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);

/// Who is at the disk for longer has one that hangs.
const HUNG_AFTER: Duration = Duration::from_secs(30);

/// As much counts of the time between two looks: who was not looking has not seen that nothing moved.
const LOOK_MAX: Duration = Duration::from_secs(6);

/// The signs of one loop. Cheap to copy; every copy is of the same loop.
#[derive(Clone, Default)]
pub struct Pulse {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Whether it has begun, and has not come to rest.
    runs: bool,
    /// Until then no beat is owed.
    excused: Option<Instant>,
    /// Since when it is at the disk, for each guard that is open.
    at_disk: Vec<Instant>,
    /// Whether it has given a sign since the last look.
    moved: bool,
    silent: Duration,
    /// The last look, if the loop owed a beat then.
    looked: Option<Instant>,
}

/// While this is open the loop is at the disk.
#[must_use = "the loop is at the disk for as long as this is kept"]
pub struct AtDisk {
    pulse: Pulse,
    since: Instant,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// For how long the loop has owed a beat and given none, while it was not at the disk.
    pub silent: Duration,
    /// For how long it has been at the disk, if it is.
    pub at_disk: Option<Duration>,
}

impl Pulse {
    /// The loop comes round; from the first time on it is to be watched.
    pub fn beat(&self) {
        let mut state = self.lock();
        (state.runs, state.excused, state.moved) = (true, None, true);
    }

    /// A wait begins that ends by itself within `wait_max`; no beat is owed until then.
    pub fn wait(&self, wait_max: Duration) {
        let mut state = self.lock();
        (state.excused, state.moved) = (Some(Instant::now() + wait_max), true);
    }

    /// The loop has ended, as it should, or has nothing to do: nothing is owed any more.
    pub fn rest(&self) {
        let mut state = self.lock();
        (state.runs, state.moved) = (false, true);
    }

    /// The loop, or a thread that it waits for, goes to the disk. Guards may be open one within another and in several
    /// threads; it is there until the last is dropped.
    pub fn at_disk(&self) -> AtDisk {
        let since = Instant::now();
        self.lock().at_disk.push(since);
        AtDisk { pulse: self.clone(), since }
    }

    /// Awaits what comes from the disk.
    ///
    /// # Cancel safety
    /// As that is.
    pub async fn await_disk<T>(&self, work: impl Future<Output = T>) -> T {
        let _at_disk = self.at_disk();
        work.await
    }

    /// How the loop is doing. To be asked every few seconds, for a silence is measured from look to look; by several, if
    /// need be. `has_work` is whether there is something that a loop at rest should have taken up.
    pub fn look(&self, now: Instant, has_work: bool) -> Signs {
        let mut state = self.lock();
        let owes =
            (state.runs || has_work) && state.excused.is_none_or(|until| now >= until) && state.at_disk.is_empty();
        state.silent = match state.looked {
            Some(looked) if owes && !state.moved => state.silent + now.saturating_duration_since(looked).min(LOOK_MAX),
            _ => Duration::ZERO,
        };
        (state.looked, state.moved) = (owes.then_some(now), false);
        let at_disk = state.at_disk.iter().min().map(|since| now.saturating_duration_since(*since));
        Signs { silent: state.silent, at_disk }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtDisk {
    fn drop(&mut self) {
        let mut state = self.pulse.lock();
        // Which of those that were opened at the same moment makes no difference.
        if let Some(place) = state.at_disk.iter().position(|since| *since == self.since) {
            state.at_disk.swap_remove(place);
        }
    }
}

impl Signs {
    /// For how long the loop has not moved, where it will not move again: only a new process helps.
    pub fn stuck(&self) -> Option<Duration> {
        Some(self.silent).filter(|silent| *silent >= STUCK_AFTER)
    }

    /// For how long the disk has not answered, where it hangs.
    pub fn hung(&self) -> Option<Duration> {
        self.at_disk.filter(|time| *time >= HUNG_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::{ops::Range, thread};

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A pulse and the moment from which its watcher counts.
    fn pulse() -> (Pulse, Instant) {
        let pulse = Pulse::default();
        pulse.beat();
        (pulse, Instant::now())
    }

    /// Looks every two seconds, from `range.start` to `range.end`; gives what is found at last.
    fn watch((pulse, start): &(Pulse, Instant), range: Range<u64>, has_work: bool) -> Signs {
        let looks = range.step_by(2).map(|second| pulse.look(*start + seconds(second), has_work));
        looks.last().expect("a look")
    }

    #[test]
    fn a_loop_that_gives_no_sign_is_stuck_after_fifteen_seconds_and_well_with_the_next_beat() {
        let watched = pulse();
        assert_eq!(watch(&watched, 0..1, false), Signs::default());
        let signs = watch(&watched, 2..16, false);
        assert_eq!((signs.silent, signs.stuck()), (seconds(14), None));
        assert_eq!(watch(&watched, 16..17, false).stuck(), Some(seconds(16)));
        watched.0.beat();
        assert_eq!(watch(&watched, 18..19, false), Signs::default());
        assert_eq!(watch(&watched, 20..21, false).silent, seconds(2), "silent again");
    }

    #[test]
    fn a_loop_that_has_not_begun_or_rests_owes_nothing_unless_there_is_work_for_it() {
        let (pulse, start) = pulse();
        pulse.rest();
        for watched in [(Pulse::default(), start), (pulse, start)] {
            assert_eq!(watch(&watched, 0..1000, false), Signs::default());
            let signs = watch(&watched, 1000..1016, true);
            assert_eq!(signs.silent, seconds(14), "the work was not there before it was seen");
            assert!(watch(&watched, 1016..1018, true).stuck().is_some());
            assert_eq!(watch(&watched, 1018..1020, false), Signs::default(), "it was taken up");
        }
    }

    #[test]
    fn a_loop_may_wait_until_its_deadline_and_is_silent_from_then_on() {
        let watched = pulse();
        watched.0.wait(seconds(50));
        assert_eq!(watch(&watched, 0..50, false), Signs::default());
        assert_eq!(watch(&watched, 52..68, false).silent, seconds(14));
        assert!(watch(&watched, 68..70, false).stuck().is_some());
        watched.0.wait(seconds(50));
        watched.0.beat();
        assert_eq!(watch(&watched, 0..12, false).silent, seconds(10), "a beat ends the wait");
    }

    #[test]
    fn a_loop_at_the_disk_is_never_stuck_and_its_disk_hangs_after_thirty_seconds() {
        let watched = pulse();
        let at_disk = watched.0.at_disk();
        let signs = watch(&watched, 0..30, true);
        assert!(signs.at_disk > Some(seconds(27)) && signs.hung().is_none(), "{signs:?}");
        let signs = watch(&watched, 30..600, true);
        assert!(signs.hung() > Some(seconds(590)) && signs.silent.is_zero(), "{signs:?}");
        drop(at_disk);
        assert_eq!(watch(&watched, 600..601, true), Signs::default());
        assert!(watch(&watched, 602..620, true).stuck().is_some(), "it has come back and does not get on");
    }

    #[test]
    fn a_loop_is_at_the_disk_until_the_last_guard_is_dropped_in_whichever_thread() {
        let watched = pulse();
        let (first, second) = (watched.0.at_disk(), watched.0.at_disk());
        let of_a_thread = thread::scope(|scope| scope.spawn(|| watched.0.at_disk()).join().expect("a guard"));
        drop(first);
        assert_eq!(watch(&watched, 0..100, false).silent, Duration::ZERO);
        thread::scope(|scope| scope.spawn(move || drop(second)).join().expect("dropped"));
        assert!(watch(&watched, 100..200, false).at_disk.is_some());
        drop(of_a_thread);
        assert_eq!(watch(&watched, 200..220, false).at_disk, None);
        assert!(watch(&watched, 220..222, false).stuck().is_some());
    }

    #[tokio::test]
    async fn what_comes_from_the_disk_is_awaited_at_the_disk_and_no_longer() {
        let (pulse, _) = pulse();
        let is_there = || pulse.look(Instant::now(), false).at_disk.is_some();
        assert!(pulse.await_disk(async { is_there() }).await);
        assert!(!is_there());
    }

    #[test]
    fn what_nobody_has_seen_does_not_count() {
        let (pulse, start) = pulse();
        for hour in 0..3 {
            let signs = pulse.look(start + seconds(3600 * hour), true);
            assert_eq!(signs.silent, LOOK_MAX * u32::try_from(hour).expect("a few"));
        }
    }

    #[test]
    fn several_watchers_see_the_same_silence_and_not_its_double() {
        let watched = pulse();
        for second in 0..14 {
            watch(&watched, second..second + 1, false);
            assert_eq!(watch(&watched, second..second + 1, false).silent, seconds(second));
        }
    }
}
