//! The uplink against a server that answers by script: the generated service and a real connection, only the answers are
//! made up.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use prost::Message as _;
use rodent::{
    consumers::{Delivery, Threshold},
    dead_letters::DeadLetters,
    event_log::{Cursor, Draft, EventLog, Lane, Settings},
    schema::{
        events::Event,
        rpc,
        wire::{
            EventBatch, EventBatchResponse, RegisterRequest, RegisterResponse, RodentRequest, ToggleRequest,
            rodent_service_server::{RodentService, RodentServiceServer},
        },
    },
    settings::Secret,
    sinks::uplink::{Surroundings, Tls, TokenSource, Uplink, UplinkSettings, UplinkState, WINDOW_MAX},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, RwLock},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding, transport::Server};

pub(crate) type Script = Box<dyn Fn(&EventBatch) -> Result<EventBatchResponse, Status> + Send>;

/// What came in, and what is answered: one step for each batch, then success. No answer is given while the gate is shut.
#[derive(Clone, Default)]
struct Controller {
    gate: Arc<RwLock<()>>,
    seen: Arc<Mutex<Vec<EventBatch>>>,
    registered: Arc<Mutex<u32>>,
    script: Arc<Mutex<VecDeque<Script>>>,
    arrived: Arc<Notify>,
}

#[tonic::async_trait]
impl RodentService for Controller {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        assert_eq!(request.metadata().get("authorization").and_then(|token| token.to_str().ok()), Some("Bearer t0ken"));
        *self.registered.lock().expect("no panic under the lock") += 1;
        Ok(Response::new(RegisterResponse { success: true, ..RegisterResponse::default() }))
    }

    type ConnectStream = tokio_stream::Empty<Result<ToggleRequest, Status>>;

    async fn connect(&self, _: Request<Streaming<RodentRequest>>) -> Result<Response<Self::ConnectStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn send_events(&self, request: Request<EventBatch>) -> Result<Response<EventBatchResponse>, Status> {
        let batch = request.into_inner();
        let step = self.script.lock().expect("no panic under the lock").pop_front();
        let answer = step.map_or_else(stored, |step| step(&batch));
        self.seen.lock().expect("no panic under the lock").push(batch);
        self.arrived.notify_one();
        let _open = self.gate.read().await;
        answer.map(Response::new)
    }
}

fn stored() -> Result<EventBatchResponse, Status> {
    Ok(EventBatchResponse { success: true, ..EventBatchResponse::default() })
}

/// A log with events `0..count`, an uplink that runs, and the server behind it.
pub(crate) struct Scene {
    controller: Controller,
    pub(crate) log: EventLog,
    pub(crate) cursor: Cursor,
    pub(crate) state: UplinkState,
    pub(crate) dead_letters: DeadLetters,
    shutdown: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new(count: u64, batch_size: usize, script: Vec<Script>) -> Scene {
        let threshold = Threshold { batch_size, batch_timeout: Duration::from_millis(50) };
        let scene = Scene::empty(threshold, script).await;
        scene.append(Lane::Routine, 0..count).await;
        scene
    }

    pub(crate) async fn empty(threshold: Threshold, script: Vec<Script>) -> Scene {
        Scene::behind(Server::builder(), &[], threshold, script).await
    }

