//! Whose numbers the events bear: the epoch in which new events are numbered, and stretches of the log that are sent under
//! another epoch than the one they were written with.
//!
//! Always holds: an event's (epoch, lane, sequence) names no other event. A new epoch begins whenever that could not be
//! said of the old one; sequences go on over all epochs, so that a reader's position stays what it is.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard},
};

use uuid::Uuid;

use crate::{event_log::lane::Lane, lock::lock};

/// The most stretches that are remembered. Beyond it the oldest is forgotten: the controller then refuses its events as
/// a fork once more, and a new stretch is made.
pub(in crate::event_log) const STRETCHES_MAX: usize = 64;

/// Events that were given other numbers after they had been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Stretch {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) from: u64,
    /// Sequence after the last.
    pub(in crate::event_log) to: u64,
    pub(in crate::event_log) epoch: Uuid,
}

impl Stretch {
    /// Length of its bytes.
    pub(in crate::event_log) const BYTES: usize = 33;

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

/// Epoch and stretches as the ledger keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Numbers {
    pub(in crate::event_log) epoch: Uuid,
    pub(in crate::event_log) stretches: Vec<Stretch>,
}

impl Numbers {
    /// Numbers that nobody has used.
    pub(in crate::event_log) fn fresh() -> Numbers {
        Numbers { epoch: Uuid::new_v4(), stretches: Vec::new() }
    }

    /// Gives events other numbers.
    fn add(&mut self, stretch: Stretch) {
        // What a later stretch covers whole is never looked at again.
        self.stretches.retain(|old| old.lane != stretch.lane || old.from < stretch.from || old.to > stretch.to);
        if self.stretches.len() >= STRETCHES_MAX {
            self.stretches.remove(0);
        }
        self.stretches.push(stretch);
    }

    /// The epoch, then the stretches in the order in which they were made.
    pub(in crate::event_log) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.epoch.as_bytes().to_vec();
        self.stretches.iter().for_each(|stretch| bytes.extend_from_slice(&stretch.to_bytes()));
        bytes
    }

    /// The opposite; `None` when these are not such bytes.
    pub(in crate::event_log) fn from_bytes(bytes: &[u8]) -> Option<Numbers> {
        let (epoch, rest) = bytes.split_first_chunk::<16>()?;
        let (stretches, []) = rest.as_chunks::<{ Stretch::BYTES }>() else { return None };
        let stretches = stretches.iter().map(Stretch::from_bytes).collect::<Option<_>>()?;
        Some(Numbers { epoch: Uuid::from_bytes(*epoch), stretches })
    }
}

/// The numbering of an open log.
pub(in crate::event_log) struct Numbering {
    state: Mutex<State>,
}

struct State {
    numbers: Numbers,
    /// Counts changes.
    version: u64,
    /// Events from these sequences on bear an epoch that is not durable before this version is.
    pending: Option<([u64; 2], u64)>,
}

impl Numbering {
    /// As the ledger has it.
    pub(in crate::event_log) fn new(numbers: Numbers) -> Numbering {
        Numbering { state: Mutex::new(State { numbers, version: 0, pending: None }) }
    }

    /// The epoch of new events.
    pub(in crate::event_log) fn epoch(&self) -> Uuid {
        self.lock().numbers.epoch
    }

    /// Epoch and stretches, and their version.
    pub(in crate::event_log) fn numbers(&self) -> (Numbers, u64) {
        let state = self.lock();
        (state.numbers.clone(), state.version)
    }

    /// Begins an epoch for events to come, one that the disk knows, or that is never used again once memory is lost.
    pub(in crate::event_log) fn begin(&self, epoch: Uuid) {
        let mut state = self.lock();
        state.numbers.epoch = epoch;
        state.version += 1;
    }

    /// Begins an epoch, also for what lies between these sequences of each lane, from which on nothing is given out until
    /// [`Numbering::durable`].
    pub(in crate::event_log) fn renumber(&self, epoch: Uuid, from: [u64; 2], to: [u64; 2]) {
        let mut state = self.lock();
        state.numbers.epoch = epoch;
        for lane in Lane::ALL {
            let (from, to) = (from[lane.index()], to[lane.index()]);
            if from < to {
                state.numbers.add(Stretch { lane, from, to, epoch });
            }
        }
        state.version += 1;
        let before = state.pending.map_or(from, |(before, _)| before);
        state.pending = Some(([before[0].min(from[0]), before[1].min(from[1])], state.version));
    }

    /// This version is on the disk. Gives whether more can be given out now.
    pub(in crate::event_log) fn durable(&self, version: u64) -> bool {
        self.lock().pending.take_if(|(_, pending)| *pending <= version).is_some()
    }

    /// Whether anything may not be given out yet.
    pub(in crate::event_log) fn has_pending(&self) -> bool {
        self.lock().pending.is_some()
    }

    /// Whether an event may not be given out yet: its epoch could be forgotten and the event be numbered once more.
    pub(in crate::event_log) fn is_pending(&self, lane: Lane, sequence: u64) -> bool {
        self.lock().pending.is_some_and(|(from, _)| sequence >= from[lane.index()])
    }

