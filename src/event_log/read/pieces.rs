//! The events of a run as the log has them: pieces that are compressed as they are stored, and pieces in clear. Whoever
//! sends them compressed passes the first on as they are; whoever does not, decompresses.
//!
//! What holds: each piece holds whole events as fields 1 of an `EventBatch`; a compressed one is a zstd frame whose checksum
//! was right when it was read.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::event_log::disk::frame::event_at;

/// Consecutive events, one piece behind the other.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pieces: Vec<Piece>,
}

/// Some of them.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Tag, length, bytes of each event.
    Plain(Bytes),
    /// The same, as one zstd frame.
    Zstd {
        /// The frame.
        frame: Bytes,
        /// Its length when decompressed.
        raw_bytes: usize,
    },
}

impl Piece {
    fn raw_bytes(&self) -> usize {
        match self {
            Piece::Plain(bytes) => bytes.len(),
            Piece::Zstd { raw_bytes, .. } => *raw_bytes,
        }
    }

    fn plain(&self) -> io::Result<Bytes> {
        match self {
            Piece::Plain(bytes) => Ok(bytes.clone()),
            Piece::Zstd { frame, raw_bytes } => zstd::bulk::decompress(frame, *raw_bytes).map(Bytes::from),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(fields: Bytes) -> Pieces {
        Pieces { pieces: vec![Piece::Plain(fields)] }
    }
}

impl Pieces {
    pub(in crate::event_log) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    /// One behind the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Piece> {
        self.pieces.iter()
    }

    /// Length of all events in clear.
    pub fn raw_bytes(&self) -> usize {
        self.pieces.iter().map(Piece::raw_bytes).sum()
    }

    /// CRC32C of the pieces as they are. The log gives the same events in the same pieces wherever the same numbers are read
    /// again, so other pieces are other events.
    pub fn digest(&self) -> u32 {
        self.pieces.iter().fold(0, |digest, piece| match piece {
            Piece::Plain(bytes) | Piece::Zstd { frame: bytes, .. } => crc32c::crc32c_append(digest, bytes),
        })
    }

    /// All of them in clear. Copied unless there is one plain piece only.
    ///
    /// # Errors
    /// When a piece cannot be decompressed.
    pub fn plain(&self) -> io::Result<Bytes> {
        if let [piece] = self.pieces.as_slice() {
            return piece.plain();
        }
        let mut all = BytesMut::with_capacity(self.raw_bytes());
        for piece in &self.pieces {
            all.extend_from_slice(&piece.plain()?);
        }
        Ok(all.freeze())
    }

    /// The first `count` events, and the rest; both in clear.
    ///
    /// # Errors
    /// When a piece cannot be decompressed, or there are fewer events.
    pub fn split(&self, count: u64) -> io::Result<(Pieces, Pieces)> {
        let mut fields = self.plain()?;
        let mut at = 0;
        for _ in 0..count {
            (_, at) = event_at(&fields, at).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        let head = fields.split_to(at);
        Ok((head.into(), fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::disk::frame::push_event;

    fn fields(events: &[&[u8]]) -> Bytes {
        let mut fields = Vec::new();
        events.iter().for_each(|event| push_event(&mut fields, event));
        fields.into()
    }

    #[test]
    fn compressed_and_plain_pieces_are_the_same_events() {
        let (first, second) = (fields(&[b"one", b"two"]), fields(&[b"three"]));
        let frame = zstd::bulk::compress(&first, 1).expect("compressed").into();
        let mut pieces = Pieces::default();
        pieces.push(Piece::Zstd { frame, raw_bytes: first.len() });
        pieces.push(Piece::Plain(second.clone()));
        assert_eq!(pieces.plain().expect("in clear"), [first.clone(), second.clone()].concat());
        assert_eq!(pieces.raw_bytes(), first.len() + second.len());
        let (head, rest) = pieces.split(1).expect("three events");
        assert_eq!(head.plain().expect("in clear"), fields(&[b"one"]));
        assert_eq!(rest.plain().expect("in clear"), fields(&[b"two", b"three"]));
        assert!(pieces.split(4).is_err());
    }
}
