//! The pipeline with a log behind it: which lane events come to lie in, and what of it outlives the agent.

use std::path::Path;

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::{EmitError, Emitter, Gate, MemoryKeeper, Origin, Outcome};
use crate::{
    event::{EventView, Level, Metadata, json},
    event_log::{EventLog, Lane, Read, Settings},
    schema::events::{
        Event, ServiceStatusPayload, StoragePoolPayload, service_status_payload::ServiceStatusOperation as Operation,
        storage_pool_payload::StoragePoolOperation,
    },
    schema::local::emit_request::Durability,
};

const ORIGIN: Origin = Origin { uid: 7, gid: 8 };

fn open(directory: &Path) -> (EventLog, Emitter) {
    let log = EventLog::open(Settings::new(directory.join("log"))).expect("a log");
    let emitter = Emitter::new(log.clone(), Gate::open(), || 1);
    (log, emitter)
}

fn service(level: &str, name: &str) -> Bytes {
    let text =
        format!(r#"{{"level": "{level}", "kind": "service.status.stopped", "payload": {{"service_name": "{name}"}}}}"#);
    json::from_str(&text).expect("an event").encode_to_vec().into()
}

/// Names of the services that the durable events of a lane are about.
fn names(log: &EventLog, lane: Lane) -> Vec<String> {
    let mut reader = log.reader(lane, 1);
    let mut names = Vec::new();
    while let Read::Run(run) = reader.read(100, 1 << 20).expect("readable") {
        for stored in run.events() {
            let event = EventView::decode(&stored.event).expect("an event");
            names.extend(event.payload().and_then(|p| Some(p.get_field_by_name("service_name")?.as_str()?.to_owned())));
        }
    }
    names
}

#[tokio::test]
async fn a_request_for_both_lanes_is_durable_in_both_when_it_is_answered_and_in_order_in_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, emitter) = open(directory.path());
    let events = ["info a", "error b", "info c", "critical d", "info d"].map(|line| {
        let (level, name) = line.split_once(' ').expect("two words");
        service(level, name)
    });
    let submission = emitter.submit(events.into(), ORIGIN, Durability::Buffered).await.expect("taken");
    assert_eq!(emitter.secure(submission.ends).await.expect("durable"), None);
    assert_eq!(submission.outcomes.len(), 5);
    assert_eq!(names(&log, Lane::Urgent), ["b", "d", "d"]);
    assert_eq!(names(&log, Lane::Routine), ["a", "c"]);
    log.close();
}

#[tokio::test]
async fn an_event_of_the_agents_own_is_never_refused_for_its_size_and_one_of_a_caller_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, emitter) = open(directory.path());
    let payload = ServiceStatusPayload {
        service_name: "smbd".to_owned(),
        status: "x".repeat(100_000),
        operation: Operation::Failed.into(),
        ..Default::default()
    };
    emitter.emit(Level::Critical, payload, Metadata::new()).await.expect("taken");
    emitter.flush().await.expect("durable");
    assert_eq!((names(&log, Lane::Urgent), emitter.counts().refused_events()), (vec!["smbd".to_owned()], 0));
    let large = service("error", &"x".repeat(100_000));
    let refused = emitter.submit(vec![large], ORIGIN, Durability::Buffered).await;
    assert!(matches!(refused, Err(EmitError::Refused(_))));
    assert_eq!(emitter.counts().refused_events(), 1);
    log.close();
}

#[tokio::test]
async fn a_request_with_a_bad_event_leaves_nothing_in_either_lane() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, emitter) = open(directory.path());
    let events = vec![service("error", "a"), service("info", "b"), Bytes::from_static(b"\x0a\x05x")];
    let refused = emitter.submit(events, ORIGIN, Durability::Buffered).await;
    assert!(matches!(refused, Err(EmitError::Refused(why)) if why.contains("event 3 of 3")));
    assert_eq!(Lane::ALL.map(|lane| log.next_sequence(lane)), [1, 1]);
    // Nor is it remembered as something that may end.
    let submission = emitter.submit(vec![service("info", "a")], ORIGIN, Durability::Buffered).await.expect("taken");
    emitter.secure(submission.ends).await.expect("durable");
    assert_eq!(names(&log, Lane::Routine), ["a"]);
    log.close();
}

#[tokio::test]
async fn a_request_for_both_lanes_that_is_given_up_while_it_waits_for_room_leaves_nothing_in_either() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { buffer_size: 3, ..Settings::new(directory.path().join("log")) };
    let log = EventLog::open(settings).expect("a log");
    let emitter = Emitter::new(log.clone(), Gate::open(), || 1);
    let both = || vec![service("error", "a"), service("info", "b")];
    // Of those that find no room each is given up at once; the writer makes room in between.
    for _ in 0..200 {
        let _ = emitter.submit(both(), ORIGIN, Durability::Buffered).now_or_never();
        let [urgent, routine] = Lane::ALL.map(|lane| log.next_sequence(lane));
        assert_eq!(urgent, routine, "all of it or nothing");
    }
    log.close();
}

