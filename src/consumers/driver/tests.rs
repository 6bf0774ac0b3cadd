//! What an arrival says of the other side, step by step; nothing here waits for a time to come.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use prost::Message as _;
use uuid::Uuid;

use super::*;
use crate::{
    consumers::{Threshold, Verdict},
    event_log::{Draft, EventLog, Settings},
    schema::events::Event,
};

/// Only what is urgent is for the receiver.
#[derive(Clone, PartialEq)]
struct Urgent;

impl Packing for Urgent {
    type Message = usize;
    type Packer = ();

    fn pack(&self, batch: &Batch<Urgent>, (): &mut (), _: i64) -> io::Result<usize> {
        Ok(usize::from(batch.lane == Lane::Urgent))
    }

    fn wire_bytes(bytes: &usize) -> usize {
        *bytes
    }
}

struct Receiver {
    is_there: bool,
}

impl Sink for Receiver {
    type Packing = Urgent;
    type Outcome = usize;

    async fn open(&mut self, _: &Pulse) -> Result<Urgent, DeliveryFailure> {
        Ok(Urgent)
    }

    fn window(&self) -> usize {
        1
    }

    fn deliver(&mut self, bytes: usize) -> impl Future<Output = usize> + Send + 'static {
        std::future::ready(bytes)
    }

    fn judge(&mut self, _: u64, _: u32, bytes: usize) -> Verdict {
        if self.is_there || bytes == 0 {
            return Ok(Taken::default());
        }
        Err(DeliveryFailure {
            then: Then::Later(Duration::ZERO),
            error: "nobody listens".to_owned(),
            code: String::new(),
            reason: Reason::Unreachable,
            is_strain: false,
        })
    }

    async fn changed(&mut self) {
        std::future::pending().await
    }
}

async fn append(log: &EventLog, lane: Lane) {
    let event = Event { event_id: "e".to_owned(), timestamp: 1, ..Event::default() }.encode_to_vec();
    let draft = Draft { event: &event, level: 0, category: 0, timestamp: 1, kind: None };
    log.append(lane, &[draft]).await.expect("taken");
    log.secure(lane, log.next_sequence(lane)).await.expect("durable");
}

/// Sends what waits, and settles it, what is for the receiver first or last; gives the states behind each.
async fn attempt(driver: &mut Driver<Receiver>, is_own_first: bool) -> Vec<State> {
    driver.pause = None;
    driver.fill(true).await;
    let mut done = Vec::new();
    while let Some(one) = driver.in_flight.next().await {
        done.push(one);
    }
    done.sort_by_key(|done| (done.bytes > 0) != is_own_first);
    let mut states = Vec::new();
    for done in done {
        driver.settle(done).await;
        states.push(driver.state.status().state());
    }
    states
}

#[tokio::test]
async fn what_is_not_for_a_receiver_does_not_say_that_it_is_back() {
    for is_own_first in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let cursor = log.cursor("hook").expect("room for a cursor");
        let threshold = Threshold { batch_size: 10, batch_timeout: Duration::ZERO };
        let waits = [1, 2, 3, 4].map(Duration::from_secs);
        let state = ConsumerState::new("hook", "test", "somebody");
        let delivery = Delivery::new(&log, &cursor, threshold);
        let driver = Driver::new(Receiver { is_there: false }, delivery, state, Arc::new(|| 1));
        let mut driver = driver.with_pacing(Pacing::default().with_schedule(waits.to_vec()));
        driver.refusals = 2;
        append(&log, Lane::Urgent).await;
        assert_eq!(attempt(&mut driver, is_own_first).await, [State::Waiting], "it is away");
        for next in &waits[2..] {
            append(&log, Lane::Routine).await;
            assert_eq!(attempt(&mut driver, is_own_first).await, [State::Waiting; 2]);
            assert_eq!(driver.pacing.clone().wait(Duration::ZERO, 0.0), *next, "the waits go on");
            assert_eq!(driver.refusals, 2, "and what it refused in a row is counted on");
        }
        driver.sink.is_there = true;
        append(&log, Lane::Routine).await;
        assert_eq!(attempt(&mut driver, is_own_first).await.last(), Some(&State::Connected));
        assert_eq!((driver.pacing.wait(Duration::ZERO, 0.0), driver.refusals), (waits[0], 0));
        log.close();
    }
}

#[tokio::test]
async fn where_nothing_more_is_to_be_sent_an_end_of_the_trouble_is_seen_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
    let cursor = log.cursor("hook").expect("room for a cursor");
    let threshold = Threshold { batch_size: 10, batch_timeout: Duration::ZERO };
    let state = ConsumerState::new("hook", "test", "somebody");
    let delivery = Delivery::new(&log, &cursor, threshold);
    let mut driver = Driver::new(Receiver { is_there: true }, delivery, state, Arc::new(|| 1));
    driver.state.attempt_failed(None, Reason::Unreachable);
    driver.state.enter(State::Waiting, 1);
    append(&log, Lane::Routine).await;
    let states = attempt(&mut driver, false).await;
    assert_eq!(states, [State::Connected], "such as of a sink that has nothing left to tell");
    log.close();
}

/// What the log of the last test takes for the time since the boot, seconds.
static CLOCK: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn what_goes_once_nobody_delivers_it_any_more_is_recorded_as_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings {
        age_max: Some(Duration::from_secs(1)),
        boot_id: Uuid::from_u128(1),
        since_boot: || Duration::from_secs(CLOCK.load(Ordering::Relaxed)),
        ..Settings::new(directory.path().join("log"))
    });
    let log = log.expect("a log");
    let cursor = log.cursor("hook").expect("room for a cursor");
    let threshold = Threshold { batch_size: 10, batch_timeout: Duration::ZERO };
    let state = ConsumerState::new("hook", "test", "somebody");
    let delivery = Delivery::new(&log, &cursor, threshold);
    let driver = Driver::new(Receiver { is_there: false }, delivery, state.clone(), Arc::new(|| 1));
    append(&log, Lane::Urgent).await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    driver.run(shutdown, CancellationToken::new()).await;
    assert_eq!((state.status().failures_in_a_row, cursor.next(Lane::Urgent)), (1, 1), "it was in its hands");
    for _ in 0..3000 {
        if log.next_sequence(Lane::Urgent) > 2 {
            break;
        }
        CLOCK.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(log.next_sequence(Lane::Urgent) > 2, "a record of it");
    log.close();
}
