//! Steps from the tables of earlier versions to those of this one, each inside the one transaction that also raises the
//! version: a controller that is killed meanwhile finds the file as it was.

use rusqlite::{Transaction, params};

use super::loss;
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
