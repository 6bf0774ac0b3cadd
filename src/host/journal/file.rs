//! One file of the journal: its objects from a place on, one behind the other, as journald writes them.
//!
//! The format is systemd's (`JOURNAL_FILE_FORMAT`): a header, then objects of eight-byte alignment. Only entries and the fields
//! that they point to are looked at. journald writes while we read: an entry that is not whole yet ends the look, and
//! is there in the next. Nothing that stands in a file is believed to be a sensible length or place.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::files;

const SIGNATURE: &[u8] = b"LPKSHHRH";
/// As much of the header as every version has.
const HEADER_BYTES: usize = 208;
/// Offsets of four bytes instead of eight.
const COMPACT: u64 = 16;

/// Kinds of objects.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
/// Of a field: how it is compressed. Other ways than zstd are of the time before 2021.
const COMPRESSED: u8 = 7;
const ZSTD: u8 = 4;

/// Type, flags and size of every object.
const OBJECT_BYTES: u64 = 16;
const ENTRY_BYTES: u64 = 64;
const ENTRY_ITEMS: usize = 64;
const DATA_BYTES: usize = 64;
/// journald takes 1,024 fields at the most.
const ENTRY_BYTES_MAX: u64 = ENTRY_BYTES + 1024 * 16;
/// As much of a field as is read. What is longer is no field that matters here.
const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Read first: nearly every field is in it.
const FIELD_BYTES_FIRST: usize = 640;
/// Read at once when objects are passed.
const WINDOW_BYTES: usize = 64 * 1024;

/// An identifier of sixteen bytes.
pub(super) type Id = (u64, u64);

/// A file that is open, as it stood then.
pub(super) struct JournalFile {
    file: File,
    is_compact: bool,
    /// Its own identifier; it keeps that when it is renamed.
    pub(super) id: Id,
    /// Where its first object begins.
    pub(super) first: u64,
    /// Where its last object begins; 0 for none.
    last: u64,
    /// When its first entry was written, Unix microseconds.
    pub(super) since: u64,
    /// Of its last entry: when, in which boot, and how far into it.
    pub(super) tail: (u64, Id, u64),
    window: (u64, Vec<u8>),
}

/// An entry, and where its fields are.
pub(super) struct JournalEntry {
    pub(super) realtime: u64,
    pub(super) monotonic: u64,
    pub(super) boot: Id,
    fields: Vec<u64>,
}

/// What lies at a place.
pub(super) enum Object {
    Entry(JournalEntry),
    Other,
    /// It is not whole, or nothing that could be there.
    Unready,
    /// All has been passed.
    End,
}

impl JournalFile {
    pub(super) fn open(path: &Path) -> io::Result<JournalFile> {
        let file = files::open(path)?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        if !header.starts_with(SIGNATURE) {
            return Err(io::Error::new(ErrorKind::InvalidData, "no file of the journal"));
        }
        let (flags, first) = (number(&header, 12), number(&header, 88));
        Ok(JournalFile {
            file,
            is_compact: flags & COMPACT != 0,
            id: (number(&header, 24), number(&header, 32)),
            first: first.max(HEADER_BYTES as u64),
            last: number(&header, 136),
            since: number(&header, 184),
            tail: (number(&header, 192), (number(&header, 56), number(&header, 64)), number(&header, 200)),
            window: (0, Vec::new()),
        })
    }

    /// Behind its last object.
    pub(super) fn end(&mut self) -> u64 {
        if self.last == 0 { self.first } else { self.head(self.last).map_or(self.last, |(_, next)| next) }
    }

    /// The object at a place, and where the next one is.
    pub(super) fn object(&mut self, place: u64) -> io::Result<(Object, u64)> {
        if place > self.last || self.last == 0 {
            return Ok((Object::End, place));
        }
        let Some((kind, next)) = self.head(place) else { return Ok((Object::Unready, place)) };
        if kind != ENTRY {
            return Ok((Object::Other, next));
        }
        let entry = self.entry(place, next - place)?;
        Ok(entry.map_or((Object::Unready, place), |entry| (Object::Entry(entry), next)))
    }

