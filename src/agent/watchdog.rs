//! Looks whether the agent gets on, from a thread of its own: the event log's writer, the delivery, and the runtime that
//! everything else runs on.
//!
//! systemd's watchdog is fed only while each of them has just moved, or waits for something that is allowed to take its
//! time: events, an answer with a deadline, a disk. What has not moved for [`STUCK_AFTER`] will not move again: the
//! process ends with an error, for only a new one can help. systemd's watchdog is for the case that this thread is stuck,
//! too. A slow disk or a silent controller alone never ends anything.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    event_log::EventLog,
    health::{AtDisk, BEAT, Pulse, STUCK_AFTER, Signs, round},
    service_manager,
    telemetry::message,
};

/// Between two looks; the unit's `WatchdogSec=` is several times as long.
const INTERVAL: Duration = BEAT;

/// Who has not moved for so long is not vouched for to systemd. Longer than any beat ([`BEAT`]).
const DOUBTED_AFTER: Duration = Duration::from_secs(8);

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
        let mut watch = Watch::new(loops);
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            while !is_ended(&ending) {
                match watch.look(Instant::now(), log.signs()) {
                    (what, silent) if silent >= STUCK_AFTER => end(what, silent),
                    (_, silent) if silent >= DOUBTED_AFTER => {}
                    _ => service_manager::watchdog(),
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
            () = round(BEAT) => {}
        }
    }
}

/// What is looked at.
struct Watch {
    loops: Vec<(&'static str, Pulse)>,
    /// Whether it has been told that the disk hangs.
    hangs: bool,
    /// For the loops, while the log's disk keeps the writer or a reader waiting.
    excuses: Vec<AtDisk>,
}

impl Watch {
    fn new(loops: &[(&'static str, Pulse)]) -> Watch {
        Watch { loops: loops.to_vec(), hangs: false, excuses: Vec::new() }
    }

    /// Who has not moved for longest, and for how long.
    fn look(&mut self, now: Instant, log: Signs) -> (&'static str, Duration) {
        self.tell_of_disk(log);
        self.excuse(log);
        let silent = self.loops.iter().map(|(name, pulse)| (*name, pulse.look(now, false).silent));
        silent.chain([("event log", log.silent)]).max_by_key(|(_, silent)| *silent).unwrap_or_default()
    }

    fn tell_of_disk(&mut self, log: Signs) {
        match log.hung() {
            Some(time) if !self.hangs => tracing::error!(
                message_id = %message::WRITER_STUCK,
                seconds = time.as_secs(),
                "the disk of the event log does not answer; waiting for it"
            ),
            None if self.hangs => {
                tracing::info!(message_id = %message::WRITER_MOVES, "the disk of the event log answers again");
            }
            _ => {}
        }
        self.hangs = log.hung().is_some();
    }

    /// Whoever is at the log's disk may hold what others need: nobody is stuck before the disk answers.
    fn excuse(&mut self, log: Signs) {
        if log.at_disk.is_none_or(|time| time < DOUBTED_AFTER) {
            self.excuses.clear();
        } else if self.excuses.is_empty() {
            self.excuses = self.loops.iter().map(|(_, pulse)| pulse.at_disk()).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks every two seconds from `seconds.start` to `seconds.end`; gives what is found at last.
    fn look(watch: &mut Watch, seconds: std::ops::Range<u32>, log: Signs) -> (&'static str, u64) {
        let start = Instant::now();
        let looks = seconds.step_by(2).map(|second| watch.look(start + second * SECOND, log));
        looks.last().map(|(name, silent)| (name, silent.as_secs())).expect("a look")
    }

    fn delivery() -> (Pulse, Watch) {
        let pulse = Pulse::default();
        pulse.beat();
        (pulse.clone(), Watch::new(&[("runtime", Pulse::default()), ("delivery", pulse)]))
    }

    #[test]
    fn who_has_not_moved_for_longest_is_named() {
        let (pulse, mut watch) = delivery();
        assert_eq!(look(&mut watch, 0..12, Signs::default()), ("delivery", 10));
        let log = Signs { silent: 11 * SECOND, ..Signs::default() };
        assert_eq!(look(&mut watch, 10..11, log), ("event log", 11));
        assert_eq!(look(&mut watch, 12..21, log), ("delivery", 20));
        pulse.rest();
        assert_eq!(look(&mut watch, 22..60, log), ("event log", 11));
    }

    #[test]
    fn nobody_is_stuck_while_the_disk_of_the_log_hangs_which_is_told_after_thirty_seconds() {
        let (_pulse, mut watch) = delivery();
        let at_disk = |seconds| Signs { at_disk: Some(seconds * SECOND), ..Signs::default() };
        assert_eq!(look(&mut watch, 0..11, at_disk(1)), ("delivery", 10), "a disk that is merely busy");
        assert_eq!(look(&mut watch, 12..100, at_disk(8)).1, 0);
        assert!(!watch.hangs);
        assert_eq!(look(&mut watch, 100..200, at_disk(30)).1, 0);
        assert!(watch.hangs);
        assert_eq!(look(&mut watch, 200..217, Signs::default()), ("delivery", 16), "it answers again");
        assert!(!watch.hangs);
    }
}
