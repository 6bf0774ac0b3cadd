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
    event_log::{Cursor, Draft, EventLog, Lane, Settings},
    schema::{
        events::Event,
        wire::{
            EventBatch, EventBatchResponse, RegisterRequest, RegisterResponse, RodentRequest, ToggleRequest,
            rodent_service_server::{RodentService, RodentServiceServer},
        },
    },
    settings::Secret,
    sinks::{
        Delivery, Threshold,
        uplink::{Settings as UplinkSettings, Surroundings, Tls, TokenSource, Uplink, UplinkState},
    },
};
use tokio::{
    net::TcpListener,
    sync::{Notify, RwLock},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};

type Script = Box<dyn Fn(&EventBatch) -> Result<EventBatchResponse, Status> + Send>;

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
struct Scene {
    controller: Controller,
    log: EventLog,
    cursor: Cursor,
    state: UplinkState,
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

    async fn empty(threshold: Threshold, script: Vec<Script>) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(log_settings(directory.path())).expect("a log");
        let cursor = log.cursor("uplink").expect("room for a cursor");
        let controller = Controller { script: Arc::new(Mutex::new(script.into())), ..Controller::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let shutdown = CancellationToken::new();
        let service = RodentServiceServer::new(controller.clone());
        start(
            Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned()),
        );
        let state = UplinkState::new(&address);
        let uplink = Uplink::new(
            UplinkSettings {
                address,
                token: TokenSource::Inline(Secret::new("t0ken")),
                tls: Tls::Off,
                node_id: "node".to_owned(),
            },
            Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) },
            Delivery::new(&log, &cursor, threshold),
            state.clone(),
        );
        start(uplink.run(shutdown.clone(), shutdown.clone()));
        Scene { controller, log, cursor, state, shutdown, _directory: directory }
    }

    async fn append(&self, lane: Lane, numbers: std::ops::Range<u64>) {
        let events: Vec<_> = numbers
            .map(|n| Event { event_id: format!("event-{n}"), timestamp: 1, ..Event::default() }.encode_to_vec())
            .collect();
        let drafts: Vec<_> = events.iter().map(|event| Draft { event, level: 1, category: 1, timestamp: 1 }).collect();
        let next = self.log.append(lane, &drafts).await.expect("appended");
        self.log.commit(lane, next).await.expect("durable");
    }

    /// Waits until the cursor stands at `next` in the routine lane.
    async fn delivered(&self, next: u64) {
        self.delivered_of(Lane::Routine, next).await;
    }

    async fn delivered_of(&self, lane: Lane, next: u64) {
        for _ in 0..2000 {
            if self.cursor.next(lane) >= next {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("delivered up to {} only: {:?}", self.cursor.next(lane), self.state.status());
    }

    /// Waits until the uplink says that it is held.
    async fn held(&self) {
        for _ in 0..2000 {
            if self.state.status().state == "held" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not held: {:?}", self.state.status());
    }

    fn seen(&self) -> Vec<EventBatch> {
        self.controller.seen.lock().expect("no panic under the lock").clone()
    }

    async fn end(self) {
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

fn identifiers(batches: &[EventBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| &batch.events).map(|event| event.event_id.clone()).collect()
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<String> {
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

#[tokio::test]
async fn a_refused_batch_is_halved_until_the_good_events_are_through_and_the_bad_one_holds() {
    let poisoned = |batch: &EventBatch| batch.events.iter().any(|event| event.event_id == "event-5");
    let refuse = move || -> Script {
        Box::new(move |batch| if poisoned(batch) { Err(Status::invalid_argument("event-5")) } else { stored() })
    };
    let scene = Scene::new(8, 8, (0..50).map(|_| refuse()).collect()).await;
    scene.delivered(6).await;
    scene.held().await;
    assert!(scene.state.status().last_error.contains("event-5"));
    assert_eq!(
        scene.cursor.next(Lane::Routine),
        6,
        "everything before the bad event is delivered, nothing behind it is lost"
    );
    let good: Vec<_> = scene.seen().into_iter().filter(|batch| !poisoned(batch)).collect();
    assert_eq!(identifiers(&good), numbered(0..5));
    scene.end().await;
}

#[tokio::test]
async fn a_refusal_of_success_is_no_delivery() {
    let refused: Script = Box::new(|_| Ok(EventBatchResponse::default()));
    let scene = Scene::new(1, 10, vec![refused]).await;
    scene.controller.arrived.notified().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.cursor.next(Lane::Routine), 1);
    assert_eq!(scene.state.status().state, "held");
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
    let scene = Scene::new(1, 1, (0..50).map(|_| refuse()).collect()).await;
    scene.held().await;
    scene.append(Lane::Urgent, 100..103).await;
    scene.delivered_of(Lane::Urgent, 4).await;
    let status = scene.state.status();
    assert_eq!((status.state.as_str(), status.delivered_events), ("held", 3));
    assert!(status.last_error.contains("bad event"), "{status:?}");
    assert_eq!(scene.cursor.next(Lane::Routine), 1, "nothing is given up");
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
