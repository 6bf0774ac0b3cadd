//! Whether the writer gets on: what a watchdog must know to tell a slow disk from a thread that is stuck.
//!
//! The writer says when it begins and ends a piece of work; anyone may ask. While a thread that
//! flushes for it is at the disk, or any other thread of the process waits for a disk that does not answer, the writer may be
//! waiting for that one, and will go on. Otherwise it is still for as
//! long as it neither ends its piece nor waits for anything new; processor time that it burns counts, time in which it is
//! not given a processor does not.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::threads::{DiskWaits, Glance, disk_is_flushed_to, glance};

/// A piece of work that takes longer means that the disk hangs: the log says so.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(30);

/// A part of the agent, such as the writer, that has been seen to do nothing at all for so long while no disk is waited
/// for is stuck. A new process must be there within thirty seconds; no piece of work computes for a fraction of this.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);

/// As much counts of the time between two looks: who was not looking has not seen that nothing moved.
pub const LOOK_MAX: Duration = Duration::from_secs(4);

/// How the writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for work, or works.
    Fine,
    /// The disk has kept it waiting for this long.
    Hung(Duration),
    /// It has not moved for this long, which may still be nothing.
    Still(Duration),
    /// It has not moved for this long, and no disk is to blame: only a new process helps.
    Stuck(Duration),
}

/// What was seen of the writer's thread.
#[derive(Clone, Copy, Debug)]
struct Sight {
    at: Instant,
    piece: u64,
    glance: Glance,
    /// How long it has been seen not to move.
    still: Duration,
}

/// The writer's signs of life.
pub(super) struct Signs {
    started: Instant,
    thread: AtomicI32,
    /// Counts beginnings and ends: odd while there is work.
    pieces: AtomicU64,
    /// When the current piece began, milliseconds since `started`.
    began: AtomicU64,
    last: Mutex<Option<Sight>>,
    disk: Mutex<DiskWaits>,
}

impl Signs {
    pub(super) fn new() -> Signs {
        Signs {
            started: Instant::now(),
            thread: AtomicI32::new(0),
            pieces: AtomicU64::new(0),
            began: AtomicU64::new(0),
            last: Mutex::new(None),
            disk: Mutex::default(),
        }
    }

    /// The calling thread is the one to be watched.
    pub(super) fn watch_this_thread(&self) {
        self.thread.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
    }

    /// A piece of work begins.
    pub(super) fn begin(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.began.store(now, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::Release);
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.pieces.fetch_add(1, Ordering::Release);
    }

    /// How the writer is doing. To be asked again and again: what it says of a stuck writer is measured between two
    /// questions. `has_work` is whether there is work that it should have taken up.
    pub(super) fn progress(&self, has_work: bool) -> Progress {
        let now = Instant::now();
        self.judge(now, has_work, glance(self.thread.load(Ordering::Relaxed)), || {
            disk_is_flushed_to() || self.disk.lock().unwrap_or_else(PoisonError::into_inner).look(now)
        })
    }

    fn judge(&self, now: Instant, has_work: bool, glance: Glance, disk_is_awaited: impl FnOnce() -> bool) -> Progress {
        let piece = self.pieces.load(Ordering::Acquire);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = piece.is_multiple_of(2);
        if is_idle && !has_work {
            *last = None;
            return Progress::Fine;
        }
        let still = match *last {
            Some(seen) if seen.piece == piece && seen.glance.waits == glance.waits && !disk_is_awaited() => {
                let passed = now.saturating_duration_since(seen.at).min(LOOK_MAX);
                let burnt = glance.processor.saturating_sub(seen.glance.processor);
                seen.still + if glance.runs { burnt.min(passed) } else { passed }
            }
            _ => Duration::ZERO,
        };
        *last = Some(Sight { at: now, piece, glance, still });
        let began = self.started + Duration::from_millis(self.began.load(Ordering::Relaxed));
        let working = if is_idle { Duration::ZERO } else { now.saturating_duration_since(began) };
        match still {
            _ if still >= STUCK_AFTER => Progress::Stuck(still),
            _ if working >= HUNG_AFTER => Progress::Hung(working),
            Duration::ZERO => Progress::Fine,
            _ => Progress::Still(still),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a writer every two seconds, from `seconds.start` to `seconds.end`; gives what is said at last.
    fn watch(
        signs: &Signs,
        seconds: std::ops::Range<u64>,
        glance: impl Fn(u64) -> Glance,
        disk_is_awaited: bool,
    ) -> Progress {
        let has_work = signs.pieces.load(Ordering::Relaxed) > 0;
        let looks = seconds.step_by(2).map(|second| {
            signs.judge(signs.started + Duration::from_secs(second), has_work, glance(second), || disk_is_awaited)
        });
        looks.last().expect("a look")
    }

    fn asleep(_: u64) -> Glance {
        Glance { runs: false, waits: 7, processor: Duration::ZERO }
    }

    #[test]
    fn a_writer_without_work_is_fine_however_long() {
        let signs = Signs::new();
        assert_eq!(watch(&signs, 0..1000, asleep, false), Progress::Fine);
    }

    #[test]
    fn a_writer_that_does_nothing_is_stuck_after_fifteen_seconds_and_fine_with_new_work() {
        let signs = Signs::new();
        signs.begin();
        assert_eq!(watch(&signs, 0..1, asleep, false), Progress::Fine);
        assert_eq!(watch(&signs, 2..16, asleep, false), Progress::Still(Duration::from_secs(14)));
        assert_eq!(watch(&signs, 16..17, asleep, false), Progress::Stuck(Duration::from_secs(16)));
        signs.end();
        signs.begin();
        assert_eq!(watch(&signs, 18..19, asleep, false), Progress::Fine);
    }

    #[test]
    fn a_writer_that_does_not_take_up_its_work_is_stuck_too() {
        let signs = Signs::new();
        signs.begin();
        signs.end();
        assert!(matches!(watch(&signs, 0..20, asleep, false), Progress::Stuck(_)));
    }

    #[test]
    fn a_writer_is_not_stuck_while_a_disk_is_awaited_but_hangs() {
        let signs = Signs::new();
        signs.begin();
        let progress = watch(&signs, 0..600, asleep, true);
        assert!(matches!(progress, Progress::Hung(time) if time > Duration::from_secs(590)), "{progress:?}");
    }

    #[test]
    fn a_writer_that_waits_again_and_again_gets_on() {
        let signs = Signs::new();
        signs.begin();
        let busy = |second| Glance { waits: second, ..asleep(second) };
        assert!(matches!(watch(&signs, 0..600, busy, false), Progress::Hung(_)));
    }

    #[test]
    fn processor_time_that_leads_nowhere_counts_and_waiting_for_a_processor_does_not() {
        let signs = Signs::new();
        signs.begin();
        let burns = |second| Glance { runs: true, processor: Duration::from_secs(second), waits: 7 };
        assert!(matches!(watch(&signs, 0..20, burns, false), Progress::Stuck(_)));
        let signs = Signs::new();
        signs.begin();
        let starves = |_| Glance { runs: true, ..asleep(0) };
        assert!(matches!(watch(&signs, 0..600, starves, false), Progress::Hung(_)));
    }

    #[test]
    fn what_nobody_has_seen_does_not_count() {
        let signs = Signs::new();
        signs.begin();
        for minute in 0..3 {
            let progress = signs.judge(signs.started + Duration::from_secs(60 * minute), true, asleep(0), || false);
            assert!(!matches!(progress, Progress::Stuck(_)), "{progress:?}");
        }
    }
}
