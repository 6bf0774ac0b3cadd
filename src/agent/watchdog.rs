//! Looks whether the agent gets on, from a thread of its own: the event log's writer, the delivery, and the runtime that
//! everything else runs on.
//!
//! systemd's watchdog is fed only while each of them has just moved, or waits for something that is allowed to take its
//! time: events, an answer with a deadline, a disk. What has not moved for [`STUCK_AFTER`] will not move again: the
//! process ends with an error, for only a new one can help. systemd's watchdog is for the case that this thread is stuck,
//! too. A slow disk or a silent controller alone never ends anything.

use std::{
    cell::LazyCell,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::systemd;
use crate::{
    event_log::{DiskWaits, EventLog, LOOK_MAX, Progress, STUCK_AFTER},
    sinks::Pulse,
    telemetry::message,
};

/// Between two looks; the unit's `WatchdogSec=` is several times as long.
const INTERVAL: Duration = Duration::from_secs(2);

/// Who has not moved for so long is not vouched for to systemd. Longer than any beat ([`crate::sinks::BEAT`]).
const DOUBTED_AFTER: Duration = Duration::from_secs(6);

/// The journal's thread gets this long for the last line.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// `EX_SOFTWARE`: not a code that keeps systemd from starting the agent again.
const EXIT_CODE: i32 = 70;

/// The thread; it ends when this is dropped.
pub(super) struct Watchdog {
    ending: Arc<(Mutex<bool>, Condvar)>,
}

impl Watchdog {
    /// Starts to look at the writer of the log and at these loops.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(log: EventLog, loops: &[(&'static str, Pulse)]) -> io::Result<Watchdog> {
        let watchdog = Watchdog { ending: Arc::default() };
        let ending = Arc::clone(&watchdog.ending);
        let (mut watch, mut disk) = (Watch::new(loops), DiskWaits::default());
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            while !is_ended(&ending) {
                let now = Instant::now();
                match watch.look(now, log.progress(), || disk.look(now)) {
                    Health::Good => systemd::watchdog(),
                    Health::Doubtful => {}
                    Health::Stuck(what, time) => end(what, time),
                }
            }
        })?;
        Ok(watchdog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let (ended, changed) = &*self.ending;
        *ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

/// Waits until the next look is due, or no more is.
fn is_ended((ended, changed): &(Mutex<bool>, Condvar)) -> bool {
    let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = changed.wait_timeout_while(ended, INTERVAL, |ended| !*ended);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Not by unwinding: those who would have to take part are stuck. What was acknowledged is on the disk.
fn end(what: &'static str, time: Duration) -> ! {
    tracing::error!(
        message_id = %message::AGENT_STUCK,
        part = what,
        seconds = time.as_secs(),
        "the agent does not get on; it ends, to be started again"
    );
    thread::sleep(LAST_WORDS);
    std::process::exit(EXIT_CODE);
}

/// Beats for the runtime itself until `shutdown`: a task that always gets its turn where tasks do.
pub(super) async fn beat(pulse: Pulse, shutdown: CancellationToken) {
    loop {
        pulse.beat();
        tokio::select! {
            () = shutdown.cancelled() => return pulse.rest(),
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// All get on.
    Good,
    /// Somebody has not moved for a while.
    Doubtful,
    /// The part that will not move again, and for how long it has not.
    Stuck(&'static str, Duration),
}

/// What earlier looks have seen.
struct Watch {
    loops: Vec<Seen>,
    last: Option<Instant>,
    /// Whether it has been told that the disk hangs.
    hangs: bool,
}

struct Seen {
    name: &'static str,
    pulse: Pulse,
    beats: u64,
    still: Duration,
}

impl Watch {
    fn new(loops: &[(&'static str, Pulse)]) -> Watch {
        let seen = |(name, pulse): &(&'static str, Pulse)| Seen {
            name,
            beats: pulse.beats(),
            pulse: pulse.clone(),
            still: Duration::ZERO,
        };
        Watch { loops: loops.iter().map(seen).collect(), last: None, hangs: false }
    }

    fn look(&mut self, now: Instant, writer: Progress, disk_is_awaited: impl FnOnce() -> bool) -> Health {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last)).min(LOOK_MAX);
        self.last = Some(now);
        self.tell_of_disk(writer);
        // At most once: two looks at the same moment would find everybody in the same wait.
        let disk_is_awaited = LazyCell::new(disk_is_awaited);
        let loops = self.loops.iter_mut().map(|seen| (seen.name, seen.look(now, passed, || *disk_is_awaited)));
        let (name, still) = loops.max_by_key(|(_, still)| *still).unwrap_or_default();
        match writer {
            Progress::Stuck(time) => Health::Stuck("event log", time),
            _ if still >= STUCK_AFTER => Health::Stuck(name, still),
            Progress::Still(time) if time >= DOUBTED_AFTER => Health::Doubtful,
            _ if still >= DOUBTED_AFTER => Health::Doubtful,
            _ => Health::Good,
        }
    }

    fn tell_of_disk(&mut self, writer: Progress) {
        match writer {
            Progress::Hung(since) if !self.hangs => {
                self.hangs = true;
                tracing::error!(
                    message_id = %message::WRITER_STUCK,
                    seconds = since.as_secs(),
                    "the disk of the event log does not answer; waiting for it"
                );
            }
            Progress::Fine if self.hangs => {
                self.hangs = false;
                tracing::info!(message_id = %message::WRITER_MOVES, "the disk of the event log answers again");
            }
            _ => {}
        }
    }
}

impl Seen {
    /// For how long it has owed a beat and given none, while no disk was waited for.
    fn look(&mut self, now: Instant, passed: Duration, disk_is_awaited: impl FnOnce() -> bool) -> Duration {
        let beats = self.pulse.beats();
        let moves = beats != self.beats || !self.pulse.owes(now) || disk_is_awaited();
        self.still = if moves { Duration::ZERO } else { self.still + passed };
        self.beats = beats;
        self.still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: fn() -> bool = || true;
    const NO_DISK: fn() -> bool = || false;

    /// Looks every two seconds from `seconds.start` to `seconds.end`; gives what is found at last.
    fn look(
        watch: &mut Watch,
        seconds: std::ops::Range<u64>,
        writer: Progress,
        disk_is_awaited: fn() -> bool,
    ) -> Health {
        let start = Instant::now();
        let looks =
            seconds.step_by(2).map(|second| watch.look(start + Duration::from_secs(second), writer, disk_is_awaited));
        looks.last().expect("a look")
    }

    fn delivery() -> (Pulse, Watch) {
        let pulse = Pulse::default();
        pulse.beat();
        (pulse.clone(), Watch::new(&[("runtime", Pulse::default()), ("delivery", pulse)]))
    }

    #[test]
    fn a_loop_that_does_not_beat_is_doubted_and_then_stuck() {
        let (pulse, mut watch) = delivery();
        assert_eq!(look(&mut watch, 0..6, Progress::Fine, NO_DISK), Health::Good);
        assert_eq!(look(&mut watch, 6..8, Progress::Fine, NO_DISK), Health::Doubtful);
        pulse.beat();
        assert_eq!(look(&mut watch, 8..10, Progress::Fine, NO_DISK), Health::Good);
        assert!(matches!(look(&mut watch, 10..26, Progress::Fine, NO_DISK), Health::Stuck("delivery", _)));
    }

    #[test]
    fn a_loop_may_wait_for_an_answer_until_its_deadline_and_for_a_disk_for_ever() {
        let (pulse, mut watch) = delivery();
        pulse.wait(Duration::from_secs(50));
        assert_eq!(look(&mut watch, 0..50, Progress::Fine, NO_DISK), Health::Good);
        assert_eq!(look(&mut watch, 50..600, Progress::Fine, DISK), Health::Good);
        assert!(matches!(look(&mut watch, 600..618, Progress::Fine, NO_DISK), Health::Stuck("delivery", _)));
    }

    #[test]
    fn a_loop_that_has_ended_is_not_waited_for() {
        let (pulse, mut watch) = delivery();
        pulse.rest();
        assert_eq!(look(&mut watch, 0..100, Progress::Fine, NO_DISK), Health::Good);
    }

    #[test]
    fn only_a_writer_that_is_stuck_ends_the_process_and_one_that_is_still_is_not_vouched_for() {
        let (pulse, mut watch) = delivery();
        pulse.rest();
        let seconds = Duration::from_secs;
        let mut writer = |progress| look(&mut watch, 0..1, progress, NO_DISK);
        assert_eq!(writer(Progress::Hung(seconds(3000))), Health::Good);
        assert_eq!(writer(Progress::Still(seconds(4))), Health::Good);
        assert_eq!(writer(Progress::Still(seconds(8))), Health::Doubtful);
        assert_eq!(writer(Progress::Stuck(seconds(15))), Health::Stuck("event log", seconds(15)));
    }

    #[test]
    fn what_nobody_has_seen_does_not_count() {
        let (_pulse, mut watch) = delivery();
        let start = Instant::now();
        for hour in 0..3 {
            let found = watch.look(start + Duration::from_secs(3600 * hour), Progress::Fine, NO_DISK);
            assert!(!matches!(found, Health::Stuck(..)), "{found:?}");
        }
    }
}
