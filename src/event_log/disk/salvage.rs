//! The frames of a generation as they lie in its file, found without sled.
//!
//! sled cannot be asked about a directory that may be damaged: it panics, gives an error, or forgets silently, and while
//! it opens the store it overwrites everything behind the place where it stopped reading. But frames lie whole in its
//! file, since its compression is off, and each describes and checks itself. So the file is searched for them.
//!
//! Always holds: the file is only read. Memory is a window and a few bytes a frame, whatever the file holds. Frames
//! come in the order of their sequences, each sequence once.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, path::Path};

use crate::{
    event_log::{
        disk::frame::{FRAME_BYTES_MAX, HEADER_BYTES, Header, MAGIC},
        error::{is_damage, is_refusal},
        lane::Lane,
    },
    files,
    order::Sorted as _,
};

/// What is read at a time, bytes.
const WINDOW_BYTES: usize = 512 * 1024;
const _: () = assert!(WINDOW_BYTES > 2 * FRAME_BYTES_MAX);

/// What is left out when the disk refuses to read, bytes.
const SECTOR_BYTES: usize = 4096;

/// The most of a file that is searched, bytes; far more than a generation has. What follows is not ours.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The most frames of a file; twice as many as a generation has. What follows is left out and counts as broken.
const FRAMES_MAX: usize = 65_536;

/// Where an intact frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    first_sequence: u64,
    count: u32,
    bytes: u32,
    offset: u64,
}

impl Place {
    fn next_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.count))
    }
}

/// What a search has found.
pub(in crate::event_log) struct Salvage {
    /// Absent when it could not be opened.
    file: Option<File>,
    /// Ascending, each sequence once.
    places: Vec<Place>,
    /// Whether something looks like a frame that is not intact, or could not be read.
    broken: bool,
    /// Whether the disk did not give all of the file.
    refused: bool,
    /// Sequence after the last of any frame, of those also of which only the header is intact.
    next_sequence: u64,
    /// The lane of frames that are not of this one.
    other_lane: Option<Lane>,
}

impl Salvage {
    /// Searches the file of a generation of this lane.
    ///
    /// # Errors
    /// When it cannot be opened; what cannot be read in it is left out.
    pub(in crate::event_log) fn search(generation: &Path, lane: Lane) -> io::Result<Salvage> {
        let file = files::open(&generation.join("db"))?;
        let mut search = Search {
            window: Window::new(&file),
            places: Vec::new(),
            broken: false,
            next_sequence: 0,
            other_lane: None,
        };
        search.run(lane);
        let Search { window, places, broken, next_sequence, other_lane } = search;
        let refused = window.unreadable;
        let broken = broken || refused;
        Ok(Salvage { places: in_order(places), broken, refused, next_sequence, other_lane, file: Some(file) })
    }

    /// The same, where a file that is not there or cannot be read counts as one without frames.
    ///
    /// # Errors
    /// When it cannot be opened for a reason that is not in the generation.
    pub(in crate::event_log) fn search_or_nothing(generation: &Path, lane: Lane) -> io::Result<Salvage> {
        match Salvage::search(generation, lane) {
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_damage(&error) => {
                Ok(Salvage::nothing(is_refusal(&error)))
            }
            other => other,
        }
    }

    fn nothing(refused: bool) -> Salvage {
        Salvage { file: None, places: Vec::new(), broken: true, refused, next_sequence: 0, other_lane: None }
    }

    /// Whether the disk did not give all of the file: it may be damaged there, or give nothing at all at the moment.
    pub(in crate::event_log) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Number of frames.
    pub(in crate::event_log) fn frames(&self) -> u32 {
        // At most FRAMES_MAX.
        self.places.len() as u32
    }

    /// The bytes of a frame, as they are now; empty for one that is not there.
    ///
    /// # Errors
    /// As the disk says.
    pub(in crate::event_log) fn frame(&self, number: u32) -> io::Result<Vec<u8>> {
        let (Some(place), Some(file)) = (self.places.get(number as usize), &self.file) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; place.bytes as usize];
        file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// Which sequences a frame has.
    pub(in crate::event_log) fn sequences(&self, number: u32) -> Option<Range<u64>> {
        self.places.get(number as usize).map(|place| place.first_sequence..place.next_sequence())
    }

    /// Forgets frames that have nothing in common with `range`.
    pub(in crate::event_log) fn keep(&mut self, range: &Range<u64>) {
        self.places.retain(|place| place.first_sequence < range.end && place.next_sequence() > range.start);
    }

    /// Whether something looks like a frame that is not intact, or could not be read.
    pub(in crate::event_log) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The lane that it is of, when nothing in it is of the one that was searched for.
    pub(in crate::event_log) fn other_lane(&self) -> Option<Lane> {
        self.other_lane.filter(|_| self.places.is_empty())
    }

    /// Sequence of the first event; `None` without frames.
    pub(in crate::event_log) fn first_sequence(&self) -> Option<u64> {
        self.places.first().map(|place| place.first_sequence)
    }

    /// Sequence after the last of any frame, of those also of which only the header is intact; 0 without frames.
    pub(in crate::event_log) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Sequence after the last intact frame; 0 without frames.
    pub(in crate::event_log) fn intact_end(&self) -> u64 {
        self.places.last().map_or(0, Place::next_sequence)
    }

