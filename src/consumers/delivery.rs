//! From cursor to batches: tells when it is time to send, reads on, and commits what was delivered.
//!
//! Given a cursor, gives batches of both lanes. An urgent event is due at once and goes before everything routine; a
//! routine batch is due when enough events wait or the oldest of them has waited long enough. Several batches may be on
//! their way at once; a batch that was given back keeps its borders and its identifier and goes before what is not cut
//! yet. The cursor stands before the first batch that is not delivered.
//!
//! Always holds: what blocks one lane does not block the other; with one batch at a time each lane is delivered in its
//! order. In memory is what was taken and what was given back, and a few batches ahead of them.

mod outgoing;

use std::time::Duration;

use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use self::outgoing::Outgoing;
use super::{Batch, Packing};
use crate::event_log::{BLOB_BYTES_MAX, Cursor, EventLog, Lane, LogError};

/// When a batch is due.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Events that make a routine batch. A batch holds no more, or up to a quarter more where stopping would cut a
    /// stored frame; towards a sink that takes frames as they are stored, as many more as the last frame has.
    pub batch_size: usize,
    /// How long the first of fewer routine events waits.
    pub batch_timeout: Duration,
}

/// One consumer's way through the log.
pub struct Delivery<P: Packing> {
    log: EventLog,
    cursor: Cursor,
    urgent: Outgoing<P>,
    routine: Outgoing<P>,
    threshold: watch::Sender<Threshold>,
}

impl<P: Packing> Delivery<P> {
    /// Goes on where the cursor stands.
    pub fn new(log: &EventLog, cursor: &Cursor, threshold: Threshold) -> Delivery<P> {
        Delivery::following(log, cursor, &watch::Sender::new(threshold))
    }

    /// The same, for one that follows another: a batch is due as `threshold` says, now and later.
    pub fn following(log: &EventLog, cursor: &Cursor, threshold: &watch::Sender<Threshold>) -> Delivery<P> {
        let outgoing = |lane| Outgoing::new(log, cursor.clone(), lane, threshold.subscribe());
        let (urgent, routine) = (outgoing(Lane::Urgent), outgoing(Lane::Routine));
        Delivery { log: log.clone(), cursor: cursor.clone(), urgent, routine, threshold: threshold.clone() }
    }

    /// Sets when a batch is due, from now on; stays good while the delivery runs.
    pub fn threshold(&self) -> watch::Sender<Threshold> {
        self.threshold.clone()
    }

    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// Whether a batch of the lane is to be sent now. While `hurried`, everything is.
    pub fn is_due(&mut self, lane: Lane, hurried: bool) -> bool {
        self.of(lane).is_due(Instant::now(), hurried)
    }

    /// The next batch of a lane that is due, packed. `None` when what waited is gone. The batch is to be given back:
    /// [`Delivery::delivered`], [`Delivery::keep`], [`Delivery::halved`] or [`Delivery::hold`]. `now` is in Unix milliseconds.
    ///
    /// # Errors
    /// When the log cannot be read.
    ///
    /// # Cancel safety
    /// Not cancel safe: after a read that failed or was dropped half-way comes [`Delivery::postpone`].
    pub async fn take(&mut self, lane: Lane, packing: &P, now: i64) -> Result<Option<Batch<P>>, LogError> {
        self.of(lane).take(packing, now).await
    }

    /// Waits until a batch may have become due that was not, in the urgent lane, in the routine one, or in either. Cancel
    /// safe.
    pub async fn changed(&self, urgent: bool, routine: bool) {
        if !(urgent || routine) {
            return std::future::pending().await;
        }
        tokio::select! {
            () = self.urgent.changed(), if urgent => {}
            () = self.routine.changed(), if routine => {}
        }
    }

    /// Batches of the lane that were taken and are not given back.
    pub fn in_flight(&self, lane: Lane) -> usize {
        match lane {
            Lane::Urgent => self.urgent.in_flight(),
            Lane::Routine => self.routine.in_flight(),
        }
    }

    /// Whether a batch of the lane was sent that has not arrived.
    pub fn is_undelivered(&self, lane: Lane) -> bool {
        match lane {
            Lane::Urgent => self.urgent.is_undelivered(),
            Lane::Routine => self.routine.is_undelivered(),
        }
    }

    /// Nothing is sent any more: what is not delivered is in nobody's hands but the log's.
    pub fn let_go(&self) {
        Lane::ALL.into_iter().for_each(|lane| self.cursor.held(lane, self.cursor.next(lane)));
    }

    /// The batch has arrived: the log need not keep it for this consumer. `blob` is kept with the cursor from now on; false,
    /// and nothing is done, when it is too long.
    pub fn delivered(&mut self, batch: &Batch<P>, blob: Option<&[u8]>) -> bool {
        let fits = blob.is_none_or(|blob| blob.len() <= BLOB_BYTES_MAX);
        if fits {
            self.of(batch.lane).delivered(batch, blob);
        }
        fits
    }

    /// Keeps this with the cursor from now on, wherever it stands; false, and nothing is done, when it is too long.
    pub fn keep_with_cursor(&mut self, blob: &[u8]) -> bool {
        self.cursor.commit_with(Lane::Urgent, self.cursor.next(Lane::Urgent), blob)
    }

    /// The batch has not been delivered and is to be tried again as it is.
    pub fn keep(&mut self, batch: Batch<P>) {
        self.of(batch.lane).keep(batch);
    }

    /// A batch has not been delivered and is to be tried again as these two, its halves.
    pub fn halved(&mut self, first: Batch<P>, second: Batch<P>) {
        self.of(first.lane).halved(first, second);
    }

    /// The batch is refused for what is in it: its lane waits so long until it is tried again, the other goes on.
    pub fn hold(&mut self, batch: Batch<P>, wait: Duration, reason: String) {
        self.of(batch.lane).hold(batch, Instant::now() + wait, reason);
    }

    /// The numbers of what is not delivered stand for other events where it goes to: gives it numbers that nobody has seen,
    /// and cuts it anew. Gives the new epoch. Nothing may be on its way.
    pub fn renumber(&mut self) -> Uuid {
        let epoch = self.log.renumber(&self.cursor);
        for outgoing in [&mut self.urgent, &mut self.routine] {
            outgoing.start_over(&self.log);
        }
        epoch
    }

    /// A lane cannot be read: it is left alone for so long and then read anew; the other goes on.
    pub fn postpone(&mut self, lane: Lane, wait: Duration) {
        let log = self.log.clone();
        self.of(lane).postpone(&log, Instant::now() + wait);
    }

    /// Why a lane waits, if one does.
    pub fn held(&self) -> Option<&str> {
        self.urgent.held().or(self.routine.held())
    }

    fn of(&mut self, lane: Lane) -> &mut Outgoing<P> {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Routine => &mut self.routine,
        }
    }
}
