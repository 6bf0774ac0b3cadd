//! Reading, beside the writer and from other processes: a connection that cannot write, each answer from one moment.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, Row, Transaction, named_params};

use super::{nodes::nodes, refused, schema, signed, unsigned};
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
    let order = if query.since.is_some() { "ASC" } else { "DESC" };
    // CROSS JOIN keeps SQLite reading in the order of rows, so that it can stop early.
    let sql = format!(
        "SELECT e.row, n.name, s.lane, e.sequence, e.received_at, e.bytes, s.epoch
        FROM event e CROSS JOIN stream s ON s.id = e.stream CROSS JOIN node n ON n.id = s.node
        WHERE e.row > :since AND (:node IS NULL OR n.name = :node) ORDER BY e.row {order}"
    );
    let newest: Option<i64> = tx.query_row("SELECT max(row) FROM event", [], |row| row.get(0))?;
    let since = signed(query.since.unwrap_or(0));
    let mut statement = tx.prepare(&sql)?;
    let mut rows = statement.query(named_params! { ":since": since, ":node": query.node })?;
    let mut events = Vec::new();
    let mut further = 0;
    while (events.len() < query.limit || query.since.is_none() && further < OVERTAKEN_ROWS_MAX)
        && let Some(row) = rows.next()?
    {
        further += usize::from(events.len() >= query.limit);
        let event = stored_event(row)?;
        if event.view().is_ok_and(|view| query.takes(&view)) {
            events.push(event);
        }
    }
    let newest = newest.map_or(0, unsigned);
    if query.since.is_none() {
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

fn stored_event(row: &Row<'_>) -> rusqlite::Result<ArrivedEvent> {
    let lane: String = row.get(2)?;
    let sequence: Option<i64> = row.get(3)?;
    Ok(ArrivedEvent {
        row: unsigned(row.get(0)?),
        node: Arc::from(row.get_ref(1)?.as_str()?),
        epoch: Arc::from(row.get_ref(6)?.as_str()?),
        place: sequence.map(|sequence| Place { lane, sequence: unsigned(sequence) }),
        received_at: row.get(4)?,
        bytes: row.get::<_, Vec<u8>>(5)?.into(),
    })
}
