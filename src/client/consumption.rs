//! Events for a consumer of one's own: given in order behind a cursor that the agent keeps, and that moves when they are
//! committed.

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Client, ClientError};
use crate::schema::{
    events::Event,
    local::{
        Attach, Attached, Commit, ConsumeRequest, ConsumeResponse, ConsumedGap, ConsumedRun, ConsumerCondition,
        EventList, StoredFrame, consume_request::Request, consume_response::Response, stored_frame,
    },
};

/// Requests that wait for the agent; another one waits.
const REQUESTS_MAX: usize = 16;

/// The most bytes of a frame in clear: an event of 1 MiB fits.
const FRAME_BYTES_MAX: u64 = 16 << 20;

/// A program that is attached to its consumer.
#[derive(Debug)]
pub struct Consumption {
    requests: mpsc::Sender<ConsumeRequest>,
    responses: Streaming<ConsumeResponse>,
    attached: Attached,
}

/// What comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Consumed {
    /// Events of one lane, in order, at least one. They come once more, on the next call, until they are committed.
    Run(Vec<ConsumedEvent>),
    /// The consumer does not get these.
    Gap(ConsumedGap),
    /// Everything has come that was stored when the call began. Once.
    CaughtUp,
}

/// An event, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedEvent {
    /// `urgent` or `routine`.
    pub lane: String,
    /// Its number in the lane, for [`Consumption::commit`].
    pub sequence: u64,
    /// Whose it is; 0 without workers.
    pub worker: u32,
    /// How often it has been given with this time, as far as the agent knows; 1 in frames.
    pub deliveries: u32,
    /// An encoded `rodent.events.Event`.
    pub encoded: Bytes,
}

impl ConsumedEvent {
    /// The event, typed.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn event(&self) -> Result<Event, prost::DecodeError> {
        Event::decode(self.encoded.clone())
    }
}

impl Consumption {
    pub(super) async fn begin(client: &Client, attach: Attach) -> Result<Consumption, ClientError> {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        // There is room for it.
        let _ = requests.send(ConsumeRequest { request: Some(Request::Attach(attach)) }).await;
        let mut responses = client.service.clone().consume(ReceiverStream::new(queue)).await?.into_inner();
        match responses.message().await?.and_then(|first| first.response) {
            Some(Response::Attached(attached)) => Ok(Consumption { requests, responses, attached }),
            _ => Err(ClientError::Unavailable("the agent does not attach this program".to_owned())),
        }
    }

    /// Where the consumer stood.
    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// What comes next, as soon as it is there; `None` at the end of the call.
    ///
    /// # Errors
    /// When the agent stops or another program takes over ([`ClientError::Refused`]); what is not committed comes again.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Consumed>, ClientError> {
        while let Some(message) = self.responses.message().await? {
            match message.response {
                Some(Response::Run(run)) => return events(run).map(|events| Some(Consumed::Run(events))),
                Some(Response::Gap(gap)) => return Ok(Some(Consumed::Gap(gap))),
                Some(Response::CaughtUp(_)) => return Ok(Some(Consumed::CaughtUp)),
                // Of a newer agent.
                Some(Response::Attached(_)) | None => {}
            }
        }
        Ok(None)
    }

    /// Everything of a lane up to this event has been dealt with. It is not waited for; after a crash of the agent a few
    /// events may come again that were committed a moment before.
    ///
    /// # Errors
    /// When the call is over; [`Consumption::next`] says why.
    pub async fn commit(&self, lane: &str, sequence: u64) -> Result<(), ClientError> {
        self.say(Request::Commit(Commit { lane: lane.to_owned(), sequence, worker: 0 })).await
    }

    /// The same for the worker whose the event is.
    ///
    /// # Errors
    /// As [`Consumption::commit`].
    pub async fn commit_event(&self, event: &ConsumedEvent) -> Result<(), ClientError> {
        let ConsumedEvent { lane, sequence, worker, .. } = event;
        self.say(Request::Commit(Commit { lane: lane.clone(), sequence: *sequence, worker: *worker })).await
    }

    /// Has the agent show how the program is, as long as it is attached. At most 60 times a minute.
    ///
    /// # Errors
    /// As [`Consumption::commit`].
    pub async fn tell(&self, condition: ConsumerCondition) -> Result<(), ClientError> {
        self.say(Request::Condition(condition)).await
    }

    /// Says nothing more, and waits until the agent has done what was said.
    ///
    /// # Errors
    /// When it could not.
    pub async fn finish(self) -> Result<(), ClientError> {
        let Consumption { requests, mut responses, .. } = self;
        drop(requests);
        while responses.message().await?.is_some() {}
        Ok(())
    }

    async fn say(&self, request: Request) -> Result<(), ClientError> {
        let sent = self.requests.send(ConsumeRequest { request: Some(request) }).await;
        sent.map_err(|_| ClientError::Unavailable("the agent has ended the call".to_owned()))
    }
}

fn events(run: ConsumedRun) -> Result<Vec<ConsumedEvent>, ClientError> {
    let ConsumedRun { lane, events, sequences, first_sequence, frames, worker, deliveries, .. } = run;
    let of = |(sequence, encoded)| ConsumedEvent { lane: lane.clone(), sequence, worker, deliveries: 1, encoded };
    if frames.is_empty() {
        let counted = deliveries.into_iter().chain(std::iter::repeat(1));
        let events = sequences.into_iter().zip(events).map(of).zip(counted);
        return Ok(events.map(|(event, deliveries)| ConsumedEvent { deliveries, ..event }).collect());
    }
    let mut all = Vec::new();
    for frame in frames {
        let clear = clear(frame).ok_or_else(|| ClientError::Unavailable("a frame cannot be read".to_owned()))?;
        all.extend((first_sequence + all.len() as u64..).zip(clear).map(of));
    }
    Ok(all)
}

fn clear(StoredFrame { frame, raw_bytes }: StoredFrame) -> Option<Vec<Bytes>> {
    let bytes = match frame? {
        stored_frame::Frame::Plain(bytes) => bytes,
        stored_frame::Frame::Zstd(bytes) if raw_bytes <= FRAME_BYTES_MAX => {
            zstd::bulk::decompress(&bytes, usize::try_from(raw_bytes).ok()?).ok()?.into()
        }
        stored_frame::Frame::Zstd(_) => return None,
    };
    Some(EventList::decode(bytes).ok()?.events)
}
