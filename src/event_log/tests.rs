//! Tests of the log as a whole.

mod faults;
mod passing;
mod room;

use std::{path::Path, time::Duration};

use proptest::prelude::*;
use prost::Message as _;

use uuid::Uuid;

use super::{
    disk::{durable, row::Row},
    *,
};
use crate::health::Signs;
use crate::schema::events::{
    Event, EventLossPayload, event::EventPayload, event_loss_payload::EventLossOperation, system_event::EventType,
};

fn settings(directory: &Path) -> Settings {
    Settings {
        buffer_size: 5000,
        flush_threshold: 4000,
        flush_interval: Duration::from_millis(50),
        boot_id: Uuid::from_u128(1),
        since_boot: boot_clock,
        ..Settings::new(directory.join("log"))
    }
}

fn boot_clock() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).expect("a boot clock")
}

/// Waits for what another thread is about to bring about; far longer than it takes, for it must be seen to fail.
async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not come about within 30 s");
}

fn draft(event: &[u8]) -> Draft<'_> {
    Draft { event, level: 1, category: 2, timestamp: 1_700_000_000_000, kind: None }
}

/// Bytes that zstd cannot shrink, the same for the same number.
fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Everything a reader of the routine lane gets from `from` on: events with their sequences, and gaps.
fn read_all(log: &EventLog, from: u64) -> (Vec<StoredEvent>, Vec<Gap>) {
    read_lane(log, Lane::Routine, from)
}

fn read_lane(log: &EventLog, lane: Lane, from: u64) -> (Vec<StoredEvent>, Vec<Gap>) {
    let mut reader = log.reader(lane, from);
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match reader.read(700, 100_000).expect("a readable log") {
            Read::Run(run) => events.extend(run.events()),
            Read::Gap(gap) => gaps.push(gap),
            Read::End => return (events, gaps),
        }
    }
}

/// The log as a kill at this moment leaves it.
fn copy_of(directory: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("made");
        for entry in std::fs::read_dir(from).expect("a directory").flatten() {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() { copy(&entry.path(), &to) } else { _ = std::fs::copy(entry.path(), to) }
        }
    }
    let killed = tempfile::tempdir().expect("a directory");
    copy(directory, killed.path());
    killed
}

async fn append(log: &EventLog, events: &[Vec<u8>]) -> u64 {
    let drafts: Vec<_> = events.iter().map(|event| draft(event)).collect();
    log.append(Lane::Routine, &drafts).await.expect("an open log")
}

#[tokio::test]
async fn a_writer_that_waits_for_somebody_at_the_disk_is_there_too_and_rests_when_all_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    // It has begun, and waits for work.
    let next = log.append(Lane::Routine, &[draft(b"x")]).await.expect("appended");
    log.commit(Lane::Routine, next).await.expect("durable");
    eventually(|| log.signs() == Signs::default()).await;
    let held: Vec<_> = log.shared.rows.iter().map(Row::hold).collect();
    let next = log.append(Lane::Routine, &[draft(b"x")]).await.expect("appended");
    eventually(|| log.signs().at_disk > Some(Duration::from_millis(200))).await;
    assert_eq!(log.signs().silent, Duration::ZERO);
    drop(held);
    log.commit(Lane::Routine, next).await.expect("durable");
    eventually(|| log.signs() == Signs::default()).await;
    log.close();
}

#[tokio::test]
async fn events_are_read_in_the_order_in_which_they_were_appended_also_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let events: Vec<Vec<u8>> = (0..3000).map(|n| format!("event {n}").into_bytes()).collect();
    let log = EventLog::open(settings(directory.path())).expect("a log");
    for part in events.chunks(171) {
        append(&log, part).await;
    }
    log.commit(Lane::Routine, 3001).await.expect("durable");
    log.close();
    for _ in 0..2 {
        let log = EventLog::open(settings(directory.path())).expect("a log");
        let (read, gaps) = read_all(&log, 1);
        assert!(gaps.is_empty());
        assert_eq!(read.iter().map(|e| e.event.to_vec()).collect::<Vec<_>>(), events);
        assert!(read.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
        assert_eq!(log.bounds(Lane::Routine), (1, 3001));
        assert_eq!(log.next_sequence(Lane::Routine), 3001);
        log.close();
    }
}

