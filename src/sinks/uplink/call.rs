//! One `SendEvents` as an HTTP/2 request whose body is ready: what the log has compressed goes as it is. A generated client
//! would encode and compress, which is what is saved here; the answer is read by tonic.
//!
//! Source: the gRPC protocol over HTTP/2: a byte that tells whether the message is compressed, its length in four
//! bytes, the message.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tonic::{
    Code, Status, Streaming,
    codec::BufferSettings,
    codegen::http::{HeaderMap, Request, Response, header},
    metadata::{Ascii, MetadataValue},
};
use tonic_prost::ProstDecoder;
use tower::{Service as _, ServiceExt as _};

use super::{
    compression::{Compression, PackedBatch},
    way::Way,
};
use crate::schema::wire::EventBatchResponse;

const METHOD: &str = "/rodent.RodentService/SendEvents";

/// The largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Compressed or not, and the length.
const PREFIX_BYTES: usize = 5;

/// What came back.
pub(super) struct Answered {
    /// The answer, or why there is none.
    pub(super) outcome: Result<EventBatchResponse, Status>,
    /// The best compression that the peer says it accepts, if it says so.
    pub(super) accepts: Option<Compression>,
    /// Whether nothing came back at all: the connection ended before.
    pub(super) is_unanswered: bool,
}

/// Sends a message and waits for the answer, for however long: the deadline is the caller's.
pub(super) async fn send_events(way: Way, token: &MetadataValue<Ascii>, message: PackedBatch) -> Answered {
    let response = match exchange(way, token, message).await {
        Ok(response) => response,
        Err(status) => return Answered { outcome: Err(status), accepts: None, is_unanswered: true },
    };
    let accepts = accepted(response.headers());
    Answered { outcome: read(response).await, accepts, is_unanswered: false }
}

async fn exchange(
    mut way: Way,
    token: &MetadataValue<Ascii>,
    message: PackedBatch,
) -> Result<Response<tonic::body::Body>, Status> {
    let request = request(token, message)?;
    let failed = |error| Status::from_error(Box::new(error));
    way.ready().await.map_err(failed)?.call(request).await.map_err(failed)
}

fn request(token: &MetadataValue<Ascii>, message: PackedBatch) -> Result<Request<tonic::body::Body>, Status> {
    let length =
        u32::try_from(message.wire_bytes()).map_err(|_| Status::out_of_range("the batch is larger than 4 GiB"))?;
    let mut request =
        Request::post(METHOD).header(header::TE, "trailers").header(header::CONTENT_TYPE, "application/grpc");
    if let Some(name) = message.compression.name() {
        request = request.header("grpc-encoding", name);
    }
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
    prefix.put_u8(message.compression.name().is_some().into());
    prefix.put_u32(length);
    let pieces: VecDeque<_> =
        std::iter::once(prefix.freeze()).chain(message.pieces).filter(|p| !p.is_empty()).collect();
    let left = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut request = request
        .body(tonic::body::Body::new(PiecesBody { pieces, left }))
        .map_err(|error| Status::internal(error.to_string()))?;
    // As bytes: the value keeps its mark of being a secret.
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("authorization", token.clone());
    request.headers_mut().extend(metadata.into_headers());
    Ok(request)
}

/// The best compression that these headers accept, where they say so.
pub(super) fn accepted(headers: &HeaderMap) -> Option<Compression> {
    headers.get("grpc-accept-encoding").and_then(|names| names.to_str().ok()).map(Compression::accepted)
}

async fn read(response: Response<tonic::body::Body>) -> Result<EventBatchResponse, Status> {
    let (head, body) = response.into_parts();
    // An error without a message comes as headers alone.
    if let Some(status) = Status::from_header_map(&head.headers).filter(|status| status.code() != Code::Ok) {
        return Err(status);
    }
    let decoder: ProstDecoder<EventBatchResponse> = ProstDecoder::new(BufferSettings::default());
    let is_told = Arc::new(AtomicBool::new(false));
    let body = Heard { body, is_told: Arc::clone(&is_told) };
    let mut answers = Streaming::new_response(decoder, body, head.status, None, Some(ANSWER_BYTES_MAX));
    let read = async {
        let answer = answers.message().await?;
        // What decides is the status behind the message.
        answers.trailers().await?;
        answer.ok_or_else(|| Status::internal("the controller answered without a message"))
    };
    read.await.map_err(|status| if is_told.load(Ordering::Relaxed) { status } else { without_verdict(status) })
}

/// What failed before the controller has told its status, which is thus no verdict of its on the batch: an answer that is too
/// large or cannot be decoded here.
fn without_verdict(status: Status) -> Status {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss => status,
        _ => Status::internal(format!("the controller's answer cannot be read here: {}", status.message())),
    }
}

/// The body of an answer, and whether the controller has told its status behind it.
struct Heard {
    body: tonic::body::Body,
    is_told: Arc<AtomicBool>,
}

impl Body for Heard {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(&frame, Some(Ok(frame)) if frame.is_trailers()) {
            self.is_told.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that are there already, one piece after the other.
struct PiecesBody {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consumers::Then,
        sinks::uplink::answer::{self, classify},
    };

    /// An answer of one message that says how long it is, and then this status.
    fn answered(length: u32, message: &[u8], code: Code) -> Response<tonic::body::Body> {
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(length);
        bytes.put_slice(message);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", i32::from(code).into());
        let frames = [Frame::data(bytes.freeze()), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
        Response::new(tonic::body::Body::new(Frames(frames.into())))
    }

    struct Frames(VecDeque<Result<Frame<Bytes>, Infallible>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    async fn then(response: Response<tonic::body::Body>) -> Option<Then> {
        let asked = answer::Asked { events: 1, compressed: false, strained: 1 };
        classify(&read(response).await, asked).err()
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_here_is_no_verdict_on_the_batch() {
        let again = Some(Then::Later(std::time::Duration::ZERO));
        assert_eq!(then(answered(64 << 20, b"x", Code::Ok)).await, again, "too large");
        assert_eq!(then(answered(3, b"\xff\xff\xff", Code::Ok)).await, again, "not decoded");
        assert_eq!(then(answered(0, b"", Code::OutOfRange)).await, Some(Then::Smaller), "the controller's own word");
    }
}
