//! How the message of a batch is compressed on the wire: zstd, gzip, or not at all, as the controller accepts.
//!
//! With zstd a message is several zstd frames one behind the other: what is in clear becomes one, and what the log has
//! compressed goes as it is stored. RFC 8878, section 3: frames that follow each other decompress to what they hold
//! one after the other.

use std::io::{self, Write as _};

use bytes::{Bytes, BytesMut};

use crate::event_log::{Piece, Pieces};

/// A way to compress; the best first, then ever plainer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// zstd.
    #[default]
    Zstd,
    /// gzip.
    Gzip,
    /// None at all.
    Off,
}

/// As hard as the log tries: a quarter of the CPU of level 3 for nearly its ratio.
const ZSTD_LEVEL: i32 = 1;

/// A message of fewer bytes goes in clear: compressing it would save nothing.
const COMPRESSED_BYTES_MIN: usize = 512;

/// A message ready for the wire, in pieces that follow each other.
#[derive(Clone, Debug)]
pub struct PackedBatch {
    /// How it is compressed.
    pub compression: Compression,
    /// Its bytes.
    pub pieces: Vec<Bytes>,
}

impl PackedBatch {
    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// Puts messages together. Holds the compressor's memory from one to the next.
#[derive(Default)]
pub struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compression {
    /// Its name in `grpc-encoding`; `None` for no compression.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Compression::Zstd => Some("zstd"),
            Compression::Gzip => Some("gzip"),
            Compression::Off => None,
        }
    }

    /// What to try when the controller does not take this.
    pub fn plainer(self) -> Option<Compression> {
        match self {
            Compression::Zstd => Some(Compression::Gzip),
            Compression::Gzip => Some(Compression::Off),
            Compression::Off => None,
        }
    }

    /// The best of those that the value of a `grpc-accept-encoding` names.
    pub fn accepted(names: &str) -> Compression {
        let has = |compression: &Compression| {
            compression.name().is_none_or(|name| names.split(',').any(|n| n.trim().eq_ignore_ascii_case(name)))
        };
        [Compression::Zstd, Compression::Gzip].into_iter().find(has).unwrap_or(Compression::Off)
    }
}

impl Packer {
    /// The message of a head and the events behind it, compressed in this way; a small one goes in clear.
    ///
    /// # Errors
    /// When what is stored cannot be decompressed, or the compressor cannot allocate.
    pub fn message(&mut self, compression: Compression, head: &[u8], events: &Pieces) -> io::Result<PackedBatch> {
        if head.len() + events.raw_bytes() < COMPRESSED_BYTES_MIN {
            return off(head, events);
        }
        match compression {
            Compression::Zstd => self.zstd(head, events),
            Compression::Gzip => gzip(head, events),
            Compression::Off => off(head, events),
        }
    }

    fn zstd(&mut self, head: &[u8], events: &Pieces) -> io::Result<PackedBatch> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        let (mut pieces, mut plain) = (Vec::new(), BytesMut::from(head));
        for piece in events.iter() {
            match piece {
                Piece::Plain(bytes) => plain.extend_from_slice(bytes),
                Piece::Zstd { frame, .. } => {
                    if !plain.is_empty() {
                        pieces.push(zstd.compress(&plain.split())?.into());
                    }
                    pieces.push(frame.clone());
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(zstd.compress(&plain)?.into());
        }
        Ok(PackedBatch { compression: Compression::Zstd, pieces })
    }
}

fn off(head: &[u8], events: &Pieces) -> io::Result<PackedBatch> {
    let pieces = vec![Bytes::copy_from_slice(head), events.plain()?];
    Ok(PackedBatch { compression: Compression::Off, pieces })
}

fn gzip(head: &[u8], events: &Pieces) -> io::Result<PackedBatch> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(head)?;
    encoder.write_all(&events.plain()?)?;
    Ok(PackedBatch { compression: Compression::Gzip, pieces: vec![encoder.finish()?.into()] })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn joined(message: &PackedBatch) -> Vec<u8> {
        message.pieces.concat()
    }

    #[test]
    fn what_is_compressed_in_whatever_way_decompresses_to_head_and_events() {
        let events = Bytes::from(vec![b'e'; 4000]);
        let whole = [b"head".as_slice(), &events].concat();
        let (pieces, mut packer) = (Pieces::from(events), Packer::default());
        let zstd = packer.message(Compression::Zstd, b"head", &pieces).expect("zstd");
        assert_eq!(zstd::stream::decode_all(joined(&zstd).as_slice()).expect("frames"), whole);
        let gzip = packer.message(Compression::Gzip, b"head", &pieces).expect("gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(joined(&gzip).as_slice()).read_to_end(&mut plain).expect("gzip");
        assert_eq!(plain, whole);
        assert_eq!(joined(&packer.message(Compression::Off, b"head", &pieces).expect("in clear")), whole);
        assert!(zstd.wire_bytes() < 200 && gzip.wire_bytes() < 200);
    }

    #[test]
    fn a_small_message_goes_in_clear() {
        let message = Packer::default()
            .message(Compression::Zstd, b"head", &Bytes::from_static(b"event").into())
            .expect("in clear");
        assert_eq!((message.compression, joined(&message)), (Compression::Off, b"headevent".to_vec()));
    }

    #[test]
    fn the_best_that_is_accepted_is_taken() {
        assert_eq!(Compression::accepted("identity, deflate, GZIP,zstd"), Compression::Zstd);
        assert_eq!(Compression::accepted("identity,deflate,gzip"), Compression::Gzip);
        assert_eq!(Compression::accepted("identity"), Compression::Off);
        assert_eq!(Compression::accepted(""), Compression::Off);
    }
}
