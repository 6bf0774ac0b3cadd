//! `rodent.RodentService` over HTTP/2. Written by hand and not generated, for SendEvents takes the request's bytes as
//! they are ([`BatchCodec`]). Who calls, and what the node and the store can bear, is asked before anything is read; how
//! much is read at once is bounded, and with it the memory that callers can claim.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use tokio::{sync::Semaphore, time::timeout};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codec::CompressionEncoding,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{
    batch::{Batch, BatchCodec},
    connect::Answers,
    connection::Peer,
    ingest::Ingest,
    limits::{Call, Reached},
    metrics::{Method, Refusal},
    pressure::Busy,
    receive::{Bounds, Message, NotReceived, PREFIX_BYTES, Received, receive},
    state::{State, later},
    token::NodeIdentity,
    unpack::{Encoding, NotUnpacked, Unpacked, unpack},
};
use crate::backoff;

/// Bytes of one batch, decompressed; a larger one is refused.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a batch of that size may take on the way: gRPC puts five bytes before it, and what cannot be compressed grows a
/// little.
const BODY: Bounds = Bounds { bytes_max: REQUEST_BYTES_MAX + 64 * 1024, silence_max: Duration::from_secs(20) };

/// Bytes of any other message; a larger one is refused.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What such a message may take on the way.
const MESSAGE_BODY: Bounds = Bounds { bytes_max: MESSAGE_BYTES_MAX + 1024, silence_max: BODY.silence_max };

/// Batches that are decompressed, checked and stored at once; the others wait as they came.
const BATCHES_MAX: usize = 64;

/// How long a batch waits for the store before its caller is told to come back: well before an agent gives up, which
/// is after half a minute. It may be stored all the same; then its repeat is dropped.
const STORE_WAIT_MAX: Duration = Duration::from_secs(20);

/// When to come back who found no room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// The service, one copy a connection.
#[derive(Clone)]
pub(super) struct RodentService {
    ingest: Arc<Ingest>,
    batches: Arc<Semaphore>,
    state: Arc<State>,
}

impl RodentService {
    /// Streams end when the server stops.
    pub(super) fn new(ingest: Ingest, state: Arc<State>) -> RodentService {
        RodentService { ingest: Arc::new(ingest), batches: Arc::new(Semaphore::new(BATCHES_MAX)), state }
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let mut answer = Answer::expected(Arc::clone(&self.state), Method::of(request.uri().path()));
        let response = match self.admit(&request) {
            Ok((identity, call)) => match answer.method {
                Method::Register => self.register(identity, call, request).await,
                Method::SendEvents => self.send_events(identity, call, request).await,
                Method::Connect => self.connect(identity, call, request).await,
                Method::Unknown => Status::unimplemented(format!("no method {}", request.uri().path())).into_http(),
            },
            Err(status) => status.into_http(),
        };
        answer.code = response.extensions().get::<Status>().map_or(Code::Ok, Status::code);
        response
    }

    /// Who calls, and whether it may now.
    fn admit(&self, request: &http::Request<Body>) -> Result<(Arc<NodeIdentity>, Call), Status> {
        let identity = self.ingest.authenticate(request.headers())?;
        let (node, now) = (&identity.node, Instant::now());
        if self.state.denied.has(node) {
            return Err(shut_out());
        }
        let limits = &self.state.limits;
        if let Some(peer) = request.extensions().get::<Peer>() {
            if !peer.may_be(node) {
                let message = format!("the token is of node {node:?}, and the client certificate does not name it");
                return Err(Status::permission_denied(message));
            }
            let sit = || {
                let place = Arc::clone(&self.state.places).try_acquire_owned().map_err(|_| {
                    self.state.metrics.connections_refused.add(1);
                    Reached::places()
                })?;
                Ok((limits.sit(node, now)?, place))
            };
            peer.introduce(sit).map_err(|reached| self.limited(reached))?;
        }
        self.state.heard.note(node, now);
        let call = limits.enter(node, now).map_err(|reached| self.limited(reached))?;
        Ok((Arc::new(identity), call))
    }

