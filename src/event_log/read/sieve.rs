//! What a reader has no use for, told by the head of a frame: whole frames are passed over without being decompressed.

use crate::event_log::disk::frame::Header;

/// Which frames may hold events that somebody wants. Never leaves out one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sieve {
    /// One bit for each level's number on the wire; bit 15 for numbers beyond.
    pub levels: u16,
    /// One bit for each category's number; bit 31 for numbers beyond.
    pub categories: u32,
    /// Unix milliseconds of the oldest and the newest, inclusive.
    pub times: (i64, i64),
}

impl Sieve {
    /// Leaves out nothing.
    pub const OPEN: Sieve = Sieve { levels: u16::MAX, categories: u32::MAX, times: (i64::MIN, i64::MAX) };

    pub(super) fn takes(&self, header: &Header) -> bool {
        let (since, until) = self.times;
        header.levels & self.levels != 0
            && header.categories & self.categories != 0
            && header.min_time <= until
            && header.max_time >= since
    }
}