    /// Served by this one, which reads what is compressed in these ways.
    pub(crate) async fn behind(
        mut server: Server,
        encodings: &[CompressionEncoding],
        threshold: Threshold,
        script: Vec<Script>,
    ) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(log_settings(directory.path())).expect("a log");
        let cursor = log.cursor("uplink").expect("room for a cursor");
        let controller = Controller { script: Arc::new(Mutex::new(script.into())), ..Controller::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let shutdown = CancellationToken::new();
        let service = RodentServiceServer::new(controller.clone());
        let service = encodings.iter().fold(service, |service, encoding| service.accept_compressed(*encoding));
        start(
            server
                .add_service(service)
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned()),
        );
        let state = UplinkState::new(&address);
        let dead_letters = DeadLetters::open(&directory.path().join("dead-letters")).expect("a directory");
        let uplink = Uplink::new(
            UplinkSettings {
                address,
                token: TokenSource::Inline(Secret::new("t0ken")),
                tls: Tls::Off,
                node_id: "node".to_owned(),
            },
            Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) },
            state.clone(),
        )
        .driver(Delivery::new(&log, &cursor, threshold))
        .with_dead_letters(dead_letters.clone());
        start(uplink.run(shutdown.clone(), shutdown.clone()));
        Scene { controller, log, cursor, state, dead_letters, shutdown, _directory: directory }
    }

    pub(crate) async fn append(&self, lane: Lane, numbers: std::ops::Range<u64>) {
        let event = |n| Event { event_id: format!("event-{n}"), timestamp: 1, ..Event::default() }.encode_to_vec();
        let events: Vec<Vec<u8>> = numbers.map(event).collect();
        let drafts: Vec<_> =
            events.iter().map(|event| Draft { event, level: 1, category: 1, timestamp: 1, kind: None }).collect();
        let next = self.log.append(lane, &drafts).await.expect("appended");
        self.log.commit(lane, next).await.expect("durable");
    }

    /// Waits until the cursor stands at `next` in the routine lane.
    pub(crate) async fn delivered(&self, next: u64) {
        self.delivered_of(Lane::Routine, next).await;
    }

    async fn delivered_of(&self, lane: Lane, next: u64) {
        self.until("delivered", |scene| scene.cursor.next(lane) >= next).await;
    }

    /// Waits until the uplink says that it is held.
    async fn held(&self) {
        self.until("held", |scene| scene.state.status().state == "held").await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Scene) -> bool) {
        for _ in 0..6000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let next = self.cursor.next(Lane::Routine);
        panic!("not {what}, with the cursor at {next}: {:?}", self.state.status());
    }

    pub(crate) fn seen(&self) -> Vec<EventBatch> {
        self.controller.seen.lock().expect("no panic under the lock").clone()
    }

    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.log.close();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks until the runtime ends")]
fn start<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) {
    tokio::spawn(task);
}

fn log_settings(directory: &Path) -> Settings {
    Settings {
        buffer_size: 5000,
        flush_threshold: 4000,
        flush_interval: Duration::from_millis(20),
        history_bytes: None,
        boot_id: uuid::Uuid::from_u128(5),
        ..Settings::new(directory.join("log"))
    }
}

pub(crate) fn identifiers(batches: &[EventBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| &batch.events).map(|event| event.event_id.clone()).collect()
}

pub(crate) fn numbered(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("event-{n}")).collect()
}

#[tokio::test]
async fn events_arrive_in_order_in_batches_of_the_configured_size() {
    let scene = Scene::new(25, 10, Vec::new()).await;
    scene.delivered(26).await;
    let seen = scene.seen();
    assert_eq!(identifiers(&seen), numbered(0..25));
    assert_eq!(seen.iter().map(|batch| batch.events.len()).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!((seen[1].first_sequence, seen[1].last_sequence, seen[1].lane.as_str()), (11, 20, "routine"));
    assert_eq!(seen[1].boot_id, uuid::Uuid::from_u128(5).to_string());
    assert_eq!(*scene.controller.registered.lock().unwrap(), 1, "once for the connection");
    assert_eq!(scene.state.status().state, "connected");
    scene.end().await;
}

#[tokio::test]
async fn a_batch_that_failed_is_sent_again_with_the_same_identifier_and_borders() {
    let unavailable: Script = Box::new(|_| Err(Status::unavailable("busy")));
    let later: Script = Box::new(|_| Ok(EventBatchResponse { retry_after_ms: 10, ..EventBatchResponse::default() }));
    let scene = Scene::new(3, 10, vec![unavailable, later]).await;
    scene.delivered(4).await;
    let seen = scene.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|batch| batch.batch_id == seen[0].batch_id && batch.events == seen[0].events));
    let status = scene.state.status();
    assert_eq!((status.failed_attempts, status.delivered_events), (2, 3));
    scene.end().await;
}

