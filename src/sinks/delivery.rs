//! From cursor to batch: waits until it is time to send, reads on, and commits what was delivered.
//!
//! A batch is due when enough events wait or the oldest of them has waited long enough. The cursor moves only when the
//! sink says that a batch is delivered.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Batch;
use crate::event_log::{Cursor, EventLog, Lane, LogError, Read, Reader};

/// The most bytes of events in a batch: leaves room for the head within what a gRPC server takes by default (4 MiB).
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// When a batch is due.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Events that make a batch; also the most that one holds.
    pub batch_size: usize,
    /// How long the first of fewer events waits.
    pub batch_timeout: Duration,
}

/// One consumer's way through one lane.
pub struct Delivery {
    reader: Option<Reader>,
    cursor: Cursor,
    lane: Lane,
    threshold: Threshold,
}

impl Delivery {
    /// Goes on where the cursor stands.
    pub fn new(log: &EventLog, cursor: Cursor, lane: Lane, threshold: Threshold) -> Delivery {
        let reader = log.reader(lane, cursor.next(lane));
        Delivery { reader: Some(reader), cursor, lane, threshold }
    }

    /// The next batch, as soon as it is due; at once while `hurry` is cancelled. `None` when `hurry` is cancelled and
    /// nothing is left. At most `events_max` events, and never more than the threshold's batch size.
    ///
    /// # Errors
    /// When the log cannot be read.
    ///
    /// # Cancel safety
    /// Not cancel safe: a read that is dropped half-way has to be started with a new `Delivery`.
    pub async fn next(&mut self, events_max: usize, hurry: &CancellationToken) -> Result<Option<Batch>, LogError> {
        let events_max = events_max.clamp(1, self.threshold.batch_size);
        loop {
            self.follow_cursor();
            self.due(hurry).await;
            match self.read(events_max).await? {
                Read::Run(run) => return Ok(Some(Batch::new(run))),
                // What is gone was recorded as lost by the log when it removed it.
                Read::Gap(gap) => self.cursor.commit(self.lane, gap.to),
                Read::End if hurry.is_cancelled() => return Ok(None),
                Read::End => {}
            }
        }
    }

    /// The batch has arrived: the log need not keep it for this consumer.
    pub fn delivered(&mut self, batch: &Batch) {
        self.cursor.commit(self.lane, batch.last_sequence + 1);
    }

    /// The batch has not been delivered and its events are to be cut anew.
    pub fn put_back(&mut self, batch: &Batch) {
        if let Some(reader) = &mut self.reader {
            reader.seek(batch.first_sequence);
        }
    }

    /// Retention may have moved the cursor past the reader.
    fn follow_cursor(&mut self) {
        let next = self.cursor.next(self.lane);
        if let Some(reader) = &mut self.reader
            && reader.position() < next
        {
            reader.seek(next);
        }
    }

    async fn due(&self, hurry: &CancellationToken) {
        let Some(reader) = &self.reader else { return };
        tokio::select! {
            () = reader.ready() => {}
            () = hurry.cancelled() => return,
        }
        tokio::select! {
            () = reader.ready_for(self.threshold.batch_size as u64) => {}
            () = tokio::time::sleep(self.threshold.batch_timeout) => {}
            () = hurry.cancelled() => {}
        }
    }

    async fn read(&mut self, events_max: usize) -> Result<Read, LogError> {
        let Some(mut reader) = self.reader.take() else {
            return Err(LogError::Closed("a read was interrupted".to_owned()));
        };
        let (reader, read) = tokio::task::spawn_blocking(move || {
            let read = reader.read(events_max, BATCH_BYTES_MAX);
            (reader, read)
        })
        .await
        .map_err(|_| LogError::Closed("a read of the log panicked".to_owned()))?;
        self.reader = Some(reader);
        read
    }
}
