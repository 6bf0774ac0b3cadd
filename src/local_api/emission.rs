//! Emission: requests of a caller become events in the pipeline, each request whole or not at all.
//!
//! Of a stream each request goes into the log's memory as it arrives, so that the order stands. One flush makes durable
//! what was taken until it began, and only then are its answers given; what arrives meanwhile is taken for the next. So a
//! stream of single events shares flushes, and one event alone waits for nobody.

use std::{collections::VecDeque, future::pending, time::Duration};

use futures_util::{FutureExt as _, Stream, future::BoxFuture, stream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::{
    pipeline::{EmitError, Emitter, Ends, Origin, Outcome},
    schema::local::{EmitRequest, EmitResponse, emit_request::Durability},
};

pub(super) const REQUEST_EVENTS_MAX: usize = 1_000;

/// Bytes of the events of one request.
pub(super) const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Events of a group, and their bytes: from there on it waits for nothing more, and the stream waits while the group before
/// is being flushed. A request counts as one event at least.
const GROUP_EVENTS_MAX: usize = 4_000;
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// So long a group waits until it has as many requests as the one before: whoever sends so many at a time sends as many
/// again when they are answered.
const GROUP_WAIT_MAX: Duration = Duration::from_millis(1);

/// Takes one request.
pub(super) async fn emit(emitter: &Emitter, request: EmitRequest, origin: Origin) -> Result<EmitResponse, Status> {
    let durability = request.durability();
    let (mut answer, ends) = submit(emitter, request, origin, durability).await?;
    if durability == Durability::Committed {
        answer.only_in_memory = emitter.secure(ends).await.map_err(status_of)?.unwrap_or_default();
    }
    Ok(answer)
}

/// Answers a stream of requests in their order; the first refusal is the last answer.
pub(super) fn emit_stream(
    emitter: Emitter,
    requests: Streaming<EmitRequest>,
    origin: Origin,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<EmitResponse, Status>> {
    let emission = Emission {
        emitter,
        requests,
        origin,
        shutdown,
        seen: 0,
        taken: Group::default(),
        expected: 0,
        flushing: None,
        answers: VecDeque::new(),
        last: None,
        ended: false,
    };
    stream::unfold(emission, |mut emission| async move {
        let answer = emission.next().await?;
        Some((answer, emission))
    })
}

struct Emission {
    emitter: Emitter,
    requests: Streaming<EmitRequest>,
    origin: Origin,
    shutdown: CancellationToken,
    /// Requests so far.
    seen: u64,
    /// What the next flush is for.
    taken: Group,
    /// Requests that the next flush waits for.
    expected: usize,
    /// The flush that is under way.
    flushing: Option<BoxFuture<'static, Flushed>>,
    /// Of what is flushed.
    answers: VecDeque<EmitResponse>,
    /// What ends the stream, behind all answers.
    last: Option<Status>,
    /// Nothing more is taken.
    ended: bool,
}

/// Requests that are in the log's memory.
#[derive(Default)]
struct Group {
    answers: VecDeque<EmitResponse>,
    /// What is to be durable before they are answered.
    ends: Ends,
    events: usize,
    bytes: usize,
    /// When its first request was taken.
    since: Option<Instant>,
}

/// The answers of a group, and whether it is durable.
type Flushed = (VecDeque<EmitResponse>, Result<Option<String>, EmitError>);

impl Emission {
    async fn next(&mut self) -> Option<Result<EmitResponse, Status>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some(Ok(answer));
            }
            self.flush_if_due();
            let is_done = self.ended && self.flushing.is_none() && self.answers.is_empty();
            if is_done && self.taken.answers.is_empty() {
                return self.last.take().map(Err);
            }
            if self.answers.is_empty() {
                self.go_on().await;
            }
        }
    }

    /// Waits for what comes first: the end of a flush, a request, or that a group has waited long enough.
    async fn go_on(&mut self) {
        let takes = !self.ended && !self.taken.is_full();
        let waits_since = self.taken.since.filter(|_| self.flushing.is_none());
        tokio::select! {
            biased;
            (answers, secured) = end_of(&mut self.flushing) => self.flushed(answers, secured),
            request = self.requests.message(), if takes => match request {
                Ok(Some(request)) => self.take(request).await,
                Ok(None) => self.ended = true,
                Err(status) => self.end_with(status),
            },
            () = self.shutdown.cancelled(), if !self.ended => {
                self.end_with(Status::unavailable("the agent is stopping"));
            }
            () = long_enough(waits_since) => self.expected = 0,
        }
    }

    /// Begins to flush what was taken, unless it is to wait.
    fn flush_if_due(&mut self) {
        let taken = &self.taken;
        let waits = taken.answers.len() < self.expected && !taken.is_full() && !self.ended;
        if self.flushing.is_some() || taken.answers.is_empty() || (waits && !taken.ends.is_empty()) {
            return;
        }
        let Group { answers, ends, .. } = std::mem::take(&mut self.taken);
        if ends.is_empty() {
            // Nobody wants to know that it is durable.
            return self.answers = answers;
        }
        self.expected = answers.len();
        let emitter = self.emitter.clone();
        self.flushing = Some(async move { (answers, emitter.secure(ends).await) }.boxed());
    }

    fn flushed(&mut self, mut answers: VecDeque<EmitResponse>, secured: Result<Option<String>, EmitError>) {
        self.flushing = None;
        match secured {
            Ok(None) => {}
            Ok(Some(reason)) => answers.iter_mut().for_each(|answer| answer.only_in_memory.clone_from(&reason)),
            Err(error) => {
                // Of what was taken since nothing is durable either.
                self.taken = Group::default();
                return self.end_with(status_of(error));
            }
        }
        self.answers = answers;
    }

    /// Takes one request into memory.
    async fn take(&mut self, request: EmitRequest) {
        self.seen += 1;
        let (durability, events) = (request.durability(), request.events.len());
        let bytes: usize = request.events.iter().map(|event| event.len()).sum();
        // A group of them is committed together.
        match submit(&self.emitter, request, self.origin, Durability::Buffered).await {
            Ok((answer, ends)) => {
                let taken = &mut self.taken;
                taken.answers.push_back(answer);
                taken.events += events.max(1);
                taken.bytes += bytes;
                taken.since.get_or_insert_with(Instant::now);
                if durability == Durability::Committed {
                    taken.ends = taken.ends.or_later(ends);
                }
            }
            Err(status) => {
                let place = format!("request {}: {}", self.seen, status.message());
                self.end_with(Status::new(status.code(), place));
            }
        }
    }

    fn end_with(&mut self, status: Status) {
        self.last.get_or_insert(status);
        self.ended = true;
    }
}