    /// Forgets stretches that end before `first`, the first stored sequence of their lane.
    pub(in crate::event_log) fn forget(&self, lane: Lane, first: u64) {
        let mut state = self.lock();
        let before = state.numbers.stretches.len();
        state.numbers.stretches.retain(|stretch| stretch.lane != lane || stretch.to > first);
        state.version += u64::from(state.numbers.stretches.len() != before);
    }

    /// The epoch under which an event that was written with `written` is sent, and the sequence up to which that holds.
    pub(in crate::event_log) fn resolve(&self, lane: Lane, sequence: u64, written: Uuid) -> (Uuid, u64) {
        let state = self.lock();
        let stretches = || state.numbers.stretches.iter().filter(|stretch| stretch.lane == lane);
        let epoch = stretches()
            .rev()
            .find(|stretch| (stretch.from..stretch.to).contains(&sequence))
            .map_or(written, |stretch| stretch.epoch);
        let borders = stretches().flat_map(|stretch| [stretch.from, stretch.to]);
        (epoch, borders.filter(|border| *border > sequence).min().unwrap_or(u64::MAX))
    }

    /// The same for a range of sequences, in parts of one epoch.
    pub(in crate::event_log) fn parts(&self, lane: Lane, range: &Range<u64>, written: Uuid) -> Vec<(Range<u64>, Uuid)> {
        let (mut parts, mut at) = (Vec::new(), range.start);
        while at < range.end {
            let (epoch, border) = self.resolve(lane, at, written);
            let end = border.min(range.end);
            parts.push((at..end, epoch));
            at = end;
        }
        parts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Uuid = Uuid::from_u128(1);

    fn stretch(from: u64, to: u64, epoch: u128) -> Stretch {
        Stretch { lane: Lane::Routine, from, to, epoch: Uuid::from_u128(epoch) }
    }

    fn renumber(numbering: &Numbering, from: u64, to: u64, epoch: u128) {
        numbering.renumber(Uuid::from_u128(epoch), [u64::MAX, from], [0, to]);
    }

    #[test]
    fn the_latest_stretch_that_covers_an_event_says_its_epoch_and_how_far_that_holds() {
        let numbering = Numbering::new(Numbers { epoch: WRITTEN, stretches: Vec::new() });
        assert_eq!(numbering.resolve(Lane::Routine, 5, WRITTEN), (WRITTEN, u64::MAX));
        renumber(&numbering, 10, 30, 2);
        renumber(&numbering, 20, 40, 3);
        assert_eq!(numbering.resolve(Lane::Routine, 9, WRITTEN), (WRITTEN, 10));
        assert_eq!(numbering.resolve(Lane::Routine, 10, WRITTEN), (Uuid::from_u128(2), 20));
        assert_eq!(numbering.resolve(Lane::Routine, 29, WRITTEN), (Uuid::from_u128(3), 30));
        assert_eq!(numbering.resolve(Lane::Routine, 40, WRITTEN), (WRITTEN, u64::MAX));
        assert_eq!(numbering.resolve(Lane::Urgent, 29, WRITTEN), (WRITTEN, u64::MAX));
        assert_eq!(numbering.epoch(), Uuid::from_u128(3));
    }

    #[test]
    fn stretches_are_forgotten_when_nothing_of_them_is_stored_or_a_later_one_covers_them() {
        let numbering = Numbering::new(Numbers::fresh());
        renumber(&numbering, 10, 30, 2);
        renumber(&numbering, 5, 30, 3);
        assert_eq!(numbering.numbers().0.stretches, [stretch(5, 30, 3)]);
        numbering.forget(Lane::Routine, 30);
        assert_eq!(numbering.numbers().0.stretches, []);
        for n in 0..1000 {
            renumber(&numbering, n, n + 1, 4);
        }
        assert_eq!(numbering.numbers().0.stretches.len(), STRETCHES_MAX);
    }

    #[test]
    fn what_bears_a_new_epoch_is_not_given_out_until_the_disk_knows_that_epoch() {
        let numbering = Numbering::new(Numbers::fresh());
        let (_, before) = numbering.numbers();
        renumber(&numbering, 10, 30, 2);
        assert!(numbering.is_pending(Lane::Routine, 10) && numbering.is_pending(Lane::Routine, 99));
        assert!(!numbering.is_pending(Lane::Routine, 9) && !numbering.is_pending(Lane::Urgent, 99));
        assert!(!numbering.durable(before), "what was written is older");
        renumber(&numbering, 20, 30, 3);
        let (_, version) = numbering.numbers();
        assert!(numbering.is_pending(Lane::Routine, 10) && numbering.durable(version));
        assert!(!numbering.is_pending(Lane::Routine, 10));
    }

    #[test]
    fn numbers_come_back_from_their_bytes() {
        let numbers = Numbers { epoch: WRITTEN, stretches: vec![stretch(1, 2, 3), stretch(4, u64::MAX, 5)] };
        assert_eq!(Numbers::from_bytes(&numbers.to_bytes()), Some(numbers.clone()));
        assert_eq!(Numbers::from_bytes(WRITTEN.as_bytes()), Some(Numbers { epoch: WRITTEN, stretches: Vec::new() }));
        assert_eq!(Numbers::from_bytes(&numbers.to_bytes()[1..]), None);
    }
}
