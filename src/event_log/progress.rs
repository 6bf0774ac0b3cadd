//! Whether the writer gets on: what a watchdog must know to tell a slow disk from a thread that is stuck.
//!
//! The writer says when it begins and ends a piece of work; anyone may ask. A writer that sleeps in the kernel, or whose
//! count of bytes moves, is at the mercy of the disk and will go on; one that does neither for [`STUCK_AFTER`] will not.

use std::{
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A piece of work that takes longer means that the disk hangs: the log says so.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(30);

/// A writer that has been seen to do nothing at all for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// How the writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for work, or works.
    Fine,
    /// The disk has kept it waiting for this long.
    Hung(Duration),
    /// It has not moved for this long, and no disk is to blame: only a new process helps.
    Stuck(Duration),
}

/// What was seen of the writer's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    piece: u64,
    moved_bytes: u64,
}

/// The writer's signs of life.
pub(super) struct Signs {
    started: Instant,
    thread: AtomicI32,
    /// Counts beginnings and ends: odd while there is work.
    pieces: AtomicU64,
    /// When the current piece began, milliseconds since `started`.
    began: AtomicU64,
    last: Mutex<Option<(Sight, Instant)>>,
}

impl Signs {
    pub(super) fn new() -> Signs {
        Signs {
            started: Instant::now(),
            thread: AtomicI32::new(0),
            pieces: AtomicU64::new(0),
            began: AtomicU64::new(0),
            last: Mutex::new(None),
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
    /// questions.
    pub(super) fn progress(&self) -> Progress {
        let thread = self.thread.load(Ordering::Relaxed);
        let sleeps = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).is_ok_and(|stat| sleeps(&stat));
        let moved = fs::read_to_string(format!("/proc/self/task/{thread}/io")).map_or(0, |io| moved_bytes(&io));
        self.judge(Instant::now(), sleeps, moved)
    }

    fn judge(&self, now: Instant, sleeps: bool, moved_bytes: u64) -> Progress {
        let piece = self.pieces.load(Ordering::Acquire);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.is_multiple_of(2) {
            *last = None;
            return Progress::Fine;
        }
        let began = self.started + Duration::from_millis(self.began.load(Ordering::Relaxed));
        let sight = Sight { piece, moved_bytes };
        let since = match *last {
            Some((seen, since)) if seen == sight && !sleeps => since,
            _ => now,
        };
        *last = Some((sight, since));
        let (still, working) = (now.saturating_duration_since(since), now.saturating_duration_since(began));
        match still >= STUCK_AFTER {
            true => Progress::Stuck(still),
            false if working >= HUNG_AFTER => Progress::Hung(working),
            false => Progress::Fine,
        }
    }
}

/// Whether a thread waits in the kernel without being interruptible: field 3 of proc_pid_stat(5).
fn sleeps(stat: &str) -> bool {
    // The name in parentheses may hold anything.
    stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next()) == Some("D")
}

/// What a thread has read and written so far: proc_pid_io(5).
fn moved_bytes(io: &str) -> u64 {
    let values = io.lines().filter_map(|line| line.split_once(": "));
    values
        .filter(|(name, _)| matches!(*name, "rchar" | "wchar" | "read_bytes" | "write_bytes"))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(signs: &Signs, seconds: u64) -> Instant {
        signs.started + Duration::from_secs(seconds)
    }

    #[test]
    fn a_writer_without_work_or_with_new_work_is_fine_however_long_it_takes() {
        let signs = Signs::new();
        assert_eq!(signs.judge(after(&signs, 1000), false, 0), Progress::Fine);
        signs.begin();
        assert_eq!(signs.judge(after(&signs, 1), false, 0), Progress::Fine);
    }

    #[test]
    fn a_writer_that_sleeps_in_the_kernel_or_moves_bytes_hangs_but_is_not_stuck() {
        let signs = Signs::new();
        signs.begin();
        for n in 1..100 {
            let progress = signs.judge(after(&signs, 40 * n), n % 2 == 0, n);
            assert_eq!(progress, Progress::Hung(progress_time(progress)), "{n}");
        }
    }

    fn progress_time(progress: Progress) -> Duration {
        match progress {
            Progress::Fine => Duration::ZERO,
            Progress::Hung(time) | Progress::Stuck(time) => time,
        }
    }

    #[test]
    fn a_writer_that_is_seen_to_do_nothing_is_stuck_after_its_time() {
        let signs = Signs::new();
        signs.begin();
        assert_eq!(signs.judge(after(&signs, 10), false, 7), Progress::Fine);
        assert!(matches!(signs.judge(after(&signs, 120), false, 7), Progress::Hung(_)));
        assert_eq!(signs.judge(after(&signs, 131), false, 7), Progress::Stuck(Duration::from_secs(121)));
        signs.end();
        assert_eq!(signs.judge(after(&signs, 132), false, 7), Progress::Fine);
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert!(sleeps("12 (event-log) D 1 2"));
        assert!(sleeps("12 (a) b) D 1 2"));
        assert!(!sleeps("12 (event-log) S 1 2"));
        assert_eq!(moved_bytes("rchar: 1\nwchar: 2\nsyscr: 9\nread_bytes: 3\nwrite_bytes: 4\n"), 10);
        let signs = Signs::new();
        signs.watch_this_thread();
        assert_eq!(signs.progress(), Progress::Fine);
    }
}