impl Group {
    fn is_full(&self) -> bool {
        self.events >= GROUP_EVENTS_MAX || self.bytes >= GROUP_BYTES_MAX
    }
}

async fn end_of(flushing: &mut Option<BoxFuture<'static, Flushed>>) -> Flushed {
    match flushing {
        Some(flushing) => flushing.await,
        None => pending().await,
    }
}

async fn long_enough(since: Option<Instant>) {
    match since {
        Some(since) => sleep_until(since + GROUP_WAIT_MAX).await,
        None => pending().await,
    }
}

/// Takes a request into memory: its answer, and what is to be durable before that says so.
async fn submit(
    emitter: &Emitter,
    request: EmitRequest,
    origin: Origin,
    durability: Durability,
) -> Result<(EmitResponse, Ends), Status> {
    check_size(&request)?;
    let submission = emitter.submit(request.events, origin, durability).await.map_err(status_of)?;
    let mut answer = EmitResponse::default();
    answer.event_ids.reserve_exact(submission.outcomes.len());
    for outcome in submission.outcomes {
        match outcome {
            Outcome::Accepted(id) => {
                answer.accepted += 1;
                answer.event_ids.push(id);
            }
            Outcome::Filtered => {
                answer.filtered += 1;
                answer.event_ids.push(String::new());
            }
        }
    }
    Ok((answer, submission.ends))
}

fn check_size(request: &EmitRequest) -> Result<(), Status> {
    let (events, bytes) = (request.events.len(), request.events.iter().map(|event| event.len()).sum::<usize>());
    if events > REQUEST_EVENTS_MAX || bytes > REQUEST_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "{events} events of {bytes} bytes in one request; at most {REQUEST_EVENTS_MAX} and {REQUEST_BYTES_MAX} are taken: send several requests"
        )));
    }
    Ok(())
}