    async fn register(
        self,
        identity: Arc<NodeIdentity>,
        call: Call,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let call = Arc::new(call);
        let received = self.receive(&call, request, MESSAGE_BODY).await;
        let request = match received {
            Ok(request) => self.unpacked(&call, request, MESSAGE_BYTES_MAX).await,
            Err(status) => Err(status),
        };
        let request = match request {
            Ok(request) => request,
            Err(status) => return status.into_http(),
        };
        let ingest = self.ingest;
        let method = service_fn(move |request: Request<_>| {
            let (ingest, identity) = (Arc::clone(&ingest), Arc::clone(&identity));
            async move { ingest.register(&identity, request.into_inner()).await.map(Response::new) }
        });
        grpc(ProstCodec::default(), MESSAGE_BYTES_MAX).unary(method, request).await
    }

    async fn send_events(
        self,
        identity: Arc<NodeIdentity>,
        call: Call,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let now = Instant::now();
        let pressure = &self.state.pressure;
        let open = call.may_send(now).map_err(|reached| self.limited(reached));
        let open = open.and_then(|()| pressure.check(now).map_err(|busy| self.busy(busy)));
        if let Err(status) = open {
            return status.into_http();
        }
        let call = Arc::new(call);
        let request = match self.receive(&call, request, BODY).await {
            Ok(request) => request,
            Err(status) => return status.into_http(),
        };
        self.state.metrics.received_bytes.add(request.body().len() as u64);
        let _waiting = match pressure.enter(Instant::now()) {
            Ok(waiting) => waiting,
            Err(busy) => return self.busy(busy).into_http(),
        };
        let stored = self.store(identity, call, request);
        match timeout(STORE_WAIT_MAX, stored).await {
            Ok(response) => response,
            Err(_) => self.busy(Busy { after: pressure.wait(Instant::now()) }).into_http(),
        }
    }

    async fn store(
        &self,
        identity: Arc<NodeIdentity>,
        call: Arc<Call>,
        request: http::Request<Received>,
    ) -> http::Response<Body> {
        let _turn = self.batches.acquire().await.expect("the semaphore is never closed");
        let request = match self.unpacked(&call, request, REQUEST_BYTES_MAX).await {
            Ok(request) => request,
            Err(status) => return status.into_http(),
        };
        let method = service_fn(|request: Request<Batch>| {
            let batch = request.into_inner();
            let bytes: usize = batch.events.iter().map(bytes::Bytes::len).sum();
            // Its bytes were charged as they came.
            call.charge(batch.events.len(), 0, Instant::now());
            self.state.metrics.event_bytes.add(bytes as u64);
            let (ingest, identity) = (Arc::clone(&self.ingest), Arc::clone(&identity));
            async move { ingest.take(&identity, batch).await.map(Response::new) }
        });
        grpc(BatchCodec, REQUEST_BYTES_MAX).unary(method, request).await
    }

    async fn connect(
        self,
        identity: Arc<NodeIdentity>,
        call: Call,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let call = Arc::new(call);
        let method = service_fn(move |request: Request<_>| {
            let (service, identity, call) = (self.clone(), Arc::clone(&identity), Arc::clone(&call));
            async move {
                service.ingest.seen(&identity).await?;
                let State { room, stopping, .. } = &*service.state;
                let (room, stopping) = (Arc::clone(room), stopping.clone());
                let saying = Arc::clone(&call);
                let limits = service.clone();
                let admit = move || saying.may_say(Instant::now()).map_err(|reached| limits.limited(reached));
                let denied = service.state.denied.clone();
                let is_shut_out = move || denied.has(&identity.node).then(shut_out);
                let answers = Answers::to(request.into_inner(), admit, is_shut_out, room, stopping);
                // The call counts until its stream ends.
                Ok(Response::new(answers.inspect(move |_| _ = &call)))
            }
        });
        // What is said here is short, and tonic decompresses it itself: gzip has a window of 32 KiB, zstd any.
        let grpc = Grpc::new(ProstCodec::default()).accept_compressed(CompressionEncoding::Gzip);
        grpc.max_decoding_message_size(MESSAGE_BYTES_MAX).streaming(method, request).await
    }

