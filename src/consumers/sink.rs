//! What a driver asks of a sink, who knows the other side: how to reach it, how it wants a batch, what its answers mean.

use std::future::Future;

use uuid::Uuid;

use super::{Failure, Packing, Verdict};
use crate::{event_log::Lane, health::Pulse};

/// One other side that batches are delivered to. Always holds: it gives nothing up and keeps no event; that is the driver's.
pub trait Sink: Send + 'static {
    /// How it wants a batch put together.
    type Packing: Packing;
    /// What comes of a delivery, before it is judged.
    type Outcome: Send + 'static;

    /// Gets ready to take a batch: what it proves itself with, a connection. Called before each batch, so it is quick when all
    /// is ready. Says on `pulse` what it waits for.
    ///
    /// # Errors
    /// Why nothing can be delivered now.
    fn open(&mut self, pulse: &Pulse) -> impl Future<Output = Result<Self::Packing, Failure>> + Send;

    /// How many batches of a lane may be on their way at once; none while it is not open.
    fn window(&self) -> usize;

    /// Sends a batch; done when there is an answer, or none can come any more. It bounds that time.
    fn deliver(
        &mut self,
        message: <Self::Packing as Packing>::Message,
    ) -> impl Future<Output = Self::Outcome> + Send + 'static;

    /// What came of a batch of so many events, after so many answers in a row that may mean that it is too much at a time.
    fn judge(&mut self, events: u64, strained: u32, outcome: Self::Outcome) -> Verdict;

    /// Waits until what was refused may be taken, such as with another token. Cancel safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// Tells the operator.
    fn tell(&self, news: &News<'_>);
}

/// What an operator hears of a consumer, each when it begins.
#[derive(Debug)]
pub enum News<'a> {
    /// It is open for the first time; nothing was delivered yet.
    Opened,
    /// Events arrive.
    Arrives,
    /// Nothing is delivered.
    Fails(&'a Failure),
    /// One event is not taken, and is kept as a dead letter.
    Refused {
        /// Where it stands.
        lane: Lane,
        /// Its number.
        sequence: u64,
        /// What the other side said of it.
        error: &'a str,
    },
    /// What is not delivered goes under new numbers.
    Renumbered {
        /// The new epoch.
        epoch: Uuid,
        /// What the other side said.
        error: &'a str,
    },
}
