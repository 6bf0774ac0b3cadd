//! What a generation holds, so that nobody has to open it to know.

use crate::{
    event::KindBloom,
    event_log::disk::frame::{Entry, Header},
};

/// Numbers of levels on the wire that are counted apart; those beyond count under the last.
pub(in crate::event_log) const LEVELS: usize = 8;

/// What may be among events: nothing that is not told here is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::event_log) struct Marks {
    /// One bit for each level's number on the wire; bit 15 for numbers beyond.
    pub(in crate::event_log) levels: u16,
    /// One bit for each category's number; bit 31 for numbers beyond.
    pub(in crate::event_log) categories: u32,
    pub(in crate::event_log) kinds: KindBloom,
}

impl Marks {
    /// Anything may be.
    const ANY: Marks = Marks { levels: u16::MAX, categories: u32::MAX, kinds: KindBloom::ANY };

    fn add(&mut self, header: &Header) {
        self.levels |= header.levels;
        self.categories |= header.categories;
        self.kinds = self.kinds.and_of(header.kinds);
    }
}

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
    /// What its frames may hold, as their heads say.
    pub(in crate::event_log) marks: Marks,
}

impl Summary {
    /// Length of [`Summary::to_bytes`].
    pub(in crate::event_log) const BYTES: usize = Summary::BYTES_1 + 8 + 16;

    /// The same as version 1 of the manifest has it, without marks.
    pub(in crate::event_log) const BYTES_1: usize = 8 * (9 + LEVELS);

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
        self.marks.add(header);
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
        let Marks { levels, categories, kinds } = self.marks;
        bytes.extend_from_slice(&(u64::from(levels) << 32 | u64::from(categories)).to_be_bytes());
        bytes.extend_from_slice(&kinds.to_bytes());
        bytes
    }

    /// The opposite, also of version 1; `None` when these are not such bytes.
    pub(in crate::event_log) fn from_bytes(bytes: &[u8]) -> Option<Summary> {
        let (bytes, marks) = bytes.split_at_checked(Summary::BYTES_1)?;
        let marks = match marks.split_first_chunk::<8>() {
            None if marks.is_empty() => Marks::ANY,
            None => return None,
            Some((numbers, kinds)) => {
                let numbers = u64::from_be_bytes(*numbers);
                Marks {
                    levels: u16::try_from(numbers >> 32).ok()?,
                    categories: (numbers & u64::from(u32::MAX)) as u32,
                    kinds: KindBloom::from_bytes(kinds.try_into().ok()?),
                }
            }
        };
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
            marks,
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
    use crate::event::KindMark;

    #[test]
    fn a_summary_comes_back_from_its_bytes() {
        let summary = Summary {
            first_sequence: 1,
            next_sequence: 9,
            frames: 2,
            min_time: -3,
            levels: [1, 2, 3, 4, 5, 6, 7, 8],
            marks: Marks { levels: 3, categories: 1 << 31 | 5, kinds: KindBloom::of([Some(KindMark::UNNAMED)]) },
            ..Summary::default()
        };
        let bytes = summary.to_bytes();
        assert_eq!((bytes.len(), Summary::from_bytes(&bytes)), (Summary::BYTES, Some(summary.clone())));
        assert_eq!(Summary::from_bytes(&bytes[1..]), None);
        let of_version_1 = Summary::from_bytes(&bytes[..Summary::BYTES_1]);
        assert_eq!(of_version_1, Some(Summary { marks: Marks::ANY, ..summary }), "which did not tell");
        assert_eq!(Summary::from_bytes(&[0; 16]), None);
    }
}