/// Refuses every batch with one of these events in it; the rest is stored.
pub(crate) fn refuse(poison: &'static [&'static str]) -> Script {
    Box::new(move |batch| {
        let poisoned = |event: &Event| poison.contains(&event.event_id.as_str());
        if batch.events.iter().any(poisoned) { Err(Status::invalid_argument("bad event")) } else { stored() }
    })
}

/// What the batches that were answered with success held, by first sequence.
fn taken(scene: &Scene, poison: &[&str]) -> Vec<String> {
    let mut batches = scene.seen();
    batches.retain(|batch| {
        batch.lane == "routine" && !batch.events.iter().any(|event| poison.contains(&event.event_id.as_str()))
    });
    batches.sort_by_key(|batch| batch.first_sequence);
    identifiers(&batches)
}

#[tokio::test]
async fn a_poison_event_ends_alone_in_the_dead_letters_with_a_record_and_the_rest_goes_on() {
    const POISON: [&str; 1] = ["event-5"];
    let scene = Scene::new(40, 8, (0..60).map(|_| refuse(&POISON)).collect()).await;
    scene.delivered(41).await;
    let good: Vec<_> = numbered(0..40).into_iter().filter(|id| id != "event-5").collect();
    assert_eq!(taken(&scene, &POISON), good, "each of the others once");
    let letters = scene.dead_letters.list().expect("readable");
    let letter = scene.dead_letters.get(&letters[0].0).expect("there");
    assert_eq!((letters.len(), letter.lane, letter.sequence), (1, Lane::Routine, 6));
    assert_eq!(Event::decode(letter.event).expect("an event").event_id, "event-5");
    assert_eq!((letter.code.as_str(), letter.message.as_str()), ("InvalidArgument", "bad event (InvalidArgument)"));
    scene.delivered_of(Lane::Urgent, 2).await;
    let urgent: Vec<_> = scene.seen().into_iter().filter(|batch| batch.lane == "urgent").collect();
    let record = urgent[0].events[0].encode_to_vec();
    let view = rodent::event::EventView::decode(&record).expect("an event");
    assert_eq!(view.kind().as_str(), "system.loss.refused", "the number is accounted for");
    scene.end().await;
}

#[tokio::test]
async fn three_refusals_in_a_row_are_the_controllers_fault_and_hold() {
    const POISON: [&str; 6] = ["event-0", "event-1", "event-2", "event-3", "event-4", "event-5"];
    let scene = Scene::new(6, 1, (0..60).map(|_| refuse(&POISON)).collect()).await;
    scene.held().await;
    assert_eq!(scene.dead_letters.count(), 2);
    assert_eq!(scene.cursor.next(Lane::Routine), 3, "the third waits, and nothing behind it is given up");
    assert!(scene.state.status().last_error.contains("bad event"));
    scene.end().await;
}

#[tokio::test]
async fn dead_letters_that_cannot_be_kept_hold_the_lane() {
    const POISON: [&str; 1] = ["event-0"];
    let scene = Scene::empty(FULL_ONLY, (0..60).map(|_| refuse(&POISON)).collect()).await;
    let directory = scene._directory.path().join("dead-letters");
    std::fs::remove_dir_all(&directory).expect("removed");
    scene.append(Lane::Routine, 0..10).await;
    scene.held().await;
    assert_eq!((scene.cursor.next(Lane::Routine), scene.dead_letters.count()), (1, 0));
    let error = scene.state.status().last_error;
    assert!(error.contains("bad event") && error.contains("dead-letters"), "{error}");
    scene.end().await;
}

#[tokio::test]
async fn a_refusal_of_success_is_no_delivery() {
    let refused = || -> Script { Box::new(|_| Ok(EventBatchResponse::default())) };
    let scene = Scene::new(3, 1, (0..60).map(|_| refused()).collect()).await;
    scene.held().await;
    assert_eq!((scene.state.status().delivered_events, scene.dead_letters.count()), (0, 2));
    scene.end().await;
}

