//! A fixed course of events through all parts of the log: opening, both lanes, commits, rotation, retention, a cursor,
//! closing, opening again. What the disk does meanwhile is the caller's choice.

use std::{
    path::Path,
    sync::{Mutex, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rodent::event_log::{Cursor, Draft, EventLog, Lane, Read, Settings};

use crate::{
    account::Account,
    numbered,
    storage::{Disk, Fault},
};

/// How long the fault is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// For one call.
    Once,
    /// From the call on, until the disk is repaired while the log is open.
    UntilRepaired,
    /// From the call on, until the log is closed.
    UntilClosed,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) lost: u64,
    pub(crate) generations: u64,
}

const ROUNDS: u64 = 14;
/// Bytes of one event of each lane: two rounds of routine events fill a generation.
const EVENT_BYTES: [usize; 2] = [300, 1500];
const EVENTS: [u64; 2] = [2, 20];
/// How long a commit is waited for: on a disk that works it takes far less, on one that does not it never comes.
const COMMIT_PATIENCE: Duration = Duration::from_millis(150);
/// How long the log may take to be durable again when the disk is.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Panics of the program's own code.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Plays the scenario once. The `nth` storage call that `fault` can strike fails.
///
/// # Errors
/// What did not hold, in words.
pub(crate) fn play(fault: Option<Fault>, nth: u64, span: Span) -> Result<Outcome, String> {
    watch_panics();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = directory.path().canonicalize().expect("it is there").join("log");
    let disk = Disk::new(&path, fault, nth, span != Span::Once);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut account = Account::new(fault != Some(Fault::Sync));
    let log = open(&path, &disk)?;
    let cursor = log.cursor("uplink").ok_or("no room for a cursor")?;
    for _ in 0..ROUNDS {
        runtime.block_on(append(&log, &mut account))?;
        consume(&log, &cursor, &mut account);
    }
    if span != Span::UntilClosed {
        disk.repair();
        recover(&log, &runtime)?;
        account.settle(&log, false).map_err(|what| format!("before it is closed: {what}"))?;
    }
    let generations = log.status().lanes.iter().map(|lane| lane.generations).sum();
    drop(cursor);
    log.close();
    drop(log);
    disk.repair();
    disk.forget_unsynced();
    // With room, for a cursor that the broken disk never took does not keep retention from what it had not passed.
    let roomy = Settings { disk_bytes_max: 1 << 30, ..settings(&path) };
    let log = EventLog::open(roomy).map_err(|error| format!("it does not open again: {error:?}"))?;
    recover(&log, &runtime)?;
    let lost = account.settle(&log, span == Span::UntilClosed).map_err(|what| format!("opened again: {what}"))?;
    log.close();
    match PANICS.lock().expect("nobody panics here").first() {
        Some(panic) => Err(format!("somebody panicked: {panic}")),
        None => Ok(Outcome { calls: disk.calls(), lost, generations }),
    }
}

fn settings(path: &Path) -> Settings {
    Settings {
        flush_interval: Duration::from_millis(20),
        generation_bytes: 48 << 10,
        disk_bytes_max: 480 << 10,
        ..Settings::new(path.to_owned())
    }
}

/// A disk that fails while the log is opened may make that fail; repaired, it opens.
fn open(path: &Path, disk: &Disk) -> Result<EventLog, String> {
    EventLog::open(settings(path)).or_else(|error| {
        if !disk.struck() {
            return Err(format!("it does not open: {error:?}"));
        }
        disk.repair();
        EventLog::open(settings(path)).map_err(|again| format!("{error:?}; and not on a repaired disk: {again:?}"))
    })
}

async fn append(log: &EventLog, account: &mut Account) -> Result<(), String> {
    for lane in Lane::ALL {
        let (count, bytes) = (EVENTS[lane as usize], EVENT_BYTES[lane as usize]);
        let first = account.numbers(count);
        let events: Vec<_> = (first..first + count).map(|number| numbered::event(lane, number, bytes)).collect();
        let drafts: Vec<_> =
            events.iter().map(|event| Draft { event, level: 2, category: 2, timestamp: 1, kind: None }).collect();
        let next = log.append(lane, &drafts).await.map_err(|error| format!("append: {error:?}"))?;
        account.accept(lane, first, count, next);
        match tokio::time::timeout(COMMIT_PATIENCE, log.commit(lane, next)).await {
            Ok(Ok(())) => account.acknowledge(lane, next),
            Ok(Err(error)) => return Err(format!("commit: {error:?}")),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Takes an eighth of what is there of each lane.
fn consume(log: &EventLog, cursor: &Cursor, account: &mut Account) {
    for lane in Lane::ALL {
        let mut reader = log.reader(lane, cursor.next(lane));
        let wanted = usize::try_from(reader.available() / 8).unwrap_or(0);
        // A generation that cannot be opened now is read the next time.
        let Ok(Read::Run(run)) = reader.read(wanted.max(1), 1 << 20) else { continue };
        account.take(lane, run.first_sequence, run.next_sequence());
        cursor.commit(lane, run.next_sequence());
    }
}

/// Waits until everything is durable and nothing is amiss any more.
fn recover(log: &EventLog, runtime: &tokio::runtime::Runtime) -> Result<(), String> {
    let start = Instant::now();
    for lane in Lane::ALL {
        let commit = async { tokio::time::timeout(RECOVERY_MAX, log.commit(lane, log.next_sequence(lane))).await };
        match runtime.block_on(commit) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("not durable on a repaired disk: {error:?}")),
            Err(_) => return Err(format!("not durable after {RECOVERY_MAX:?}; {:?}", log.status().degraded)),
        }
    }
    while !log.status().degraded.is_empty() {
        if start.elapsed() > RECOVERY_MAX {
            return Err(format!("degraded after {RECOVERY_MAX:?}: {}", log.status().degraded));
        }
        thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Those of sled end in the log's guards, or the log ends with them and the scenario fails.
            if info.location().is_some_and(|place| place.file().starts_with("src/")) {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            default(info);
        }));
    });
}
