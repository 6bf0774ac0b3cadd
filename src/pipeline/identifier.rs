//! Identifiers of events: UUIDs of version 7, whose random bytes are taken from the kernel many at a time.
//!
//! Always holds: those of one process grow, also within a millisecond and when the clock is set back; so events of the same
//! time come in the order in which they were taken.
//!
//! Source: RFC 9562, sections 5.7 and 6.2 (method 1, a counter of 42 bits that begins at random below half).

use std::{
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

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

/// A new one.
pub(super) fn new() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let id = lock(&STATE).next(now);
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

impl State {
    fn next(&mut self, now: u64) -> Uuid {
        if now > self.milliseconds {
            self.milliseconds = now;
            self.counter = u64::from_be_bytes(self.random()) >> (u64::BITS - COUNTER_BITS + 1);
        } else {
            self.counter += 1;
            if self.counter >> COUNTER_BITS != 0 {
                (self.milliseconds, self.counter) = (self.milliseconds + 1, 0);
            }
        }
        let tail: [u8; TAIL_BYTES] = self.random();
        let (high, low) = (self.counter >> 30, self.counter & ((1 << 30) - 1));
        let bits = u128::from(self.milliseconds & ((1 << 48) - 1)) << 80
            | 7 << 76
            | u128::from(high) << 64
            | 0b10 << 62
            | u128::from(low) << 32
            | u128::from(u32::from_be_bytes(tail));
        Uuid::from_u128(bits)
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > POOL_BYTES {
            // A kernel that gives none: the time and the counter still tell events apart.
            let _ = SystemRandom::new().fill(&mut self.pool);
            self.used = 0;
        }
        let mut bytes = [0; N];
        if let Some(from) = self.pool.get_mut(self.used..self.used + N) {
            bytes.copy_from_slice(from);
            // What was given once is nowhere else.
            from.fill(0);
        }
        self.used += N;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_grow_whatever_the_clock_does_and_are_of_version_seven() {
        let mut state = State { milliseconds: 0, counter: 0, pool: [0; POOL_BYTES], used: POOL_BYTES };
        let times = [5_000, 5_000, 5_001, 4_000, 4_000, 5_001, 5_002];
        let ids: Vec<_> = times.iter().cycle().take(20_000).map(|now| state.next(*now)).collect();
        assert!(ids.is_sorted_by(|before, after| before < after));
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        let first = ids[0].get_timestamp().expect("a time").to_unix();
        assert_eq!(first, (5, 0));
        let tails: std::collections::BTreeSet<_> = ids.iter().map(|id| id.as_u128() as u32).collect();
        assert!(tails.len() > 19_900, "random tails hardly ever meet: {}", tails.len());
    }

    #[test]
    fn a_counter_that_is_full_goes_on_in_the_next_millisecond() {
        let full = (1 << COUNTER_BITS) - 1;
        let mut state = State { milliseconds: 9, counter: full, pool: [0; POOL_BYTES], used: POOL_BYTES };
        let (before, after) = (state.next(9), state.next(9));
        assert!(before < after);
        assert_eq!(state.milliseconds, 10);
    }
}
