//! The uplink against answers that no well-behaved controller gives: what stands in between answers itself, headers are not
//! well-formed, encodings are named that are not read. Delivery goes on when that ends.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use prost::Message as _;
use rodent::{
    event_log::{Draft, EventLog, Lane, Settings},
    schema::{
        events::Event,
        wire::{EventBatch, EventBatchResponse},
    },
    settings::Secret,
    sinks::{
        Delivery, Threshold,
        uplink::{Settings as UplinkSettings, Surroundings, Tls, TokenSource, Uplink, UplinkState},
    },
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

/// What came of delivering 50 events: the state at the end, and how often the controller was asked.
async fn deliver(
    status: http::StatusCode,
    script: Vec<Headers>,
    until: impl Fn(&UplinkState) -> bool,
) -> (String, usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
    let cursor = log.cursor("uplink").expect("room for a cursor");
    let events: Vec<_> = (0..50)
        .map(|n| Event { event_id: format!("event-{n}"), timestamp: 1, ..Event::default() }.encode_to_vec())
        .collect();
    let drafts: Vec<_> = events.iter().map(|event| Draft { event, level: 1, category: 1, timestamp: 1 }).collect();
    let next = log.append(Lane::Routine, &drafts).await.expect("appended");
    log.commit(Lane::Routine, next).await.expect("durable");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let rough = Rough { status, script: Arc::new(Mutex::new(script.into())), asked: Arc::default() };
    let shutdown = CancellationToken::new();
    let serving = Server::builder()
        .add_service(rough.clone())
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned());
    let state = UplinkState::new(&address);
    let token = TokenSource::Inline(Secret::new("t0ken"));
    let uplink = Uplink::new(
        UplinkSettings { address, token, tls: Tls::Off, node_id: "node".to_owned() },
        Surroundings { now: Arc::new(|| 1), system_info: Arc::new(Default::default) },
        Delivery::new(&log, &cursor, Threshold { batch_size: 50, batch_timeout: Duration::from_millis(10) }),
        state.clone(),
    );
    let watching = async {
        for _ in 0..3000 {
            if until(&state) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("does not come about: {:?}", state.status());
    };
    tokio::select! {
        _ = serving => panic!("the server ended"),
        () = uplink.run(shutdown.clone(), shutdown.clone()) => panic!("the uplink ended"),
        () = watching => {}
    }
    log.close();
    let status = state.status();
    (if status.state == "held" { status.last_error } else { status.state }, rough.asked.load(Ordering::Relaxed))
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
    let held = |state: &UplinkState| state.status().state == "held";
    let (_, asked) = deliver(http::StatusCode::OK, (0..100).map(|_| headers()).collect(), held).await;
    assert_eq!(asked, 3, "zstd, gzip, plain; then it holds");
}
