//! Identifiers of events: UUIDs of version 7, whose random bytes are taken from the kernel many at a time.
//!
//! Always holds: those of one process grow, also within a millisecond and when the clock is set back; so events of the same
//! time come in the order in which they were taken.
//!
//! Source: RFC 9562, sections 5.7 and 6.2 (method 1, a counter of 42 bits that begins at random below half).

use std::sync::Mutex;

use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use crate::lock::lock;

/// Random bytes that are asked for at once.
const POOL_BYTES: usize = 4096;

/// Random bytes in an identifier beside its counter.
const TAIL_BYTES: usize = 4;

/// Bits of the counter.
const COUNTER_BITS: u32 = 42;

struct State {
    milliseconds: u64,
    counter: u64,
    pool: [u8; POOL_BYTES],
    /// How much of the pool is used.
    used: usize,
}

static STATE: Mutex<State> = Mutex::new(State { milliseconds: 0, counter: 0, pool: [0; POOL_BYTES], used: POOL_BYTES });

/// A new one, of an event of this time in Unix milliseconds.
pub(super) fn new(now: i64) -> String {
    Block::take(now, 1).next()
}

/// The time in one of version 7, Unix milliseconds; none in others.
pub(super) fn time_of(id: &str) -> Option<i64> {
    let id = Uuid::try_parse(id).ok().filter(|id| id.get_version_num() == 7)?;
    i64::try_from(id.as_u128() >> 80).ok()
}

/// Identifiers that were reserved together: events of one request wait for the others' only once.
pub(super) struct Block {
    milliseconds: u64,
    /// Of the next.
    counter: u64,
    /// Random bytes for each that is left, those of the next at the end.
    tails: Vec<u8>,
}

impl Block {
    /// So many, of events of this time in Unix milliseconds.
    pub(super) fn take(now: i64, count: usize) -> Block {
        lock(&STATE).reserve(u64::try_from(now).unwrap_or(0), count)
    }

    /// The next. More than were taken are told apart by time and counter alone.
    pub(super) fn next(&mut self) -> String {
        self.next_bits().hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
    }

    fn next_bits(&mut self) -> Uuid {
        let counter = self.counter;
        let tail: [u8; TAIL_BYTES] = self.tails.last_chunk().copied().unwrap_or_default();
        self.tails.truncate(self.tails.len().saturating_sub(TAIL_BYTES));
        self.counter += 1;
        let (high, low) = (counter >> 30, counter & ((1 << 30) - 1));
        let bits = u128::from(self.milliseconds & ((1 << 48) - 1)) << 80
            | 7 << 76
            | u128::from(high) << 64
            | 0b10 << 62
            | u128::from(low) << 32
            | u128::from(u32::from_be_bytes(tail));
        Uuid::from_u128(bits)
    }
}

impl State {
    fn reserve(&mut self, now: u64, count: usize) -> Block {
        if now > self.milliseconds {
            self.milliseconds = now;
            let mut begin = [0; 8];
            self.random(&mut begin);
            self.counter = u64::from_be_bytes(begin) >> (u64::BITS - COUNTER_BITS + 1);
        }
        if (self.counter + count as u64) >> COUNTER_BITS != 0 {
            (self.milliseconds, self.counter) = (self.milliseconds + 1, 0);
        }
        let mut tails = vec![0; count * TAIL_BYTES];
        self.random(&mut tails);
        let block = Block { milliseconds: self.milliseconds, counter: self.counter, tails };
        self.counter += count as u64;
        block
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(POOL_BYTES) {
            if self.used + part.len() > POOL_BYTES {
                // A kernel that gives none: the time and the counter still tell events apart.
                let _ = SystemRandom::new().fill(&mut self.pool);
                self.used = 0;
            }
            if let Some(from) = self.pool.get_mut(self.used..self.used + part.len()) {
                part.copy_from_slice(from);
                // What was given once is nowhere else.
                from.fill(0);
            }
            self.used += part.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_grow_whatever_the_clock_does_and_are_of_version_seven() {
        let mut state = State { milliseconds: 0, counter: 0, pool: [0; POOL_BYTES], used: POOL_BYTES };
        let times = [5_000, 5_000, 5_001, 4_000, 4_000, 5_001, 5_002];
        let counts = [1, 7, 100, 1, 3];
        let blocks = times.iter().cycle().zip(counts.iter().cycle()).take(900);
        let ids: Vec<_> = blocks
            .flat_map(|(now, count)| {
                let mut block = state.reserve(*now, *count);
                std::iter::repeat_with(move || block.next_bits()).take(*count)
            })
            .collect();
        assert!(ids.is_sorted_by(|before, after| before < after));
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        let first = ids[0].get_timestamp().expect("a time").to_unix();
        assert_eq!(first, (5, 0));
        let tails: std::collections::BTreeSet<_> = ids.iter().map(|id| id.as_u128() as u32).collect();
        assert!(tails.len() + 100 > ids.len(), "random tails hardly ever meet: {} of {}", tails.len(), ids.len());
    }

    #[test]
    fn a_counter_that_is_full_goes_on_in_the_next_millisecond() {
        let full = (1 << COUNTER_BITS) - 2;
        let mut state = State { milliseconds: 9, counter: full, pool: [0; POOL_BYTES], used: POOL_BYTES };
        let (before, after) = (state.reserve(9, 1).next_bits(), state.reserve(9, 2).next_bits());
        assert!(before < after);
        assert_eq!(state.milliseconds, 10);
    }
}
