//! The ledger's header: everything that is not a consumer's.

use bytes::{Buf as _, BufMut as _};

use crate::event_log::{
    disk::slots::BODY_BYTES_MAX,
    ledger::{
        age::Noted,
        numbering::{Numbers, STRETCHES_MAX, Stretch},
    },
};

/// The layout of the log's directory: with frames that tell of kinds, which earlier versions do not know.
const FORMAT: u8 = 3;

/// Without such frames; it becomes the other with the first note.
const FORMAT_BEFORE: u8 = 2;

/// The most bytes of an owner's name that are kept and compared.
const OWNER_BYTES_MAX: usize = 1024;

const _: () = assert!(2 + 2 * 40 + 32 + 2 + OWNER_BYTES_MAX + 16 + STRETCHES_MAX * Stretch::BYTES <= BODY_BYTES_MAX);

/// How far a lane reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::event_log) struct Extent {
    /// What lies before was removed by retention.
    pub(in crate::event_log) first: u64,
    /// Everything before is durable, and was when this was noted.
    pub(in crate::event_log) end: u64,
    /// Everything before could be read, if only from memory; not before `end`.
    pub(in crate::event_log) seen: u64,
    /// The end when the last generation was sealed: a generation that ends beyond it proves that the ledger was set back.
    pub(in crate::event_log) sealed: u64,
    /// Events that were lost so far, by the log's own count.
    pub(in crate::event_log) lost: u64,
}

/// The header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Header {
    /// Whether the log was closed in good order.
    pub(in crate::event_log) closed: bool,
    pub(in crate::event_log) lanes: [Extent; 2],
    pub(in crate::event_log) age: Noted,
    /// Whose log it is.
    pub(in crate::event_log) owner: String,
    pub(in crate::event_log) numbers: Numbers,
}

impl Header {
    /// The body of its slot.
    pub(in crate::event_log) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT, u8::from(self.closed)];
        for lane in &self.lanes {
            [lane.first, lane.end, lane.seen, lane.sealed, lane.lost].into_iter().for_each(|n| bytes.put_u64(n));
        }
        bytes.put_slice(&self.age.to_bytes());
        let owner = kept(&self.owner);
        bytes.put_u16(owner.len() as u16);
        bytes.put_slice(owner.as_bytes());
        bytes.put_slice(&self.numbers.to_bytes());
        bytes
    }

    /// The opposite; `Err` with the format when it is another one.
    pub(in crate::event_log) fn from_bytes(mut bytes: &[u8]) -> Result<Option<Header>, u64> {
        let bytes = &mut bytes;
        match bytes.try_get_u8() {
            Ok(FORMAT | FORMAT_BEFORE) => Ok(Header::read(bytes)),
            Ok(other) => Err(u64::from(other)),
            Err(_) => Ok(None),
        }
    }

    /// The format that is known.
    pub(in crate::event_log) const KNOWN: u64 = FORMAT as u64;

    fn read(bytes: &mut &[u8]) -> Option<Header> {
        let closed = bytes.try_get_u8().ok()? != 0;
        let mut lanes = [Extent::default(); 2];
        for lane in &mut lanes {
            let mut number = || bytes.try_get_u64().ok();
            *lane = Extent { first: number()?, end: number()?, seen: number()?, sealed: number()?, lost: number()? };
        }
        let age = Noted::from_bytes(bytes.split_off(..32)?)?;
        let length = usize::from(bytes.try_get_u16().ok()?);
        let owner = String::from_utf8(bytes.split_off(..length)?.to_owned()).ok()?;
        Some(Header { closed, lanes, age, owner, numbers: Numbers::from_bytes(bytes)? })
    }

    /// Whether it is this owner's.
    pub(in crate::event_log) fn is_of(&self, owner: &str) -> bool {
        kept(owner) == self.owner
    }
}

fn kept(owner: &str) -> &str {
    let end = (0..=owner.len().min(OWNER_BYTES_MAX)).rev().find(|end| owner.is_char_boundary(*end));
    end.and_then(|end| owner.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::event_log::lane::Lane;

    #[test]
    fn a_header_comes_back_from_its_bytes_and_at_its_bounds_fits_its_slot() {
        let stretch = |n| Stretch { lane: Lane::Routine, from: n, to: u64::MAX, epoch: Uuid::from_u128(n.into()) };
        let header = Header {
            closed: true,
            lanes: [1, 6].map(|n| Extent { first: n, end: n + 1, seen: n + 2, sealed: n + 3, lost: n + 4 }),
            age: Noted { age: Duration::from_secs(9), boot_id: Uuid::from_u128(7), since_boot: Duration::ZERO },
            owner: "ö".repeat(OWNER_BYTES_MAX),
            numbers: Numbers { epoch: Uuid::from_u128(1), stretches: (0..STRETCHES_MAX as u64).map(stretch).collect() },
        };
        let bytes = header.to_bytes();
        assert!(bytes.len() <= BODY_BYTES_MAX, "{}", bytes.len());
        let read = Header::from_bytes(&bytes).expect("the format").expect("intact");
        assert!(read.is_of(&header.owner) && !read.is_of("another"));
        assert_eq!(Header { owner: header.owner.clone(), ..read }, header);
        assert_eq!(Header::from_bytes(&[FORMAT + 1]), Err(u64::from(FORMAT) + 1));
        let before = [&[FORMAT_BEFORE], &bytes[1..]].concat();
        assert_eq!(Header::from_bytes(&before), Header::from_bytes(&bytes), "one of the version before is read");
    }
}
