//! Lets clients call that name the socket's path as their `:authority`.
//!
//! gRPC's C core (Python, Ruby, C++), grpc-java and others send the path there, percent-encoded or as it is. That is no
//! authority (RFC 3986, 3.2), so h2 resets the call, and no setting of h2 allows it. The agent has no use for the
//! authority at all. [`AuthorityFilter`] therefore reads along what a client sends: it follows the frames (RFC 9113, 4.1),
//! walks the fields (RFC 7541, 6) in each HEADERS frame (RFC 9113, 6.2), and where h2 would refuse the value of an
//! `:authority`, it replaces the offending characters by others of the same encoded length.
//!
//! Always holds: the stream keeps its length and each field its size, so that the dynamic tables of both ends agree. What
//! the filter does not understand passes unchanged, and h2 judges it. Only the payload of a HEADERS frame waits until all
//! of it has come, as it would wait in h2.
//!
//! Deliberately absent: fields in CONTINUATION frames, for an authority comes among the first fields (RFC 9113, 8.3), long
//! before a HEADERS frame is full; and names that index the dynamic table, for `:authority` is in the static one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};
use tonic::codegen::http::uri::Authority;

/// The first bytes of a client (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame before its payload.
const HEAD_BYTES: usize = 9;

/// The longest payload that is held back, a connection. h2 refuses longer ones, since we do not tell it otherwise.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

const HEADERS: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const NAME: &[u8] = b":authority";
/// [`NAME`] in Huffman's code.
const NAME_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// Index of [`NAME`] in the static table (RFC 7541, Appendix A).
const NAME_INDEX: usize = 1;

/// What a client of one connection sends, as h2 may read it.
pub(super) struct AuthorityFilter {
    place: Place,
    has_asked: bool,
}

/// Where in the stream the next byte belongs.
enum Place {
    /// Into the preface, of which this many bytes have come.
    Preface(usize),
    /// Into the head of a frame, of which this many bytes have come.
    Head([u8; HEAD_BYTES], usize),
    /// Into a payload that passes unchanged; bytes that are still to come.
    Payload(usize),
    /// Into the payload of a HEADERS frame, of which nothing has come: its length and the frame's flags.
    Fields(usize, u8),
    /// Into the payload of a HEADERS frame, of which this many bytes have come; and the frame's flags.
    Held(Vec<u8>, usize, u8),
    /// Behind these bytes, of which this many have been passed on.
    Ready(Vec<u8>, usize),
    /// Into something that is not HTTP/2.
    Foreign,
}

impl Default for AuthorityFilter {
    fn default() -> AuthorityFilter {
        AuthorityFilter { place: Place::Preface(0), has_asked: false }
    }
}

