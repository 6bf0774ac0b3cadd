//! What the tables tell of nodes.

use std::ops::RangeInclusive;

use rusqlite::Transaction;

use super::{loss, run, unsigned};
use crate::controller::store::{Node, Overlap, Ranges, Stream, node::overlapping};

/// All nodes by name, or the one of this name.
pub(super) fn nodes(tx: &Transaction<'_>, name: Option<&str>) -> rusqlite::Result<Vec<Node>> {
    let sql = "SELECT id, name, organisation, seen_at FROM node WHERE ?1 IS NULL OR name = ?1 ORDER BY name";
    let mut statement = tx.prepare(sql)?;
    let rows = statement.query_map([name], |row| {
        let id: i64 = row.get(0)?;
        let (ids, streams): (Vec<i64>, Vec<Stream>) = streams(tx, id)?.into_iter().unzip();
        let mut overlaps = Vec::new();
        for (one, two, shared) in overlapping(&streams) {
            let mut overlap = Overlap::between(&streams[one], &streams[two]);
            for range in shared {
                compare(tx, [ids[one], ids[two]], &range, &mut overlap)?;
            }
            overlaps.push(overlap);
        }
        Ok(Node {
            node: row.get(1)?,
            organisation: row.get(2)?,
            seen_at: row.get(3)?,
            events: streams.iter().map(|stream| stream.events).sum(),
            losses: loss::of_node(tx, id)?,
            overlaps,
            streams,
        })
    })?;
    rows.collect()
}

/// The streams of a node, with their numbers in the table.
fn streams(tx: &Transaction<'_>, node: i64) -> rusqlite::Result<Vec<(i64, Stream)>> {
    let mut statement =
        tx.prepare_cached("SELECT id, epoch, lane, events FROM stream WHERE node = ?1 ORDER BY epoch, lane")?;
    let rows = statement.query_map([node], |row| {
        let id = row.get(0)?;
        let (received, events) = (received(tx, id)?, unsigned(row.get(3)?));
        Ok((id, Stream { epoch: row.get(1)?, lane: row.get(2)?, events, received }))
    })?;
    rows.collect()
}

fn received(tx: &Transaction<'_>, stream: i64) -> rusqlite::Result<Ranges> {
    let mut ranges = Ranges::default();
    let mut statement = tx.prepare_cached("SELECT first, last, since FROM received WHERE stream = ?1")?;
    let mut rows = statement.query([stream])?;
    while let Some(row) = rows.next()? {
        ranges.insert(unsigned(row.get(0)?)..=unsigned(row.get(1)?), row.get(2)?);
    }
    Ok(ranges)
}

/// Sequences of two streams that are compared at a time.
const COMPARED_MAX: u64 = 10_000;

/// Compares what two streams hold under the same sequences.
fn compare(
    tx: &Transaction<'_>,
    [one, two]: [i64; 2],
    range: &RangeInclusive<u64>,
    overlap: &mut Overlap,
) -> rusqlite::Result<()> {
    let mut first = *range.start();
    while first <= *range.end() {
        let last = first.saturating_add(COMPARED_MAX - 1).min(*range.end());
        let ours = run::identifiers(tx, one, first, last)?;
        let mut theirs = run::identifiers(tx, two, first, last)?.into_iter().peekable();
        for (sequence, id) in ours {
            while theirs.next_if(|(other, _)| *other < sequence).is_some() {}
            if let Some((_, other)) = theirs.next_if(|(other, _)| *other == sequence) {
                overlap.note(sequence, id == other);
            }
        }
        first = last.saturating_add(1);
    }
    Ok(())
}