#[tokio::test]
async fn nothing_is_seen_before_it_is_durable_and_a_commit_makes_it_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings { flush_interval: Duration::from_secs(3600), ..settings(directory.path()) })
        .expect("a log");
    let next = append(&log, &[b"one".to_vec()]).await;
    assert_eq!(read_all(&log, 1).0, []);
    assert_eq!(log.status().lanes[1].waiting_events, 1);
    let syncs = durable::syncs();
    log.commit(Lane::Routine, next).await.expect("durable");
    assert!(durable::syncs() > syncs, "a commit reaches the disk");
    assert_eq!(read_all(&log, 1).0.len(), 1);
    assert_eq!(log.status().lanes[1].waiting_events, 0);
    log.close();
}

#[tokio::test]
async fn an_event_is_written_out_after_the_flush_interval_without_anyone_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    append(&log, &[b"one".to_vec()]).await;
    log.reader(Lane::Routine, 1).ready().await;
    assert_eq!(read_all(&log, 1).0.len(), 1);
    log.close();
}

#[tokio::test]
async fn a_log_spans_generations_and_seals_each_at_its_size() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let events: Vec<Vec<u8>> = (0..2200).map(|n| noise(n, 10_000)).collect();
    for part in events.chunks(100) {
        append(&log, part).await;
    }
    log.commit(Lane::Routine, 2201).await.expect("durable");
    let lane = log.status().lanes[1].clone();
    assert_eq!((lane.generations, lane.stored_events), (3, 2200));
    for blobs in ["gen-0000000001", "gen-0000000002", "gen-0000000003"] {
        let blobs = directory.path().join("log/routine").join(blobs).join("blobs");
        assert_eq!(std::fs::read_dir(blobs).map_or(0, Iterator::count), 0, "no page became a file of its own");
    }
    let (read, gaps) = read_all(&log, 1);
    assert!(gaps.is_empty() && read.iter().map(|e| &e.event[..]).eq(events.iter().map(|e| &e[..])));
    let (tail, _) = read_all(&log, 1999);
    assert_eq!(tail.first().map(|e| e.sequence), Some(1999));
    log.close();
    let log = EventLog::open(settings(directory.path())).expect("a log");
    assert_eq!(read_all(&log, 1).0.len(), 2200);
    log.close();
}

#[tokio::test]
async fn a_producer_waits_while_the_memory_is_full_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let small = Settings { buffer_size: 10, flush_threshold: 9, ..settings(directory.path()) };
    let log = EventLog::open(small).expect("a log");
    for n in 0..500u64 {
        append(&log, &[noise(n, 50)]).await;
        assert!(log.status().lanes[1].waiting_events <= 10);
    }
    // More at once than the memory holds: taken when it is alone.
    let next = append(&log, &(0..30).map(|n| noise(n, 50)).collect::<Vec<_>>()).await;
    log.commit(Lane::Routine, next).await.expect("durable");
    assert_eq!(read_all(&log, 1).0.len(), 530);
    log.close();
}

#[tokio::test]
async fn a_cursor_stands_where_it_was_committed_and_never_ahead_of_what_is_durable() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let cursor = log.cursor("uplink").expect("room for a cursor");
    let next = append(&log, &[b"one".to_vec(), b"two".to_vec()]).await;
    log.commit(Lane::Routine, next).await.expect("durable");
    cursor.commit(Lane::Routine, 2);
    cursor.commit(Lane::Routine, 1);
    assert_eq!(cursor.next(Lane::Routine), 2);
    cursor.commit(Lane::Routine, 99);
    assert_eq!(cursor.next(Lane::Routine), 3);
    log.close();
    let log = EventLog::open(settings(directory.path())).expect("a log");
    assert_eq!(log.cursor("uplink").expect("room").next(Lane::Routine), 3);
    log.close();
}

