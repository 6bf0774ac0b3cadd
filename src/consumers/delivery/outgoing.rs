//! One lane of a delivery: knows when a batch is due, cuts it, and keeps it until it is delivered.

use std::collections::{BTreeMap, BTreeSet};

use tokio::{sync::watch, time::Instant};

use super::Threshold;
use crate::{
    consumers::{Batch, Packing},
    event_log::{BatchLimits, Cursor, EventLog, Gap, Lane, LogError, Read, Reader},
};

/// The most bytes of events in a batch, in clear: leaves room for the head within what a gRPC server takes by default
/// (4 MiB).
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// By how much a batch may exceed its size in events where stopping would cut a frame of the log: a quarter; where frames go
/// as they are stored, by as much as it takes.
const WHOLE_FRAME_EXCESS: usize = 4;

/// The most events in any batch, as the controller bounds it.
const BATCH_EVENTS_MAX: usize = 10_000;

/// After a refusal batches are cut no smaller than this part of the threshold; what is in question is halved on its own.
const SMALLEST_PART: usize = 16;

/// Full batches that one look into the log may cut, and their bytes of events: it costs a change of threads each time.
const CUT_MAX: usize = 4;
const CUT_BYTES_MAX: usize = 512 * 1024;

/// So many batches of a smaller size are delivered before twice as many events are tried.
const DELIVERED_BEFORE_GROWTH: u32 = 8;

/// What is on its way in a lane.
pub(super) struct Outgoing<P: Packing> {
    /// Absent while it reads.
    reader: Option<Reader>,
    packer: P::Packer,
    /// Where the next read begins.
    position: u64,
    cursor: Cursor,
    lane: Lane,
    /// May change while the delivery runs.
    threshold: watch::Receiver<Threshold>,
    /// Cut and not taken yet, or given back, by first sequence.
    kept: BTreeMap<u64, Batch<P>>,
    /// First sequences of what was taken and is not given back yet.
    taken: BTreeSet<u64>,
    /// The most events of the next batch; fewer than the threshold's after one was refused.
    events_max: usize,
    /// Batches delivered since `events_max` was last changed.
    delivered: u32,
    /// Since when events are known to wait that are not cut yet.
    waiting_since: Option<Instant>,
    refused: Option<Refused>,
    /// It could not be read, and is left alone until then.
    postponed: Option<Instant>,
}

/// What is kept is refused for what is in it.
struct Refused {
    until: Instant,
    reason: String,
}

impl<P: Packing> Outgoing<P> {
    pub(super) fn new(
        log: &EventLog,
        cursor: Cursor,
        lane: Lane,
        threshold: watch::Receiver<Threshold>,
    ) -> Outgoing<P> {
        let events_max = threshold.borrow().batch_size.max(1);
        let position = cursor.next(lane);
        cursor.held(lane, position);
        Outgoing {
            reader: Some(log.reader(lane, position)),
            packer: P::Packer::default(),
            position,
            cursor,
            lane,
            threshold,
            kept: BTreeMap::new(),
            taken: BTreeSet::new(),
            events_max,
            delivered: 0,
            waiting_since: None,
            refused: None,
            postponed: None,
        }
    }

