//! What a generation holds, so that nobody has to open it to know.

use crate::event_log::disk::frame::{Entry, Header};

/// Numbers of levels on the wire that are counted apart; those beyond count under the last.
pub(in crate::event_log) const LEVELS: usize = 8;

/// Counts and bounds of a generation's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::event_log) struct Summary {
    /// Sequence of the first event; the one that the first will get while there is none.
    pub(in crate::event_log) first_sequence: u64,
    /// Sequence after the last.
    pub(in crate::event_log) next_sequence: u64,
    pub(in crate::event_log) frames: u64,
    /// Bytes of the frames.
    pub(in crate::event_log) stored_bytes: u64,
    /// Bytes of the events, uncompressed.
    pub(in crate::event_log) raw_bytes: u64,
    /// Unix milliseconds; 0 while there is none.
    pub(in crate::event_log) min_time: i64,
    pub(in crate::event_log) max_time: i64,
    /// The log's age when the generation was begun, and when it was sealed, milliseconds.
    pub(in crate::event_log) begun_at: u64,
    pub(in crate::event_log) sealed_at: u64,
    /// How many of each level, by its number on the wire. Not exact (all zero) for a generation that was not sealed by the
    /// process that wrote it.
    pub(in crate::event_log) levels: [u64; LEVELS],
}

impl Summary {
    /// Length of [`Summary::to_bytes`].
    pub(in crate::event_log) const BYTES: usize = 8 * (9 + LEVELS);

    /// Of a generation without events.
    pub(in crate::event_log) fn empty(first_sequence: u64) -> Summary {
        Summary { first_sequence, next_sequence: first_sequence, ..Summary::default() }
    }

    /// Number of events.
    pub(in crate::event_log) fn events(&self) -> u64 {
        self.next_sequence.saturating_sub(self.first_sequence)
    }

    /// Takes a frame into account.
    pub(in crate::event_log) fn add(&mut self, header: &Header, stored_bytes: usize) {
        if self.frames == 0 {
            self.first_sequence = header.first_sequence;
            self.min_time = header.min_time;
            self.max_time = header.max_time;
        }
        self.next_sequence = header.next_sequence();
        self.frames += 1;
        self.stored_bytes += stored_bytes as u64;
        self.raw_bytes += u64::from(header.raw_bytes);
        self.min_time = self.min_time.min(header.min_time);
        self.max_time = self.max_time.max(header.max_time);
    }

    /// Takes the levels of a frame's events into account.
    pub(in crate::event_log) fn add_levels(&mut self, levels: &[u64; LEVELS]) {
        for (sum, count) in self.levels.iter_mut().zip(levels) {
            *sum += count;
        }
    }

    /// Fixed width, big endian, in the order of the fields.
    pub(in crate::event_log) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Summary::BYTES);
        for number in [self.first_sequence, self.next_sequence, self.frames, self.stored_bytes, self.raw_bytes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.min_time.to_be_bytes());
        bytes.extend_from_slice(&self.max_time.to_be_bytes());
        for number in [self.begun_at, self.sealed_at] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for number in self.levels {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// The opposite; `None` when these are not such bytes.
    pub(in crate::event_log) fn from_bytes(bytes: &[u8]) -> Option<Summary> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let [first, next, frames, stored, raw, min, max, begun, sealed, levels @ ..] = words else { return None };
        let levels: &[[u8; 8]; LEVELS] = levels.try_into().ok()?;
        Some(Summary {
            first_sequence: u64::from_be_bytes(*first),
            next_sequence: u64::from_be_bytes(*next),
            frames: u64::from_be_bytes(*frames),
            stored_bytes: u64::from_be_bytes(*stored),
            raw_bytes: u64::from_be_bytes(*raw),
            min_time: i64::from_be_bytes(*min),
            max_time: i64::from_be_bytes(*max),
            begun_at: u64::from_be_bytes(*begun),
            sealed_at: u64::from_be_bytes(*sealed),
            levels: levels.map(u64::from_be_bytes),
        })
    }
}

/// How many events have each level.
pub(in crate::event_log) fn level_counts(entries: &[Entry]) -> [u64; LEVELS] {
    let mut levels = [0; LEVELS];
    for entry in entries {
        levels[usize::from(entry.level).min(LEVELS - 1)] += 1;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_comes_back_from_its_bytes() {
        let summary = Summary {
            first_sequence: 1,
            next_sequence: 9,
            frames: 2,
            min_time: -3,
            levels: [1, 2, 3, 4, 5, 6, 7, 8],
            ..Summary::default()
        };
        assert_eq!(Summary::from_bytes(&summary.to_bytes()), Some(summary.clone()));
        assert_eq!(Summary::from_bytes(&summary.to_bytes()[1..]), None);
        assert_eq!(Summary::from_bytes(&[0; 16]), None);
    }
}