    /// The header of a frame, as it is now.
    ///
    /// # Errors
    /// As the disk says.
    pub(in crate::event_log) fn header(&self, number: u32) -> io::Result<Header> {
        let (Some(place), Some(file)) = (self.places.get(number as usize), &self.file) else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        let mut bytes = [0; HEADER_BYTES];
        let bytes = &mut bytes[..HEADER_BYTES.min(place.bytes as usize)];
        file.read_exact_at(bytes, place.offset)?;
        Header::parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Sequences of `range` that no intact frame has.
    pub(in crate::event_log) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut missing, mut at) = (Vec::new(), range.start);
        for place in &self.places {
            if place.first_sequence > at && at < range.end {
                missing.push(at..place.first_sequence.min(range.end));
            }
            at = at.max(place.next_sequence());
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }
}

/// Sorted, without frames that others cover.
fn in_order(mut places: Vec<Place>) -> Vec<Place> {
    places.order_by_key(|place| (place.first_sequence, std::cmp::Reverse(place.count), place.offset));
    let mut next = 0;
    places.retain(|place| {
        let is_new = place.next_sequence() > next;
        next = next.max(place.next_sequence());
        is_new
    });
    places
}

/// A search on its way.
struct Search<'a> {
    window: Window<'a>,
    places: Vec<Place>,
    broken: bool,
    next_sequence: u64,
    other_lane: Option<Lane>,
}

impl Search<'_> {
    fn run(&mut self, lane: Lane) {
        loop {
            self.window.fill();
            match find_magic(self.window.rest()) {
                Some(at) => {
                    self.window.consume(at);
                    self.window.fill();
                    let bytes = self.look(lane);
                    self.window.consume(bytes);
                }
                None if self.window.ended => return,
                // The beginning of one may stand at the end.
                None => self.window.consume(self.window.rest().len().saturating_sub(MAGIC.len() - 1)),
            }
        }
    }

    /// Looks at what begins like a frame. Gives how many bytes are done with.
    fn look(&mut self, lane: Lane) -> usize {
        let bytes = self.window.rest();
        match Header::parse(bytes) {
            Ok(header) if header.lane == lane => {
                self.next_sequence = self.next_sequence.max(header.next_sequence());
                if header.body(bytes).is_ok() && self.places.len() < FRAMES_MAX {
                    self.places.push(Place {
                        first_sequence: header.first_sequence,
                        count: header.count,
                        // Not more than FRAME_BYTES_MAX, or the header would have been refused.
                        bytes: header.frame_bytes() as u32,
                        offset: self.window.position,
                    });
                    return header.frame_bytes();
                }
                self.broken = true;
            }
            Ok(header) => {
                self.broken = true;
                self.other_lane = Some(header.lane);
            }
            Err(_) => self.broken = true,
        }
        MAGIC.len()
    }
}

/// Where something begins that looks like a frame: half of the magic is enough to tell that there was one.
fn find_magic(bytes: &[u8]) -> Option<usize> {
    let (first, second) = MAGIC.split_at(MAGIC.len() / 2);
    bytes.windows(MAGIC.len()).position(|window| window.starts_with(first) || window.ends_with(second))
}

/// A part of the file that moves towards its end.
struct Window<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// The part of `buffer` that has been read and is not done with.
    held: Range<usize>,
    /// Where `held` begins in the file.
    position: u64,
    /// The file ends with `held`.
    ended: bool,
    unreadable: bool,
}

impl Window<'_> {
    fn new(file: &File) -> Window<'_> {
        Window { file, buffer: vec![0; WINDOW_BYTES], held: 0..0, position: 0, ended: false, unreadable: false }
    }

    /// Makes it hold at least a frame, or everything up to the file's end.
    fn fill(&mut self) {
        if self.ended || self.held.len() >= FRAME_BYTES_MAX {
            return;
        }
        self.buffer.copy_within(self.held.clone(), 0);
        self.held = 0..self.held.len();
        while self.held.end < WINDOW_BYTES {
            let at = self.position + self.held.end as u64;
            let read = if at < FILE_BYTES_MAX { self.read(at) } else { 0 };
            if read == 0 {
                self.ended = true;
                return;
            }
            self.held.end += read;
        }
    }

    /// Reads what follows; zeros in place of a sector that the disk refuses. 0 at the end of the file.
    fn read(&mut self, at: u64) -> usize {
        let room = &mut self.buffer[self.held.end..];
        loop {
            match self.file.read_at(room, at) {
                Ok(read) => return read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let bytes = SECTOR_BYTES.min(room.len());
        let sector = &mut room[..bytes];
        match self.file.read_at(sector, at) {
            Ok(read) => read,
            Err(_) => {
                sector.fill(0);
                self.unreadable = true;
                // A file that is shorter than it says would never end.
                let rest = self.file.metadata().map_or(0, |metadata| metadata.len().saturating_sub(at));
                bytes.min(usize::try_from(rest).unwrap_or(bytes))
            }
        }
    }

    /// What is not done with.
    fn rest(&self) -> &[u8] {
        &self.buffer[self.held.clone()]
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.held.len());
        self.held.start += count;
        self.position += count as u64;
    }
}

#[cfg(test)]
mod tests;