    /// Whether a batch is to be sent now.
    pub(super) fn is_due(&mut self, now: Instant, hurried: bool) -> bool {
        if self.refused.as_ref().is_some_and(|refused| now < refused.until) {
            return false;
        }
        self.follow_cursor();
        if !self.kept.is_empty() {
            return true;
        }
        if self.postponed.is_some_and(|until| now < until) {
            return false;
        }
        self.postponed = None;
        self.follow_threshold();
        let available = self.reader.as_ref().map_or(0, Reader::available);
        if available == 0 {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        let waits_no_longer = now.saturating_duration_since(since) >= self.threshold.borrow().batch_timeout;
        hurried || self.lane == Lane::Urgent || available >= self.events_max as u64 || waits_no_longer
    }

    /// Another size of batches is in force at once.
    fn follow_threshold(&mut self) {
        if self.threshold.has_changed().unwrap_or(false) {
            self.events_max = self.threshold.borrow_and_update().batch_size.max(1);
        }
    }

    /// Waits until a batch may have become due that was not. Cancel safe.
    pub(super) async fn changed(&self) {
        let refused = self.refused.as_ref().map(|refused| refused.until);
        if let Some(until) = refused.or(self.postponed).filter(|until| Instant::now() < *until) {
            return tokio::time::sleep_until(until).await;
        }
        let Some(reader) = &self.reader else { return };
        let Some(since) = self.waiting_since else { return reader.ready().await };
        let mut threshold = self.threshold.clone();
        // Seen herewith: what changes from now on wakes.
        let due = since + threshold.borrow_and_update().batch_timeout;
        tokio::select! {
            () = reader.ready_for(self.events_max as u64) => {}
            () = tokio::time::sleep_until(due) => {}
            // Whoever sets it may be gone: then it does not change any more.
            Ok(()) = threshold.changed() => {}
        }
    }

    /// The batch that is due, packed; `None` when everything that waited is gone.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn take(&mut self, packing: &P, now: i64) -> Result<Option<Batch<P>>, LogError> {
        if let Some((first, batch)) = self.kept.pop_first() {
            self.taken.insert(first);
            return Ok(Some(batch));
        }
        self.waiting_since = None;
        loop {
            let cut = self.read(packing, now).await?;
            let Some(end) = cut.end else {
                self.kept.extend(cut.batches.into_iter().map(|batch| (batch.first_sequence, batch)));
                let first = self.kept.pop_first();
                self.taken.extend(first.iter().map(|(first, _)| *first));
                return Ok(first.map(|(_, batch)| batch));
            };
            match end {
                End::Gap(gap) => {
                    self.cursor.lost(self.lane, gap);
                    self.commit(None);
                }
                End::Log => return Ok(None),
            }
        }
    }

    /// Batches that were taken and not given back.
    pub(super) fn in_flight(&self) -> usize {
        self.taken.len()
    }

    /// Whether one was sent that has not arrived.
    pub(super) fn is_undelivered(&self) -> bool {
        !self.taken.is_empty() || self.kept.values().any(|batch| batch.is_sent)
    }

    pub(super) fn delivered(&mut self, batch: &Batch<P>, blob: Option<&[u8]>) {
        self.taken.remove(&batch.first_sequence);
        self.commit(blob);
        self.refused = None;
        self.delivered += 1;
        if self.delivered >= DELIVERED_BEFORE_GROWTH {
            self.events_max = (2 * self.events_max).min(self.threshold.borrow().batch_size.max(1));
            self.delivered = 0;
        }
    }

    pub(super) fn keep(&mut self, batch: Batch<P>) {
        self.taken.remove(&batch.first_sequence);
        self.kept.insert(batch.first_sequence, batch);
    }

    pub(super) fn halved(&mut self, first: Batch<P>, second: Batch<P>) {
        let half = usize::try_from(second.count()).unwrap_or(1);
        self.events_max = self.events_max.min(half.max(self.threshold.borrow().batch_size / SMALLEST_PART)).max(1);
        (self.delivered, self.refused) = (0, None);
        self.keep(first);
        self.keep(second);
    }

    pub(super) fn hold(&mut self, batch: Batch<P>, until: Instant, reason: String) {
        self.keep(batch);
        self.refused = Some(Refused { until, reason });
    }

    /// Reads on later, with another reader.
    pub(super) fn postpone(&mut self, log: &EventLog, until: Instant) {
        self.postponed = Some(until);
        self.reader = Some(log.reader(self.lane, self.position));
    }

    /// Reads again from the cursor on; what was cut is forgotten.
    pub(super) fn start_over(&mut self, log: &EventLog) {
        self.position = self.cursor.next(self.lane);
        self.cursor.held(self.lane, self.position);
        self.kept.clear();
        self.taken.clear();
        (self.refused, self.waiting_since) = (None, None);
        self.reader = Some(log.reader(self.lane, self.position));
    }

    /// Why the lane waits, if it does.
    pub(super) fn held(&self) -> Option<&str> {
        self.refused.as_ref().map(|refused| refused.reason.as_str())
    }

