//! The uplink against answers that no well-behaved controller gives: what stands in between answers itself, headers are not
//! well-formed, encodings are named that are not read; and over a log of which one lane cannot be read. Delivery goes on
//! when that ends.

use std::{
    collections::VecDeque,
    convert::Infallible,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use prost::Message as _;
use rodent::{
    consumers::{Delivery, Threshold},
    event_log::{Cursor, Draft, EventLog, Lane, Settings},
    schema::{
        events::Event,
        wire::{EventBatch, EventBatchResponse},
    },
    settings::Secret,
    sinks::uplink::{Surroundings, Tls, TokenSource, Uplink, UplinkSettings, UplinkState},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::CompressionEncoding,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower::service_fn;

type Headers = Vec<(&'static str, &'static str)>;

/// Answers with these headers alone, one set for each batch, then stores.
#[derive(Clone)]
struct Rough {
    status: http::StatusCode,
    script: Arc<Mutex<VecDeque<Headers>>>,
    asked: Arc<AtomicUsize>,
}

impl NamedService for Rough {
    const NAME: &'static str = "rodent.RodentService";
}

impl Service<http::Request<Body>> for Rough {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !request.uri().path().ends_with("SendEvents") {
            return Box::pin(async { Ok(Status::unimplemented("").into_http()) });
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let headers = self.script.lock().expect("no panic under the lock").pop_front();
        let status = self.status;
        Box::pin(async move {
            let Some(headers) = headers else { return Ok(store(request).await) };
            let mut response = http::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Body::empty()).expect("a response"))
        })
    }
}

async fn store(request: http::Request<Body>) -> http::Response<Body> {
    let method = service_fn(|_: Request<EventBatch>| async {
        Ok::<_, Status>(Response::new(EventBatchResponse { success: true, ..EventBatchResponse::default() }))
    });
    let mut grpc = Grpc::new(ProstCodec::default())
        .accept_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Gzip);
    grpc.unary(method, request).await
}

/// Settings of a log whose generations hold few events.
fn log_settings(directory: &Path) -> Settings {
    Settings { generation_bytes: 64 * 1024, ..Settings::new(directory.join("log")) }
}

/// Puts events into a lane, durably: small ones, or such that hardly shrink.
async fn append(log: &EventLog, lane: Lane, count: u64, noise: usize) {
    let detail = |n: u64| (0..noise as u64).map(|i| char::from(b'!' + (((n * 31 + i) * (i + 7)) % 90) as u8)).collect();
    let event = |n| Event { event_id: format!("event-{n}"), source: detail(n), timestamp: 1, ..Event::default() };
    let events: Vec<_> = (0..count).map(|n| event(n).encode_to_vec()).collect();
    for events in events.chunks(50) {
        let drafts: Vec<_> =
            events.iter().map(|event| Draft { event, level: 1, category: 1, timestamp: 1, kind: None }).collect();
        let next = log.append(lane, &drafts).await.expect("appended");
        log.commit(lane, next).await.expect("durable");
    }
}

/// Delivers what is in the log to such a controller while `watching` is not done.
async fn run<T>(log: &EventLog, rough: Rough, watching: impl AsyncFnOnce(UplinkState, Cursor) -> T) -> T {
    let cursor = log.cursor("uplink").expect("room for a cursor");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let shutdown = CancellationToken::new();
    let serving = Server::builder()
        .add_service(rough)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned());
    let state = UplinkState::new(&address);
    let token = TokenSource::Inline(Secret::new("t0ken"));
    let uplink = Uplink::new(
        UplinkSettings { address, token, tls: Tls::Off, node_id: "node".to_owned() },
        Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) },
        state.clone(),
    );
    let threshold = Threshold { batch_size: 50, batch_timeout: Duration::from_millis(10) };
    let uplink = uplink.driver(Delivery::new(log, &cursor, threshold));
    tokio::select! {
        _ = serving => panic!("the server ended"),
        () = uplink.run(shutdown.clone(), shutdown.clone()) => panic!("the uplink ended"),
        watched = watching(state, cursor) => watched,
    }
}

