//! `rodent.RodentService` over HTTP/2. Written by hand and not generated, for SendEvents takes the request's bytes as
//! they are ([`BatchCodec`]). Who calls is asked before anything is read; how many batches are read at once is bounded,
//! and with them the memory that callers can claim.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
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
    connect,
    ingest::Ingest,
    token::Identity,
};

/// Bytes of one batch, decompressed; a larger one is refused.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of any other message; a larger one is refused.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Batches that are read and stored at once; callers beyond them wait before their request is read.
const BATCHES_MAX: usize = 64;

/// The service, one copy a connection.
#[derive(Clone)]
pub(super) struct RodentService {
    ingest: Arc<Ingest>,
    batches: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl RodentService {
    /// Streams end when `stopping` is cancelled.
    pub(super) fn new(ingest: Ingest, stopping: CancellationToken) -> RodentService {
        RodentService { ingest: Arc::new(ingest), batches: Arc::new(Semaphore::new(BATCHES_MAX)), stopping }
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let identity = match self.ingest.authenticate(request.headers()) {
            Ok(identity) => identity,
            Err(status) => return status.into_http(),
        };
        match request.uri().path() {
            "/rodent.RodentService/Register" => self.register(identity, request).await,
            "/rodent.RodentService/SendEvents" => self.send_events(identity, request).await,
            "/rodent.RodentService/Connect" => self.connect(identity, request).await,
            path => Status::unimplemented(format!("no method {path}")).into_http(),
        }
    }

    async fn register(self, identity: Identity, request: http::Request<Body>) -> http::Response<Body> {
        let (ingest, identity) = (self.ingest, Arc::new(identity));
        let method = service_fn(move |request: Request<_>| {
            let (ingest, identity) = (Arc::clone(&ingest), Arc::clone(&identity));
            async move { ingest.register(&identity, request.into_inner()).await.map(Response::new) }
        });
        grpc(ProstCodec::default(), MESSAGE_BYTES_MAX).unary(method, request).await
    }

    async fn send_events(self, identity: Identity, request: http::Request<Body>) -> http::Response<Body> {
        let _turn = self.batches.acquire().await.expect("the semaphore is never closed");
        let (ingest, identity) = (self.ingest, Arc::new(identity));
        let method = service_fn(move |request: Request<Batch>| {
            let (ingest, identity) = (Arc::clone(&ingest), Arc::clone(&identity));
            async move { ingest.take(&identity, request.into_inner()).await.map(Response::new) }
        });
        named_if_oversize(grpc(BatchCodec, REQUEST_BYTES_MAX).unary(method, request).await)
    }

    async fn connect(self, identity: Identity, request: http::Request<Body>) -> http::Response<Body> {
        let (ingest, identity, stopping) = (self.ingest, Arc::new(identity), self.stopping);
        let method = service_fn(move |request: Request<_>| {
            let (ingest, identity, stopping) = (Arc::clone(&ingest), Arc::clone(&identity), stopping.clone());
            async move {
                ingest.seen(&identity).await?;
                Ok(Response::new(connect::answers(request.into_inner(), stopping)))
            }
        });
        grpc(ProstCodec::default(), MESSAGE_BYTES_MAX).streaming(method, request).await
    }
}

fn grpc<C: tonic::codec::Codec>(codec: C, bytes_max: usize) -> Grpc<C> {
    Grpc::new(codec)
        .accept_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(bytes_max)
}

/// Oversize requests are refused before we see them, plain ones with one code and compressed ones with another that
/// looks like a busy server. Both mean the same fault of the caller. Nothing of ours answers with these codes.
fn named_if_oversize(response: http::Response<Body>) -> http::Response<Body> {
    match response.extensions().get::<Status>().map(Status::code) {
        Some(Code::OutOfRange | Code::ResourceExhausted) => {
            let message = format!("the request is larger than {REQUEST_BYTES_MAX} bytes, decompressed");
            Status::invalid_argument(message).into_http()
        }
        _ => response,
    }
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
