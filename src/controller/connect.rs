//! The control stream, as far as there is one yet: this controller has no commands, so it says of each message that it
//! was seen and what became of it, and keeps the stream open until the agent ends it or the controller stops.
//!
//! What holds: what an agent says is taken as it comes, so that none of it waits in the windows of the connection; the
//! answers that wait until the agent reads them count in the room of all requests and are bounded; a stream whose answers
//! are not read, or whose node is shut out meanwhile, ends.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use prost::Message as _;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::receive::Room;
use crate::schema::wire::{
    Acknowledgement, RodentRequest, ToggleRequest, rodent_request::Payload as Said, toggle_request::Payload as Answer,
};

/// Bytes of answers that wait until the agent reads them; with more the stream ends.
const UNREAD_BYTES_MAX: usize = 256 * 1024;

/// What an answer takes beside its bytes, at the least.
const ANSWER_BYTES: usize = 128;

/// How long an answer may wait until the agent reads it; then the stream ends.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How often it is asked whether the node is shut out.
const SHUT_OUT_INTERVAL: Duration = Duration::from_secs(2);

/// The answers to what an agent says, one for one and in order. Dropped, it reads no more.
pub(super) struct Answers {
    ready: mpsc::Receiver<Result<ToggleRequest, Status>>,
    _reading: JoinSet<()>,
}

impl Answers {
    /// `admit` says of each message whether the agent may say it, and `is_shut_out` whether it may stay although it says
    /// nothing; otherwise the stream ends.
    pub(super) fn to(
        said: impl Stream<Item = Result<RodentRequest, Status>> + Send + Unpin + 'static,
        admit: impl Fn() -> Result<(), Status> + Send + 'static,
        is_shut_out: impl Fn() -> Option<Status> + Send + 'static,
        room: Arc<Room>,
        stopping: CancellationToken,
    ) -> Answers {
        let (answers, ready) = mpsc::channel(1);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let read = read(said, admit, room, &answers);
            let ended = tokio::select! {
                ended = read => ended,
                status = shut_out(is_shut_out) => Err(status),
                () = stopping.cancelled() => Ok(()),
            };
            if let Err(status) = ended {
                // Err: the agent is gone, or reads nothing.
                let _ = tokio::time::timeout(UNREAD_TIME_MAX, answers.send(Err(status))).await;
            }
        });
        Answers { ready, _reading: reading }
    }
}

impl Stream for Answers {
    type Item = Result<ToggleRequest, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx)
    }
}

/// Ends when the node is shut out.
async fn shut_out(is_shut_out: impl Fn() -> Option<Status>) -> Status {
    loop {
        sleep(SHUT_OUT_INTERVAL).await;
        if let Some(status) = is_shut_out() {
            return status;
        }
    }
}

/// Reads whatever is said and answers it, until the agent has ended its half and read all answers.
async fn read(
    mut said: impl Stream<Item = Result<RodentRequest, Status>> + Unpin,
    admit: impl Fn() -> Result<(), Status>,
    room: Arc<Room>,
    answers: &mpsc::Sender<Result<ToggleRequest, Status>>,
) -> Result<(), Status> {
    let mut unread = VecDeque::new();
    let mut unread_bytes = 0;
    let mut read_at = Instant::now();
    let mut is_open = true;
    while is_open || !unread.is_empty() {
        tokio::select! {
            message = said.next(), if is_open => match message {
                None => is_open = false,
                Some(request) => {
                    admit()?;
                    let answer = acknowledge(request?);
                    let bytes = answer.encoded_len() + ANSWER_BYTES;
                    unread_bytes += bytes;
                    if unread_bytes > UNREAD_BYTES_MAX {
                        return Err(Status::resource_exhausted("too many answers of this stream are not read"));
                    }
                    let held = room.hold(bytes).map_err(|_| Status::unavailable("the controller has no room"))?;
                    if unread.is_empty() {
                        read_at = Instant::now();
                    }
                    unread.push_back((answer, bytes, held));
                }
            },
            place = answers.reserve(), if !unread.is_empty() => {
                // Err: the agent is gone.
                let Ok(place) = place else { return Ok(()) };
                if let Some((answer, bytes, _held)) = unread.pop_front() {
                    place.send(Ok(answer));
                    unread_bytes -= bytes;
                    read_at = Instant::now();
                }
            },
            () = sleep_until(read_at + UNREAD_TIME_MAX), if !unread.is_empty() => {
                return Err(Status::deadline_exceeded("the answers of this stream are not read"));
            }
        }
    }
    Ok(())
}

