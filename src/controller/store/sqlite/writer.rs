//! The one thread that writes. It takes the batches that wait, writes them in one transaction, syncs once for all, and
//! then answers each: a sync costs the same for one batch as for fifty.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{Job, loss, refused, signed, unsigned};
use crate::{
    controller::store::{
        Arrival, ArrivedEvent, EPOCHS_MAX, Loss, Numbering, Receipt, Record, StoreError, space::Space, tail::TailSender,
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
    tail: Arc<TailSender>,
    space: Arc<Space>,
    /// Whether the last transaction failed: the log gets the change, not every retry.
    failing: bool,
}

/// What became of a batch before its transaction was committed.
type Outcome = Result<Written, StoreError>;

impl Writer {
    pub(super) fn new(connection: Connection, tail: Arc<TailSender>, space: Arc<Space>) -> Writer {
        Writer { connection, tail, space, failing: false }
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
        let space = Arc::clone(&self.space);
        let scarce = space.scarce();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcomes = arrivals
            .into_iter()
            .map(|arrival| Batch { tx: &tx, arrival: &arrival, followed, space: &space, scarce }.write())
            .collect::<rusqlite::Result<_>>()?;
        tx.commit()?;
        Ok(outcomes)
    }
}

/// One batch inside the group's transaction. A fork is found before its first event is written, so that a refused
/// batch leaves none and the others are not touched.
struct Batch<'a> {
    tx: &'a Transaction<'a>,
    arrival: &'a Arrival,
    followed: bool,
    space: &'a Space,
    /// Bytes of the reserve, where nothing else is free.
    scarce: Option<u64>,
}

