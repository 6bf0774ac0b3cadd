//! The table `run`: consecutive events of a stream that came together, as one message `EventBatch` with nothing but events,
//! compressed where that makes it shorter. Every event is there once, and the row of a run is what tells where it is.
//!
//! What holds: an event's bytes come back as they came. A run has at most [`EVENTS_MAX`] events and about [`BYTES_MAX`] bytes,
//! so that whoever looks for one event holds no more than that in memory.

use bytes::Bytes;
use prost::encoding::bytes::encode;
use rusqlite::{Connection, Row, params};

use super::{signed, unsigned};
use crate::{controller::batch::Batch, event::Head};

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
        let mut zstd = zstd::bulk::Compressor::new(EFFORT)?;
        // So that damage is found.
        zstd.include_checksum(true)?;
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

/// The events of a run in clear, one behind the other; the number of its row, its length in clear and its bytes stand in these
/// columns. `None` where they are damaged, which is told: whoever looks for others goes on.
pub(super) fn in_clear(row: &Row<'_>, [number, clear_bytes, bytes]: [usize; 3]) -> rusqlite::Result<Option<Bytes>> {
    let (length, stored) = (unsigned(row.get(clear_bytes)?), row.get_ref(bytes)?.as_blob()?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if stored.len() == length {
        return Ok(Some(Bytes::copy_from_slice(stored)));
    }
    let most = BYTES_MAX + 2 * crate::event::EVENT_BYTES_MAX;
    match zstd::bulk::decompress(stored, length.min(most)) {
        Ok(clear) => Ok(Some(Bytes::from(clear))),
        Err(error) => {
            tell_damage(unsigned(row.get(number)?), &error);
            Ok(None)
        }
    }
}

/// The events out of a run in clear, of which there are to be so many; none where they are damaged, which is told.
pub(super) fn events(row: u64, count: u64, clear: Bytes) -> Vec<Bytes> {
    match Batch::split(clear) {
        Ok(batch) if batch.events.len() as u64 == count => batch.events,
        Ok(_) => {
            tell_damage(row, &"there are not as many as there should be");
            Vec::new()
        }
        Err(error) => {
            tell_damage(row, &error);
            Vec::new()
        }
    }
}

fn tell_damage(row: u64, what: &dyn std::fmt::Display) {
    tracing::error!(row, %what, "stored events are damaged and left out; what the node still has, it may send again");
}

/// Identifiers of the events of a stream that are stored between two sequences, both inclusive; in order. What is damaged is not
/// among them: when it comes again, it is stored anew.
pub(super) fn identifiers(
    connection: &Connection,
    stream: i64,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<(u64, String)>> {
    let sql = "SELECT sequence, clear_bytes, bytes, row, events FROM run
        WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3 AND sequence + events > ?4 AND sequence IS NOT NULL
        ORDER BY sequence";
    let mut statement = connection.prepare_cached(sql)?;
    let least = first.saturating_sub(EVENTS_MAX);
    let mut rows = statement.query(params![stream, signed(least), signed(last), signed(first)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(clear) = in_clear(row, [3, 1, 2])? else { continue };
        let (begin, number, count) = (unsigned(row.get(0)?), unsigned(row.get(3)?), unsigned(row.get(4)?));
        let of_run = (begin..=last).zip(events(number, count, clear)).filter(|(sequence, _)| *sequence >= first);
        found.extend(of_run.filter_map(|(sequence, event)| Some((sequence, Head::read(&event).ok()?.id))));
    }
    // Where something was damaged, another run stands beside it.
    found.sort();
    found.dedup_by_key(|(sequence, _)| *sequence);
    Ok(found)
}