impl AuthorityFilter {
    /// Whether a request has begun. What is not HTTP/2 never asks; h2 ends that.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Reads from the client as [`AsyncRead::poll_read`] does. All but the fields of a request goes straight into `buffer`.
    pub(super) fn poll_read(
        &mut self,
        mut client: impl AsyncRead + Unpin,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.place {
                Place::Ready(bytes, passed) => {
                    let rest = bytes.get(*passed..).unwrap_or_default();
                    let (now, later) = rest.split_at(rest.len().min(buffer.remaining()));
                    buffer.put_slice(now);
                    *passed += now.len();
                    if later.is_empty() {
                        self.place = Place::Head([0; HEAD_BYTES], 0);
                    }
                    return Poll::Ready(Ok(()));
                }
                Place::Held(payload, came, flags) => {
                    let mut room = ReadBuf::new(payload);
                    room.set_filled(*came);
                    ready!(Pin::new(&mut client).poll_read(cx, &mut room))?;
                    let (before, room) = (*came, room.remaining());
                    *came = payload.len() - room;
                    if room == 0 {
                        mend_payload(payload, *flags);
                        self.place = Place::Ready(std::mem::take(payload), 0);
                    } else if *came == before {
                        // The client is gone, in the middle of a frame.
                        payload.truncate(before);
                        self.place = Place::Ready(std::mem::take(payload), 0);
                    }
                }
                _ => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut client).poll_read(cx, buffer))?;
                    let new = buffer.filled_mut().get_mut(before..).unwrap_or_default();
                    let (came, passes) = (new.len(), self.follow(new));
                    buffer.set_filled(before + passes);
                    // No bytes would mean that the client is gone.
                    if passes > 0 || came == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    /// Follows the frames in bytes that have come. Returns how many of them pass; those behind are held.
    fn follow(&mut self, bytes: &mut [u8]) -> usize {
        let (all, mut rest) = (bytes.len(), bytes);
        while !rest.is_empty() {
            let taken = match &mut self.place {
                Place::Preface(came) => {
                    let expected = PREFACE.get(*came..).unwrap_or_default();
                    let taken = expected.len().min(rest.len());
                    *came += taken;
                    if expected.iter().zip(rest.iter()).any(|(expected, byte)| expected != byte) {
                        self.place = Place::Foreign;
                    } else if taken == expected.len() {
                        self.place = Place::Head([0; HEAD_BYTES], 0);
                    }
                    taken
                }
                Place::Head(head, came) => {
                    let missing = head.iter_mut().skip(*came).zip(rest.iter());
                    let taken = missing.map(|(byte, new)| *byte = *new).count();
                    *came += taken;
                    if *came == HEAD_BYTES {
                        let [_, _, _, kind, ..] = *head;
                        self.has_asked |= kind == HEADERS;
                        self.place = place_behind(head);
                    }
                    taken
                }
                Place::Payload(left) => {
                    let taken = rest.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.place = Place::Head([0; HEAD_BYTES], 0);
                    }
                    taken
                }
                Place::Fields(length, flags) => {
                    let Some(payload) = rest.get_mut(..*length) else {
                        let mut held = vec![0; *length];
                        held.iter_mut().zip(rest.iter()).for_each(|(byte, new)| *byte = *new);
                        self.place = Place::Held(held, rest.len(), *flags);
                        return all - rest.len();
                    };
                    mend_payload(payload, *flags);
                    let taken = payload.len();
                    self.place = Place::Head([0; HEAD_BYTES], 0);
                    taken
                }
                Place::Held(..) | Place::Ready(..) | Place::Foreign => rest.len(),
            };
            rest = rest.get_mut(taken..).unwrap_or_default();
        }
        all
    }
}

/// What comes behind the head of a frame (RFC 9113, 4.1).
fn place_behind(&[high, middle, low, kind, flags, ..]: &[u8; HEAD_BYTES]) -> Place {
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if kind == HEADERS && length <= PAYLOAD_BYTES_MAX { Place::Fields(length, flags) } else { Place::Payload(length) }
}

/// Mends the authority in the payload of a HEADERS frame (RFC 9113, 6.2).
fn mend_payload(payload: &mut [u8], flags: u8) {
    let (mut start, mut padding) = (0, 0);
    if flags & PADDED != 0 {
        (start, padding) = (1, payload.first().copied().map_or(0, usize::from));
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    if let Some(fields) = payload.len().checked_sub(padding).and_then(|end| payload.get_mut(start..end)) {
        mend_fields(fields);
    }
}

/// Walks fields (RFC 7541, 6), up to one that is not understood or not all there.
fn mend_fields(mut fields: &mut [u8]) -> Option<()> {
    while let Some(&first) = fields.first() {
        let (prefix, is_literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            // An update of the dynamic table's size.
            0x20.. => (5, false),
            _ => (4, true),
        };
        let index = take_integer(&mut fields, prefix)?;
        if !is_literal {
            continue;
        }
        let is_authority = match index {
            0 => match take_text(&mut fields)? {
                (name, true) => name == NAME_HUFFMAN,
                (name, false) => name == NAME,
            },
            index => index == NAME_INDEX,
        };
        let (value, is_huffman) = take_text(&mut fields)?;
        if is_authority && is_huffman {
            mend_huffman(value);
        } else if is_authority {
            mend_plain(value);
        }
    }
    Some(())
}

/// Takes an integer whose first byte has this many bits of it (RFC 7541, 5.1). Nothing for one above 28 bits.
fn take_integer(from: &mut &mut [u8], prefix: u32) -> Option<usize> {
    let prefix_max = (1 << prefix) - 1;
    let mut integer = usize::from(*from.split_off_first_mut()?) & prefix_max;
    if integer < prefix_max {
        return Some(integer);
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*from.split_off_first_mut()?);
        integer += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(integer);
        }
    }
    None
}

