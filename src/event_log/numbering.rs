//! Whose numbers the events bear: the epoch in which new events are numbered, and stretches of the log that are sent under
//! another epoch than the one they were written with.
//!
//! Always holds: an event's (epoch, lane, sequence) names no other event. A new epoch begins whenever that could not be
//! said of the old one; sequences go on over all epochs, so that a reader's position stays what it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::Lane;

/// The most stretches that are remembered. Beyond it the oldest is forgotten: the controller then refuses its events as
/// a fork once more, and a new stretch is made.
const STRETCHES_MAX: usize = 64;

/// Events that were given other numbers after they had been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) lane: Lane,
    pub(super) from: u64,
    /// Sequence after the last.
    pub(super) to: u64,
    pub(super) epoch: Uuid,
}

impl Stretch {
    const BYTES: usize = 33;

    fn to_bytes(self) -> [u8; Stretch::BYTES] {
        let mut bytes = [0; Stretch::BYTES];
        bytes[0] = self.lane.number();
        bytes[1..9].copy_from_slice(&self.from.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.to.to_be_bytes());
        bytes[17..].copy_from_slice(self.epoch.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Stretch::BYTES]) -> Option<Stretch> {
        let (lane, rest) = bytes.split_first()?;
        let (from, rest) = rest.split_first_chunk::<8>()?;
        let (to, epoch) = rest.split_first_chunk::<8>()?;
        Some(Stretch {
            lane: Lane::from_number(*lane)?,
            from: u64::from_be_bytes(*from),
            to: u64::from_be_bytes(*to),
            epoch: Uuid::from_slice(epoch).ok()?,
        })
    }
}

/// Epoch and stretches as they are kept in `meta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) epoch: Uuid,
    pub(super) stretches: Vec<Stretch>,
}

impl Numbers {
    /// Numbers that nobody has used.
    pub(super) fn fresh() -> Numbers {
        Numbers { epoch: Uuid::new_v4(), stretches: Vec::new() }
    }

    /// The epoch, then the stretches in the order in which they were made.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.epoch.as_bytes().to_vec();
        self.stretches.iter().for_each(|stretch| bytes.extend_from_slice(&stretch.to_bytes()));
        bytes
    }

    /// The opposite; `None` when these are not such bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Numbers> {
        let (epoch, rest) = bytes.split_first_chunk::<16>()?;
        let (stretches, []) = rest.as_chunks::<{ Stretch::BYTES }>() else { return None };
        let stretches = stretches.iter().map(Stretch::from_bytes).collect::<Option<_>>()?;
        Some(Numbers { epoch: Uuid::from_bytes(*epoch), stretches })
    }
}

/// The numbering of an open log.
pub(super) struct Numbering {
    numbers: Mutex<(Numbers, bool)>,
}

impl Numbering {
    /// As `meta` has it.
    pub(super) fn new(numbers: Numbers) -> Numbering {
        Numbering { numbers: Mutex::new((numbers, false)) }
    }

    /// The epoch of new events.
    pub(super) fn epoch(&self) -> Uuid {
        self.lock().0.epoch
    }

    /// Epoch and stretches.
    pub(super) fn numbers(&self) -> Numbers {
        self.lock().0.clone()
    }

    /// Begins an epoch for events to come.
    pub(super) fn begin(&self, epoch: Uuid) {
        let mut numbers = self.lock();
        numbers.0.epoch = epoch;
        numbers.1 = true;
    }

    /// Gives events other numbers.
    pub(super) fn renumber(&self, stretch: Stretch) {
        let mut numbers = self.lock();
        // What a later stretch covers whole is never looked at again.
        numbers.0.stretches.retain(|old| old.lane != stretch.lane || old.from < stretch.from || old.to > stretch.to);
        if numbers.0.stretches.len() >= STRETCHES_MAX {
            numbers.0.stretches.remove(0);
        }
        numbers.0.stretches.push(stretch);
        numbers.1 = true;
    }

    /// Forgets stretches that end before `first`, the first stored sequence of their lane.
    pub(super) fn forget(&self, lane: Lane, first: u64) {
        let mut numbers = self.lock();
        let before = numbers.0.stretches.len();
        numbers.0.stretches.retain(|stretch| stretch.lane != lane || stretch.to > first);
        numbers.1 |= numbers.0.stretches.len() != before;
    }

