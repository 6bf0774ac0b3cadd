//! The one thread that writes. It takes the batches that wait, writes them in one transaction, syncs once for all, and
//! then answers each: a sync costs the same for one batch as for fifty.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Job, loss, refused,
    run::{self, Packer},
    signed, unsigned,
};
use crate::{
    controller::store::{
        Arrival, ArrivedEvent, EPOCHS_MAX, Loss, Numbering, Receipt, Record, StoreError,
        space::{Charge, Space},
        tail::TailSender,
    },
    event::json::Place,
    telemetry::ErrorChain,
};

/// Events in one transaction; a batch that comes later waits for the next, so that no answer waits for long.
const GROUP_EVENTS_MAX: usize = 20_000;

/// Their bytes: what one transaction adds to SQLite's log at a time.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

type Answer = oneshot::Sender<Result<Receipt, StoreError>>;

pub(super) struct Writer {
    connection: Connection,
    packer: Packer,
    tail: Arc<TailSender>,
    space: Arc<Space>,
    /// Whether the last transaction failed: the log gets the change, not every retry.
    failing: bool,
}

/// What became of a batch before its transaction was committed.
type Outcome = Result<Written, StoreError>;

impl Writer {
    pub(super) fn new(connection: Connection, packer: Packer, tail: Arc<TailSender>, space: Arc<Space>) -> Writer {
        Writer { connection, packer, tail, space, failing: false }
    }

    /// Writes until it is told to close or nobody can ask any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open && let Some(job) = jobs.blocking_recv() {
            let mut group = Vec::new();
            let (mut events, mut bytes) = (0, 0);
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    Job::Store { arrival, answer } => {
                        events += arrival.records.len();
                        bytes += arrival.records.iter().map(|record| record.bytes.len()).sum::<usize>();
                        group.push((arrival, answer));
                    }
                    Job::Close => open = false,
                }
                if open && events < GROUP_EVENTS_MAX && bytes < GROUP_BYTES_MAX {
                    next = jobs.try_recv().ok();
                }
            }
            self.write_group(group);
        }
    }

    fn write_group(&mut self, group: Vec<(Arrival, Answer)>) {
        if group.is_empty() {
            return;
        }
        let (arrivals, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        match self.commit(arrivals) {
            Ok(outcomes) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the event database takes batches again");
                }
                for (outcome, answer) in outcomes.into_iter().zip(answers) {
                    self.settle(outcome, answer);
                }
            }
            Err(error) => {
                let error = refused("write")(error);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(error = %ErrorChain(&error), "batches are refused until this ends");
                }
                for answer in answers {
                    // Err: who asked has gone, and will ask again.
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn settle(&self, outcome: Outcome, answer: Answer) {
        let answered = outcome.map(|Written { receipt, events, .. }| {
            events.into_iter().for_each(|event| self.tail.send(Arc::new(event)));
            receipt
        });
        // Err: who asked has gone. The batch is stored, and a repeat of it will be dropped.
        let _ = answer.send(answered);
    }

    fn commit(&mut self, arrivals: Vec<Arrival>) -> rusqlite::Result<Vec<Outcome>> {
        let followed = self.tail.is_followed();
        let (space, packer) = (Arc::clone(&self.space), &mut self.packer);
        let (scarce, mut charges) = (space.scarce(), Vec::new());
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut write_all = || {
            let next_row = &mut run::next_row(&tx)?;
            let mut outcomes = Vec::with_capacity(arrivals.len());
            for arrival in &arrivals {
                let charges = &mut charges;
                let batch = Batch { tx: &tx, packer, next_row, arrival, followed, space: &space, scarce, charges };
                outcomes.push(batch.write()?);
            }
            Ok(outcomes)
        };
        let committed = write_all().and_then(|outcomes| tx.commit().map(|()| outcomes));
        if committed.is_err() {
            charges.iter().for_each(|charge| space.take_back(charge));
        }
        committed
    }
}

/// One batch inside the group's transaction. A fork is found before its first event is written, so that a refused
/// batch leaves none and the others are not touched.
struct Batch<'a> {
    tx: &'a Transaction<'a>,
    packer: &'a mut Packer,
    /// Of the next event.
    next_row: &'a mut u64,
    arrival: &'a Arrival,
    followed: bool,
    space: &'a Space,
    /// Bytes of the reserve, where nothing else is free.
    scarce: Option<u64>,
    /// What nodes were charged of it.
    charges: &'a mut Vec<Charge>,
}