    /// Reads a body to its end. The node pays for its bytes, whatever comes of them.
    async fn receive(
        &self,
        call: &Call,
        request: http::Request<Body>,
        bounds: Bounds,
    ) -> Result<http::Request<Received>, Status> {
        let (head, body) = request.into_parts();
        let charge = |bytes| call.charge(0, bytes, Instant::now());
        match receive(body, bounds, &self.state.room, charge).await {
            Ok(body) => Ok(http::Request::from_parts(head, body)),
            Err(reason) => Err(self.not_received(&reason, bounds)),
        }
    }

    /// The request with its message in clear. Tonic would decompress it, too: on the thread that others wait for, with
    /// any window, and without a word of how much it was. The node pays for what it is more than it was on the way.
    async fn unpacked(
        &self,
        call: &Arc<Call>,
        request: http::Request<Received>,
        bytes_max: usize,
    ) -> Result<http::Request<Received>, Status> {
        match (request.body().message(), Encoding::of(request.headers())) {
            (Message::Broken, _) => Err(Status::internal("the request is not one whole message")),
            (Message::Compressed, Some(encoding)) => {
                let (head, body) = request.into_parts();
                let call = Arc::clone(call);
                // It is charged where it is done: whoever hangs up meanwhile pays all the same.
                let work = move || {
                    let packed = body.len();
                    let Unpacked { message, bytes } = unpack(&body.joined(), encoding, bytes_max);
                    call.charge(0, bytes.saturating_sub(packed), Instant::now());
                    message.map(|message| body.with(message))
                };
                match tokio::task::spawn_blocking(work).await {
                    Ok(Ok(body)) => Ok(http::Request::from_parts(head, body)),
                    Ok(Err(NotUnpacked::TooLarge)) => Err(oversize(bytes_max)),
                    Ok(Err(NotUnpacked::Malformed(why))) => {
                        Err(Status::internal(format!("the request cannot be decompressed: {why}")))
                    }
                    Err(_) => Err(Status::internal("decompressing the request was interrupted")),
                }
            }
            // Tonic would refuse it with a code that means a busy server to agents.
            (Message::Plain, _) if request.body().len() > bytes_max + PREFIX_BYTES => Err(oversize(bytes_max)),
            // What is compressed in another way is refused by tonic, which names the ways that there are.
            (Message::Plain | Message::Compressed, _) => Ok(request),
        }
    }

    fn limited(&self, reached: Reached) -> Status {
        self.state.limited(reached)
    }

    fn busy(&self, Busy { after }: Busy) -> Status {
        self.state.metrics.refused(Refusal::Store);
        later(Code::Unavailable, "the controller's store does not keep up", after)
    }

    fn not_received(&self, reason: &NotReceived, bounds: Bounds) -> Status {
        match reason {
            NotReceived::TooLarge if bounds.bytes_max == BODY.bytes_max => oversize(REQUEST_BYTES_MAX),
            NotReceived::TooLarge => oversize(MESSAGE_BYTES_MAX),
            NotReceived::NoRoom => {
                self.state.metrics.refused(Refusal::Room);
                later(Code::Unavailable, "the controller has no room for more requests", jittered(ROOM_WAIT))
            }
            NotReceived::Silent => Status::deadline_exceeded("the rest of the request did not come"),
            NotReceived::BrokenOff => Status::cancelled("the request was broken off"),
        }
    }
}

/// Counts an answer, also when the call was given up before there was one.
struct Answer {
    state: Arc<State>,
    method: Method,
    code: Code,
    begun: Instant,
}

impl Answer {
    fn expected(state: Arc<State>, method: Method) -> Answer {
        Answer { state, method, code: Code::Cancelled, begun: Instant::now() }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.state.metrics.answered(self.method, self.code, self.begun.elapsed());
    }
}

fn shut_out() -> Status {
    Status::permission_denied("this node is shut out")
}

/// Up to half as much more, so that those who were refused together do not come back together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + backoff::random() / 2.0)
}

fn grpc<C: tonic::codec::Codec>(codec: C, bytes_max: usize) -> Grpc<C> {
    Grpc::new(codec)
        .accept_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(bytes_max)
}

fn oversize(bytes_max: usize) -> Status {
    Status::invalid_argument(format!("the request is larger than {bytes_max} bytes, decompressed"))
}

impl NamedService for RodentService {
    const NAME: &'static str = "rodent.RodentService";
}

impl Service<http::Request<Body>> for RodentService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