pub(crate) fn answers(dialect: u32, more: fn(&EventBatch) -> Result<(), Status>) -> Script {
    Box::new(move |batch| {
        more(batch)?;
        Ok(EventBatchResponse { success: true, dialect, ..EventBatchResponse::default() })
    })
}

/// How many batches are unanswered at once while the gate is shut, after some that were answered: `least`, or more.
async fn side_by_side(dialect: u32, least: usize) -> usize {
    let script = (0..1000).map(|_| answers(dialect, |_| Ok(()))).collect();
    let scene = Scene::new(400, 10, script).await;
    scene.delivered(401).await;
    let shut = scene.controller.gate.write().await;
    let before = scene.seen().len();
    scene.append(Lane::Routine, 400..800).await;
    scene.until("under way", |scene| scene.seen().len() >= before + least).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let under_way = scene.seen().len() - before;
    drop(shut);
    scene.delivered(801).await;
    let mut seen = scene.seen();
    seen.sort_by_key(|batch| batch.first_sequence);
    assert_eq!(identifiers(&seen), numbered(0..800), "each event once");
    scene.end().await;
    under_way
}

#[tokio::test]
async fn a_controller_that_sorts_gets_batches_side_by_side_and_any_other_one_of_a_lane_at_a_time() {
    assert_eq!(side_by_side(0, 1).await, 1);
    let several = side_by_side(1, 2).await;
    assert!((2..=WINDOW_MAX).contains(&several), "{several}");
}