/// What a reader gets from the beginning on.
#[derive(Debug)]
struct Counted {
    /// Missed in gaps.
    gone: u64,
    /// Sums of the loss records.
    recorded: u64,
    /// Other events.
    stored: u64,
    /// First sequence that is there.
    first: u64,
}

fn conservation(log: &EventLog) -> Counted {
    // Events first: what goes while this counts has its record by then.
    let (read, gaps) = read_all(log, 1);
    let gone = gaps.iter().map(|gap| gap.to - gap.from).sum();
    let first = gaps.last().map_or(1, |gap| gap.to);
    let mut counted = Counted { gone, recorded: 0, stored: read.len() as u64, first };
    for loss in losses(log) {
        assert_eq!(loss.consumer, "uplink");
        assert_eq!(loss.last_sequence - loss.first_sequence + 1, loss.count);
        assert!(loss.count_exact);
        counted.recorded += loss.count;
    }
    counted
}

/// The records of losses, oldest first.
fn losses(log: &EventLog) -> Vec<EventLossPayload> {
    let (read, gaps) = read_lane(log, Lane::Urgent, 1);
    assert!(gaps.is_empty(), "records do not go before routine events");
    read.iter().filter_map(|stored| Event::decode(&stored.event[..]).ok().and_then(loss_of)).collect()
}

#[tokio::test]
async fn what_retention_removes_is_recorded_and_accounted_for_to_the_event() {
    let directory = tempfile::tempdir().expect("a directory");
    let tight = Settings { disk_bytes_max: 40 << 20, ..settings(directory.path()) };
    let log = EventLog::open(tight).expect("a log");
    let cursor = log.cursor("uplink").expect("room for a cursor");
    for n in 0..80u64 {
        append(&log, &(0..100).map(|m| noise(n * 100 + m, 8000)).collect::<Vec<_>>()).await;
    }
    log.commit(Lane::Routine, log.next_sequence(Lane::Routine)).await.expect("durable");
    // The writer records and removes after it has answered; a record is always there before its events are gone.
    let mut counted = conservation(&log);
    for _ in 0..3000 {
        assert!(counted.stored + counted.recorded >= 8000, "lost without a record: {counted:?}");
        if counted.stored + counted.recorded == 8000 && log.status().disk_bytes <= 40 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        counted = conservation(&log);
    }
    assert!(counted.gone > 0, "{counted:?}");
    assert_eq!(counted.stored + counted.recorded, 8000, "accepted = stored + recorded lost");
    assert_eq!(cursor.next(Lane::Routine), counted.first);
    assert_eq!(log.status().lanes[1].lost_events, counted.recorded);
    log.close();
}

#[tokio::test]
async fn what_is_too_old_goes_with_a_record_and_not_before_its_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let age_max = Some(Duration::from_millis(1500));
    let log = EventLog::open(Settings { age_max, ..settings(directory.path()) }).expect("a log");
    let _cursor = log.cursor("uplink").expect("room for a cursor");
    let accepted = std::time::Instant::now();
    append(&log, &[b"old".to_vec()]).await;
    let reader = log.reader(Lane::Urgent, 1);
    // The first urgent event is the record of the loss.
    reader.ready().await;
    assert!(accepted.elapsed() >= Duration::from_millis(1500), "{:?}", accepted.elapsed());
    let loss = losses(&log).remove(0);
    assert_eq!((loss.first_sequence, loss.last_sequence, loss.count), (1, 1, 1));
    eventually(|| log.bounds(Lane::Routine).0 == 2).await;
    log.close();
}