#[tokio::test]
async fn a_time_that_lies_ahead_is_that_of_the_arrival_and_what_was_claimed_stands_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, emitter) = open(directory.path());
    let at = |timestamp: i64| {
        let event = Event::decode(service("info", "a")).expect("an event");
        Bytes::from(Event { timestamp, ..event }.encode_to_vec())
    };
    let events = [299_000, 400_000, i64::MAX].map(at);
    let submission = emitter.submit(events.into(), ORIGIN, Durability::Buffered).await.expect("taken");
    emitter.secure(submission.ends).await.expect("durable");
    let Read::Run(run) = log.reader(Lane::Routine, 1).read(9, 1 << 20).expect("readable") else {
        panic!("it is durable")
    };
    let views: Vec<_> = run.events().map(|stored| EventView::decode(&stored.event).expect("an event")).collect();
    let times: Vec<_> = views.iter().map(|view| (view.timestamp(), view.metadata("rodent.claimed_time"))).collect();
    assert_eq!(times, [(299_000, None), (1, Some("400000")), (1, Some("9223372036854775807"))]);
    log.close();
}

#[tokio::test]
async fn an_identifier_that_lies_ahead_is_the_agents_own_and_what_was_claimed_stands_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, emitter) = open(directory.path());
    let named = |id: &str| {
        let event = Event::decode(service("info", "a")).expect("an event");
        Bytes::from(Event { event_id: id.to_owned(), ..event }.encode_to_vec())
    };
    // Of 299 s after 1970, of a time in many thousand years, and no time.
    let ids = ["00000004-8ff8-7000-8000-000000000001", "FFFFFFFF-ffff-7fff-bfff-ffffffffffff", "one"];
    let submission = emitter.submit(ids.map(named).into(), ORIGIN, Durability::Buffered).await.expect("taken");
    emitter.secure(submission.ends).await.expect("durable");
    let Read::Run(run) = log.reader(Lane::Routine, 1).read(9, 1 << 20).expect("readable") else {
        panic!("it is durable")
    };
    let views: Vec<_> = run.events().map(|stored| EventView::decode(&stored.event).expect("an event")).collect();
    let claimed: Vec<_> = views.iter().map(|view| view.metadata("rodent.claimed_id")).collect();
    assert_eq!(claimed, [None, Some(ids[1]), None]);
    assert_eq!([views[0].id(), views[2].id()], [ids[0], ids[2]]);
    let own = views[1].id();
    assert!(own != ids[1] && super::identifier::time_of(own) < Some(i64::MAX >> 20), "{own}");
    let told: Vec<_> = submission.outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    assert!(told[1].contains(own), "the caller learns it: {told:?}");
    log.close();
}

#[tokio::test]
async fn a_service_that_recovers_after_a_restart_of_the_agent_is_urgent() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = async |level, operation: Operation| {
        let (log, emitter) = open(directory.path());
        let keeper = MemoryKeeper::new(directory.path().join("memory"), log.clone());
        emitter.remember_in(keeper.memory("urgent_states"));
        let payload =
            ServiceStatusPayload { service_name: "smbd".to_owned(), operation: operation.into(), ..Default::default() };
        emitter.emit(level, payload, Metadata::new()).await.expect("taken");
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        keeper.run(shutdown).await;
        log.close();
        Lane::ALL.map(|lane| log.next_sequence(lane) - 1)
    };
    assert_eq!(run(Level::Error, Operation::Failed).await, [1, 0]);
    assert_eq!(run(Level::Info, Operation::Started).await, [2, 0], "the end of the failure");
    assert_eq!(run(Level::Info, Operation::Stopped).await, [2, 1], "which is over");
}

#[tokio::test]
async fn what_ends_an_urgent_state_passes_whatever_levels_are_kept_and_nothing_else_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, emitter) = open(directory.path());
    emitter.set_gate(Gate::new(&[Level::Error, Level::Critical], &[]));
    let events =
        vec![service("info", "nfsd"), service("error", "smbd"), service("info", "smbd"), service("info", "smbd")];
    let taken = async |events: Vec<Bytes>| {
        let submitted = emitter.submit(events, ORIGIN, Durability::Buffered).await.expect("taken");
        submitted.outcomes.iter().map(|outcome| *outcome != Outcome::Filtered).collect::<Vec<_>>()
    };
    for (event, is_taken) in events.into_iter().zip([false, true, true, false]) {
        assert_eq!(taken(vec![event]).await, [is_taken]);
    }
    let together = vec![service("info", "nfsd"), service("error", "nfsd"), service("info", "nfsd")];
    assert_eq!(taken(together).await, [true, true, true], "in one request, whichever stands first");
    let own = emitter.for_source("storage");
    let pool = |operation: StoragePoolOperation| StoragePoolPayload {
        pool_name: "tank".to_owned(),
        operation: operation.into(),
        ..Default::default()
    };
    for (level, operation, is_taken) in [
        (Level::Info, StoragePoolOperation::Online, false),
        (Level::Error, StoragePoolOperation::Degraded, true),
        (Level::Info, StoragePoolOperation::ScrubStarted, false),
        (Level::Info, StoragePoolOperation::Online, true),
        (Level::Info, StoragePoolOperation::Online, false),
    ] {
        let outcome = own.emit(level, pool(operation), Metadata::new()).await.expect("an answer");
        assert_eq!(outcome != Outcome::Filtered, is_taken, "{operation:?}");
    }
    log.close();
}
