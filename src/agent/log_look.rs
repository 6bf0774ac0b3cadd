//! Asks the event log how it is doing without waiting for ever: that takes a look at the disk, and a disk may hang.
//!
//! One look at a time, on a thread of its own; whoever asks meanwhile waits for the same one. After [`LOOK_TIME_MAX`] the
//! answer is what was seen last, with what the log knows without its disk. A cursor that has not moved is not looked up
//! again: its place in the log may have to be searched for.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::event_log::{CursorState, EventLog, Lane, LogState};

/// How long an answer may wait for the disk.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

/// Why events are not durable while nobody knows but the look itself.
pub(super) const NO_ANSWER: &str = "the disk does not answer";

/// What asks. Cheap to copy.
#[derive(Clone)]
pub(super) struct LogLook {
    shared: Arc<Shared>,
}

struct Shared {
    /// Looks at the disk; given what was seen last.
    look: Box<dyn Fn(&LogState) -> LogState + Send + Sync>,
    /// Brings a status up to date without that.
    refresh: Box<dyn Fn(&mut LogState) + Send + Sync>,
    state: Mutex<State>,
    looked: Condvar,
}

#[derive(Default)]
struct State {
    looking: bool,
    looks: u64,
    last: LogState,
}

impl LogLook {
    /// At a log.
    pub(super) fn new(log: &EventLog) -> LogLook {
        let (looked_at, refreshed) = (log.clone(), log.clone());
        LogLook::with(
            move |last| {
                let mut status = looked_at.status();
                find_oldest(&mut status.cursors, &last.cursors, |lane, sequence| looked_at.time_of(lane, sequence));
                status
            },
            move |status| {
                let last = std::mem::take(&mut status.cursors);
                refreshed.refresh(status);
                find_oldest(&mut status.cursors, &last, |_, _| None);
                status.degraded = refreshed.degraded().unwrap_or_else(|| NO_ANSWER.to_owned());
            },
        )
    }

    fn with(
        look: impl Fn(&LogState) -> LogState + Send + Sync + 'static,
        refresh: impl Fn(&mut LogState) + Send + Sync + 'static,
    ) -> LogLook {
        let (look, refresh) = (Box::new(look), Box::new(refresh));
        LogLook { shared: Arc::new(Shared { look, refresh, state: Mutex::default(), looked: Condvar::new() }) }
    }

    /// How the log is doing. Blocking, for `wait_max` at the most.
    pub(super) fn status_within(&self, wait_max: Duration) -> LogState {
        let mut state = self.shared.lock();
        let looks = state.looks;
        if !state.looking {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name("log-look".to_owned()).spawn(move || shared.look());
            state.looking = started.is_ok();
        }
        let waited =
            self.shared.looked.wait_timeout_while(state, wait_max, |state| state.looking && state.looks == looks);
        let state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        let (seen, mut status) = (state.looks != looks, state.last.clone());
        drop(state);
        if !seen {
            (self.shared.refresh)(&mut status);
        }
        status
    }

    /// How the log is doing. Blocking, for [`LOOK_TIME_MAX`] at the most.
    pub(super) fn status(&self) -> LogState {
        self.status_within(LOOK_TIME_MAX)
    }
}

impl Shared {
    fn look(&self) {
        let last = self.lock().last.clone();
        let status = (self.look)(&last);
        let mut state = self.lock();
        (state.looking, state.last) = (false, status);
        state.looks += 1;
        self.looked.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says of each cursor when the oldest event that it has not passed was accepted: as last time where it has not moved.
fn find_oldest(cursors: &mut [CursorState], last: &[CursorState], time_of: impl Fn(Lane, u64) -> Option<i64>) {
    for cursor in cursors.iter_mut().filter(|cursor| cursor.lag_events > 0) {
        let place = |own: &&CursorState| {
            (&own.name, &own.lane, own.next_sequence) == (&cursor.name, &cursor.lane, cursor.next_sequence)
        };
        let known = last.iter().find(place).map(|own| own.oldest_time).filter(|time| *time > 0);
        let find = || time_of(cursor.lane, cursor.next_sequence);
        cursor.oldest_time = known.or_else(find).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn the_oldest_event_is_looked_up_when_a_cursor_has_moved_and_not_again() {
        let cursor = |next_sequence, oldest_time| CursorState {
            name: "uplink".to_owned(),
            lane: Lane::Routine,
            next_sequence,
            lag_events: 3,
            oldest_time,
        };
        let find = |next, last: &[CursorState], time: Option<i64>| {
            let mut cursors = [cursor(next, 0)];
            find_oldest(&mut cursors, last, |lane, sequence| {
                assert_eq!((lane, sequence), (Lane::Routine, next));
                time
            });
            cursors[0].oldest_time
        };
        assert_eq!(find(7, &[], Some(1000)), 1000);
        assert_eq!(find(7, &[cursor(7, 1000)], None), 1000);
        assert_eq!(find(8, &[cursor(7, 1000)], Some(2000)), 2000);
        assert_eq!(find(8, &[cursor(8, 0)], Some(2000)), 2000, "what was not found is looked up again");
        let mut idle = [CursorState { lag_events: 0, ..cursor(9, 0) }];
        find_oldest(&mut idle, &[], |_, _| panic!("nothing is behind"));
    }

    #[test]
    fn a_disk_that_hangs_is_not_waited_for_and_what_was_seen_last_is_told() {
        let (answer, answers) = mpsc::sync_channel(1);
        let (answers, begun) = (Mutex::new(answers), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&begun);
        let look = move |_: &LogState| {
            counted.fetch_add(1, Ordering::Relaxed);
            let disk_bytes = answers.lock().expect("one look at a time").recv().unwrap_or_default();
            LogState { disk_bytes, ..LogState::default() }
        };
        let looking = LogLook::with(look, |status| status.degraded = "hangs".to_owned());
        answer.send(7).expect("somebody looks");
        let status = looking.status_within(PATIENCE);
        assert_eq!((status.disk_bytes, status.degraded.as_str()), (7, ""));
        for _ in 0..3 {
            let status = looking.status_within(Duration::from_millis(20));
            assert_eq!((status.disk_bytes, status.degraded.as_str()), (7, "hangs"));
        }
        answer.send(8).expect("somebody looks");
        while looking.shared.lock().looking {
            thread::yield_now();
        }
        assert_eq!(begun.load(Ordering::Relaxed), 2, "one look at a time");
        let state = looking.shared.lock();
        assert_eq!((state.looks, state.last.disk_bytes), (2, 8));
    }
}