#[tokio::test]
async fn the_cursor_stands_before_the_first_batch_that_has_not_arrived() {
    let mut script: Vec<Script> = (0..10).map(|_| answers(1, |_| Ok(()))).collect();
    // From then on the batch of event 100 fails, whenever it comes, and the others are stored.
    let fails = |batch: &EventBatch| match batch.first_sequence <= 101 && 101 <= batch.last_sequence {
        true => Err(Status::permission_denied("not now")),
        false => Ok(()),
    };
    script.extend((0..1000).map(|_| answers(1, fails)));
    let scene = Scene::new(100, 10, script).await;
    scene.delivered(101).await;
    scene.append(Lane::Routine, 100..200).await;
    scene.held().await;
    assert_eq!(scene.cursor.next(Lane::Routine), 101);
    assert!(scene.state.status().delivered_events >= 100);
    scene.end().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_sent_in_smaller_ones_and_nothing_is_refused() {
    // As a server answers whose limit for messages is that of five events.
    let limit = |batch: &EventBatch| match batch.events.len() > 5 {
        true => Err(Status::resource_exhausted("message larger than max")),
        false => stored(),
    };
    let scene = Scene::new(40, 40, (0..200).map(|_| -> Script { Box::new(limit) }).collect()).await;
    scene.delivered(41).await;
    let mut seen = scene.seen();
    seen.retain(|batch| batch.events.len() <= 5);
    seen.sort_by_key(|batch| batch.first_sequence);
    assert_eq!((identifiers(&seen), scene.dead_letters.count()), (numbered(0..40), 0));
    scene.end().await;
}

#[tokio::test]
async fn a_controller_that_says_when_is_left_alone_until_then() {
    let wait = Duration::from_millis(1500);
    let busy: Script = Box::new(move |_| {
        let details = rpc::retry_after_details(8, "busy", wait);
        Err(Status::with_details(tonic::Code::ResourceExhausted, "busy", details.into()))
    });
    let scene = Scene::new(30, 10, vec![busy]).await;
    scene.controller.arrived.notified().await;
    let told = std::time::Instant::now();
    scene.controller.arrived.notified().await;
    assert!(told.elapsed() >= wait - Duration::from_millis(100), "{:?}", told.elapsed());
    scene.delivered(31).await;
    assert_eq!(scene.dead_letters.count(), 0);
    scene.end().await;
}

#[tokio::test]
async fn fewer_events_than_a_batch_wait_for_the_timeout_and_no_longer() {
    let scene = Scene::new(1, 1000, Vec::new()).await;
    scene.delivered(2).await;
    scene.append(Lane::Routine, 1..2).await;
    scene.delivered(3).await;
    assert_eq!(identifiers(&scene.seen()), numbered(0..2));
    scene.end().await;
}

/// Batches that fill, or never go: only what is urgent goes before it is due.
const FULL_ONLY: Threshold = Threshold { batch_size: 10, batch_timeout: Duration::from_secs(3600) };

/// Lane and first event of each batch.
fn told(batches: &[EventBatch]) -> Vec<String> {
    batches.iter().map(|batch| format!("{} {}", batch.lane, batch.events[0].event_id)).collect()
}

#[tokio::test]
async fn what_is_urgent_overtakes_a_backlog_and_waits_for_nothing() {
    let scene = Scene::empty(FULL_ONLY, Vec::new()).await;
    let shut = scene.controller.gate.write().await;
    scene.append(Lane::Routine, 0..30).await;
    scene.controller.arrived.notified().await;
    scene.append(Lane::Urgent, 100..101).await;
    drop(shut);
    scene.delivered(31).await;
    scene.delivered_of(Lane::Urgent, 2).await;
    let order = ["routine event-0", "urgent event-100", "routine event-10", "routine event-20"];
    assert_eq!(told(&scene.seen()), order);
    scene.end().await;
}

#[tokio::test]
async fn after_a_failed_attempt_what_is_urgent_goes_first_and_the_failed_batch_keeps_its_borders() {
    let unavailable: Script = Box::new(|_| Err(Status::unavailable("busy")));
    let scene = Scene::empty(FULL_ONLY, vec![unavailable]).await;
    let shut = scene.controller.gate.write().await;
    scene.append(Lane::Routine, 0..10).await;
    scene.controller.arrived.notified().await;
    scene.append(Lane::Routine, 10..15).await;
    scene.append(Lane::Urgent, 100..101).await;
    drop(shut);
    scene.delivered(11).await;
    let seen = scene.seen();
    assert_eq!(told(&seen), ["routine event-0", "urgent event-100", "routine event-0"]);
    assert_eq!(seen[0], seen[2], "the same batch to the last byte");
    scene.end().await;
}

#[tokio::test]
async fn an_event_that_is_refused_holds_its_own_lane_only_and_is_told_until_it_is_settled() {
    let refuse = || -> Script {
        Box::new(|batch| if batch.lane == "routine" { Err(Status::invalid_argument("bad event")) } else { stored() })
    };
    let scene = Scene::new(3, 1, (0..50).map(|_| refuse()).collect()).await;
    scene.held().await;
    scene.append(Lane::Urgent, 100..103).await;
    scene.delivered_of(Lane::Urgent, 6).await;
    let status = scene.state.status();
    assert_eq!((status.state.as_str(), status.delivered_events), ("held", 5), "the events and two records");
    assert!(status.last_error.contains("bad event"), "{status:?}");
    assert_eq!(scene.cursor.next(Lane::Routine), 3, "nothing is given up");
    scene.end().await;
}

#[tokio::test]
async fn a_controller_that_calls_every_numbering_a_fork_is_not_believed_for_ever() {
    let fork = || -> Script { Box::new(|_| Err(Status::failed_precondition("taken"))) };
    let scene = Scene::new(2, 10, (0..50).map(|_| fork()).collect()).await;
    scene.held().await;
    let seen = scene.seen();
    let epochs: std::collections::BTreeSet<_> = seen.iter().map(|batch| batch.log_epoch.clone()).collect();
    assert_eq!((seen.len(), epochs.len()), (4, 4), "new numbers three times, then no more");
    assert!(seen.iter().all(|batch| batch.events == seen[0].events && batch.first_sequence == 1));
    assert!(scene.state.status().last_error.contains("taken"));
    assert_eq!(scene.cursor.next(Lane::Routine), 1);
    scene.end().await;
}
