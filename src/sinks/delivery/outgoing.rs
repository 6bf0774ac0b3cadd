//! One lane of a delivery: knows when a batch is due, cuts it, and keeps it until it is delivered.

use tokio::time::Instant;

use super::Threshold;
use crate::{
    event_log::{Cursor, EventLog, Lane, LogError, Read, Reader},
    sinks::Batch,
};

/// The most bytes of events in a batch: leaves room for the head within what a gRPC server takes by default (4 MiB).
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What is on its way in a lane.
pub(super) struct Outgoing {
    /// Absent while it reads.
    reader: Option<Reader>,
    cursor: Cursor,
    lane: Lane,
    threshold: Threshold,
    /// Cut and given back.
    kept: Option<Batch>,
    /// The most events of the next batch; fewer than the threshold's after one was too large.
    events_max: usize,
    /// Since when events are known to wait that are not cut yet.
    waiting_since: Option<Instant>,
    refused: Option<Refused>,
}

/// What is kept is refused for what is in it.
struct Refused {
    until: Instant,
    reason: String,
}

impl Outgoing {
    pub(super) fn new(log: &EventLog, cursor: Cursor, lane: Lane, threshold: Threshold) -> Outgoing {
        let reader = Some(log.reader(lane, cursor.next(lane)));
        let events_max = threshold.batch_size.max(1);
        Outgoing { reader, cursor, lane, threshold, kept: None, events_max, waiting_since: None, refused: None }
    }

    /// Whether a batch is to be sent now.
    pub(super) fn is_due(&mut self, now: Instant, hurried: bool) -> bool {
        if self.refused.as_ref().is_some_and(|refused| now < refused.until) {
            return false;
        }
        if self.kept.is_some() {
            return true;
        }
        self.follow_cursor();
        let available = self.reader.as_ref().map_or(0, Reader::available);
        if available == 0 {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        let waits_no_longer = now.saturating_duration_since(since) >= self.threshold.batch_timeout;
        hurried || self.lane == Lane::Urgent || available >= self.events_max as u64 || waits_no_longer
    }

    /// Waits until a batch may have become due that was not. Cancel safe.
    pub(super) async fn changed(&self) {
        if let Some(refused) = &self.refused {
            return tokio::time::sleep_until(refused.until).await;
        }
        let Some(reader) = &self.reader else { return };
        match self.waiting_since {
            None => reader.ready().await,
            Some(since) => tokio::select! {
                () = reader.ready_for(self.events_max as u64) => {}
                () = tokio::time::sleep_until(since + self.threshold.batch_timeout) => {}
            },
        }
    }

    /// The batch that is due; `None` when everything that waited is gone.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn take(&mut self) -> Result<Option<Batch>, LogError> {
        if let Some(batch) = self.kept.take() {
            return Ok(Some(batch));
        }
        self.waiting_since = None;
        loop {
            match self.read().await? {
                Read::Run(run) => return Ok(Some(Batch::new(run))),
                // What is gone was recorded as lost by the log when it removed it.
                Read::Gap(gap) => self.cursor.commit(self.lane, gap.to),
                Read::End => return Ok(None),
            }
        }
    }

    pub(super) fn delivered(&mut self, batch: &Batch) {
        self.cursor.commit(self.lane, batch.last_sequence + 1);
        self.events_max = self.threshold.batch_size.max(1);
        self.refused = None;
    }

    pub(super) fn keep(&mut self, batch: Batch) {
        self.kept = Some(batch);
    }

    pub(super) fn halve(&mut self, batch: &Batch) {
        self.events_max = usize::try_from(batch.count() / 2).unwrap_or(1).max(1);
        self.refused = None;
        if let Some(reader) = &mut self.reader {
            reader.seek(batch.first_sequence);
        }
    }

    pub(super) fn hold(&mut self, batch: Batch, until: Instant, reason: String) {
        self.kept = Some(batch);
        self.refused = Some(Refused { until, reason });
    }

    /// Reads again from the cursor on; what was cut is forgotten.
    pub(super) fn start_over(&mut self, log: &EventLog) {
        self.reader = Some(log.reader(self.lane, self.cursor.next(self.lane)));
        (self.kept, self.refused, self.waiting_since) = (None, None, None);
    }

    /// Why the lane waits, if it does.
    pub(super) fn held(&self) -> Option<&str> {
        self.refused.as_ref().map(|refused| refused.reason.as_str())
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

    async fn read(&mut self) -> Result<Read, LogError> {
        let Some(mut reader) = self.reader.take() else {
            return Err(LogError::Closed("a read was interrupted".to_owned()));
        };
        let events_max = self.events_max;
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
