//! Reading, beside the writer and from other processes: a connection that cannot write, each answer from one moment.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, Row, Transaction, named_params};

use super::{refused, schema};
use crate::{
    controller::store::{Node, Page, Query, Ranges, StoreError, StoredEvent, Stream},
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
    pub fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.moment().and_then(|tx| page(&tx, query)).map_err(refused("read"))
    }

    /// As `Store::nodes`. Blocks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.moment().and_then(|tx| nodes(&tx)).map_err(refused("read"))
    }

    /// A transaction that reads the database as it is now, whatever is written meanwhile.
    fn moment(&self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.unchecked_transaction()
    }
}

fn page(tx: &Transaction<'_>, query: &Query) -> rusqlite::Result<Page> {
    let order = if query.since.is_some() { "ASC" } else { "DESC" };
    // CROSS JOIN keeps SQLite reading in the order of rows, so that it can stop early.
    let sql = format!(
        "SELECT e.row, n.name, s.lane, e.sequence, e.received_at, e.bytes
        FROM event e CROSS JOIN stream s ON s.id = e.stream CROSS JOIN node n ON n.id = s.node
        WHERE e.row > :since AND (:node IS NULL OR n.name = :node) ORDER BY e.row {order}"
    );
    let newest: Option<i64> = tx.query_row("SELECT max(row) FROM event", [], |row| row.get(0))?;
    let since = i64::try_from(query.since.unwrap_or(0)).unwrap_or(i64::MAX);
    let mut statement = tx.prepare(&sql)?;
    let mut rows = statement.query(named_params! { ":since": since, ":node": query.node })?;
    let mut events = Vec::new();
    while events.len() < query.limit
        && let Some(row) = rows.next()?
    {
        let event = stored_event(row)?;
        if event.view().is_ok_and(|view| query.filter.matches(&view)) {
            events.push(event);
        }
    }
    let mut last_row = newest.map_or(0, i64::cast_unsigned);
    if query.since.is_none() {
        events.reverse();
    } else if events.len() == query.limit {
        last_row = events.last().map_or(since.cast_unsigned(), |event| event.row);
    }
    Ok(Page { events, last_row })
}

fn stored_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let lane: String = row.get(2)?;
    let sequence: Option<i64> = row.get(3)?;
    Ok(StoredEvent {
        row: row.get::<_, i64>(0)?.cast_unsigned(),
        node: Arc::from(row.get_ref(1)?.as_str()?),
        place: sequence.map(|sequence| Place { lane, sequence: sequence.cast_unsigned() }),
        received_at: row.get(4)?,
        bytes: row.get::<_, Vec<u8>>(5)?.into(),
    })
}

fn nodes(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Node>> {
    let mut statement = tx.prepare("SELECT id, name, organisation, seen_at FROM node ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        let id: i64 = row.get(0)?;
        let streams = streams(tx, id)?;
        Ok(Node {
            node: row.get(1)?,
            organisation: row.get(2)?,
            seen_at: row.get(3)?,
            events: streams.iter().map(|stream| stream.events).sum(),
            streams,
        })
    })?;
    rows.collect()
}

fn streams(tx: &Transaction<'_>, node: i64) -> rusqlite::Result<Vec<Stream>> {
    let mut statement =
        tx.prepare_cached("SELECT id, epoch, lane, events FROM stream WHERE node = ?1 ORDER BY epoch, lane")?;
    let rows = statement.query_map([node], |row| {
        let received = received(tx, row.get(0)?)?;
        let events = row.get::<_, i64>(3)?.cast_unsigned();
        Ok(Stream { epoch: row.get(1)?, lane: row.get(2)?, events, received })
    })?;
    rows.collect()
}

fn received(tx: &Transaction<'_>, stream: i64) -> rusqlite::Result<Ranges> {
    let mut ranges = Ranges::default();
    let mut statement = tx.prepare_cached("SELECT first, last FROM received WHERE stream = ?1")?;
    let mut rows = statement.query([stream])?;
    while let Some(row) = rows.next()? {
        ranges.insert(row.get::<_, i64>(0)?.cast_unsigned()..=row.get::<_, i64>(1)?.cast_unsigned());
    }
    Ok(ranges)
}
