//! The control stream: what a controller asks of the node besides taking its events.
//!
//! Runs beside the delivery on the same connection, opened when that is registered; a controller that has no such method is
//! left alone until the next connection. What it asks is handed to the agent through a bounded queue, one thing at a time,
//! and answered. Nothing here knows what a command does. Deliberately absent: anything that runs on the machine at the
//! word of a controller.
//!
//! Always holds: the controller cannot make the node remember more than one request, a few answers, and what HTTP/2 lets
//! wait in the connection; asking too much or too often is answered with an error, or ends the stream for a while; no message of
//! its is exempt from the pace.

mod pace;
mod reply;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

pub use self::reply::OrderRefusal;
use self::{pace::Pace, reply::Asked};
use super::{credentials::Credentials, failure::describe_status, link::Fate, way::Way};
use crate::{
    backoff::{Backoff, random},
    consumers::BACKOFF,
    schema::wire::{RodentRequest, ToggleRequest, rodent_service_client::RodentServiceClient},
};

/// A stream that has held for so long was a good one: the next wait is the shortest again.
const GOOD: Duration = Duration::from_secs(60);

/// The largest message that is read, bytes. A larger one ends the stream: who asked what cannot be known.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Answers that wait for the controller to read them; beyond that nothing more is read from it.
const ANSWERS_MAX: usize = 16;

/// How long the agent may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a controller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A question by its name, such as `system.status`.
    Command(String),
    /// Settings for a part of the configuration, by its name.
    Configure {
        /// The part: `events`.
        part: String,
        /// As the controller sent them; at most [`PAYLOAD_BYTES_MAX`].
        settings: Vec<u8>,
    },
}

/// The longest payload that is handed on, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// A demand on its way to the agent. Whoever takes it answers, or drops it.
#[derive(Debug)]
pub struct Order {
    /// What is asked for.
    pub demand: Demand,
    /// Who asks: address of the controller.
    pub controller: String,
    /// Where the answer goes: text of its own, or a document.
    pub answer: oneshot::Sender<Result<Vec<u8>, OrderRefusal>>,
}

/// A registered connection.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) way: Way,
    pub(super) fate: Fate,
}

/// The task.
pub struct Control {
    controller: String,
    credentials: Credentials,
    lines: watch::Receiver<Option<Line>>,
    orders: mpsc::Sender<Order>,
    pace: Pace,
    /// Of what wants no answer: a controller that acknowledges each answer may ask as often as one that does not.
    acknowledgements: Pace,
}

/// How a stream came to its end.
enum End {
    /// The controller has no such method.
    Unknown,
    /// There is another connection, or the agent stops.
    Replaced,
    Broken(Status),
}

impl Control {
    /// Takes the orders of this controller on whatever connection `lines` gives, and passes them on to `orders`.
    pub(super) fn new(
        controller: String,
        credentials: Credentials,
        lines: watch::Receiver<Option<Line>>,
        orders: mpsc::Sender<Order>,
    ) -> Control {
        Control { controller, credentials, lines, orders, pace: Pace::default(), acknowledgements: Pace::default() }
    }

    /// Keeps a stream open on whatever connection there is, until `shutdown` or until nobody takes orders any more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_open() => {}
        }
    }

    async fn keep_open(&mut self) {
        let mut told = false;
        // Ends with the delivery, which makes the connections.
        while self.lines.has_changed().is_ok() {
            let line = self.lines.borrow_and_update().clone();
            if let Some(line) = line {
                self.keep_open_on(line, &mut told).await;
            } else {
                let _ = self.lines.changed().await;
            }
        }
    }

    /// Until there is another connection.
    async fn keep_open_on(&mut self, Line { way, fate }: Line, told: &mut bool) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let opened = tokio::time::Instant::now();
            match self.stream(way.clone()).await {
                End::Replaced => return,
                End::Unknown => {
                    let _ = self.lines.changed().await;
                    return;
                }
                End::Broken(status) => {
                    // The uplink makes another connection, also when there is nothing to send.
                    fate.note(&status);
                    if !std::mem::replace(told, true) {
                        let error = describe_status(&status);
                        tracing::debug!(
                            controller = self.controller,
                            error,
                            "the control stream ended; it is opened again"
                        );
                    }
                }
            }
            if opened.elapsed() >= GOOD {
                *told = false;
                backoff.reset();
            }
            tokio::select! {
                changed = self.lines.changed() => { let _ = changed; return }
                () = tokio::time::sleep(backoff.next(random())) => {}
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn stream(&mut self, way: Way) -> End {
        let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
        let mut lines = self.lines.clone();
        tokio::select! {
            // The new connection, or none any more.
            _ = lines.changed() => End::Replaced,
            end = self.converse(way, answers, ReceiverStream::new(outgoing)) => end,
        }
    }

    async fn converse(
        &mut self,
        way: Way,
        answers: mpsc::Sender<RodentRequest>,
        outgoing: ReceiverStream<RodentRequest>,
    ) -> End {
        let proof = match self.credentials.read().await {
            Ok(proof) => proof,
            Err(error) => return End::Broken(Status::unauthenticated(error)),
        };
        let mut request = Request::new(outgoing);
        request.metadata_mut().insert("authorization", proof.token.header);
        let mut client = RodentServiceClient::new(way).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opened = client.connect(request).await;
        let ended = match opened {
            Ok(response) => self.listen(response.into_inner(), &answers).await,
            Err(status) => status,
        };
        match ended.code() {
            Code::Unimplemented => End::Unknown,
            _ => End::Broken(ended),
        }
    }

    /// Answers one message after the other.
    async fn listen(
        &mut self,
        mut messages: Streaming<ToggleRequest>,
        answers: &mpsc::Sender<RodentRequest>,
    ) -> Status {
        loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Status::unavailable("the controller closed the stream"),
                Err(status) => return status,
            };
            let Some(asked) = Asked::by(message) else {
                // Nobody answers it; beyond the pace it costs its sender the same wait.
                let _ = self.acknowledgements.admit().await;
                continue;
            };
            let outcome = match self.pace.admit().await {
                Ok(()) => self.consult(&asked).await,
                Err(refusal) => Err(refusal),
            };
            // Waits when the controller reads no answers: then it is not listened to either.
            if answers.send(asked.reply(outcome)).await.is_err() {
                return Status::unavailable("the controller takes no answers");
            }
        }
    }

    async fn consult(&self, asked: &Asked) -> Result<Vec<u8>, OrderRefusal> {
        let demand = asked.demand()?;
        let (answer, answered) = oneshot::channel();
        let order = Order { demand, controller: self.controller.clone(), answer };
        let consulting = async {
            self.orders.send(order).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, consulting).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(OrderRefusal::new(Code::Unavailable, "the agent is stopping")),
            Err(_) => Err(OrderRefusal::new(Code::DeadlineExceeded, "the agent did not answer in time")),
        }
    }
}
