//! What is lost, and why: as the ledger owes it and the record tells it.

use std::ops::Range;

use bytes::{Buf as _, BufMut as _};
use uuid::Uuid;

use crate::event_log::{
    disk::summary::{LEVELS, Summary},
    lane::Lane,
};

/// Why events are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// They had to make room, or were too old.
    Retention,
    /// They were in memory while the disk could not be written, and the agent ended.
    DiskFull,
    /// What is stored is not what was written, or not there.
    Damage,
    /// More came than memory holds while the disk could not be written.
    MemoryBound,
    /// The last process did not close the log.
    UncleanStop,
    /// The consumer refuses the event.
    Refused,
    /// Its program did not come for long, and the log kept nothing for it any more.
    Released,
}

impl Cause {
    /// What the log itself loses events for.
    pub(in crate::event_log) const OWN: [Cause; 6] =
        [Cause::Retention, Cause::DiskFull, Cause::Damage, Cause::MemoryBound, Cause::UncleanStop, Cause::Released];

    /// The name in text, in metrics and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Retention => "retention",
            Cause::DiskFull => "disk_full",
            Cause::Damage => "damage",
            Cause::MemoryBound => "memory_bound",
            Cause::UncleanStop => "unclean_stop",
            Cause::Refused => "refused",
            Cause::Released => "released",
        }
    }

    fn from_number(number: u8) -> Option<Cause> {
        Cause::OWN.into_iter().find(|cause| *cause as u8 == number)
    }
}

/// Consecutive events of one epoch that are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Loss {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) cause: Cause,
    /// Under which they were to be delivered.
    pub(in crate::event_log) epoch: Uuid,
    /// First sequence, and the one after the last; both 0 when nobody knows which.
    pub(in crate::event_log) sequences: Range<u64>,
    /// How many of them are lost: fewer than there are sequences where some are recorded already.
    pub(in crate::event_log) count: u64,
    /// By level; all zero when that is not known.
    pub(in crate::event_log) levels: [u64; LEVELS],
    /// Unix milliseconds of the oldest and the newest, as far as they are known.
    pub(in crate::event_log) times: [i64; 2],
}

impl Loss {
    /// Length of [`Loss::to_bytes`].
    pub(in crate::event_log) const BYTES: usize = 1 + 1 + 16 + 8 * (2 + 1 + LEVELS + 2);

    /// Of sequences of which nothing else is known.
    pub(in crate::event_log) fn of(lane: Lane, cause: Cause, epoch: Uuid, sequences: Range<u64>) -> Loss {
        let count = sequences.end.saturating_sub(sequences.start);
        Loss { lane, cause, epoch, sequences, count, levels: [0; LEVELS], times: [0; 2] }
    }

    /// Somewhere in a lane: nobody knows how many.
    pub(in crate::event_log) fn unknown(lane: Lane, cause: Cause, epoch: Uuid) -> Loss {
        Loss::of(lane, cause, epoch, 0..0)
    }

    /// Of what a generation held.
    pub(in crate::event_log) fn of_generation(lane: Lane, cause: Cause, epoch: Uuid, summary: &Summary) -> Loss {
        Loss {
            levels: summary.levels,
            times: [summary.min_time, summary.max_time],
            ..Loss::of(lane, cause, epoch, summary.first_sequence..summary.next_sequence)
        }
    }

    /// Whether it is known which events these are.
    pub(in crate::event_log) fn is_numbered(&self) -> bool {
        self.sequences.start > 0 && !self.sequences.is_empty()
    }

    /// A part of it, of which `count` events are lost. The levels are those of the whole: they stay only where they add up.
    pub(in crate::event_log) fn part(&self, sequences: Range<u64>, count: u64) -> Loss {
        let levels = if self.levels.iter().sum::<u64>() == count { self.levels } else { [0; LEVELS] };
        Loss { sequences, count, levels, ..self.clone() }
    }

    /// Takes in what follows it; false when that is no part of the same loss.
    pub(in crate::event_log) fn join(&mut self, next: &Loss) -> bool {
        let same = (self.lane, self.cause, self.epoch) == (next.lane, next.cause, next.epoch);
        if !same || !self.is_numbered() || self.sequences.end != next.sequences.start {
            return false;
        }
        let known = [&*self, next].map(|loss| loss.levels.iter().sum::<u64>() == loss.count);
        for (sum, count) in self.levels.iter_mut().zip(next.levels) {
            *sum = if known == [true; 2] { *sum + count } else { 0 };
        }
        self.sequences.end = next.sequences.end;
        self.count += next.count;
        self.times = match (self.times, next.times) {
            ([0, 0], times) | (times, [0, 0]) => times,
            (own, other) => [own[0].min(other[0]), own[1].max(other[1])],
        };
        true
    }

    pub(in crate::event_log) fn to_bytes(&self, bytes: &mut Vec<u8>) {
        bytes.put_u8(self.lane.number());
        bytes.put_u8(self.cause as u8);
        bytes.put_slice(self.epoch.as_bytes());
        [self.sequences.start, self.sequences.end, self.count].into_iter().for_each(|number| bytes.put_u64(number));
        self.levels.into_iter().for_each(|number| bytes.put_u64(number));
        self.times.into_iter().for_each(|time| bytes.put_i64(time));
    }

    pub(in crate::event_log) fn from_bytes(bytes: &mut &[u8]) -> Option<Loss> {
        let lane = Lane::from_number(bytes.try_get_u8().ok()?)?;
        let cause = Cause::from_number(bytes.try_get_u8().ok()?)?;
        let epoch = Uuid::from_u128(bytes.try_get_u128().ok()?);
        let mut number = || bytes.try_get_u64().ok();
        let (sequences, count) = (number()?..number()?, number()?);
        let mut levels = [0; LEVELS];
        for level in &mut levels {
            *level = number()?;
        }
        let times = [bytes.try_get_i64().ok()?, bytes.try_get_i64().ok()?];
        Some(Loss { lane, cause, epoch, sequences, count, levels, times })
    }
}