    /// The epoch under which an event that was written with `written` is sent, and the sequence up to which that holds.
    pub(super) fn resolve(&self, lane: Lane, sequence: u64, written: Uuid) -> (Uuid, u64) {
        let numbers = self.lock();
        let stretches = || numbers.0.stretches.iter().filter(|stretch| stretch.lane == lane);
        let epoch = stretches()
            .rev()
            .find(|stretch| (stretch.from..stretch.to).contains(&sequence))
            .map_or(written, |stretch| stretch.epoch);
        let borders = stretches().flat_map(|stretch| [stretch.from, stretch.to]);
        (epoch, borders.filter(|border| *border > sequence).min().unwrap_or(u64::MAX))
    }

    /// What has to be written to `meta`, if anything has changed since it was asked last.
    pub(super) fn take_changed(&self) -> Option<Numbers> {
        let mut numbers = self.lock();
        std::mem::take(&mut numbers.1).then(|| numbers.0.clone())
    }

    /// What was taken has not been written: it still has to be.
    pub(super) fn put_back(&self) {
        self.lock().1 = true;
    }

    fn lock(&self) -> MutexGuard<'_, (Numbers, bool)> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Uuid = Uuid::from_u128(1);

    fn stretch(from: u64, to: u64, epoch: u128) -> Stretch {
        Stretch { lane: Lane::Routine, from, to, epoch: Uuid::from_u128(epoch) }
    }

    #[test]
    fn the_latest_stretch_that_covers_an_event_says_its_epoch_and_how_far_that_holds() {
        let numbering = Numbering::new(Numbers { epoch: WRITTEN, stretches: Vec::new() });
        assert_eq!(numbering.resolve(Lane::Routine, 5, WRITTEN), (WRITTEN, u64::MAX));
        numbering.renumber(stretch(10, 30, 2));
        numbering.renumber(stretch(20, 40, 3));
        assert_eq!(numbering.resolve(Lane::Routine, 9, WRITTEN), (WRITTEN, 10));
        assert_eq!(numbering.resolve(Lane::Routine, 10, WRITTEN), (Uuid::from_u128(2), 20));
        assert_eq!(numbering.resolve(Lane::Routine, 29, WRITTEN), (Uuid::from_u128(3), 30));
        assert_eq!(numbering.resolve(Lane::Routine, 40, WRITTEN), (WRITTEN, u64::MAX));
        assert_eq!(numbering.resolve(Lane::Urgent, 29, WRITTEN), (WRITTEN, u64::MAX));
    }

    #[test]
    fn stretches_are_forgotten_when_nothing_of_them_is_stored_or_a_later_one_covers_them() {
        let numbering = Numbering::new(Numbers::fresh());
        numbering.renumber(stretch(10, 30, 2));
        numbering.renumber(stretch(5, 30, 3));
        assert_eq!(numbering.take_changed().map(|numbers| numbers.stretches), Some(vec![stretch(5, 30, 3)]));
        assert_eq!(numbering.take_changed(), None);
        numbering.forget(Lane::Routine, 30);
        assert_eq!(numbering.take_changed().map(|numbers| numbers.stretches), Some(vec![]));
        for n in 0..1000 {
            numbering.renumber(stretch(n, n + 1, 4));
        }
        assert_eq!(numbering.take_changed().map(|numbers| numbers.stretches.len()), Some(STRETCHES_MAX));
    }

    #[test]
    fn numbers_come_back_from_their_bytes() {
        let numbers = Numbers { epoch: WRITTEN, stretches: vec![stretch(1, 2, 3), stretch(4, u64::MAX, 5)] };
        assert_eq!(Numbers::from_bytes(&numbers.to_bytes()), Some(numbers.clone()));
        assert_eq!(Numbers::from_bytes(WRITTEN.as_bytes()), Some(Numbers { epoch: WRITTEN, stretches: Vec::new() }));
        assert_eq!(Numbers::from_bytes(&numbers.to_bytes()[1..]), None);
    }
}
