//! The ends of the rows as the last process left them: where numbering goes on, and which generation is written further.

use std::sync::Arc;

use super::{
    LogError,
    generation::Generation,
    meta::Meta,
    row::{Row, summarise},
    writer::Active,
};

/// The last generations of the lanes as found at the start, and where numbering goes on.
pub(super) struct Tails {
    pub(super) active: [Option<Active>; 2],
    /// Sequence of the next event of each lane.
    pub(super) next_sequences: [u64; 2],
}

impl Tails {
    /// Opens the newest generation of each row and finds its end.
    ///
    /// # Errors
    /// When the storage fails or is damaged.
    pub(super) fn find(rows: &[Row; 2], meta: &Meta) -> Result<Tails, LogError> {
        let mut tails = Tails { active: [None, None], next_sequences: [1, 1] };
        for row in rows {
            let floor = meta.floor(row.lane())?;
            let next = &mut tails.next_sequences[row.lane().index()];
            *next = floor;
            let Some(number) = row.newest()? else { continue };
            if row.is_sealed(number) {
                let end = row.sealed().last().map_or(floor, |sealed| sealed.summary.next_sequence);
                *next = floor.max(end);
                continue;
            }
            let generation = Arc::new(Generation::open(row.path(), number)?);
            // Frames that an earlier process wrote but never synced would otherwise be taken for durable.
            generation.sync()?;
            let summary = summarise(&generation, floor)?;
            *next = floor.max(summary.next_sequence);
            row.set_active(number, &generation, &summary);
            tails.active[row.lane().index()] = Some(Active::new(number, generation, summary));
        }
        Ok(tails)
    }
}
