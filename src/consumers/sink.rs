//! What a driver asks of a sink, who knows the other side: how to reach it, how it wants a batch, what its answers mean.

use std::future::Future;

use tokio::time::Instant;

use super::{DeliveryFailure, Packing, Verdict};
use crate::health::Pulse;

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
    fn open(&mut self, pulse: &Pulse) -> impl Future<Output = Result<Self::Packing, DeliveryFailure>> + Send;

    /// How many batches of a lane may be on their way at once; none while it is not open.
    fn window(&self) -> usize;

    /// Sends a batch; done when there is an answer, or none can come any more. It bounds that time.
    fn deliver(
        &mut self,
        message: <Self::Packing as Packing>::Message,
    ) -> impl Future<Output = Self::Outcome> + Send + 'static;

    /// What came of a batch of so many events, after so many answers in a row that may mean that it is too much at a time.
    fn judge(&mut self, events: u64, strained: u32, outcome: Self::Outcome) -> Verdict;

    /// When it has something to do though no event has come, such as to say that something has lasted; none for nothing.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// That time has come, it is open, and nothing else is being judged. Deliveries that are on their way do not go on meanwhile, so
    /// it waits for none of them. It bounds how long that takes, and says on `pulse` what
    /// it waits for. Gives what is kept with the cursor from now on, if that is something else.
    ///
    /// # Errors
    /// Why it could not; it is asked again after a while if it is still due.
    fn on_due(&mut self, _pulse: &Pulse) -> impl Future<Output = Result<Option<Vec<u8>>, DeliveryFailure>> + Send {
        std::future::ready(Ok(None))
    }

    /// Waits until what was refused may be taken, such as with another token. Cancel safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}