fn acknowledge(request: RodentRequest) -> ToggleRequest {
    let RodentRequest { request_id, payload } = request;
    let (success, message) = match payload {
        Some(Said::Event(_)) => (true, "seen; events are stored through SendEvents"),
        Some(Said::Ack(_)) => (true, ""),
        Some(Said::CommandResponse(_)) => (false, "no command waits for this answer"),
        None => (false, "the message has no payload that this controller knows"),
    };
    let ack = Acknowledgement { request_id: request_id.clone(), success, message: message.to_owned() };
    ToggleRequest { request_id, payload: Some(Answer::Ack(ack)) }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tonic::Code;

    use super::*;

    fn said(id: impl ToString) -> Result<RodentRequest, Status> {
        Ok(RodentRequest { request_id: id.to_string(), payload: Some(Said::Ack(Acknowledgement::default())) })
    }

    /// What becomes of a stream whose answers nobody reads, beside the one that is on its way, until it ends; and how
    /// many bytes were held at the most.
    async fn unread(said: impl Stream<Item = Result<RodentRequest, Status>> + Send + Unpin + 'static) -> (Code, usize) {
        let room = Room::new(usize::MAX);
        let (answers, _nobody_reads) = mpsc::channel(1);
        let held = Arc::clone(&room);
        let mut most = 0;
        let said = said.inspect(|_| most = most.max(held.held()));
        let ended = read(said, || Ok(()), Arc::clone(&room), &answers).await;
        assert_eq!(room.held(), 0, "nothing is held of a stream that has ended");
        (ended.expect_err("it ends").code(), most)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answers_are_not_read_holds_little_and_ends() {
        let flood = stream::iter((0..).map(said));
        let (code, most) = unread(flood).await;
        assert_eq!(code, Code::ResourceExhausted);
        assert!((UNREAD_BYTES_MAX / 2..=UNREAD_BYTES_MAX).contains(&most), "{most}");
        let begun = Instant::now();
        let (code, _) = unread(stream::iter((0..3).map(said)).chain(stream::pending())).await;
        assert_eq!((code, begun.elapsed().as_secs()), (Code::DeadlineExceeded, UNREAD_TIME_MAX.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_reads_slowly_gets_all_answers_and_the_stream_ends_with_it() {
        let room = Room::new(usize::MAX);
        let said = stream::iter((0..100).map(said));
        let mut answers = Answers::to(said, || Ok(()), || None, Arc::clone(&room), CancellationToken::new());
        for id in 0..100 {
            tokio::time::sleep(UNREAD_TIME_MAX / 2).await;
            assert_eq!(answers.next().await.unwrap().unwrap().request_id, id.to_string());
        }
        assert!(answers.next().await.is_none());
        assert_eq!(room.held(), 0);
    }

    #[tokio::test]
    async fn an_agent_that_may_say_no_more_is_told_so_and_the_stream_ends() {
        let admit = || Err(Status::resource_exhausted("enough"));
        let said = stream::iter((0..3).map(said));
        let mut answers = Answers::to(said, admit, || None, Room::new(usize::MAX), CancellationToken::new());
        assert_eq!(answers.next().await.unwrap().unwrap_err().message(), "enough");
        assert!(answers.next().await.is_none());
    }
}
