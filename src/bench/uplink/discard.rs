//! A controller that counts events and forgets them: what is measured against it is the agent's end, with as little as
//! possible on the other.

use std::{
    convert::Infallible,
    future::Future,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder},
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
    transport::{Identity, Server, ServerTlsConfig},
};
use tonic_prost::{ProstCodec, ProstEncoder};
use tower::service_fn;

use super::{UplinkBenchError, controller_error};
use crate::schema::wire::{EventBatchResponse, RegisterRequest, RegisterResponse};

/// HTTP/2 windows as the reference controller has them.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes of a message, decompressed.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A certificate for `localhost` that is its own authority, and its key, PEM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerTlsFiles {
    /// The certificate.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Serves until `ended` is done.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<PeerTlsFiles>,
    ended: impl Future<Output = ()>,
) -> Result<(), UplinkBenchError> {
    let mut server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .tcp_nodelay(true);
    if let Some(PeerTlsFiles { cert, key }) = tls {
        let identity = Identity::from_pem(std::fs::read(cert)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).map_err(controller_error)?;
    }
    let serving = server.add_service(Discard).serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended);
    serving.await.map_err(controller_error)
}

#[derive(Clone)]
struct Discard;

impl NamedService for Discard {
    const NAME: &'static str = "rodent.RodentService";
}

impl Service<http::Request<Body>> for Discard {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = match request.uri().path() {
            "/rodent.RodentService/Register" => Box::pin(register(request)),
            "/rodent.RodentService/SendEvents" => Box::pin(send_events(request)),
            path => Box::pin(std::future::ready(Status::unimplemented(format!("no method {path}")).into_http())),
        };
        Box::pin(async move { Ok(answer.await) })
    }
}

async fn register(request: http::Request<Body>) -> http::Response<Body> {
    let method = service_fn(|_: Request<RegisterRequest>| async {
        Ok::<_, Status>(Response::new(RegisterResponse { success: true, ..RegisterResponse::default() }))
    });
    Grpc::new(ProstCodec::default()).unary(method, request).await
}

async fn send_events(request: http::Request<Body>) -> http::Response<Body> {
    let method = service_fn(|events: Request<u64>| async move {
        let message = events.into_inner().to_string();
        Ok::<_, Status>(Response::new(EventBatchResponse { success: true, message, retry_after_ms: 0, dialect: 1 }))
    });
    Grpc::new(Counting)
        .accept_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .unary(method, request)
        .await
}

/// Reads how many events a batch has.
#[derive(Clone, Copy)]
struct Counting;

impl Codec for Counting {
    type Encode = EventBatchResponse;
    type Decode = u64;
    type Encoder = ProstEncoder<EventBatchResponse>;
    type Decoder = Counting;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Counting {
        Counting
    }
}

impl Decoder for Counting {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        let mut fields = buffer.copy_to_bytes(buffer.remaining());
        let mut events = 0;
        let malformed = |error: prost::DecodeError| Status::invalid_argument(error.to_string());
        while fields.has_remaining() {
            let (number, wire_type) = decode_key(&mut fields).map_err(malformed)?;
            events += u64::from(number == 1 && wire_type == WireType::LengthDelimited);
            skip_field(wire_type, number, &mut fields, DecodeContext::default()).map_err(malformed)?;
        }
        Ok(Some(events))
    }
}