    /// The kind of an object, and where the next one is.
    fn head(&mut self, place: u64) -> Option<(u8, u64)> {
        let (start, window) = &self.window;
        let within = place.checked_sub(*start).and_then(|at| usize::try_from(at).ok());
        let within = within.filter(|at| at.saturating_add(16) <= window.len());
        let at = match within {
            Some(at) => at,
            None => {
                self.window = (place, read_at(&self.file, place, WINDOW_BYTES).ok()?);
                0
            }
        };
        let head = self.window.1.get(at..at.checked_add(16)?)?;
        let (kind, size) = (*head.first()?, number(head, 8));
        let next = place.checked_add(size)?.checked_next_multiple_of(8)?;
        (kind != 0 && size >= OBJECT_BYTES).then_some((kind, next))
    }

    /// `None` while it is being written.
    fn entry(&self, place: u64, size: u64) -> io::Result<Option<JournalEntry>> {
        if !(ENTRY_BYTES..=ENTRY_BYTES_MAX).contains(&size) {
            return Ok(None);
        }
        let bytes = read_at(&self.file, place, usize::try_from(size).unwrap_or_default())?;
        let items = bytes.get(ENTRY_ITEMS..).unwrap_or_default();
        let size = if self.is_compact { 4 } else { 16 };
        let mut fields: Vec<u64> = items.chunks_exact(size).map(|item| number(item, 0)).collect();
        // A compact entry with an odd number of fields has four bytes of nothing behind them.
        if self.is_compact && fields.last() == Some(&0) {
            fields.pop();
        }
        let entry = JournalEntry {
            realtime: number(&bytes, 24),
            monotonic: number(&bytes, 32),
            boot: (number(&bytes, 40), number(&bytes, 48)),
            fields,
        };
        let is_whole = entry.realtime != 0
            && entry.boot != (0, 0)
            && !entry.fields.is_empty()
            && entry.fields.iter().all(|field| *field != 0);
        Ok(is_whole.then_some(entry))
    }

    /// Gives each field of an entry until `take` has enough; compressed ones last, for they cost the most.
    pub(super) fn fields(&self, entry: &JournalEntry, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut compressed = Vec::new();
        for place in &entry.fields {
            let bytes = read_at(&self.file, *place, FIELD_BYTES_FIRST)?;
            let (kind, flags, size) = (bytes.first(), bytes.get(1).copied().unwrap_or_default(), number(&bytes, 8));
            let Some(size) = usize::try_from(size).ok().filter(|size| *size <= FIELD_BYTES_MAX) else { continue };
            if kind != Some(&DATA) {
                continue;
            }
            if flags & COMPRESSED != 0 {
                compressed.extend((flags & COMPRESSED == ZSTD).then_some((*place, size)));
                continue;
            }
            let whole = if size > bytes.len() { read_at(&self.file, *place, size)? } else { bytes };
            if !take(self.payload(&whole, size)) {
                return Ok(());
            }
        }
        for (place, size) in compressed {
            let bytes = read_at(&self.file, place, size)?;
            // One that does not come out, or comes out longer, is passed over like one that is too long as it is.
            let Ok(payload) = zstd::bulk::decompress(self.payload(&bytes, size), FIELD_BYTES_MAX) else { continue };
            if !take(&payload) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn payload<'a>(&self, object: &'a [u8], size: usize) -> &'a [u8] {
        let from = DATA_BYTES + if self.is_compact { 8 } else { 0 };
        object.get(from..size).unwrap_or_default()
    }
}

/// As many bytes as there are, and so many at the most.
fn read_at(file: &File, place: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place.saturating_add(length as u64)) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Up to eight bytes, the lowest first; what is missing counts as 0.
fn number(bytes: &[u8], at: usize) -> u64 {
    let digits = bytes.get(at..).unwrap_or_default().iter().take(8);
    digits.rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