async fn eventually(state: &UplinkState, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("does not come about: {:?}", state.status());
}

/// What came of delivering 50 events: the state at the end, and how often the controller was asked.
async fn deliver(status: http::StatusCode, script: Vec<Headers>, until: fn(&UplinkState) -> bool) -> (String, usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(log_settings(directory.path())).expect("a log");
    append(&log, Lane::Routine, 50, 0).await;
    let rough = Rough { status, script: Arc::new(Mutex::new(script.into())), asked: Arc::default() };
    let asked = Arc::clone(&rough.asked);
    let state = run(&log, rough, async |state, _| {
        eventually(&state, || until(&state)).await;
        state.status().state
    });
    let state = state.await;
    log.close();
    (state, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_lane_that_cannot_be_read_leaves_the_other_alone_and_goes_on_when_it_can() {
    const EVENTS: u64 = 1_000;
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(log_settings(directory.path())).expect("a log");
    append(&log, Lane::Routine, EVENTS, 200).await;
    append(&log, Lane::Urgent, 3, 0).await;
    log.cursor("uplink").expect("room for a cursor");
    log.close();
    // What the system does not open cannot be read, and is not taken for damage.
    let file = directory.path().join("log/routine/gen-0000000001/db");
    let aside = directory.path().join("aside");
    std::fs::rename(&file, &aside).expect("moved");
    std::os::unix::fs::symlink(&file, &file).expect("a link to itself in its place");
    let log = EventLog::open(log_settings(directory.path())).expect("a log");
    let rough = Rough { status: http::StatusCode::OK, script: Arc::default(), asked: Arc::default() };
    run(&log, rough, async |state, cursor| {
        eventually(&state, || cursor.next(Lane::Urgent) >= 4).await;
        assert_eq!(cursor.next(Lane::Routine), 1, "nothing is passed over");
        std::fs::remove_file(&file).expect("removed");
        std::fs::rename(&aside, &file).expect("moved back");
        eventually(&state, || cursor.next(Lane::Routine) > EVENTS).await;
    })
    .await;
    log.close();
}

fn delivered(state: &UplinkState) -> bool {
    state.status().delivered_events == 50
}

#[tokio::test]
async fn details_that_are_not_base64_are_an_error_like_others() {
    let headers = vec![
        ("content-type", "application/grpc"),
        ("grpc-status", "14"),
        ("grpc-message", "busy"),
        ("grpc-status-details-bin", "%%%"),
    ];
    let (state, asked) = deliver(http::StatusCode::OK, vec![headers], delivered).await;
    assert_eq!((state.as_str(), asked), ("connected", 2));
}

#[tokio::test]
async fn a_proxy_that_finds_a_request_too_large_gets_smaller_ones() {
    let (state, asked) = deliver(http::StatusCode::PAYLOAD_TOO_LARGE, vec![vec![], vec![]], delivered).await;
    assert_eq!((state.as_str(), asked), ("connected", 4), "twice too large, then two halves");
}

#[tokio::test]
async fn an_encoding_that_is_named_but_not_read_is_not_tried_again_and_again() {
    let headers = || {
        vec![
            ("content-type", "application/grpc"),
            ("grpc-status", "12"),
            ("grpc-accept-encoding", "identity,gzip,zstd"),
        ]
    };
    let held: fn(&UplinkState) -> bool = |state| state.status().state == "held";
    let (_, asked) = deliver(http::StatusCode::OK, (0..100).map(|_| headers()).collect(), held).await;
    assert_eq!(asked, 3, "zstd, gzip, plain; then it holds");
}

#[tokio::test]
async fn a_server_that_stumbles_over_an_encoding_gets_a_plainer_one() {
    let headers = || {
        vec![
            ("content-type", "application/grpc"),
            ("grpc-status", "13"),
            ("grpc-message", "Error parsing 'grpc-encoding' metadata"),
        ]
    };
    let (state, asked) = deliver(http::StatusCode::OK, vec![headers(), headers()], delivered).await;
    assert_eq!((state.as_str(), asked), ("connected", 3), "zstd, gzip, plain");
}