fn status_of(error: EmitError) -> Status {
    match error {
        EmitError::Refused(_) => Status::invalid_argument(error.to_string()),
        EmitError::Unavailable(_) => Status::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::{BufMut as _, Bytes, BytesMut};
    use futures_util::StreamExt as _;
    use http_body::Frame;
    use prost::Message as _;
    use tonic_prost::ProstDecoder;

    use super::*;
    use crate::{
        event::json,
        event_log::{EventLog, Lane, Settings},
        pipeline::Gate,
    };

    const ORIGIN: Origin = Origin { uid: 7, gid: 8 };

    fn request(events: usize, bytes: usize) -> EmitRequest {
        EmitRequest { events: vec![Bytes::from(vec![0; bytes]); events], durability: 0 }
    }

    fn event() -> Bytes {
        json::from_str(r#"{"kind": "storage.pool.created"}"#).expect("an event").encode_to_vec().into()
    }

    /// All there is of a body.
    struct Arrived(Option<Bytes>);

    impl http_body::Body for Arrived {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    /// A stream of requests that have all arrived.
    fn arrived(requests: &[EmitRequest]) -> Streaming<EmitRequest> {
        let mut bytes = BytesMut::new();
        for request in requests {
            bytes.put_u8(0);
            bytes.put_u32(u32::try_from(request.encoded_len()).expect("small"));
            request.encode(&mut bytes).expect("there is room");
        }
        let body = tonic::body::Body::new(Arrived(Some(bytes.freeze())));
        Streaming::new_request(ProstDecoder::default(), body, None, None)
    }

    async fn answers(emitter: Emitter, requests: &[EmitRequest]) -> Vec<Result<EmitResponse, Status>> {
        emit_stream(emitter, arrived(requests), ORIGIN, CancellationToken::new()).collect().await
    }

    #[test]
    fn a_request_is_bounded_in_events_and_in_bytes() {
        assert!(check_size(&request(1_000, 1_000)).is_ok());
        let error = check_size(&request(1_001, 1)).expect_err("too many");
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        assert!(error.message().contains("1001 events"), "{}", error.message());
        assert!(check_size(&request(65, 16 * 1024)).is_err());
    }

    #[tokio::test]
    async fn single_events_of_a_stream_share_flushes_and_each_is_durable_when_it_is_answered() {
        const REQUESTS: usize = 10_000;
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let emitter = Emitter::new(log.clone(), Gate::open(), || 1);
        let requests = vec![EmitRequest { events: vec![event()], durability: 0 }; REQUESTS];
        let mut stream =
            Box::pin(emit_stream(emitter, arrived(&requests), ORIGIN, CancellationToken::new()).enumerate());
        let mut answered = 0;
        while let Some((place, answer)) = stream.next().await {
            assert_eq!(answer.expect("taken").accepted, 1);
            assert!(log.bounds(Lane::Routine).1 > place as u64 + 1, "the answer to request {place} is too early");
            answered += 1;
        }
        assert_eq!(answered, REQUESTS);
        let flushes = log.commits().count();
        assert!(flushes < REQUESTS as u64 / 20, "{flushes} flushes");
        log.close();
    }

    #[tokio::test]
    async fn what_was_taken_before_a_request_that_is_refused_is_answered_and_the_refusal_comes_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let emitter = Emitter::new(log.clone(), Gate::open(), || 1);
        let good = |durability: Durability| EmitRequest { events: vec![event()], durability: durability.into() };
        let requests =
            [good(Durability::Committed), good(Durability::Buffered), request(1, 3), good(Durability::Committed)];
        let answers = answers(emitter, &requests).await;
        let codes: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_err(Status::code)).collect();
        assert!(matches!(codes[..], [Ok(_), Ok(_), Err(tonic::Code::InvalidArgument)]), "{codes:?}");
        let refusal = answers.last().and_then(|last| last.as_ref().err()).expect("a refusal");
        assert!(refusal.message().starts_with("request 3: "), "{refusal:?}");
        assert_eq!(log.next_sequence(Lane::Routine), 3, "what came behind it is not taken");
        log.close();
    }
}