/// Takes a text, and whether it is in Huffman's code (RFC 7541, 5.2).
fn take_text<'a>(from: &mut &'a mut [u8]) -> Option<(&'a mut [u8], bool)> {
    let is_huffman = from.first()? & 0x80 != 0;
    let length = take_integer(from, 7)?;
    Some((from.split_off_mut(..length)?, is_huffman))
}

fn mend_plain(value: &mut [u8]) {
    if Authority::try_from(&*value).is_err() {
        value.iter_mut().filter(|byte| !is_harmless(**byte)).for_each(|byte| *byte = b'-');
    }
}

/// Whether an authority may hold it anywhere and any number of times.
fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

/// Symbols whose codes have the same length (RFC 7541, Appendix B).
struct Row {
    bits: usize,
    /// Code of the first symbol; those of the others follow one by one.
    first: u32,
    symbols: &'static [u8],
    /// Code of one of them that an authority may hold anywhere and any number of times.
    instead: u32,
}

/// Lengths that have such a symbol. A value with a symbol of another length cannot be mended.
const ROWS: &[Row] = &[
    Row { bits: 5, first: 0x0, symbols: b"012aceiost", instead: 0x0 },
    Row { bits: 6, first: 0x14, symbols: b" %-./3456789=A_bdfghlmnpru", instead: 0x16 },
    Row { bits: 7, first: 0x5c, symbols: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", instead: 0x79 },
    Row { bits: 8, first: 0xf8, symbols: b"&*,;XZ", instead: 0xfc },
    Row { bits: 10, first: 0x3f8, symbols: b"!\"()?", instead: 0x3f8 },
    Row { bits: 11, first: 0x7fa, symbols: b"'+|", instead: 0x7fb },
    Row { bits: 13, first: 0x1ff8, symbols: b"\0$@[]~", instead: 0x1ffd },
];

/// Mends a value in Huffman's code; one that it cannot read stays as it is.
fn mend_huffman(value: &mut [u8]) -> Option<()> {
    let (mut symbols, mut at) = (Vec::new(), 0);
    while !is_end(value, at) {
        let (row, symbol) = symbol(value, at)?;
        symbols.push(symbol);
        at += row.bits;
    }
    if Authority::try_from(symbols.as_slice()).is_ok() {
        return Some(());
    }
    at = 0;
    while !is_end(value, at) {
        let (row, symbol) = symbol(value, at)?;
        if !is_harmless(symbol) {
            put_bits(value, at, row.bits, row.instead);
        }
        at += row.bits;
    }
    Some(())
}

/// Whether only padding is left at this bit: less than a byte, all ones.
fn is_end(text: &[u8], at: usize) -> bool {
    let left = text.len() * 8 - at;
    left < 8 && bits(text, at, left) == Some((1 << left) - 1)
}

/// The symbol at this bit, and its row.
fn symbol(text: &[u8], at: usize) -> Option<(&'static Row, u8)> {
    ROWS.iter().find_map(|row| {
        let place = bits(text, at, row.bits)?.checked_sub(row.first)?;
        Some((row, *row.symbols.get(usize::try_from(place).ok()?)?))
    })
}

/// So many bits from this one on, at most 17; nothing if there are less.
fn bits(text: &[u8], at: usize, count: usize) -> Option<u32> {
    if at + count > text.len() * 8 {
        return None;
    }
    let bytes = (0..3).map(|offset| text.get(at / 8 + offset).copied().unwrap_or_default());
    let window = bytes.fold(0, |window, byte| window << 8 | u32::from(byte));
    Some(window >> (24 - at % 8 - count) & ((1 << count) - 1))
}

/// Replaces so many bits from this one on, at most 17.
fn put_bits(text: &mut [u8], at: usize, count: usize, bits: u32) {
    let shift = 24 - at % 8 - count;
    let [_, mask @ ..] = (((1u32 << count) - 1) << shift).to_be_bytes();
    let [_, bits @ ..] = (bits << shift).to_be_bytes();
    for (byte, (mask, bits)) in text.iter_mut().skip(at / 8).zip(mask.into_iter().zip(bits)) {
        *byte = *byte & !mask | bits;
    }
}

#[cfg(test)]
mod tests;
