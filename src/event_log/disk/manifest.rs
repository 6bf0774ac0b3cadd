//! What a sealed generation holds, noted beside its frames in a plain file, so that what is found
//! can be checked against it and nobody has to search for it.
//!
//! Written by the writer when a generation is sealed, and again when the loss of frames in it has been recorded, so that it
//! is not recorded twice. Written under another name first: there is an old one or a new one, never half of one.
//!
//! Layout, big endian: magic 8 | lane 1 | number 8 | epoch 16 | summary | ranges 4 | from 8, to 8 of each | CRC32C 4. Of version
//! 1, which is read still, the summary has no marks.

use std::{
    io::{self, Read as _},
    ops::Range,
    path::Path,
};

use uuid::Uuid;

use crate::{
    event_log::{
        disk::{
            files::{MANIFEST, MANIFEST_NEW},
            summary::Summary,
        },
        lane::Lane,
    },
    files,
};

const MAGIC: [u8; 8] = *b"RODENTM\x02";
const MAGIC_1: [u8; 8] = *b"RODENTM\x01";

/// Bytes before the summary.
const HEAD_BYTES: usize = 8 + 1 + 8 + 16;

/// The most ranges that are noted; beyond, the last one takes in what follows.
pub(in crate::event_log) const RANGES_MAX: usize = 256;

/// More than any manifest has, bytes.
const BYTES_MAX: u64 = 16 * 1024;

/// What a generation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Manifest {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) number: u64,
    /// Epoch that was in force when it was sealed.
    pub(in crate::event_log) epoch: Uuid,
    pub(in crate::event_log) summary: Summary,
    /// Sequences that the summary counts, that are gone and recorded as lost. Ascending.
    pub(in crate::event_log) missing: Vec<Range<u64>>,
}

impl Manifest {
    /// The manifest in a generation's directory; `None` when there is no intact one of this lane and number.
    pub(in crate::event_log) fn read(generation: &Path, lane: Lane, number: u64) -> Option<Manifest> {
        Manifest::read_any(generation).filter(|manifest| (manifest.lane, manifest.number) == (lane, number))
    }

    /// The same of whatever lane and number: those of a directory that was copied or renamed are not its own.
    pub(in crate::event_log) fn read_any(generation: &Path) -> Option<Manifest> {
        let mut bytes = Vec::new();
        files::open(&generation.join(MANIFEST)).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Manifest::from_bytes(&bytes)
    }

    /// Puts it into a generation's directory, durably, in place of an older one.
    ///
    /// # Errors
    /// As the file system says; an older one is then still there.
    pub(in crate::event_log) fn write(&self, generation: &Path) -> io::Result<()> {
        files::replace_by(&generation.join(MANIFEST), &generation.join(MANIFEST_NEW), &self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.lane.number());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(self.epoch.as_bytes());
        bytes.extend_from_slice(&self.summary.to_bytes());
        let missing = bounded(&self.missing);
        bytes.extend_from_slice(&(missing.len() as u32).to_be_bytes());
        for range in missing {
            bytes.extend_from_slice(&range.start.to_be_bytes());
            bytes.extend_from_slice(&range.end.to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Manifest> {
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(bytes) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (magic, head) = head.split_first_chunk::<8>()?;
        let (lane, head) = head.split_first()?;
        let (number, epoch) = head.split_first_chunk::<8>()?;
        let summary_bytes = match *magic {
            MAGIC => Summary::BYTES,
            MAGIC_1 => Summary::BYTES_1,
            _ => return None,
        };
        let (summary, rest) = rest.split_at_checked(summary_bytes)?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (ranges, []) = rest.as_chunks::<16>() else { return None };
        if ranges.len() != u32::from_be_bytes(*count) as usize {
            return None;
        }
        Some(Manifest {
            lane: Lane::from_number(*lane)?,
            number: u64::from_be_bytes(*number),
            epoch: Uuid::from_slice(epoch).ok()?,
            summary: Summary::from_bytes(summary)?,
            missing: ranges.iter().map(range).collect::<Option<_>>()?,
        })
    }
}

fn range(bytes: &[u8; 16]) -> Option<Range<u64>> {
    let (from, to) = bytes.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(*from)..u64::from_be_bytes(*to.first_chunk()?))
}

/// At most [`RANGES_MAX`] ranges that take in all of these.
fn bounded(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut bounded: Vec<_> = ranges.iter().take(RANGES_MAX).cloned().collect();
    if let (Some(last), Some(end)) = (bounded.last_mut(), ranges.last()) {
        last.end = last.end.max(end.end);
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(missing: Vec<Range<u64>>) -> Manifest {
        let summary = Summary { first_sequence: 5, next_sequence: 900, frames: 3, ..Summary::default() };
        Manifest { lane: Lane::Urgent, number: 7, epoch: Uuid::from_u128(9), summary, missing }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_replaces_the_one_before() {
        let directory = tempfile::tempdir().expect("a directory");
        manifest(Vec::new()).write(directory.path()).expect("written");
        let noted = manifest(vec![5..7, 100..200]);
        noted.write(directory.path()).expect("written");
        assert_eq!(Manifest::read(directory.path(), Lane::Urgent, 7), Some(noted));
        assert_eq!(Manifest::read(directory.path(), Lane::Routine, 7), None, "of another lane");
        assert_eq!(Manifest::read(directory.path(), Lane::Urgent, 8), None, "of another generation");
    }

    #[test]
    fn a_manifest_of_version_1_is_read() {
        let noted = manifest(vec![5..7, 9..12]);
        let mut bytes = noted.to_bytes();
        bytes.truncate(bytes.len() - 4);
        bytes[..8].copy_from_slice(&MAGIC_1);
        bytes.drain(HEAD_BYTES + Summary::BYTES_1..HEAD_BYTES + Summary::BYTES);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        let read = Manifest::from_bytes(&bytes).expect("intact");
        assert_eq!((read.summary.next_sequence, &read.missing), (900, &noted.missing));
        assert!(read.summary.marks != noted.summary.marks, "anything may be in it");
    }

    #[test]
    fn a_manifest_with_one_bit_flipped_or_cut_short_is_none() {
        let mut bytes = manifest(vec![5..7, 9..12]).to_bytes();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::from_bytes(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!((0..bytes.len()).all(|length| Manifest::from_bytes(&bytes[..length]).is_none()));
    }

    #[test]
    fn ranges_beyond_the_bound_are_taken_into_the_last() {
        let many: Vec<_> = (0..1000).map(|n| n * 10..n * 10 + 5).collect();
        let read = Manifest::from_bytes(&manifest(many).to_bytes()).expect("intact");
        assert_eq!(read.missing.len(), RANGES_MAX);
        assert_eq!(read.missing.last(), Some(&(2550..9995)));
    }
}
