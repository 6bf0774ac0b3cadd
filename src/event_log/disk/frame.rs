//! The frame: many events in one checksummed, compressed block, the value that a slot of a generation holds.
//!
//! Written by the writer, read by readers and by whoever searches a damaged file: a frame describes itself. Its body
//! is the events exactly as they stand in an `EventBatch` (field 1: tag, length, bytes), so that uploading is cutting
//! and joining bytes. A frame never spans an epoch, a boot or a change of the clock's state, and is never longer than
//! [`FRAME_BYTES_MAX`]. Nothing here decodes an event.
//!
//! Layout, little endian: magic 8 | version 1 | codec 1 | lane 1 | clock 1 | levels 2 | header bytes 2 | first sequence 8 |
//! count 4 | raw bytes 4 | stored bytes 4 | categories 4 | min time 8 | max time 8 | boot id 16 | epoch 16 | body CRC32C 4 |
//! header CRC32C 4 | body. Between epoch and checksums stand the kinds (16) from version 2 on; version 1 is still read, and
//! may hold any.

mod error;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    event::{KindBloom, KindMark},
    event_log::{clock_state::ClockState, lane::Lane},
};

pub(in crate::event_log) use self::error::FrameError;

/// What every frame begins with; chosen so that it is not valid UTF-8 and unlikely in any body.
pub(in crate::event_log) const MAGIC: [u8; 8] = *b"\xF7RODENT\x01";

pub(in crate::event_log) const HEADER_BYTES: usize = 112;

/// Bytes of the header that does not tell of kinds.
const HEADER_BYTES_1: usize = 96;

/// The most a frame may take, header included. sled puts a page of more than a quarter of a segment into a file of its
/// own that it never syncs; ten frames of this size stay below that (see `generation`).
pub(in crate::event_log) const FRAME_BYTES_MAX: usize = 24 * 1024;

/// The most that a body may hold uncompressed: what a reader allocates for it.
pub(in crate::event_log) const RAW_BYTES_MAX: usize = 256 * 1024;

/// Tag of field 1, length-delimited: how an event stands in an `EventBatch`.
pub(in crate::event_log) const EVENT_TAG: u8 = 0x0A;

/// How hard zstd tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) enum Effort {
    /// Its fastest ordinary level: a quarter of the CPU of level 3 for nearly its ratio.
    Usual,
    /// While producers wait for room: up to 1.7 times as fast, for frames that are a third larger.
    Hurried,
}

impl Effort {
    fn level(self) -> i32 {
        match self {
            Effort::Usual => 1,
            Effort::Hurried => -1,
        }
    }
}

/// How the body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Plain,
    Zstd,
}

/// Format of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Without kinds.
    One,
    Two,
}

impl Version {
    fn number(self) -> u8 {
        match self {
            Version::One => 1,
            Version::Two => 2,
        }
    }

    fn header_bytes(self) -> usize {
        match self {
            Version::One => HEADER_BYTES_1,
            Version::Two => HEADER_BYTES,
        }
    }
}

/// What a frame says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Header {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) clock: ClockState,
    /// One bit for each level's number on the wire; bit 15 for numbers beyond.
    pub(in crate::event_log) levels: u16,
    /// One bit for each category's number; bit 31 for numbers beyond.
    pub(in crate::event_log) categories: u32,
    pub(in crate::event_log) first_sequence: u64,
    pub(in crate::event_log) count: u32,
    pub(in crate::event_log) raw_bytes: u32,
    /// Unix milliseconds.
    pub(in crate::event_log) min_time: i64,
    pub(in crate::event_log) max_time: i64,
    pub(in crate::event_log) boot_id: Uuid,
    pub(in crate::event_log) epoch: Uuid,
    /// The kinds of its events.
    pub(in crate::event_log) kinds: KindBloom,
    version: Version,
    codec: Codec,
    stored_bytes: u32,
    body_crc: u32,
}