    /// Everything before the first batch that is not delivered is.
    fn commit(&mut self, blob: Option<&[u8]>) {
        let kept = self.kept.keys().next().copied();
        let taken = self.taken.first().copied();
        let next = [kept, taken].into_iter().flatten().min().unwrap_or(self.position);
        match blob {
            Some(blob) => _ = self.cursor.commit_with(self.lane, next, blob),
            None => self.cursor.commit(self.lane, next),
        }
    }

    /// Retention may have moved the cursor past the reader, and past what is cut: that is recorded as lost, and not sent.
    fn follow_cursor(&mut self) {
        let next = self.cursor.next(self.lane);
        self.kept.retain(|_, batch| batch.last_sequence >= next);
        if self.kept.is_empty() && self.taken.is_empty() {
            self.refused = None;
        }
        if let Some(reader) = &mut self.reader
            && reader.position() < next
        {
            reader.seek(next);
            self.position = next;
            self.cursor.held(self.lane, next);
        }
    }

    /// How much makes a batch. After a refusal it is small, frames or not.
    fn limits(&self, packing: &P) -> BatchLimits {
        let events_max = self.events_max;
        let is_reduced = events_max < self.threshold.borrow().batch_size;
        let excess = match packing.is_as_stored() && !is_reduced {
            true => BATCH_EVENTS_MAX,
            false if events_max > 1 => events_max.div_ceil(WHOLE_FRAME_EXCESS),
            false => 0,
        };
        let events_max_whole = (events_max + excess).min(BATCH_EVENTS_MAX.max(events_max));
        BatchLimits { events_max, events_max_whole, bytes_max: BATCH_BYTES_MAX }
    }

    async fn read(&mut self, packing: &P, now: i64) -> Result<Cut<P>, LogError> {
        let Some(mut reader) = self.reader.take() else {
            return Err(LogError::Closed("a read was interrupted".to_owned()));
        };
        let limits = self.limits(packing);
        let count = limits.events_max_whole.saturating_mul(CUT_MAX) as u64;
        let readable = self.cursor.hold(self.lane, self.position, count);
        reader.seek(readable.start);
        reader.until(readable.end);
        let (packing, mut packer) = (packing.clone(), std::mem::take(&mut self.packer));
        let (reader, packer, cut) = tokio::task::spawn_blocking(move || {
            let cut = Cut::from(&mut reader, limits, &mut packer, &packing, now);
            (reader, packer, cut)
        })
        .await
        .map_err(|_| LogError::Closed("a read of the log panicked".to_owned()))?;
        self.packer = packer;
        let cut = cut?;
        self.position = reader.position();
        self.cursor.held(self.lane, self.position);
        self.reader = Some(reader);
        Ok(cut)
    }
}

/// What a look into the log gave.
struct Cut<P: Packing> {
    /// One batch, and those behind it that are full.
    batches: Vec<Batch<P>>,
    /// Why there is none.
    end: Option<End>,
}

enum End {
    /// The next sequences are gone.
    Gap(Gap),
    /// Nothing is there.
    Log,
}

impl<P: Packing> Cut<P> {
    /// # Errors
    /// When not one batch can be read.
    fn from(
        reader: &mut Reader,
        limits: BatchLimits,
        packer: &mut P::Packer,
        packing: &P,
        now: i64,
    ) -> Result<Cut<P>, LogError> {
        let mut batches: Vec<Batch<P>> = Vec::new();
        loop {
            let position = reader.position();
            let mut batch = match reader.read_batch(limits) {
                Ok(Read::Run(run)) => Batch::new(run),
                Ok(Read::Gap(gap)) if batches.is_empty() => return Ok(Cut { batches, end: Some(End::Gap(gap)) }),
                Ok(Read::End) if batches.is_empty() => return Ok(Cut { batches, end: Some(End::Log) }),
                Err(error) if batches.is_empty() => return Err(error),
                // For the next look.
                _ => {
                    reader.seek(position);
                    break;
                }
            };
            // Err: whoever sends it packs it again, and learns why.
            let _ = batch.message(packer, packing, now);
            batches.push(batch);
            let bytes: usize = batches.iter().map(Batch::raw_bytes).sum();
            if batches.len() >= CUT_MAX || bytes >= CUT_BYTES_MAX || reader.available() < limits.events_max as u64 {
                break;
            }
        }
        Ok(Cut { batches, end: None })
    }
}