impl Batch<'_> {
    fn write(&self) -> rusqlite::Result<Outcome> {
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
                let held = self.held(stream, numbering)?;
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
            self.space.note(&self.arrival.node, written.bytes as u64);
        }
        Ok(Ok(written))
    }

    /// Its row, and the bytes of its events so far.
    fn node(&self) -> rusqlite::Result<(i64, u64)> {
        let sql = "INSERT INTO node (name, organisation, seen_at) VALUES (?1, ?2, ?3)
            ON CONFLICT (name) DO UPDATE SET organisation = excluded.organisation,
                seen_at = max(seen_at, excluded.seen_at)
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

    /// What is stored already in the range of the batch: sequence and identifier, in order.
    fn held(&self, stream: i64, numbering: &Numbering) -> rusqlite::Result<Vec<(u64, String)>> {
        let sql = "SELECT sequence, event_id FROM event
            WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3 AND sequence IS NOT NULL ORDER BY sequence";
        let (first, last) = (signed(numbering.first()), signed(numbering.last()));
        self.tx
            .prepare_cached(sql)?
            .query_map(params![stream, first, last], |row| Ok((unsigned(row.get(0)?), row.get(1)?)))?
            .collect()
    }

    fn write_numbered(&self, ids: Ids, numbering: &Numbering, held: &[(u64, String)]) -> rusqlite::Result<Written> {
        let mut written = Written::default();
        let mut held = held.iter().map(|(sequence, _)| *sequence).peekable();
        let mut insert = self.tx.prepare_cached(INSERT)?;
        for (sequence, record) in (numbering.first()..=numbering.last()).zip(&self.arrival.records) {
            let fresh = held.next_if_eq(&sequence).is_none();
            if fresh {
                self.insert(&mut insert, ids, Some(sequence), record)?;
            }
            let place = || Place { lane: numbering.lane().to_owned(), sequence };
            written.note(fresh, record, || self.followed.then(|| self.stored(record, Some(place()))));
        }
        Ok(written)
    }

    fn write_unnumbered(&self, ids: Ids) -> rusqlite::Result<Written> {
        let mut written = Written::default();
        let mut insert = self.tx.prepare_cached(INSERT)?;
        for record in &self.arrival.records {
            let fresh = self.insert(&mut insert, ids, None, record)?;
            written.note(fresh, record, || self.followed.then(|| self.stored(record, None)));
        }
        Ok(written)
    }

    /// Writes one event, unless it has no number and its identifier is there already; whether it was written.
    fn insert(
        &self,
        statement: &mut Statement<'_>,
        ids: Ids,
        sequence: Option<u64>,
        record: &Record,
    ) -> rusqlite::Result<bool> {
        let rows = statement.execute(params![
            ids.stream,
            sequence.map(signed),
            record.id,
            record.time,
            record.level.name(),
            record.kind.as_str(),
            record.source,
            self.arrival.received_at,
            &record.bytes[..]
        ])?;
        if rows > 0
            && let Some(found) = Loss::read(record, self.arrival.received_at)
        {
            loss::insert(self.tx, ids.node, &found)?;
        }
        Ok(rows > 0)
    }

    /// Joins the batch's range with those that it touches: which numbers have arrived stays a short list.
    fn note_received(&self, stream: i64, numbering: &Numbering) -> rusqlite::Result<()> {
        let (first, last) = (signed(numbering.first()), signed(numbering.last()));
        let touching = "stream = ?1 AND first <= ?3 + 1 AND last >= ?2 - 1";
        // At the highest number `last + 1` would not be an integer any more, and nothing stands above it.
        let reach = params![stream, first, last.min(i64::MAX - 1)];
        let (least, most, earliest): (Option<i64>, Option<i64>, Option<i64>) = self
            .tx
            .prepare_cached(&format!("SELECT min(first), max(last), min(since) FROM received WHERE {touching}"))?
            .query_row(reach, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        self.tx.prepare_cached(&format!("DELETE FROM received WHERE {touching}"))?.execute(reach)?;
        let (first, last) = (least.map_or(first, |least| least.min(first)), most.map_or(last, |most| most.max(last)));
        let since = earliest.map_or(self.arrival.received_at, |earliest| earliest.min(self.arrival.received_at));
        self.tx
            .prepare_cached("INSERT INTO received (stream, first, last, since) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![stream, first, last, since])?;
        Ok(())
    }

    fn stored(&self, record: &Record, place: Option<Place>) -> ArrivedEvent {
        ArrivedEvent {
            row: unsigned(self.tx.last_insert_rowid()),
            node: self.arrival.node.as_str().into(),
            epoch: self.arrival.numbering.as_ref().map_or("", Numbering::epoch).into(),
            place,
            received_at: self.arrival.received_at,
            bytes: record.bytes.clone(),
        }
    }
}

/// The rows that an event belongs to.
#[derive(Clone, Copy)]
struct Ids {
    node: i64,
    stream: i64,
}

/// The conflict can only be that of an event without number: numbered ones are looked up before.
const INSERT: &str = "INSERT INTO event
        (stream, sequence, event_id, time, level, kind, source, received_at, bytes)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (stream, event_id) WHERE sequence IS NULL DO NOTHING";

/// What a batch has come to so far; the events only where somebody follows.
#[derive(Default)]
struct Written {
    receipt: Receipt,
    /// Bytes of the events that are new.
    bytes: usize,
    events: Vec<ArrivedEvent>,
}

impl Written {
    fn note(&mut self, fresh: bool, record: &Record, event: impl FnOnce() -> Option<ArrivedEvent>) {
        if fresh {
            self.receipt.stored += 1;
            self.bytes += record.bytes.len();
            self.events.extend(event());
        } else {
            self.receipt.repeated += 1;
        }
    }
}

/// The first number under which another event is stored.
fn forked(held: &[(u64, String)], numbering: &Numbering, records: &[Record]) -> Option<u64> {
    let differs = |(sequence, id): &&(u64, String)| {
        let index = usize::try_from(sequence - numbering.first()).unwrap_or(usize::MAX);
        records.get(index).is_some_and(|record| record.id != *id)
    };
    held.iter().find(differs).map(|(sequence, _)| *sequence)
}