pub(super) fn loss_of(event: Event) -> Option<EventLossPayload> {
    match event.event_payload? {
        EventPayload::SystemEvent(system) => match system.event_type? {
            EventType::LossEvent(loss) => Some(loss),
            _ => None,
        },
        _ => None,
    }
}

#[tokio::test]
async fn what_every_consumer_has_goes_without_a_record_when_no_history_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings { history_bytes: None, ..settings(directory.path()) }).expect("a log");
    let cursor = log.cursor("uplink").expect("room for a cursor");
    for n in 0..20u64 {
        append(&log, &(0..100).map(|m| noise(n * 100 + m, 8000)).collect::<Vec<_>>()).await;
    }
    log.commit(Lane::Routine, 2001).await.expect("durable");
    cursor.commit(Lane::Routine, 2001);
    // Only the one being written is left.
    eventually(|| log.status().lanes[1].generations == 1).await;
    assert_eq!(log.next_sequence(Lane::Routine), 2001, "nothing was recorded");
    log.close();
    let log = EventLog::open(settings(directory.path())).expect("a log");
    assert_eq!(append(&log, &[b"next".to_vec()]).await, 2002, "no sequence is used twice");
    assert!(losses(&log).is_empty(), "nothing was lost");
    log.close();
}

#[tokio::test]
async fn a_new_generation_is_not_mistaken_for_one_whose_removal_a_crash_made_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let small = || Settings { generation_bytes: 1, ..settings(directory.path()) };
    let log = EventLog::open(small()).expect("a log");
    let next = append(&log, &[b"removed".to_vec()]).await;
    log.commit(Lane::Routine, next).await.expect("durable");
    log.close();
    std::fs::remove_dir_all(directory.path().join("log/routine/gen-0000000001")).expect("the only generation");
    for (event, next) in [(b"two".to_vec(), 3), (b"three".to_vec(), 4)] {
        let log = EventLog::open(settings(directory.path())).expect("a log");
        assert_eq!(append(&log, std::slice::from_ref(&event)).await, next);
        log.close();
        let log = EventLog::open(settings(directory.path())).expect("a log");
        assert_eq!(read_all(&log, 1).0.last().map(|stored| stored.event.to_vec()), Some(event));
        log.close();
    }
}

#[tokio::test]
async fn while_no_consumer_has_come_yet_nothing_is_taken_for_history() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { history_bytes: None, generation_bytes: 256 << 10, ..settings(directory.path()) };
    for round in 0..2u64 {
        let log = EventLog::open(settings.clone()).expect("a log");
        let next = append(&log, &(0..300).map(|n| noise(round * 300 + n, 8000)).collect::<Vec<_>>()).await;
        log.commit(Lane::Routine, next).await.expect("durable");
        log.close();
        assert_eq!(log.bounds(Lane::Routine).0, 1);
    }
}

#[tokio::test]
async fn a_process_that_did_not_close_the_log_leaves_a_record_with_the_next_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    append(&log, &[b"one".to_vec()]).await;
    log.commit(Lane::Routine, 2).await.expect("durable");
    let killed = copy_of(directory.path());
    log.close();
    let log = EventLog::open(settings(killed.path())).expect("a log");
    log.reader(Lane::Urgent, 1).ready_for(2).await;
    let told = losses(&log);
    assert!(told.iter().all(|loss| loss.operation == EventLossOperation::UncleanStop as i32 && !loss.count_exact));
    assert_eq!(told.iter().map(|loss| loss.lane.as_str()).collect::<Vec<_>>(), ["urgent", "routine"]);
    log.close();
}

#[tokio::test]
async fn an_unclean_stop_is_told_also_when_the_cursors_are_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    append(&log, &[b"one".to_vec()]).await;
    log.close();
    std::fs::remove_file(settings(directory.path()).directory.join("ledger")).expect("gone");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    log.reader(Lane::Urgent, 1).ready().await;
    let told = losses(&log).iter().any(|loss| loss.operation == EventLossOperation::UncleanStop as i32);
    assert!(told, "{:?}", losses(&log));
    log.close();
}

