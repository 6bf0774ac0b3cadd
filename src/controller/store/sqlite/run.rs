//! The table `run`: consecutive events of a stream that came together, as one message `EventBatch` with nothing but events,
//! compressed where that makes it shorter. Every event is there once, and the row of a run is what tells where it is.
//!
//! What holds: an event's bytes come back as they came. A run has at most [`EVENTS_MAX`] events and about [`BYTES_MAX`] bytes,
//! so that whoever looks for one event holds no more than that in memory.

use bytes::Bytes;
use prost::encoding::bytes::encode;
use rusqlite::{Connection, Row, params, types::Type};

use super::{signed, unsigned};
use crate::controller::{batch::Batch, store::Record};

/// Events of one run.
pub(super) const EVENTS_MAX: u64 = 4096;

/// Bytes of a run's events, but for its last.
pub(super) const BYTES_MAX: usize = 1024 * 1024;

/// How hard zstd tries: its fastest ordinary level.
const EFFORT: i32 = 1;

/// Number of `EventBatch.events`.
const EVENTS_FIELD: u32 = 1;

/// Events on their way into the table.
pub(super) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    clear: Vec<u8>,
    packed: Vec<u8>,
}

/// Where a run goes, and what its events have in common.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Row of the first event.
    pub(super) row: u64,
    pub(super) stream: i64,
    /// Of the first event; none without numbering.
    pub(super) sequence: Option<u64>,
    /// Unix milliseconds.
    pub(super) received_at: i64,
}

impl Packer {
    /// # Errors
    /// When zstd cannot allocate.
    pub(super) fn new() -> std::io::Result<Packer> {
        let zstd = zstd::bulk::Compressor::new(EFFORT)?;
        Ok(Packer { zstd, clear: Vec::new(), packed: Vec::new() })
    }

    /// Writes consecutive events, as several runs where they are many. Gives the row after the last.
    pub(super) fn write<'a>(
        &mut self,
        connection: &Connection,
        mut place: Place,
        events: impl IntoIterator<Item = &'a Bytes>,
    ) -> rusqlite::Result<u64> {
        let mut count = 0;
        self.clear.clear();
        for event in events {
            encode(EVENTS_FIELD, event, &mut self.clear);
            count += 1;
            if count == EVENTS_MAX || self.clear.len() >= BYTES_MAX {
                self.put(connection, place, count)?;
                (place.row, place.sequence) =
                    (place.row + count, place.sequence.map(|first| first.saturating_add(count)));
                count = 0;
            }
        }
        if count > 0 {
            self.put(connection, place, count)?;
        }
        Ok(place.row + count)
    }

    fn put(&mut self, connection: &Connection, place: Place, count: u64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO run (row, stream, sequence, events, received_at, clear_bytes, bytes)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.clear.len()));
        let packed = match self.zstd.compress_to_buffer(&self.clear, &mut self.packed) {
            Ok(length) if length < self.clear.len() => &self.packed,
            // What cannot be compressed is kept as it is.
            Ok(_) | Err(_) => &self.clear,
        };
        let (row, sequence) = (signed(place.row), place.sequence.map(signed));
        connection.prepare_cached(sql)?.execute(params![
            row,
            place.stream,
            sequence,
            signed(count),
            place.received_at,
            signed(self.clear.len() as u64),
            packed
        ])?;
        self.clear.clear();
        Ok(())
    }
}

/// The row after the last.
pub(super) fn next_row(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce((SELECT row + events FROM run ORDER BY row DESC LIMIT 1), 1)";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(unsigned))
}

/// The events of a run in clear, one behind the other; its length in clear and its bytes stand in these columns.
pub(super) fn in_clear(row: &Row<'_>, clear_bytes: usize, bytes: usize) -> rusqlite::Result<Bytes> {
    let (length, stored) = (unsigned(row.get(clear_bytes)?), row.get_ref(bytes)?.as_blob()?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if stored.len() == length {
        return Ok(Bytes::copy_from_slice(stored));
    }
    let most = BYTES_MAX + 2 * crate::event::EVENT_BYTES_MAX;
    let unpacked = zstd::bulk::decompress(stored, length.min(most));
    unpacked.map(Bytes::from).map_err(|error| damaged(bytes, error))
}

/// The events out of a run in clear.
pub(super) fn events(clear: Bytes) -> rusqlite::Result<Vec<Bytes>> {
    Batch::split(clear).map(|batch| batch.events).map_err(|error| damaged(0, error))
}

/// Identifiers of the events of a stream that are stored between two sequences, both inclusive; in order.
pub(super) fn identifiers(
    connection: &Connection,
    stream: i64,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<(u64, String)>> {
    let sql = "SELECT sequence, clear_bytes, bytes FROM run
        WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3 AND sequence + events > ?4 AND sequence IS NOT NULL
        ORDER BY sequence";
    let mut statement = connection.prepare_cached(sql)?;
    let least = first.saturating_sub(EVENTS_MAX);
    let mut rows = statement.query(params![stream, signed(least), signed(last), signed(first)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let begin = unsigned(row.get(0)?);
        for (sequence, event) in (begin..=last).zip(events(in_clear(row, 1, 2)?)?) {
            if sequence >= first {
                // What was stored was an event.
                found.push((sequence, Record::read(event).map(|record| record.id).unwrap_or_default()));
            }
        }
    }
    Ok(found)
}

fn damaged(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}
