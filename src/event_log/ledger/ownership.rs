//! What the ledger knows of a consumer that is a program's: whose it is, and when it was last there.
//!
//! A consumer of the agent's own has none of it.

use bytes::{Buf as _, BufMut as _};

/// Of a consumer that a program attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The user whose it is.
    pub owner: u32,
    /// When it was made, Unix milliseconds.
    pub created_at: i64,
    /// The log's age when its program was last there, milliseconds: the wall clock plays no part.
    pub seen: u64,
    /// Nothing is kept for it any more, until its program comes again.
    pub is_released: bool,
}

impl Ownership {
    /// Length of [`Ownership::to_bytes`].
    pub(in crate::event_log) const BYTES: usize = 4 + 8 + 8 + 1;

    pub(in crate::event_log) fn to_bytes(self, bytes: &mut Vec<u8>) {
        bytes.put_u32(self.owner);
        bytes.put_i64(self.created_at);
        bytes.put_u64(self.seen);
        bytes.put_u8(self.is_released.into());
    }

    pub(in crate::event_log) fn from_bytes(bytes: &mut &[u8]) -> Option<Ownership> {
        Some(Ownership {
            owner: bytes.try_get_u32().ok()?,
            created_at: bytes.try_get_i64().ok()?,
            seen: bytes.try_get_u64().ok()?,
            is_released: bytes.try_get_u8().ok()? != 0,
        })
    }
}