impl Header {
    /// Sequence after the last event.
    pub(in crate::event_log) fn next_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.count))
    }

    /// Bytes of the whole frame.
    pub(in crate::event_log) fn frame_bytes(&self) -> usize {
        self.version.header_bytes() + self.stored_bytes as usize
    }

    /// Puts the events under another epoch; gives the frame anew from its old bytes.
    pub(in crate::event_log) fn renumber(&mut self, epoch: Uuid, frame: &[u8]) -> Vec<u8> {
        self.epoch = epoch;
        let mut bytes = Vec::with_capacity(frame.len());
        self.write(&mut bytes);
        bytes.extend_from_slice(frame.get(self.version.header_bytes()..).unwrap_or_default());
        bytes
    }

    /// Reads and checks the header at the beginning of `bytes`; the body may be cut off.
    ///
    /// # Errors
    /// When this is no intact header of a version we know.
    pub(in crate::event_log) fn parse(bytes: &[u8]) -> Result<Header, FrameError> {
        let header = bytes.get(..HEADER_BYTES_1).ok_or(FrameError::Short)?;
        if !header.starts_with(&MAGIC) {
            return Err(FrameError::Magic);
        }
        // A header of another version, or one whose version is damaged, has the checksum elsewhere.
        let version = if header.get(MAGIC.len()) == Some(&Version::Two.number()) { Version::Two } else { Version::One };
        let header = bytes.get(..version.header_bytes()).ok_or(FrameError::Short)?;
        let (summed, sum) = header.split_last_chunk().ok_or(FrameError::Short)?;
        if crc32c::crc32c(summed) != u32::from_le_bytes(*sum) {
            return Err(FrameError::HeaderChecksum);
        }
        let mut fields = Fields(header);
        let _magic: [u8; MAGIC.len()] = fields.array();
        let [number] = fields.array();
        let [codec] = fields.array();
        let [lane] = fields.array();
        let [clock] = fields.array();
        if number != version.number() {
            return Err(FrameError::Version(number));
        }
        let levels = u16::from_le_bytes(fields.array());
        let _header_bytes = u16::from_le_bytes(fields.array());
        let header = Header {
            codec: match codec {
                0 => Codec::Plain,
                1 => Codec::Zstd,
                other => return Err(FrameError::Codec(other)),
            },
            lane: Lane::from_number(lane).ok_or(FrameError::Lane(lane))?,
            clock: ClockState::from_number(clock),
            levels,
            first_sequence: u64::from_le_bytes(fields.array()),
            count: u32::from_le_bytes(fields.array()),
            raw_bytes: u32::from_le_bytes(fields.array()),
            stored_bytes: u32::from_le_bytes(fields.array()),
            categories: u32::from_le_bytes(fields.array()),
            min_time: i64::from_le_bytes(fields.array()),
            max_time: i64::from_le_bytes(fields.array()),
            boot_id: Uuid::from_bytes(fields.array()),
            epoch: Uuid::from_bytes(fields.array()),
            kinds: match version {
                Version::One => KindBloom::ANY,
                Version::Two => KindBloom::from_bytes(fields.array()),
            },
            version,
            body_crc: u32::from_le_bytes(fields.array()),
        };
        if header.raw_bytes as usize > RAW_BYTES_MAX
            || header.stored_bytes as usize > FRAME_BYTES_MAX
            || header.count == 0
        {
            return Err(FrameError::Bounds);
        }
        Ok(header)
    }

    /// The body behind this header at the beginning of `bytes`; an error when it is not what was written.
    pub(in crate::event_log) fn body<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], FrameError> {
        let body = bytes.get(self.version.header_bytes()..self.frame_bytes()).ok_or(FrameError::Truncated)?;
        if crc32c::crc32c(body) == self.body_crc { Ok(body) } else { Err(FrameError::BodyChecksum) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[self.version.number(), self.codec as u8, self.lane.number(), self.clock.number()]);
        out.extend_from_slice(&self.levels.to_le_bytes());
        out.extend_from_slice(&(self.version.header_bytes() as u16).to_le_bytes());
        out.extend_from_slice(&self.first_sequence.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&self.stored_bytes.to_le_bytes());
        out.extend_from_slice(&self.categories.to_le_bytes());
        out.extend_from_slice(&self.min_time.to_le_bytes());
        out.extend_from_slice(&self.max_time.to_le_bytes());
        out.extend_from_slice(self.boot_id.as_bytes());
        out.extend_from_slice(self.epoch.as_bytes());
        if self.version == Version::Two {
            out.extend_from_slice(&self.kinds.to_bytes());
        }
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(out.len() - start, self.version.header_bytes());
    }
}

/// A header's fields, taken from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes. The caller takes no more than [`HEADER_BYTES`] in all; beyond them are zeros.
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk::<N>().map_or(([0; N], &self.0[..0]), |(h, r)| (*h, r));
        self.0 = rest;
        head
    }
}

