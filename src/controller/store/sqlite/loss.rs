//! The table `loss`: reports of losses, each once however often its event came.

use rusqlite::{Connection, Row, params};

use super::{signed, unsigned};
use crate::controller::store::Loss;

/// Notes a report of a node, unless it is there already.
pub(super) fn insert(connection: &Connection, node: i64, loss: &Loss) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO loss (node, event_id, received_at, epoch, lane, consumer, operation, first, last, count, exact,
            first_time, last_time)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (node, event_id) DO NOTHING";
    connection.prepare_cached(sql)?.execute(params![
        node,
        loss.event_id,
        loss.received_at,
        loss.epoch,
        loss.lane,
        loss.consumer,
        loss.operation,
        loss.range.map(|(first, _)| signed(first)),
        loss.range.map(|(_, last)| signed(last)),
        signed(loss.count),
        loss.exact,
        loss.first_time,
        loss.last_time,
    ])?;
    Ok(())
}

/// The reports of a node, in the order in which they came.
pub(super) fn of_node(connection: &Connection, node: i64) -> rusqlite::Result<Vec<Loss>> {
    let sql = "SELECT event_id, received_at, epoch, lane, consumer, operation, first, last, count, exact, first_time,
            last_time
        FROM loss WHERE node = ?1 ORDER BY id";
    connection.prepare_cached(sql)?.query_map([node], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Loss> {
    let (first, last): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    Ok(Loss {
        event_id: row.get(0)?,
        received_at: row.get(1)?,
        epoch: row.get(2)?,
        lane: row.get(3)?,
        consumer: row.get(4)?,
        operation: row.get(5)?,
        range: first.map(unsigned).zip(last.map(unsigned)),
        count: unsigned(row.get(8)?),
        exact: row.get(9)?,
        first_time: row.get(10)?,
        last_time: row.get(11)?,
    })
}
