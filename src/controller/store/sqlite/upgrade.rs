//! Steps from the tables of earlier versions to those of this one, each inside the one transaction that also raises the
//! version: a controller that is killed meanwhile finds the file as it was.

use bytes::Bytes;
use rusqlite::{Transaction, params};

use super::{
    loss,
    run::{self, Packer, Place},
    unsigned,
};
use crate::controller::store::{Loss, Record};

/// Version 1 had no index of losses, and did not say when ranges came. Reads every stored event's kind, which takes a
/// second for a few million of them.
pub(super) fn from_1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tracing::info!("the event database is brought to the next version; this may take a while");
    tx.execute_batch(TABLES)?;
    let sql = "SELECT s.node, e.received_at, e.bytes FROM event e JOIN stream s ON s.id = e.stream
        WHERE e.kind GLOB 'system.loss*' ORDER BY e.row";
    let mut reports = tx.prepare(sql)?;
    let mut rows = reports.query([])?;
    while let Some(row) = rows.next()? {
        let (node, received_at) = (row.get(0)?, row.get(1)?);
        let report = Record::read(row.get::<_, Vec<u8>>(2)?.into()).ok();
        if let Some(found) = report.and_then(|report| Loss::read(&report, received_at)) {
            loss::insert(tx, node, &found)?;
        }
    }
    // Of a range it is not known any more what of it came first; its first number did not come before that.
    tx.execute(
        "UPDATE received SET since = coalesce((SELECT e.received_at FROM event e
            WHERE e.stream = received.stream AND e.sequence = received.first AND e.sequence IS NOT NULL), 0)",
        params![],
    )?;
    Ok(())
}

/// Version 2 did not know how much is stored of a node. Reads the size of every stored event.
pub(super) fn from_2(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tracing::info!("the sizes of stored events are added up; this may take a while");
    tx.execute_batch(
        "ALTER TABLE node ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
        UPDATE node SET bytes = stored.bytes FROM (
            SELECT s.node, sum(length(e.bytes)) AS bytes FROM event e JOIN stream s ON s.id = e.stream GROUP BY s.node
        ) AS stored WHERE stored.node = node.id;",
    )
}

/// To `tables` of events. Version 3 had a row for every event, with two indexes, and what an event says of itself beside it. Reads every event, and
/// writes it again with those that came with it; rows stay what they were.
pub(super) fn from_3(tx: &Transaction<'_>, tables: &str) -> rusqlite::Result<()> {
    tracing::info!(
        "stored events are packed; this may take a while, and the room that it frees is used by those to come"
    );
    tx.execute_batch(tables)?;
    let mut packer = Packer::new().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut statement = tx.prepare("SELECT row, stream, sequence, received_at, bytes FROM event ORDER BY row")?;
    let mut rows = statement.query([])?;
    let mut run: Option<(Place, Vec<Bytes>)> = None;
    while let Some(row) = rows.next()? {
        let place = Place {
            row: unsigned(row.get(0)?),
            stream: row.get(1)?,
            sequence: row.get::<_, Option<i64>>(2)?.map(unsigned),
            received_at: row.get(3)?,
        };
        let bytes = Bytes::from(row.get::<_, Vec<u8>>(4)?);
        match run.as_mut().filter(|(first, events)| goes_on(first, events.len() as u64, &place)) {
            Some((_, events)) => events.push(bytes),
            None => {
                let before = run.replace((place, vec![bytes]));
                before.map(|(place, events)| packer.write(tx, place, &events)).transpose()?;
            }
        }
    }
    run.map(|(place, events)| packer.write(tx, place, &events)).transpose()?;
    // No statement may be reading a table that goes.
    drop(rows);
    drop(statement);
    tx.execute_batch(
        "INSERT INTO identifier SELECT stream, event_id FROM event WHERE sequence IS NULL;
        DROP VIEW events;
        DROP TABLE event;",
    )
}

/// Whether an event belongs to a run that has so many.
fn goes_on(first: &Place, count: u64, next: &Place) -> bool {
    count < run::EVENTS_MAX
        && next.row == first.row + count
        && (next.stream, next.received_at) == (first.stream, first.received_at)
        && next.sequence == first.sequence.map(|sequence| sequence.saturating_add(count))
}

const TABLES: &str = "
ALTER TABLE received ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
CREATE TABLE loss (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node,
    event_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    lane TEXT NOT NULL,
    consumer TEXT NOT NULL,
    operation TEXT NOT NULL,
    first INTEGER,
    last INTEGER,
    count INTEGER NOT NULL,
    exact INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    UNIQUE (node, event_id)
) STRICT;
";

#[cfg(test)]
mod tests;