/// What the log notes of an event without decoding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Entry {
    /// Where its field ends in the block.
    pub(in crate::event_log) end: u32,
    /// Unix milliseconds.
    pub(in crate::event_log) time: i64,
    /// Number of its level on the wire, at most 15.
    pub(in crate::event_log) level: u8,
    /// Number of its category, at most 31.
    pub(in crate::event_log) category: u8,
    /// Its kind, where that is known.
    pub(in crate::event_log) kind: Option<KindMark>,
}

/// What all events of a frame have in common.
#[derive(Clone, Copy, Debug)]
pub(in crate::event_log) struct Circumstances {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) epoch: Uuid,
    pub(in crate::event_log) boot_id: Uuid,
    pub(in crate::event_log) clock: ClockState,
}

/// Makes frames. Holds the compressor's memory from one to the next.
pub(in crate::event_log) struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    effort: Effort,
    compressed: Vec<u8>,
}

/// A frame ready to be stored.
pub(in crate::event_log) struct Encoded {
    pub(in crate::event_log) header: Header,
    pub(in crate::event_log) bytes: Vec<u8>,
}

#[cfg(test)]
impl Encoded {
    /// The same frame as version 1 made it.
    pub(in crate::event_log) fn of_version_1(&self) -> Vec<u8> {
        let header = Header { version: Version::One, kinds: KindBloom::ANY, ..self.header.clone() };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(&self.bytes[HEADER_BYTES..]);
        bytes
    }
}

impl Encoder {
    /// # Errors
    /// When zstd cannot allocate.
    pub(in crate::event_log) fn new() -> std::io::Result<Encoder> {
        let effort = Effort::Usual;
        Ok(Encoder { zstd: zstd::bulk::Compressor::new(effort.level())?, effort, compressed: Vec::new() })
    }

    /// Sets how hard it tries from now on.
    ///
    /// # Errors
    /// When zstd refuses.
    pub(in crate::event_log) fn set_effort(&mut self, effort: Effort) -> std::io::Result<()> {
        if self.effort != effort {
            self.zstd.set_compression_level(effort.level())?;
            self.effort = effort;
        }
        Ok(())
    }

    /// Encodes events that lie one behind the other in `fields`, `start` being where the first begins; into several
    /// frames when one would be too long.
    ///
    /// # Errors
    /// When zstd cannot allocate.
    pub(in crate::event_log) fn encode(
        &mut self,
        circumstances: Circumstances,
        first_sequence: u64,
        fields: &[u8],
        start: u32,
        entries: &[Entry],
        out: &mut Vec<Encoded>,
    ) -> std::io::Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        let raw = &fields[start as usize..last.end as usize];
        let fits = raw.len() <= RAW_BYTES_MAX && {
            self.compress(raw)?;
            self.compressed.len().min(raw.len()) + HEADER_BYTES <= FRAME_BYTES_MAX
        };
        if !fits && entries.len() > 1 {
            let (left, right) = entries.split_at(entries.len() / 2);
            let middle = left.last().map_or(start, |entry| entry.end);
            self.encode(circumstances, first_sequence, fields, start, left, out)?;
            return self.encode(circumstances, first_sequence + left.len() as u64, fields, middle, right, out);
        }
        let (codec, body) = if self.compressed.len() < raw.len() {
            (Codec::Zstd, self.compressed.as_slice())
        } else {
            (Codec::Plain, raw)
        };
        let header = describe(circumstances, first_sequence, entries, codec, raw.len(), body);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        header.write(&mut bytes);
        bytes.extend_from_slice(body);
        out.push(Encoded { header, bytes });
        Ok(())
    }

    fn compress(&mut self, raw: &[u8]) -> std::io::Result<()> {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut self.compressed).map(|_| ())
    }
}

