//! The ends of the rows as the last process left them: where numbering goes on, and whether that can be proved.
//!
//! What an earlier process wrote is never written further. A generation that it did not seal, because it was killed, is
//! completed here: it holds the frames that are intact, and ends with the last sequence that anything says was given.

use std::{io, ops::Range, time::Duration};

use uuid::Uuid;

use super::{
    LogError, Settings,
    age::{AgeClock, Noted},
    cursor::Cursors,
    durable::sync_tree,
    frame::Header,
    generation,
    meta::Meta,
    row::Row,
    salvage::Salvage,
    summary::Summary,
};
use crate::telemetry::ErrorChain;

/// Where numbering goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tails {
    /// Sequence of the next event of each lane.
    pub(super) next_sequences: [u64; 2],
    /// Whether there may have been events beyond: then those to come need another epoch.
    pub(super) unproved: bool,
}

impl Tails {
    /// Completes what was not sealed and finds the ends.
    ///
    /// # Errors
    /// When `meta` cannot be read, or a generation for a reason that is not in it.
    pub(super) fn find(
        rows: &[Row; 2],
        meta: &Meta,
        cursors: &Cursors,
        settings: &Settings,
    ) -> Result<Tails, LogError> {
        let mut tails = Tails { next_sequences: [1, 1], unproved: false };
        let completed_at = age(rows, meta, settings)?;
        // Of a `meta` that was made anew nothing can be concluded.
        let known = meta.numbers()?.is_some();
        for row in rows {
            let floor = meta.floor(row.lane())?;
            // When a generation is sealed `meta` is told first.
            tails.unproved |= known && end_of(row) > floor;
            let taken = cursors.furthest(row.lane());
            let mut end = Some(floor).filter(|_| known);
            let unsealed = row.unsealed();
            for &number in &unsealed {
                let found = Unsealed::search(row, number, row.end_before(number).or(end))?;
                // Events that were taken were there: in the last generation, if nowhere else.
                let is_last = unsealed.last() == Some(&number);
                let next = if is_last { found.sequences.end.max(taken) } else { found.sequences.end };
                tails.unproved |= found.is_suspect || next > found.sequences.end;
                found.complete(row, meta, next, completed_at)?;
                end = Some(next);
            }
            row.cut_overlaps();
            let stored = end_of(row).max(floor);
            tails.unproved |= taken > stored;
            tails.next_sequences[row.lane().index()] = stored.max(taken);
        }
        Ok(tails)
    }
}

/// Sequence after the last of the sealed generations.
fn end_of(row: &Row) -> u64 {
    row.list().iter().map(|(_, summary)| summary.next_sequence).max().unwrap_or(1)
}

/// The log's age, milliseconds. When `meta` does not know it any more, that of the youngest generation: so nothing is
/// taken for older than it is.
fn age(rows: &[Row; 2], meta: &Meta, settings: &Settings) -> Result<u64, LogError> {
    let mut noted = meta.age()?;
    let youngest = rows.iter().flat_map(Row::list).map(|(_, summary)| summary.sealed_at).max();
    if let (None, Some(age)) = (noted, youngest) {
        let (boot_id, since_boot) = (settings.boot_id, (settings.since_boot)());
        let restored = Noted { age: Duration::from_millis(age), boot_id, since_boot };
        meta.set_age(restored)?;
        noted = Some(restored);
    }
    Ok(AgeClock::new(noted, settings.boot_id, settings.since_boot).milliseconds())
}

/// A generation that was not sealed, as it is found.
struct Unsealed {
    number: u64,
    salvage: Salvage,
    sequences: Range<u64>,
    is_suspect: bool,
}

impl Unsealed {
    /// `before` is where what is known before it ends.
    fn search(row: &Row, number: u64, before: Option<u64>) -> Result<Unsealed, LogError> {
        let directory = generation::directory(row.path(), number);
        // Frames that were written but never synced would otherwise be taken for durable.
        if let Err(error) = sync_tree(&directory) {
            tracing::warn!(directory = %directory.display(), %error, "what the last process wrote cannot be synced");
        }
        let salvage = Salvage::search_or_nothing(&directory, row.lane())
            .map_err(|error| LogError::io("open", &directory, error))?;
        let (first, broken) = (salvage.first_sequence(), salvage.is_broken());
        let start = match (first, before) {
            // What is missing before the first frame was in one that is broken.
            (Some(first), Some(before)) if broken => first.min(before),
            (Some(first), _) => first,
            (None, before) => before.unwrap_or(1),
        };
        let sequences = start..salvage.next_sequence().max(start);
        let is_suspect = broken || !salvage.missing(sequences.clone()).is_empty();
        Ok(Unsealed { number, salvage, sequences, is_suspect })
    }

    /// Seals it with `next` as its end, and finds out what is missing in it.
    fn complete(self, row: &Row, meta: &Meta, next: u64, sealed_at: u64) -> Result<(), LogError> {
        let first = self.sequences.start;
        let mut summary = self.summary().unwrap_or_default();
        (summary.first_sequence, summary.next_sequence) = (first, next);
        (summary.begun_at, summary.sealed_at) = (sealed_at, sealed_at);
        row.complete(self.number, &summary);
        let noted = meta
            .set_summary(row.lane(), self.number, &summary)
            .and_then(|()| meta.set_floor(row.lane(), next))
            .and_then(|()| meta.flush());
        match noted {
            Ok(()) => row.write_manifest(self.number, &summary, self.epoch().unwrap_or_default()),
            // The next start finds it as this one did.
            Err(error) => tracing::warn!(error = %ErrorChain(&error), "a generation cannot be completed"),
        }
        if first < next {
            row.locate(first)?;
        }
        Ok(())
    }

    /// That of the last frame.
    fn epoch(&self) -> Option<Uuid> {
        let last = self.salvage.frame(self.salvage.frames().checked_sub(1)?).ok()?;
        Header::parse(&last).ok().map(|header| header.epoch)
    }

    fn summary(&self) -> io::Result<Summary> {
        let mut summary = Summary::default();
        for number in 0..self.salvage.frames() {
            if let Ok(header) = Header::parse(&self.salvage.frame(number)?) {
                summary.add(&header, header.frame_bytes());
            }
        }
        Ok(summary)
    }
}
