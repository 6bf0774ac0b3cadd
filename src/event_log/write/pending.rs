//! Frames that have been put and are not known to be durable: kept until they are, so that a storage that fails them can
//! be replaced without losing one.

use sled::IVec;
use uuid::Uuid;

use crate::event_log::{
    disk::{
        frame::{Encoded, Entry, Header},
        generation::Generation,
        summary::{LEVELS, Summary, level_counts},
    },
    error::LogError,
};

/// A frame as it is put.
#[derive(Clone)]
pub(in crate::event_log) struct Pending {
    header: Header,
    bytes: IVec,
    levels: [u64; LEVELS],
}

impl Pending {
    /// A frame and what it holds.
    pub(in crate::event_log) fn new(encoded: Encoded, entries: &[Entry]) -> Pending {
        Pending { header: encoded.header, bytes: IVec::from(encoded.bytes), levels: level_counts(entries) }
    }

    /// Bytes of the frame.
    pub(in crate::event_log) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sequence of the first event.
    pub(in crate::event_log) fn first_sequence(&self) -> u64 {
        self.header.first_sequence
    }

    /// Puts it and counts it.
    ///
    /// # Errors
    /// When the storage fails.
    pub(in crate::event_log) fn put(&self, generation: &Generation, summary: &mut Summary) -> Result<(), LogError> {
        generation.put(self.bytes.clone())?;
        summary.add(&self.header, self.bytes.len());
        summary.add_levels(&self.levels);
        Ok(())
    }

    /// Puts the events under another epoch, if they are not under it already.
    pub(in crate::event_log) fn renumber(&mut self, epoch: Uuid) {
        if self.header.epoch != epoch {
            self.bytes = IVec::from(self.header.renumber(epoch, &self.bytes));
        }
    }
}
