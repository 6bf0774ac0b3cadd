//! The Nth storage call fails: every N of a fixed scenario, each kind of failure, once or until the disk is repaired.
//!
//! A program of its own, because it takes the place of the C library's storage calls (`log_faults/storage.rs`). Nothing
//! panics, nothing hangs, and what was accepted is read back or recorded as lost.

#[path = "log_faults/account.rs"]
mod account;
#[path = "log/dice.rs"]
#[expect(dead_code, reason = "of the dice only their noise is needed")]
mod dice;
#[path = "log/numbered.rs"]
mod numbered;
#[path = "log/ranges.rs"]
#[expect(dead_code, reason = "written for another trial, too")]
mod ranges;
#[path = "log_faults/replacing.rs"]
mod replacing;
#[path = "log_faults/scenario.rs"]
mod scenario;
#[path = "log_faults/storage.rs"]
mod storage;

use std::{
    collections::VecDeque,
    panic,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use rodent::event_log::{Draft, EventLog, Lane, Read, Settings};

use scenario::{Span, play};
use storage::{Disk, Fault};

/// The longest that one scenario may take: it waits for the log's own retries, several times over.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many scenarios run at a time: they wait more than they work.
const PLAYERS: usize = 12;
/// A fault that lasts takes seconds each time: every so many calls one is tried, all of them with 1.
const EVERY: &str = "RODENT_FAULTS_EVERY";
const USUALLY_EVERY: u64 = 25;

#[test]
fn without_a_fault_the_scenario_comes_to_all_parts_of_the_log() {
    let outcome = play(None, 0, Span::Once).expect("the scenario");
    assert!(outcome.lost > 0 && outcome.generations > 2 && outcome.calls > 100, "{outcome:?}");
}

#[test]
fn an_error_of_any_storage_call_loses_nothing_that_is_not_recorded() {
    every_call_fails(Fault::Io);
}

#[test]
fn a_disk_that_is_full_at_any_call_loses_nothing_that_is_not_recorded() {
    every_call_fails(Fault::Full);
}

#[test]
fn a_short_write_at_any_call_loses_nothing_that_is_not_recorded() {
    every_call_fails(Fault::Short);
}

#[test]
fn a_failed_sync_that_forgets_what_was_written_loses_nothing_that_is_not_recorded() {
    every_call_fails(Fault::Sync);
}

#[test]
fn what_a_failing_disk_does_not_give_is_neither_passed_over_nor_recorded_as_lost() {
    for lasting in [false, true] {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = directory.path().canonicalize().expect("it is there").join("log");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let log = EventLog::open(Settings::new(path.clone())).expect("a log");
        let _cursor = log.cursor("uplink").expect("room for a cursor");
        let event = numbered::event(Lane::Routine, 1, 100);
        let draft = Draft { event: &event, level: 2, category: 2, timestamp: 1, kind: None };
        runtime.block_on(log.append(Lane::Routine, &[draft])).expect("appended");
        log.close();
        let log = EventLog::open(Settings::new(path.clone())).expect("a log");
        // Nothing is being written: the reader is the first to find out.
        let disk = Disk::new(&path, Some(Fault::Io), 1, lasting);
        let first = log.reader(Lane::Routine, 1).read(10, 1000);
        match &first {
            Err(_) if lasting => {}
            Ok(Read::Run(_)) if !lasting => {}
            other => panic!("lasting: {lasting}, {other:?}"),
        }
        assert!(disk.struck());
        disk.repair();
        let again = log.reader(Lane::Routine, 1).read(10, 1000);
        assert!(matches!(&again, Ok(Read::Run(run)) if run.count == 1), "lasting: {lasting}, {again:?}");
        log.close();
        assert_eq!(log.next_sequence(Lane::Urgent), 1, "nothing is recorded");
    }
}

/// Plays the scenario for each call at which this fault can strike, once and lasting.
fn every_call_fails(fault: Fault) {
    // One after the other, so that the players of one test do not starve those of another.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let calls = play(Some(fault), u64::MAX, Span::Once).expect("the scenario without a fault").calls;
    let step = dice::number(EVERY).unwrap_or(USUALLY_EVERY).max(1);
    let mut cases: VecDeque<(u64, Span)> = VecDeque::new();
    for nth in 1..=calls {
        cases.push_back((nth, Span::Once));
        if nth % step == 0 {
            cases.push_back((nth, Span::UntilRepaired));
            // The first call makes the log's directory. Where that could never be made, nothing tells the next start.
            if nth > 1 {
                cases.push_back((nth, Span::UntilClosed));
            }
        }
    }
    let count = cases.len();
    let cases = Mutex::new(cases);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some((nth, span)) = next(&cases) {
                    if let Err(failure) = watched(fault, nth, span) {
                        let mut failures = failures.lock().expect("no player panics");
                        failures.push(format!("{fault:?} at call {nth} of {calls}, {span:?}: {failure}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no player panics");
    let first: Vec<_> = failures.iter().take(12).collect();
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{first:#?}", failures.len());
}

fn next(cases: &Mutex<VecDeque<(u64, Span)>>) -> Option<(u64, Span)> {
    cases.lock().expect("no player panics").pop_front()
}

/// Plays in a thread that is given up when it hangs.
fn watched(fault: Fault, nth: u64, span: Span) -> Result<(), String> {
    let (done, outcome) = mpsc::sync_channel(1);
    let play = move || {
        let outcome = panic::catch_unwind(|| play(Some(fault), nth, span));
        // A panic has been printed where it happened.
        let outcome = outcome.unwrap_or_else(|_| Err("it panicked".to_owned()));
        let _ = done.send(outcome.map(|_| ()));
    };
    thread::Builder::new().name("player".to_owned()).spawn(play).map_err(|e| e.to_string())?;
    outcome.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(format!("it hangs for {PATIENCE:?}")))
}
