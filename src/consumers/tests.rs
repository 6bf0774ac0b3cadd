//! What a sink may ask of its driver beyond taking events, with a log on disk and a sink that does nothing else.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use prost::Message as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    event_log::{BLOB_BYTES_MAX, Cursor, Draft, EventLog, Lane, Settings},
    health::Pulse,
    schema::{events::Event, local::consumer_status::State},
};

#[derive(Clone, PartialEq)]
struct Count;

impl Packing for Count {
    type Message = u64;
    type Packer = ();

    fn pack(&self, batch: &Batch<Count>, (): &mut (), _: i64) -> io::Result<u64> {
        Ok(batch.count())
    }

    fn wire_bytes(_: &u64) -> usize {
        1
    }
}

/// Counts what it takes, says so a while after the first event, and keeps both beside its cursor.
struct Teller {
    taken: u64,
    due: Option<Instant>,
    /// Bytes that it keeps besides.
    ballast: usize,
    /// So often it cannot say it.
    fails: u32,
    asked: Arc<AtomicU32>,
}

impl Teller {
    fn new() -> Teller {
        Teller { taken: 0, due: None, ballast: 0, fails: 0, asked: Arc::default() }
    }

    fn kept(&self, told: bool) -> Option<Vec<u8>> {
        Some(format!("{} {told}{}", self.taken, " ".repeat(self.ballast)).into_bytes())
    }
}

impl Sink for Teller {
    type Packing = Count;
    type Outcome = u64;

    async fn open(&mut self, _: &Pulse) -> Result<Count, DeliveryFailure> {
        Ok(Count)
    }

    fn window(&self) -> usize {
        1
    }

    fn deliver(&mut self, count: u64) -> impl Future<Output = u64> + Send + 'static {
        std::future::ready(count)
    }

    fn judge(&mut self, _: u64, _: u32, count: u64) -> Verdict {
        self.taken += count;
        self.due.get_or_insert_with(|| Instant::now() + Duration::from_millis(20));
        Ok(Taken { blob: self.kept(false), ..Taken::default() })
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    async fn on_due(&mut self, _: &Pulse) -> Result<Option<Vec<u8>>, DeliveryFailure> {
        if self.asked.fetch_add(1, Ordering::Relaxed) < self.fails {
            let then = Then::Later(Duration::from_millis(100));
            let error = "nobody listens".to_owned();
            return Err(DeliveryFailure {
                then,
                error,
                code: String::new(),
                reason: Reason::Unreachable,
                is_strain: false,
            });
        }
        self.due = None;
        Ok(self.kept(true))
    }

    async fn changed(&mut self) {
        std::future::pending().await
    }
}

fn open(directory: &Path) -> (EventLog, Cursor) {
    let settings = Settings { flush_interval: Duration::from_millis(20), ..Settings::new(directory.join("log")) };
    let log = EventLog::open(settings).expect("a log");
    let cursor = log.cursor("teller").expect("room for a cursor");
    (log, cursor)
}

async fn append(log: &EventLog, count: u64) {
    append_heavy(log, count, 1).await;
}

async fn append_heavy(log: &EventLog, count: u64, bytes: usize) {
    let event = Event { event_id: "e".repeat(bytes), timestamp: 1, ..Event::default() }.encode_to_vec();
    let draft = Draft { event: &event, level: 0, category: 0, timestamp: 1, kind: None };
    for _ in 0..count {
        log.append(Lane::Routine, &[draft]).await.expect("taken");
    }
}

/// Runs a sink until its state and its cursor are so.
async fn run(log: &EventLog, cursor: &Cursor, sink: Teller, until: impl Fn(&ConsumerState, &Cursor) -> bool) {
    let threshold = Threshold { batch_size: 10, batch_timeout: Duration::from_millis(5) };
    let (state, end) = (ConsumerState::new("teller", "test", "somebody"), CancellationToken::new());
    let driver = Driver::new(sink, Delivery::new(log, cursor, threshold), state.clone(), Arc::new(|| 1));
    let reached = async {
        while !until(&state, cursor) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = async {
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(reached.is_ok(), "{:?}, {:?}", state.status(), String::from_utf8_lossy(&cursor.blob()));
        end.cancel();
    };
    tokio::join!(driver.run(end.clone(), end.clone()), ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_keeps_moves_with_its_cursor_and_is_there_after_the_next_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, cursor) = open(directory.path());
    append(&log, 7).await;
    run(&log, &cursor, Teller::new(), |_, cursor| cursor.blob() == b"7 true").await;
    assert_eq!(cursor.next(Lane::Routine), 8);
    log.close();
    drop((log, cursor));
    let (log, cursor) = open(directory.path());
    assert_eq!((cursor.next(Lane::Routine), cursor.blob()), (8, b"7 true".to_vec()));
    log.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_due_is_asked_though_no_event_comes_and_again_while_it_cannot() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, cursor) = open(directory.path());
    let sink = Teller { due: Some(Instant::now()), fails: 2, ..Teller::new() };
    let asked = Arc::clone(&sink.asked);
    run(&log, &cursor, sink, |_, cursor| cursor.blob() == b"0 true").await;
    assert_eq!((asked.load(Ordering::Relaxed), cursor.next(Lane::Routine)), (3, 1), "once it is done it is not due");
    log.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_kept_beside_a_cursor_holds_the_lane_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, cursor) = open(directory.path());
    append(&log, 1).await;
    let sink = Teller { ballast: BLOB_BYTES_MAX, ..Teller::new() };
    run(&log, &cursor, sink, |state, _| state.status().state() == State::Held).await;
    assert_eq!((cursor.next(Lane::Routine), cursor.blob()), (1, Vec::new()));
    log.close();
}

