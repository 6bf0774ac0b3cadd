//! Emission: requests of a caller become events in the pipeline, each request whole or not at all.
//!
//! A stream's requests are taken in groups of what has already arrived: each request goes into the log's memory in its
//! turn, so that the order stands, then one flush makes the whole group durable, and only then are its answers given.

use std::collections::VecDeque;

use futures_util::{FutureExt as _, Stream, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::{
    pipeline::{Durability, EmitError, Emitter, Origin, Outcome},
    schema::local::{EmitRequest, EmitResponse, emit_request},
};

/// Events of one request.
pub(super) const REQUEST_EVENTS_MAX: usize = 1_000;

/// Bytes of the events of one request.
pub(super) const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Requests that share one flush; also what a stream may have in flight inside the agent.
const GROUP_REQUESTS_MAX: usize = 8;

/// Takes one request.
pub(super) async fn emit(emitter: &Emitter, request: EmitRequest, origin: Origin) -> Result<EmitResponse, Status> {
    let durability = match request.durability() {
        emit_request::Durability::Committed => Durability::Committed,
        emit_request::Durability::Buffered => Durability::Buffered,
    };
    submit(emitter, request, origin, durability).await
}

/// Answers a stream of requests in their order; the first refusal is the last answer.
pub(super) fn emit_stream(
    emitter: Emitter,
    requests: Streaming<EmitRequest>,
    origin: Origin,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<EmitResponse, Status>> {
    let emission = Emission { emitter, requests, origin, shutdown, seen: 0, answers: VecDeque::new(), ended: false };
    stream::unfold(emission, |mut emission| async move {
        while emission.answers.is_empty() && !emission.ended {
            emission.take_group().await;
        }
        let answer = emission.answers.pop_front()?;
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
    answers: VecDeque<Result<EmitResponse, Status>>,
    ended: bool,
}

impl Emission {
    /// Waits for a request, then takes it and those that have already arrived behind it.
    async fn take_group(&mut self) {
        let first = tokio::select! {
            first = self.requests.message() => first,
            () = self.shutdown.cancelled() => Err(Status::unavailable("the agent is stopping")),
        };
        let mut next = Some(first);
        let mut wait_for_disk = false;
        while let Some(request) = next.take() {
            match request {
                Ok(Some(request)) => wait_for_disk |= self.take(request).await,
                Ok(None) => self.ended = true,
                Err(status) => self.end_with(status),
            }
            if !self.ended && self.answers.len() < GROUP_REQUESTS_MAX {
                next = self.requests.message().now_or_never();
            }
        }
        if wait_for_disk {
            match self.emitter.flush().await {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    self.answers.iter_mut().flatten().for_each(|a| a.only_in_memory.clone_from(&reason))
                }
                Err(error) => {
                    self.answers.clear();
                    self.end_with(status_of(error));
                }
            }
        }
    }

    /// Takes one request into memory. Returns whether its caller wants to know that it is durable.
    async fn take(&mut self, request: EmitRequest) -> bool {
        self.seen += 1;
        let wants_disk = request.durability() == emit_request::Durability::Committed;
        match submit(&self.emitter, request, self.origin, Durability::Buffered).await {
            Ok(answer) => {
                let taken = answer.accepted > 0;
                self.answers.push_back(Ok(answer));
                wants_disk && taken
            }
            Err(status) => {
                let place = format!("request {}: {}", self.seen, status.message());
                self.end_with(Status::new(status.code(), place));
                false
            }
        }
    }

    fn end_with(&mut self, status: Status) {
        self.answers.push_back(Err(status));
        self.ended = true;
    }
}

async fn submit(
    emitter: &Emitter,
    request: EmitRequest,
    origin: Origin,
    durability: Durability,
) -> Result<EmitResponse, Status> {
    check_size(&request)?;
    let submission = emitter.submit(request.events, origin, durability).await.map_err(status_of)?;
    let only_in_memory = submission.only_in_memory.unwrap_or_default();
    let mut answer = EmitResponse { only_in_memory, ..EmitResponse::default() };
    for outcome in submission.outcomes {
        match outcome {
            Outcome::Accepted(id) => {
                answer.accepted += 1;
                answer.event_ids.push(id.to_string());
            }
            Outcome::Filtered => {
                answer.filtered += 1;
                answer.event_ids.push(String::new());
            }
        }
    }
    Ok(answer)
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
    use bytes::Bytes;

    use super::*;

    fn request(events: usize, bytes: usize) -> EmitRequest {
        EmitRequest { events: vec![Bytes::from(vec![0; bytes]); events], durability: 0 }
    }

    #[test]
    fn a_request_is_bounded_in_events_and_in_bytes() {
        assert!(check_size(&request(1_000, 1_000)).is_ok());
        let error = check_size(&request(1_001, 1)).expect_err("too many");
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        assert!(error.message().contains("1001 events"), "{}", error.message());
        assert!(check_size(&request(65, 16 * 1024)).is_err());
    }
}
