//! Any number of events on their way to the log, in their order: gathered into batches, several of them in flight.
//!
//! The agent takes a batch whole or not at all and ends the stream at the first that it refuses. So the refused batch
//! is given again in halves until the events at fault stand alone, and then the stream goes on with the batches behind
//! it. Always holds: every event is accepted, filtered or refused by name, and the accepted ones keep their order.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Client, ClientError, Durability, EmitResponse};
use crate::{event::EVENT_BYTES_MAX, schema::local::EmitRequest};

/// A batch goes when it has so many events or bytes.
const BATCH_EVENTS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Batches that the agent has not answered; another one waits.
const IN_FLIGHT_MAX: usize = 8;

/// What became of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Taken into the log.
    pub accepted: u64,
    /// Left out by the agent's levels and categories.
    pub filtered: u64,
    /// Not taken: each is a [`EmitRefusal`].
    pub refused: u64,
}

/// An event that the agent did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitRefusal {
    /// What the caller gave with the event: a line, an index.
    pub place: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// An emission in progress.
#[derive(Debug)]
pub struct Emission {
    client: Client,
    durability: Durability,
    requests: mpsc::Sender<EmitRequest>,
    answers: Streaming<EmitResponse>,
    gathered: Batch,
    in_flight: VecDeque<Batch>,
    totals: Totals,
    refusals: Vec<EmitRefusal>,
    only_in_memory: String,
}

#[derive(Debug, Default)]
struct Batch {
    events: Vec<Bytes>,
    places: Vec<u64>,
    bytes: usize,
}

impl Emission {
    pub(super) async fn begin(client: Client, durability: Durability) -> Result<Emission, ClientError> {
        let (requests, answers) = open(&client).await?;
        Ok(Emission {
            client,
            durability,
            requests,
            answers,
            gathered: Batch::default(),
            in_flight: VecDeque::new(),
            totals: Totals::default(),
            refusals: Vec::new(),
            only_in_memory: String::new(),
        })
    }

    /// Adds an encoded event. Waits while too much is in flight. `place` comes back if the event is refused.
    ///
    /// # Errors
    /// When the agent is gone or does not serve this caller. An event that is refused is no error, see
    /// [`Emission::take_refusals`].
    pub async fn add(&mut self, place: u64, event: Bytes) -> Result<(), ClientError> {
        if event.len() > EVENT_BYTES_MAX {
            let reason = format!("the event is {} bytes long; at most {EVENT_BYTES_MAX} are taken", event.len());
            self.refuse(place, reason);
            return Ok(());
        }
        self.gathered.add(place, event);
        if self.gathered.is_full() { self.send().await } else { Ok(()) }
    }

    /// Sends what has been gathered and waits until everything is answered.
    ///
    /// # Errors
    /// As [`Emission::add`].
    pub async fn settle(&mut self) -> Result<(), ClientError> {
        self.send().await?;
        while !self.in_flight.is_empty() {
            self.answer().await?;
        }
        Ok(())
    }

    /// What the agent did not take since the last call. Take it as you go: it is kept until then.
    pub fn take_refusals(&mut self) -> Vec<EmitRefusal> {
        std::mem::take(&mut self.refusals)
    }

    /// What has been answered so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    async fn send(&mut self) -> Result<(), ClientError> {
        if self.gathered.events.is_empty() {
            return Ok(());
        }
        while self.in_flight.len() >= IN_FLIGHT_MAX {
            self.answer().await?;
        }
        let batch = std::mem::take(&mut self.gathered);
        self.dispatch(batch).await;
        Ok(())
    }

    async fn dispatch(&mut self, batch: Batch) {
        // When the stream has ended, its last answer says why: `answer` will read it.
        let _ = self.requests.send(batch.request(self.durability)).await;
        self.in_flight.push_back(batch);
    }

    /// Waits for the answer to the oldest batch in flight.
    async fn answer(&mut self) -> Result<(), ClientError> {
        match self.answers.message().await.map_err(ClientError::from) {
            Ok(Some(answer)) => {
                self.in_flight.pop_front();
                self.count(&answer);
                Ok(())
            }
            Ok(None) => Err(ClientError::Unavailable("the agent ended the stream".to_owned())),
            Err(ClientError::Refused(_)) => self.go_round_refused().await,
            Err(error) => Err(error),
        }
    }

    /// Takes the refused batch, the oldest in flight, apart; then sends the ones behind it again.
    async fn go_round_refused(&mut self) -> Result<(), ClientError> {
        let mut waiting = std::mem::take(&mut self.in_flight);
        let mut parts: Vec<Batch> = waiting.pop_front().into_iter().collect();
        while let Some(mut part) = parts.pop() {
            match self.client.emit_encoded(part.events.clone(), self.durability).await {
                Ok(answer) => self.count(&answer),
                Err(ClientError::Refused(_)) if part.events.len() > 1 => {
                    let later = part.split_off(part.events.len() / 2);
                    parts.extend([later, part]);
                }
                Err(ClientError::Refused(reason)) => {
                    let place = part.places.first().copied().unwrap_or_default();
                    self.refuse(place, reason);
                }
                Err(error) => return Err(error),
            }
        }
        (self.requests, self.answers) = open(&self.client).await?;
        for batch in waiting {
            self.dispatch(batch).await;
        }
        Ok(())
    }

    /// Why some of it, that was to be durable, is in the agent's memory only; empty where all is.
    pub fn only_in_memory(&self) -> &str {
        &self.only_in_memory
    }

    fn count(&mut self, answer: &EmitResponse) {
        if !answer.only_in_memory.is_empty() {
            self.only_in_memory.clone_from(&answer.only_in_memory);
        }
        self.totals.accepted += answer.accepted;
        self.totals.filtered += answer.filtered;
    }

    fn refuse(&mut self, place: u64, reason: String) {
        self.totals.refused += 1;
        self.refusals.push(EmitRefusal { place, reason });
    }
}

async fn open(client: &Client) -> Result<(mpsc::Sender<EmitRequest>, Streaming<EmitResponse>), ClientError> {
    // As much room as may be in flight: sending never waits for the agent.
    let (sender, receiver) = mpsc::channel(IN_FLIGHT_MAX);
    let answers = client.emit_stream(ReceiverStream::new(receiver)).await?;
    Ok((sender, answers))
}

impl Batch {
    fn add(&mut self, place: u64, event: Bytes) {
        self.bytes += event.len();
        self.events.push(event);
        self.places.push(place);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= BATCH_EVENTS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    fn request(&self, durability: Durability) -> EmitRequest {
        EmitRequest { events: self.events.clone(), durability: durability.into() }
    }

    fn split_off(&mut self, at: usize) -> Batch {
        // A part is never sent through `is_full` again, so its bytes do not matter.
        Batch { events: self.events.split_off(at), places: self.places.split_off(at), bytes: 0 }
    }
}