/// Takes everything, or while it is dead nothing.
struct Endpoint {
    is_dead: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
}

impl Sink for Endpoint {
    type Packing = Count;
    type Outcome = bool;

    async fn open(&mut self, _: &Pulse) -> Result<Count, DeliveryFailure> {
        Ok(Count)
    }

    fn window(&self) -> usize {
        1
    }

    fn deliver(&mut self, _: u64) -> impl Future<Output = bool> + Send + 'static {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        std::future::ready(!self.is_dead.load(Ordering::Relaxed))
    }

    fn judge(&mut self, _: u64, _: u32, is_taken: bool) -> Verdict {
        let dead = || DeliveryFailure {
            then: Then::Later(Duration::ZERO),
            error: "nobody listens".to_owned(),
            code: String::new(),
            reason: Reason::Unreachable,
            is_strain: false,
        };
        if is_taken { Ok(Taken::default()) } else { Err(dead()) }
    }

    async fn changed(&mut self) {
        std::future::pending().await
    }
}

/// How often the test appends, and looks.
const LOOK: Duration = Duration::from_secs(6 * 3600);
const LOOKS_OF_MONTH: u64 = 30 * 4;
/// By then each part has what it needs once, a sealed generation and what reads it included: after ten days.
const LOOKS_OF_START: u64 = 10 * 4;

/// Of which one is dead.
const ENDPOINTS: usize = 10;
const DEAD: usize = 4;

/// Events of a look, and bytes of each: what is kept for the dead one in a month is several times [`GROWTH_KIB_MAX`].
const EVENTS_OF_LOOK: u64 = 30;
const BALLAST_BYTES: usize = 4 * 1024;

/// What the allocator keeps, KiB.
const GROWTH_KIB_MAX: u64 = 4 * 1024;

/// Set for the process that has the month for itself, so that its memory is its own.
const ALONE: &str = "RODENT_MONTH_ALONE";
const MONTH: &str =
    "consumers::tests::beside_one_that_is_dead_for_a_month_nine_get_each_event_as_it_comes_and_memory_is_flat";

/// Resident memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn beside_one_that_is_dead_for_a_month_nine_get_each_event_as_it_comes_and_memory_is_flat() {
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().expect("the test's own program");
        let alone =
            std::process::Command::new(program).args([MONTH, "--exact", "--nocapture"]).env(ALONE, "1").output();
        let alone = alone.expect("start the test's own program");
        print!("{}", String::from_utf8_lossy(&alone.stdout));
        assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
        return;
    }
    // Time is simulated: it passes as fast as nobody has anything to do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(month());
}

async fn month() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
    let (is_dead, never, end) = (Arc::new(AtomicBool::new(true)), Arc::default(), CancellationToken::new());
    let threshold = Threshold { batch_size: 10, batch_timeout: Duration::from_millis(5) };
    let (mut drivers, mut sinks) = (Vec::new(), Vec::new());
    for number in 0..ENDPOINTS {
        let cursor = log.cursor(&format!("s{number}")).expect("room for a cursor");
        let is_dead = if number == DEAD { Arc::clone(&is_dead) } else { Arc::clone(&never) };
        let (state, attempts) =
            (ConsumerState::new(&format!("s{number}"), "test", "somebody"), Arc::<AtomicU32>::default());
        let sink = Endpoint { is_dead, attempts: Arc::clone(&attempts) };
        let pacing = Pacing::new(Duration::from_secs(1), Duration::from_secs(600));
        let driver = Driver::new(sink, Delivery::new(&log, &cursor, threshold), state.clone(), Arc::new(|| 1));
        drivers.push(driver.with_pacing(pacing).run(end.clone(), end.clone()));
        sinks.push((cursor, state, attempts));
    }
    let month = async {
        let (begun, mut after_start) = (Instant::now(), 0);
        for look in 1..=LOOKS_OF_MONTH {
            append_heavy(&log, EVENTS_OF_LOOK, BALLAST_BYTES).await;
            let next = 1 + look * EVENTS_OF_LOOK;
            // The disk takes real time; some of the simulated passes meanwhile, too.
            log.secure(Lane::Routine, next).await.expect("durable");
            tokio::time::sleep(LOOK).await;
            for (number, (cursor, state, _)) in sinks.iter().enumerate() {
                let expected = if number == DEAD { 1 } else { next };
                assert_eq!(cursor.next(Lane::Routine), expected, "{number} by look {look}");
                assert_eq!(state.status().in_flight_batches, 0, "nothing is on its way");
            }
            if look == LOOKS_OF_START {
                after_start = resident();
            }
        }
        let after_month = resident();
        println!(
            "{ENDPOINTS} endpoints, one of them dead: {after_start} KiB resident after 10 days, {after_month} KiB after 30"
        );
        assert!(after_month < after_start + GROWTH_KIB_MAX, "from {after_start} to {after_month} KiB");
        let (attempts, minutes) = (u64::from(sinks[DEAD].2.load(Ordering::Relaxed)), begun.elapsed().as_secs() / 60);
        // Up to ten minutes apart by chance, and five at an even chance.
        assert!((minutes / 10..minutes / 3).contains(&attempts), "{attempts} in {minutes} minutes");
        is_dead.store(false, Ordering::Relaxed);
        tokio::time::sleep(LOOK).await;
        let all = 1 + LOOKS_OF_MONTH * EVENTS_OF_LOOK;
        assert_eq!(sinks[DEAD].0.next(Lane::Routine), all, "all that was kept for it");
        end.cancel();
    };
    tokio::join!(futures_util::future::join_all(drivers), month);
    log.close();
}