#[tokio::test]
async fn a_second_process_is_told_that_the_log_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    assert!(EventLog::open(settings(directory.path())).is_err());
    log.close();
}

#[tokio::test]
async fn after_closing_producers_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    log.close();
    assert!(matches!(log.append(Lane::Routine, &[draft(b"late")]).await, Err(LogError::Closed(_))));
    assert!(log.commit(Lane::Routine, 99).await.is_err());
    assert_eq!(log.ended().await, "the log is closed");
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Commit,
    Take(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(0usize..3000, 1..40).prop_map(Step::Append),
        2 => Just(Step::Commit),
        2 => (0u64..60).prop_map(Step::Take),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_log_agrees_with_a_list(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let directory = tempfile::tempdir().expect("a directory");
            let open = || EventLog::open(settings(directory.path())).expect("a log");
            let (mut log, mut model, mut taken) = (open(), Vec::<Vec<u8>>::new(), 1u64);
            for step in steps {
                match step {
                    Step::Append(lengths) => {
                        let events: Vec<_> = lengths.into_iter().map(|length| noise(model.len() as u64 + length as u64, length)).collect();
                        model.extend(events.iter().cloned());
                        assert_eq!(append(&log, &events).await, model.len() as u64 + 1);
                    }
                    Step::Commit => log.commit(Lane::Routine, model.len() as u64 + 1).await.expect("durable"),
                    Step::Take(count) => {
                        let cursor = log.cursor("c").expect("room");
                        taken = taken.max((cursor.next(Lane::Routine) + count).min(log.bounds(Lane::Routine).1));
                        cursor.commit(Lane::Routine, taken);
                        assert_eq!(cursor.next(Lane::Routine), taken);
                    }
                    Step::Reopen => {
                        log.close();
                        log = open();
                    }
                }
            }
            log.commit(Lane::Routine, model.len() as u64 + 1).await.expect("durable");
            assert_eq!(log.cursor("c").expect("room").next(Lane::Routine), taken);
            let (read, gaps) = read_all(&log, 1);
            assert!(gaps.is_empty());
            assert!(read.iter().map(|e| &e.event[..]).eq(model.iter().map(|e| &e[..])));
            log.close();
        });
    }
}

#[tokio::test]
async fn a_frame_is_passed_on_whole_only_where_all_of_it_has_one_epoch() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    // One frame, large enough to be passed on as it is stored.
    let events: Vec<Vec<u8>> = (0..1000).map(|n| format!("an event like all others {n}").into_bytes()).collect();
    let next = append(&log, &events).await;
    log.commit(Lane::Routine, next).await.expect("durable");
    let limits = BatchLimits { events_max: 5000, events_max_whole: 5000, bytes_max: usize::MAX };
    let read = |from| match log.reader(Lane::Routine, from).read_batch(limits).expect("readable") {
        Read::Run(run) => run,
        other => panic!("{other:?}"),
    };
    let is_whole = |run: &Run<Pieces>| run.fields.iter().any(|piece| matches!(piece, Piece::Zstd { .. }));
    let whole = read(1);
    assert!(is_whole(&whole) && whole.count == 1000, "{whole:?}");
    let cursor = log.cursor("consumer").expect("room");
    cursor.commit(Lane::Routine, 301);
    let (before, after) = (log.epoch(), log.renumber(&cursor));
    assert!(matches!(log.reader(Lane::Routine, 301).read(9, 999).expect("readable"), Read::End), "not durable yet");
    log.reader(Lane::Routine, 301).ready().await;
    let (head, tail) = (read(1), read(301));
    assert_eq!([(head.epoch, head.count), (tail.epoch, tail.count)], [(before, 300), (after, 700)]);
    let both = [head, tail].map(|run| run.plain().expect("in clear").fields.to_vec());
    assert_eq!(both.concat(), whole.plain().expect("in clear").fields);
    log.close();
}
