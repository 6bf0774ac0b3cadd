//! Decompresses the message of a request. Given by `service` the bytes as they came; blocks, so it is called on a thread
//! where it may.
//!
//! What holds: of a message no more is made than the bound and a piece; zstd gets no larger window than [`WINDOW_LOG_MAX`]
//! and no more frames than [`FRAMES_MAX`]. How much was made is told of a message that is refused, too, so that it can be
//! charged.

use std::io::{self, Read as _};

use bytes::Bytes;
use tonic::codegen::http::HeaderMap;
use zstd::{
    stream::raw::{Decoder, Operation as _},
    zstd_safe::{DParameter, InBuffer, OutBuffer},
};

/// The largest window of zstd, as a power of two: 8 MiB, what RFC 8878 asks of everybody and more than a batch has.
const WINDOW_LOG_MAX: u32 = 23;

/// Frames of zstd in one message. An agent sends one for the head of a batch and, at most, one for each event.
const FRAMES_MAX: usize = 20_000;

/// Bytes that are decompressed at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// How a message is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Zstd,
    Gzip,
}

/// Why there is no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotUnpacked {
    /// It is larger than allowed.
    TooLarge,
    /// The bytes are not what the encoding makes, or beyond its bounds.
    Malformed(String),
}

/// What came of a message.
pub(super) struct Unpacked {
    /// The message itself.
    pub(super) message: Result<Bytes, NotUnpacked>,
    /// Bytes that were decompressed, also where there is no message.
    pub(super) bytes: usize,
}

impl Encoding {
    /// By the header `grpc-encoding`; `None` for no compression and for what is not known here.
    pub(super) fn of(headers: &HeaderMap) -> Option<Encoding> {
        match headers.get("grpc-encoding")?.as_bytes() {
            b"zstd" => Some(Encoding::Zstd),
            b"gzip" => Some(Encoding::Gzip),
            _ => None,
        }
    }
}

/// Decompresses a message of at most `bytes_max` bytes. Blocks.
pub(super) fn unpack(packed: &[u8], encoding: Encoding, bytes_max: usize) -> Unpacked {
    let mut message = Vec::new();
    let unpacked = match encoding {
        Encoding::Zstd => unzstd(packed, &mut message, bytes_max),
        Encoding::Gzip => gunzip(packed, &mut message, bytes_max),
    };
    let bytes = message.len();
    let message = match unpacked {
        Ok(()) if bytes > bytes_max => Err(NotUnpacked::TooLarge),
        Ok(()) => Ok(message.into()),
        Err(error) => Err(NotUnpacked::Malformed(error.to_string())),
    };
    Unpacked { message, bytes }
}

/// Ends beyond `bytes_max`, too.
fn gunzip(packed: &[u8], message: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    let limit = (bytes_max as u64).saturating_add(1);
    flate2::read::GzDecoder::new(packed).take(limit).read_to_end(message).map(|_| ())
}

/// Ends beyond `bytes_max`, too.
fn unzstd(packed: &[u8], message: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut input = InBuffer::around(packed);
    let (mut frames, mut is_in_frame) = (0, false);
    while message.len() <= bytes_max {
        if !is_in_frame && input.pos() == packed.len() {
            return Ok(());
        }
        let (before, made) = (input.pos(), {
            let mut output = OutBuffer::around(piece.as_mut_slice());
            is_in_frame = decoder.run(&mut input, &mut output)? != 0;
            output.pos()
        });
        message.extend_from_slice(piece.get(..made).unwrap_or_default());
        if !is_in_frame {
            frames += 1;
        } else if made == 0 && input.pos() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if frames > FRAMES_MAX {
            return Err(io::Error::other(format!("more than {FRAMES_MAX} frames of zstd")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 1).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn why(packed: &[u8], encoding: Encoding) -> String {
        match unpack(packed, encoding, MIB).message {
            Err(NotUnpacked::Malformed(why)) => why,
            other => panic!("{:?}", other.map(|message| message.len())),
        }
    }

    #[test]
    fn frames_that_follow_each_other_are_one_message() {
        let frames = [zstd(b"head "), zstd(b""), zstd(&[b'x'; 200_000])].concat();
        let Unpacked { message, bytes } = unpack(&frames, Encoding::Zstd, MIB);
        assert_eq!((message.unwrap().len(), bytes), (200_005, 200_005));
        assert_eq!(unpack(&gzip(b"events"), Encoding::Gzip, MIB).message, Ok(Bytes::from_static(b"events")));
        assert_eq!(unpack(&[], Encoding::Zstd, MIB).message, Ok(Bytes::new()));
        assert_eq!(unpack(&zstd(&vec![7; MIB]), Encoding::Zstd, MIB).message.map(|message| message.len()), Ok(MIB));
    }

    #[test]
    fn of_a_message_that_is_too_large_little_more_than_the_bound_is_made_and_all_of_that_is_told() {
        for (packed, encoding) in
            [(zstd(&vec![0; 64 * MIB]), Encoding::Zstd), (gzip(&vec![0; 64 * MIB]), Encoding::Gzip)]
        {
            let Unpacked { message, bytes } = unpack(&packed, encoding, MIB);
            assert_eq!(message, Err(NotUnpacked::TooLarge));
            assert!((MIB + 1..=MIB + PIECE_BYTES).contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn a_window_of_more_than_8_mib_and_a_flood_of_empty_frames_are_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"little").unwrap();
        assert!(why(&encoder.finish().unwrap(), Encoding::Zstd).contains("memory"));
        let empty = zstd(b"").repeat(FRAMES_MAX + 1);
        assert!(why(&empty, Encoding::Zstd).contains("more than 20000 frames"));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_malformed() {
        let (mut zstd, mut gzip) = (zstd(b"some events"), gzip(b"some events"));
        assert!(!why(b"not zstd", Encoding::Zstd).is_empty());
        assert!(!why(b"not gzip", Encoding::Gzip).is_empty());
        zstd.pop();
        gzip.pop();
        assert!(why(&zstd, Encoding::Zstd).contains("end of file"));
        assert!(!why(&gzip, Encoding::Gzip).is_empty());
    }
}