impl Batch<'_> {
    fn write(mut self) -> rusqlite::Result<Outcome> {
        let (node, stored) = self.node()?;
        if self.arrival.records.is_empty() {
            return Ok(Ok(Written::default()));
        }
        if let Err(refusal) = self.space.admit(&self.arrival.node, stored, self.scarce) {
            return Ok(Err(refusal));
        }
        let Some(stream) = self.stream(node)? else { return Ok(Err(StoreError::TooManyEpochs)) };
        let written = match &self.arrival.numbering {
            None => self.write_unnumbered(Ids { node, stream })?,
            Some(numbering) => {
                let held = run::identifiers(self.tx, stream, numbering.first(), numbering.last())?;
                if let Some(sequence) = forked(&held, numbering, &self.arrival.records) {
                    let (epoch, lane) = (numbering.epoch().to_owned(), numbering.lane().to_owned());
                    return Ok(Err(StoreError::Fork { epoch, lane, sequence }));
                }
                let written = self.write_numbered(Ids { node, stream }, numbering, &held)?;
                self.note_received(stream, numbering)?;
                written
            }
        };
        self.tx
            .prepare_cached("UPDATE stream SET events = events + ?2 WHERE id = ?1")?
            .execute(params![stream, i64::try_from(written.receipt.stored).unwrap_or(i64::MAX)])?;
        let bytes = i64::try_from(written.bytes).unwrap_or(i64::MAX);
        self.tx.prepare_cached("UPDATE node SET bytes = bytes + ?2 WHERE id = ?1")?.execute(params![node, bytes])?;
        if self.scarce.is_some() {
            self.charges.push(self.space.charge(&self.arrival.node, written.bytes as u64));
        }
        Ok(Ok(written))
    }

    /// Its row, and the bytes of its events so far. When it was seen is what the clock says now: a time out of a clock that
    /// was ahead would hide for long that the node has gone.
    fn node(&self) -> rusqlite::Result<(i64, u64)> {
        let sql = "INSERT INTO node (name, organisation, seen_at) VALUES (?1, ?2, ?3)
            ON CONFLICT (name) DO UPDATE SET organisation = excluded.organisation, seen_at = excluded.seen_at
            RETURNING id, bytes";
        let Arrival { node, organisation, received_at, .. } = self.arrival;
        self.tx
            .prepare_cached(sql)?
            .query_row(params![node, organisation, received_at], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))
    }

    /// The stream of the batch; none when it would be one too many.
    fn stream(&self, node: i64) -> rusqlite::Result<Option<i64>> {
        let (epoch, lane) = self.arrival.numbering.as_ref().map_or(("", ""), |n| (n.epoch(), n.lane()));
        let known = self
            .tx
            .prepare_cached("SELECT id FROM stream WHERE node = ?1 AND epoch = ?2 AND lane = ?3")?
            .query_row(params![node, epoch, lane], |row| row.get(0))
            .optional()?;
        if known.is_some() {
            return Ok(known);
        }
        let of_lane = self
            .tx
            .prepare_cached("SELECT count(*) FROM stream WHERE node = ?1 AND lane = ?2")?
            .query_row(params![node, lane], |row| row.get(0).map(unsigned))?;
        if of_lane >= EPOCHS_MAX as u64 {
            return Ok(None);
        }
        self.tx
            .prepare_cached("INSERT INTO stream (node, epoch, lane) VALUES (?1, ?2, ?3) RETURNING id")?
            .query_row(params![node, epoch, lane], |row| row.get(0))
            .map(Some)
    }

    fn write_numbered(&mut self, ids: Ids, numbering: &Numbering, held: &[(u64, String)]) -> rusqlite::Result<Written> {
        let mut written = Written::default();
        let mut held = held.iter().map(|(sequence, _)| *sequence).peekable();
        let is_fresh: Vec<_> =
            (numbering.first()..=numbering.last()).map(|sequence| held.next_if_eq(&sequence).is_none()).collect();
        let records = self.arrival.records.iter().zip(is_fresh).zip(numbering.first()..);
        let numbered: Vec<_> = records.map(|((record, is_fresh), sequence)| (record, is_fresh, sequence)).collect();
        for part in numbered.chunk_by(|(_, one, _), (_, other, _)| one == other) {
            match part {
                [(_, true, first), ..] => {
                    self.write_run(ids, Some(*first), part.iter().map(|(record, ..)| *record), &mut written)?;
                }
                part => written.receipt.repeated += part.len(),
            }
        }
        Ok(written)
    }

    fn write_unnumbered(&mut self, ids: Ids) -> rusqlite::Result<Written> {
        let mut written = Written::default();
        let mut fresh = Vec::new();
        let sql = "INSERT INTO identifier (stream, event_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        let mut insert = self.tx.prepare_cached(sql)?;
        for record in &self.arrival.records {
            match insert.execute(params![ids.stream, record.id])? {
                0 => written.receipt.repeated += 1,
                _ => fresh.push(record),
            }
        }
        self.write_run(ids, None, fresh.into_iter(), &mut written)?;
        Ok(written)
    }

    /// Writes events that are new, one behind the other.
    fn write_run<'r>(
        &mut self,
        ids: Ids,
        sequence: Option<u64>,
        records: impl Iterator<Item = &'r Record> + Clone,
        written: &mut Written,
    ) -> rusqlite::Result<()> {
        let Arrival { node, numbering, received_at, .. } = self.arrival;
        let place = run::Place { row: *self.next_row, stream: ids.stream, sequence, received_at: *received_at };
        *self.next_row = self.packer.write(self.tx, place, records.clone().map(|record| &record.bytes))?;
        let node: Arc<str> = node.as_str().into();
        let epoch: Arc<str> = numbering.as_ref().map_or("", Numbering::epoch).into();
        for (place_in_run, record) in (0..).zip(records) {
            written.receipt.stored += 1;
            written.bytes += record.bytes.len();
            if let Some(found) = Loss::read(record, *received_at) {
                loss::insert(self.tx, ids.node, &found)?;
            }
            if self.followed {
                let lane = numbering.as_ref().map_or("", Numbering::lane);
                let numbered = |first: u64| Place { lane: lane.to_owned(), sequence: first + place_in_run };
                written.events.push(ArrivedEvent {
                    row: place.row + place_in_run,
                    node: Arc::clone(&node),
                    epoch: Arc::clone(&epoch),
                    place: sequence.map(numbered),
                    received_at: *received_at,
                    bytes: record.bytes.clone(),
                });
            }
        }
        Ok(())
    }

    /// Joins the batch's range with those that it touches: which numbers have arrived stays a short list. Ranges of a stream
    /// end in the order in which they begin. So they are read from above, and the first that does not touch is the last that
    /// is looked at, however many holes lie below.
    fn note_received(&self, stream: i64, numbering: &Numbering) -> rusqlite::Result<()> {
        let (mut first, mut last) = (signed(numbering.first()), signed(numbering.last()));
        let mut since = self.arrival.received_at;
        // Above the highest number nothing stands.
        let (before, behind) = (first.saturating_sub(1), last.saturating_add(1));
        {
            let sql = "SELECT first, last, since FROM received WHERE stream = ?1 AND first <= ?2 ORDER BY first DESC";
            let mut statement = self.tx.prepare_cached(sql)?;
            let mut ranges = statement.query(params![stream, behind])?;
            while let Some(range) = ranges.next()? {
                let (other_first, other_last, other_since): (i64, i64, i64) =
                    (range.get(0)?, range.get(1)?, range.get(2)?);
                if other_last < before {
                    break;
                }
                (first, last, since) = (first.min(other_first), last.max(other_last), since.min(other_since));
            }
        }
        self.tx
            .prepare_cached("DELETE FROM received WHERE stream = ?1 AND first BETWEEN ?2 AND ?3")?
            .execute(params![stream, first, behind])?;
        self.tx
            .prepare_cached("INSERT INTO received (stream, first, last, since) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![stream, first, last, since])?;
        Ok(())
    }
}

/// The rows that an event belongs to.
#[derive(Clone, Copy)]
struct Ids {
    node: i64,
    stream: i64,
}

/// What a batch has come to so far; the events only where somebody follows.
#[derive(Default)]
struct Written {
    receipt: Receipt,
    /// Bytes of the events that are new.
    bytes: usize,
    events: Vec<ArrivedEvent>,
}

/// The first number under which another event is stored.
fn forked(held: &[(u64, String)], numbering: &Numbering, records: &[Record]) -> Option<u64> {
    let differs = |(sequence, id): &&(u64, String)| {
        let index = usize::try_from(sequence - numbering.first()).unwrap_or(usize::MAX);
        records.get(index).is_some_and(|record| record.id != *id)
    };
    held.iter().find(differs).map(|(sequence, _)| *sequence)
}
