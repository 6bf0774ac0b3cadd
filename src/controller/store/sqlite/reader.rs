//! Reading, beside the writer and from other processes: a connection that cannot write, each answer from one moment.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use rusqlite::{Connection, Row, Transaction, named_params};

use super::{nodes::nodes, refused, run, schema, signed, unsigned};
use crate::{
    controller::store::{ArrivedEvent, EventPage, Node, OVERTAKEN_ROWS_MAX, Query, StoreError, order::sort_lanes},
    event::json::Place,
};

/// A reader of the database.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
}

impl SqliteReader {
    /// Opens a database that is there. Blocks.
    ///
    /// # Errors
    /// When there is none, or it is another program's, or cannot be read.
    pub fn open(path: &Path) -> Result<SqliteReader, StoreError> {
        Ok(SqliteReader { connection: schema::open_reader(path)? })
    }

    /// As `Store::query`. Blocks; reads as many rows as it takes to find what was asked for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn query(&self, query: &Query) -> Result<EventPage, StoreError> {
        self.moment().and_then(|tx| page(&tx, query)).map_err(refused("read"))
    }

    /// As `Store::nodes`. Blocks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.moment().and_then(|tx| nodes(&tx, None)).map_err(refused("read"))
    }

    /// One node, if it was ever seen. Blocks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn node(&self, name: &str) -> Result<Option<Node>, StoreError> {
        let nodes = self.moment().and_then(|tx| nodes(&tx, Some(name))).map_err(refused("read"))?;
        Ok(nodes.into_iter().next())
    }

    /// A transaction that reads the database as it is now, whatever is written meanwhile.
    fn moment(&self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.unchecked_transaction()
    }
}

fn page(tx: &Transaction<'_>, query: &Query) -> rusqlite::Result<EventPage> {
    let is_forward = query.since.is_some();
    let order = if is_forward { "ASC" } else { "DESC" };
    // CROSS JOIN keeps SQLite reading in the order of rows, so that it can stop early.
    let sql = format!(
        "SELECT r.row, n.name, s.lane, r.sequence, r.received_at, s.epoch, r.events, r.clear_bytes, r.bytes
        FROM run r CROSS JOIN stream s ON s.id = r.stream CROSS JOIN node n ON n.id = s.node
        WHERE r.row >= :from AND (:node IS NULL OR n.name = :node) ORDER BY r.row {order}"
    );
    let newest = run::next_row(tx)? - 1;
    let since = query.since.unwrap_or(0);
    let from: Option<i64> =
        tx.query_row("SELECT max(row) FROM run WHERE row <= ?1", [signed(since.saturating_add(1))], |row| row.get(0))?;
    let mut statement = tx.prepare(&sql)?;
    let mut rows = statement.query(named_params! { ":from": from.unwrap_or(0), ":node": query.node })?;
    let mut events = Vec::new();
    // Of the last ones: rows beyond them that were looked at, too.
    let mut further = 0;
    let is_done =
        |found: usize, further: u64| found >= query.limit && (is_forward || further >= OVERTAKEN_ROWS_MAX as u64);
    while !is_done(events.len(), further)
        && let Some(row) = rows.next()?
    {
        let (first, count) = (unsigned(row.get(0)?), unsigned(row.get(6)?));
        let Some(clear) = run::in_clear(row, [0, 7, 8])? else { continue };
        if !query.filter.may_stand_in(&clear) {
            further += if events.len() >= query.limit { count } else { 0 };
            continue;
        }
        let run = Run::read(row)?;
        let of_run = run::events(first, count, clear);
        let mut places: Vec<_> = (0..).zip(&of_run).filter(|(place, _)| first + place > since).collect();
        if !is_forward {
            places.reverse();
        }
        for (place, bytes) in places {
            if is_done(events.len(), further) {
                break;
            }
            further += u64::from(events.len() >= query.limit);
            if query.takes(bytes) {
                events.push(run.event(place, bytes));
            }
        }
    }
    if !is_forward {
        events.reverse();
        return Ok(EventPage::of_last(events, query.limit, newest));
    }
    let last_row = match events.last() {
        Some(last) if events.len() == query.limit => last.row,
        _ => newest,
    };
    sort_lanes(&mut events);
    Ok(EventPage { events, last_row })
}

/// What the events of a run have in common.
struct Run {
    row: u64,
    node: Arc<str>,
    epoch: Arc<str>,
    lane: String,
    sequence: Option<u64>,
    received_at: i64,
}

impl Run {
    fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
        Ok(Run {
            row: unsigned(row.get(0)?),
            node: Arc::from(row.get_ref(1)?.as_str()?),
            epoch: Arc::from(row.get_ref(5)?.as_str()?),
            lane: row.get(2)?,
            sequence: row.get::<_, Option<i64>>(3)?.map(unsigned),
            received_at: row.get(4)?,
        })
    }

    /// The event at a place in it, from 0.
    fn event(&self, place: u64, bytes: &Bytes) -> ArrivedEvent {
        let numbered = |first: u64| Place { lane: self.lane.clone(), sequence: first.saturating_add(place) };
        ArrivedEvent {
            row: self.row + place,
            node: Arc::clone(&self.node),
            epoch: Arc::clone(&self.epoch),
            place: self.sequence.map(numbered),
            received_at: self.received_at,
            bytes: bytes.clone(),
        }
    }
}