fn describe(
    with: Circumstances,
    first_sequence: u64,
    entries: &[Entry],
    codec: Codec,
    raw_bytes: usize,
    body: &[u8],
) -> Header {
    Header {
        lane: with.lane,
        clock: with.clock,
        levels: entries.iter().fold(0, |mask, e| mask | 1 << e.level.min(15)),
        categories: entries.iter().fold(0, |mask, e| mask | 1 << e.category.min(31)),
        first_sequence,
        count: entries.len() as u32,
        raw_bytes: raw_bytes as u32,
        min_time: entries.iter().map(|e| e.time).min().unwrap_or(0),
        max_time: entries.iter().map(|e| e.time).max().unwrap_or(0),
        boot_id: with.boot_id,
        epoch: with.epoch,
        kinds: KindBloom::of(entries.iter().map(|entry| entry.kind)),
        version: Version::Two,
        codec,
        stored_bytes: body.len() as u32,
        body_crc: crc32c::crc32c(body),
    }
}

/// A frame as it is stored: checked, not decompressed.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Stored {
    pub(in crate::event_log) header: Header,
    body: Bytes,
}

impl Stored {
    /// Checks the frame that these bytes begin with.
    ///
    /// # Errors
    /// When it is not intact.
    pub(in crate::event_log) fn check(bytes: Bytes) -> Result<Stored, FrameError> {
        let header = Header::parse(&bytes)?;
        header.body(&bytes)?;
        let body = bytes.slice(header.version.header_bytes()..header.frame_bytes());
        Ok(Stored { header, body })
    }

    /// The body where it is a whole zstd frame.
    pub(in crate::event_log) fn zstd(&self) -> Option<&Bytes> {
        (self.header.codec == Codec::Zstd).then_some(&self.body)
    }

    /// The events.
    ///
    /// # Errors
    /// When the body does not hold what the header says.
    pub(in crate::event_log) fn decode(&self, decoder: &mut Decoder) -> Result<Frame, FrameError> {
        let header = &self.header;
        let fields = match header.codec {
            Codec::Plain => self.body.clone(),
            Codec::Zstd => decoder.decompress(&self.body, header.raw_bytes as usize)?,
        };
        let ends = field_ends(&fields, header.count as usize).ok_or(FrameError::Count)?;
        if fields.len() != header.raw_bytes as usize || ends.len() != header.count as usize {
            return Err(FrameError::Count);
        }
        Ok(Frame { header: header.clone(), fields, ends })
    }
}

/// Decompresses bodies. Holds the decompressor's memory from one to the next.
#[derive(Default)]
pub(in crate::event_log) struct Decoder {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decoder {
    fn decompress(&mut self, body: &[u8], raw_bytes: usize) -> Result<Bytes, FrameError> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(|_| FrameError::Decompress)?),
        };
        zstd.decompress(body, raw_bytes).map(Bytes::from).map_err(|_| FrameError::Decompress)
    }
}

/// A frame's events, uncompressed.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Frame {
    pub(in crate::event_log) header: Header,
    /// Tag, length, bytes of each event, one behind the other.
    pub(in crate::event_log) fields: Bytes,
    /// Where each event's field ends in `fields`.
    pub(in crate::event_log) ends: Vec<u32>,
}

impl Frame {
    /// Reads and checks a frame.
    ///
    /// # Errors
    /// When it is not intact.
    pub(in crate::event_log) fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        Stored::check(Bytes::copy_from_slice(bytes))?.decode(&mut Decoder::default())
    }
}

/// Where each event's field ends; `None` when the bytes are not a row of such fields. `count` of them are expected.
pub(in crate::event_log) fn field_ends(fields: &[u8], count: usize) -> Option<Vec<u32>> {
    // No event's field is shorter than two bytes: a count beyond that is no reason to allocate.
    let mut ends = Vec::with_capacity(count.min(fields.len() / 2));
    let mut at = 0;
    while at < fields.len() {
        let (_, end) = event_at(fields, at)?;
        ends.push(u32::try_from(end).ok()?);
        at = end;
    }
    Some(ends)
}

/// Where the event whose field begins at `at` begins and ends.
pub(in crate::event_log) fn event_at(fields: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut rest = fields.get(at..)?;
    if *rest.first()? != EVENT_TAG {
        return None;
    }
    rest = &rest[1..];
    let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
    let begin = fields.len() - rest.len();
    let end = begin.checked_add(length)?;
    (end <= fields.len()).then_some((begin, end))
}

/// Appends an event as field 1 of an `EventBatch`.
pub(in crate::event_log) fn push_event(fields: &mut Vec<u8>, event: &[u8]) {
    fields.push(EVENT_TAG);
    prost::encoding::encode_varint(event.len() as u64, fields);
    fields.extend_from_slice(event);
}

#[cfg(test)]
mod tests;
