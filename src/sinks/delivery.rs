//! From cursor to batches: waits until it is time to send, reads on, and commits what was delivered.
//!
//! Given a cursor, gives batches of both lanes. An urgent event is due at once and goes before everything routine; a
//! routine batch is due when enough events wait or the oldest of them has waited long enough. A batch that was given back
//! keeps its borders and its identifier, and lets what is urgent go first. The cursor moves only when the sink says that a
//! batch is delivered.
//!
//! Always holds: each lane is delivered in its order, and what blocks one does not block the other. At most one batch of
//! each is in memory.

mod outgoing;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::outgoing::Outgoing;
use super::Batch;
use crate::event_log::{Cursor, EventLog, Lane, LogError};

/// When a batch is due.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Events that make a routine batch; also the most that any batch holds.
    pub batch_size: usize,
    /// How long the first of fewer routine events waits.
    pub batch_timeout: Duration,
}

/// One consumer's way through the log.
pub struct Delivery {
    log: EventLog,
    cursor: Cursor,
    urgent: Outgoing,
    routine: Outgoing,
}

impl Delivery {
    /// Goes on where the cursor stands.
    pub fn new(log: &EventLog, cursor: &Cursor, threshold: Threshold) -> Delivery {
        let outgoing = |lane| Outgoing::new(log, cursor.clone(), lane, threshold);
        let (urgent, routine) = (outgoing(Lane::Urgent), outgoing(Lane::Routine));
        Delivery { log: log.clone(), cursor: cursor.clone(), urgent, routine }
    }

    /// The next batch, as soon as one is due; at once while `hurry` is cancelled. `None` when `hurry` is cancelled and
    /// nothing is left that may be tried. The batch is to be given back: [`Delivery::delivered`], [`Delivery::keep`],
    /// [`Delivery::halve`] or [`Delivery::hold`].
    ///
    /// # Errors
    /// When the log cannot be read.
    ///
    /// # Cancel safety
    /// Not cancel safe: a read that is dropped half-way has to be started with a new `Delivery`.
    pub async fn next(&mut self, hurry: &CancellationToken) -> Result<Option<Batch>, LogError> {
        loop {
            let hurried = hurry.is_cancelled();
            for outgoing in [&mut self.urgent, &mut self.routine] {
                if outgoing.is_due(Instant::now(), hurried)
                    && let Some(batch) = outgoing.take().await?
                {
                    return Ok(Some(batch));
                }
            }
            if hurried {
                return Ok(None);
            }
            tokio::select! {
                () = self.urgent.changed() => {}
                () = self.routine.changed() => {}
                () = hurry.cancelled() => {}
            }
        }
    }

    /// The batch has arrived: the log need not keep it for this consumer.
    pub fn delivered(&mut self, batch: &Batch) {
        self.of(batch.lane).delivered(batch);
    }

    /// The batch has not been delivered and is to be tried again as it is, after what is urgent.
    pub fn keep(&mut self, batch: Batch) {
        self.of(batch.lane).keep(batch);
    }

    /// The batch has not been delivered and its events are to be cut anew, into batches of half its size.
    pub fn halve(&mut self, batch: &Batch) {
        self.of(batch.lane).halve(batch);
    }

    /// The batch is refused for what is in it: its lane waits so long until it is tried again, the other goes on.
    pub fn hold(&mut self, batch: Batch, wait: Duration, reason: String) {
        self.of(batch.lane).hold(batch, Instant::now() + wait, reason);
    }

    /// The numbers of what is not delivered stand for other events where it goes to: gives it numbers that nobody has seen,
    /// and cuts it anew. Gives the new epoch.
    pub fn renumber(&mut self) -> Uuid {
        let epoch = self.log.renumber(&self.cursor);
        self.start_over();
        epoch
    }

    /// Goes on anew where the cursor stands.
    pub fn start_over(&mut self) {
        for outgoing in [&mut self.urgent, &mut self.routine] {
            outgoing.start_over(&self.log);
        }
    }

    /// Why a lane waits, if one does.
    pub fn held(&self) -> Option<&str> {
        self.urgent.held().or(self.routine.held())
    }

    fn of(&mut self, lane: Lane) -> &mut Outgoing {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Routine => &mut self.routine,
        }
    }
}
