//! A consumer: how far it has come in each lane, what it will never get, and what it has still to be told of that.
//!
//! Always holds: a cursor moves by delivery ([`Consumer::take`]) or over a loss that the same write owes to the consumer
//! ([`Consumer::lose`]); there is no third way. What is lost ahead of the cursor, while events that are there lie between,
//! is a hole: the cursor moves over it when it comes there.

use std::{ops::Range, sync::Arc};

use bytes::{Buf as _, BufMut as _};
use uuid::Uuid;

use super::{loss::Loss, ownership::Ownership};
use crate::event_log::{
    disk::slots::BODY_BYTES_MAX,
    lane::Lane,
    ranges::{common, joined, without},
};

/// The most bytes of a consumer's name.
pub(in crate::event_log) const NAME_BYTES_MAX: usize = 64;

/// The most bytes that a consumer keeps beside its cursor.
pub const BLOB_BYTES_MAX: usize = 3 * 1024;

/// Losses that are owed durably. Retention waits at this bound until the records of some are durable. A loss beyond it does
/// not move what the slot says of the cursor: after a crash it is found once more.
pub(in crate::event_log) const OWED_MAX: usize = 3;

/// Holes that are kept durably. What lies in those beyond is recorded once more when the cursor comes there after a crash.
const HOLES_MAX: usize = 16;

/// Records that may be under way at a time; what is lost meanwhile is told of together.
const TOLD_MAX: usize = 16;

const FORMAT: u8 = 1;

/// The same, and behind it what is known of a program.
const FORMAT_OF_PROGRAM: u8 = 2;

const HOLE_BYTES: usize = 1 + 8 + 8;
const _: () = assert!(
    1 + (1 + NAME_BYTES_MAX)
        + 2 * 8
        + (1 + HOLES_MAX * HOLE_BYTES)
        + (1 + OWED_MAX * (16 + Loss::BYTES))
        + (2 + BLOB_BYTES_MAX)
        + Ownership::BYTES
        <= BODY_BYTES_MAX
);

/// A loss that the consumer has not safely been told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Owed {
    /// Identifier of the record: the same however often it is appended.
    pub(in crate::event_log) id: Uuid,
    pub(in crate::event_log) loss: Loss,
    /// Sequence of the record, once it is appended.
    pub(in crate::event_log) told: Option<u64>,
    /// Whether nobody can have been told of it: a process before may have appended the record under this identifier.
    is_fresh: bool,
}

/// A place in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::event_log) struct Position {
    /// Sequence of the next event that the consumer has to take.
    pub(in crate::event_log) next: u64,
    /// The same as it is on the disk.
    pub(in crate::event_log) durable: u64,
    /// Everything before is with the consumer, on its way or in its memory: removing it loses nothing while it lives.
    held: u64,
}

/// One consumer.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Consumer {
    pub(in crate::event_log) name: Arc<str>,
    positions: [Position; 2],
    /// By lane, ascending, all ahead of the cursor; all of them recorded or owed.
    holes: [Vec<Range<u64>>; 2],
    owed: Vec<Owed>,
    blob: Vec<u8>,
    /// The one on the disk: it stays there while the cursor there cannot follow.
    durable_blob: Vec<u8>,
    /// Of one that a program attaches to.
    pub(in crate::event_log) program: Option<Ownership>,
}

impl Consumer {
    /// One that begins at these sequences.
    pub(in crate::event_log) fn new(name: &Arc<str>, first: [u64; 2]) -> Consumer {
        let positions = first.map(|next| Position { next, durable: 0, held: 0 });
        Consumer {
            name: Arc::clone(name),
            positions,
            holes: Default::default(),
            owed: Vec::new(),
            blob: Vec::new(),
            durable_blob: Vec::new(),
            program: None,
        }
    }

    /// Whether the log keeps what it has not taken, and tells it at once of what is gone.
    pub(in crate::event_log) fn is_kept_for(&self) -> bool {
        self.program.is_none_or(|program| !program.is_released)
    }

    /// Begins again at these sequences, none behind where it stands: what lies there is read anew, and what of it is gone is
    /// found to be gone.
    pub(in crate::event_log) fn rewind(&mut self, to: [u64; 2]) {
        // Another consumer to what is being written of the one before.
        self.name = Arc::from(&*self.name);
        for (lane, to) in Lane::ALL.into_iter().zip(to) {
            let position = &mut self.positions[lane.index()];
            position.next = position.next.min(to);
            position.durable = position.durable.min(to);
            position.held = 0;
        }
    }

    pub(in crate::event_log) fn position(&self, lane: Lane) -> Position {
        self.positions[lane.index()]
    }

    pub(in crate::event_log) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The consumer has everything before `next`. Gives whether that is news.
    pub(in crate::event_log) fn take(&mut self, lane: Lane, next: u64, blob: Option<&[u8]>) -> bool {
        let moved = self.positions[lane.index()].next < next;
        self.positions[lane.index()].next = self.position(lane).next.max(next);
        self.pass_holes(lane);
        if let Some(blob) = blob {
            self.blob = blob.to_owned();
        }
        moved || blob.is_some()
    }

    /// The consumer is about to read on at `from`, at most so many events. Gives what it may read: behind what is lost there,
    /// and not into what is lost ahead. Until it says how far it came ([`Consumer::held`]) all of that is in its hands.
    pub(in crate::event_log) fn hold(&mut self, lane: Lane, from: u64, count: u64) -> Range<u64> {
        let holes = &self.holes[lane.index()];
        let position = &mut self.positions[lane.index()];
        let start = from.max(position.next);
        let start = holes.iter().find(|hole| hole.contains(&start)).map_or(start, |hole| hole.end);
        let ahead = holes.iter().map(|hole| hole.start).find(|hole| *hole > start);
        let end = start.saturating_add(count).min(ahead.unwrap_or(u64::MAX));
        position.held = end;
        start..end
    }

    /// The consumer has everything before `position` in its hands; what it had in them before does not count any more.
    pub(in crate::event_log) fn held(&mut self, lane: Lane, position: u64) {
        self.positions[lane.index()].held = position;
    }

    /// What of these sequences the consumer will not get if they go now, and has not been told of.
    pub(in crate::event_log) fn misses(&self, lane: Lane, sequences: &Range<u64>) -> Vec<Range<u64>> {
        let Position { next, held, .. } = self.position(lane);
        without(sequences.start.max(next).max(held)..sequences.end, &self.holes[lane.index()])
    }

    /// Events go that the consumer has not taken: it is owed the record. `gone` is what of the loss's sequences is not there
    /// any more, of which it has been told of `told`. Gives how many it loses.
    pub(in crate::event_log) fn lose(&mut self, loss: &Loss, gone: &[Range<u64>], told: &[Range<u64>]) -> u64 {
        let lane = loss.lane;
        let parts: Vec<_> = gone.iter().flat_map(|range| self.misses(lane, range)).collect();
        let count = parts.iter().map(|part| (part.end - part.start) - common(part, told)).sum();
        if let (Some(first), Some(last), true) = (parts.first(), parts.last(), count > 0) {
            self.owe(loss.part(first.start..last.end, count));
        }
        let holes = &mut self.holes[lane.index()];
        holes.extend(parts);
        *holes = joined(std::mem::take(holes));
        self.pass_holes(lane);
        count
    }

    fn owe(&mut self, loss: Loss) {
        let last = self.owed.iter_mut().rfind(|owed| owed.loss.lane == loss.lane && owed.told.is_none());
        if !last.is_some_and(|owed| owed.is_fresh && owed.loss.join(&loss)) {
            self.owed.push(Owed { id: Uuid::now_v7(), loss, told: None, is_fresh: true });
        }
    }

    /// What is owed of these sequences.
    pub(in crate::event_log) fn owed_of(&self, lane: Lane, sequences: &Range<u64>) -> Vec<Loss> {
        let is_of = |loss: &&Loss| loss.lane == lane && common(sequences, std::slice::from_ref(&loss.sequences)) > 0;
        self.owed.iter().map(|owed| &owed.loss).filter(is_of).cloned().collect()
    }

    /// Whether another loss can be owed durably.
    pub(in crate::event_log) fn can_owe(&self) -> bool {
        self.owed.len() < OWED_MAX
    }

    fn pass_holes(&mut self, lane: Lane) {
        let (position, holes) = (&mut self.positions[lane.index()], &mut self.holes[lane.index()]);
        holes.retain(|hole| {
            if hole.start <= position.next {
                position.next = position.next.max(hole.end);
            }
            hole.end > position.next
        });
    }

    /// Appends with `append` the records that are owed and not appended; it gives the sequence of each.
    pub(in crate::event_log) fn tell(&mut self, mut append: impl FnMut(&str, &Owed) -> u64) -> bool {
        let mut told = false;
        let room = TOLD_MAX.saturating_sub(self.owed.iter().filter(|owed| owed.told.is_some()).count());
        for owed in self.owed.iter_mut().filter(|owed| owed.told.is_none()).take(room) {
            owed.told = Some(append(&self.name, owed));
            told = true;
        }
        told
    }

    /// The record at `from` stands at `to` once more, and will go from where it stood.
    pub(in crate::event_log) fn carried(&mut self, from: u64, to: u64) {
        self.owed.iter_mut().filter(|owed| owed.told == Some(from)).for_each(|owed| owed.told = Some(to));
    }

    /// What is recorded before `durable` in the records' lane, or has been taken from there, is not owed any more.
    pub(in crate::event_log) fn strike(&mut self, records: Lane, durable: u64) {
        let safe = durable.max(self.position(records).next);
        self.owed.retain(|owed| owed.told.is_none_or(|told| told >= safe));
    }

    /// Where it stands as far as its slot says why: not beyond a loss for which there is no room there.
    pub(in crate::event_log) fn safe(&self) -> [u64; 2] {
        Lane::ALL.map(|lane| {
            let beyond = self.owed.iter().skip(OWED_MAX).filter(|owed| owed.loss.lane == lane);
            let first = beyond.map(|owed| owed.loss.sequences.start).min();
            self.position(lane).next.min(first.unwrap_or(u64::MAX))
        })
    }

    /// What goes with [`Consumer::safe`].
    pub(in crate::event_log) fn safe_blob(&self) -> &[u8] {
        let follows = Lane::ALL.map(|lane| self.position(lane).next) == self.safe();
        if follows { &self.blob } else { &self.durable_blob }
    }

    /// What of it is on the disk.
    pub(in crate::event_log) fn durable_blob(&self) -> &[u8] {
        &self.durable_blob
    }

    /// What lies before has durably been taken, or its loss is safely recorded.
    pub(in crate::event_log) fn done(&self, lane: Lane) -> u64 {
        let owed = self.owed.iter().filter(|owed| owed.loss.lane == lane);
        let first = owed.map(|owed| owed.loss.sequences.start).min();
        self.position(lane).durable.min(first.unwrap_or(u64::MAX))
    }

    /// The body of its slot.
    pub(in crate::event_log) fn to_bytes(&self) -> Vec<u8> {
        let format = if self.program.is_some() { FORMAT_OF_PROGRAM } else { FORMAT };
        let mut bytes = vec![format, self.name.len() as u8];
        bytes.put_slice(self.name.as_bytes());
        self.safe().into_iter().for_each(|next| bytes.put_u64(next));
        let beyond = |lane: Lane, hole: &Range<u64>| {
            let mut owed = self.owed.iter().skip(OWED_MAX).map(|owed| &owed.loss);
            owed.any(|loss| loss.lane == lane && common(hole, std::slice::from_ref(&loss.sequences)) > 0)
        };
        let holes =
            Lane::ALL.into_iter().flat_map(|lane| self.holes[lane.index()].iter().map(move |hole| (lane, hole)));
        let holes: Vec<_> = holes.filter(|(lane, hole)| !beyond(*lane, hole)).take(HOLES_MAX).collect();
        bytes.put_u8(holes.len() as u8);
        for (lane, hole) in holes {
            bytes.put_u8(lane.number());
            bytes.put_u64(hole.start);
            bytes.put_u64(hole.end);
        }
        bytes.put_u8(self.owed.len().min(OWED_MAX) as u8);
        for owed in self.owed.iter().take(OWED_MAX) {
            bytes.put_slice(owed.id.as_bytes());
            owed.loss.to_bytes(&mut bytes);
        }
        bytes.put_u16(self.safe_blob().len() as u16);
        bytes.put_slice(self.safe_blob());
        if let Some(program) = self.program {
            program.to_bytes(&mut bytes);
        }
        bytes
    }

    /// The opposite; `None` when these are not such bytes.
    pub(in crate::event_log) fn from_bytes(mut bytes: &[u8]) -> Option<Consumer> {
        let bytes = &mut bytes;
        let format = bytes.try_get_u8().ok()?;
        if ![FORMAT, FORMAT_OF_PROGRAM].contains(&format) {
            return None;
        }
        let length = usize::from(bytes.try_get_u8().ok()?);
        let name = Arc::from(std::str::from_utf8(bytes.split_off(..length)?).ok()?);
        let mut consumer = Consumer::new(&name, [0; 2]);
        for position in &mut consumer.positions {
            position.next = bytes.try_get_u64().ok()?;
            position.durable = position.next;
        }
        for _ in 0..bytes.try_get_u8().ok()? {
            let lane = Lane::from_number(bytes.try_get_u8().ok()?)?;
            consumer.holes[lane.index()].push(bytes.try_get_u64().ok()?..bytes.try_get_u64().ok()?);
        }
        for _ in 0..bytes.try_get_u8().ok()? {
            let id = Uuid::from_u128(bytes.try_get_u128().ok()?);
            consumer.owed.push(Owed { id, loss: Loss::from_bytes(bytes)?, told: None, is_fresh: false });
        }
        let length = usize::from(bytes.try_get_u16().ok()?);
        consumer.blob = bytes.split_off(..length)?.to_owned();
        consumer.durable_blob.clone_from(&consumer.blob);
        if format == FORMAT_OF_PROGRAM {
            consumer.program = Some(Ownership::from_bytes(bytes)?);
        }
        Some(consumer)
    }

    /// Its slot is on the disk as it was with these positions.
    pub(in crate::event_log) fn persisted(&mut self, next: [u64; 2], blob: &[u8]) {
        self.durable_blob = blob.to_owned();
        for (position, next) in self.positions.iter_mut().zip(next) {
            position.durable = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::ledger::loss::Cause;

    const ROUTINE: Lane = Lane::Routine;

    fn consumer() -> Consumer {
        Consumer::new(&Arc::from("uplink"), [1, 1])
    }

    fn loss(sequences: Range<u64>) -> Loss {
        Loss::of(ROUTINE, Cause::Retention, Uuid::from_u128(5), sequences)
    }

    fn lose(consumer: &mut Consumer, gone: Range<u64>) -> u64 {
        consumer.lose(&loss(gone.clone()), &[gone], &[])
    }

    /// First and last sequence of what is owed.
    fn owed(consumer: &Consumer) -> Vec<[u64; 2]> {
        consumer.owed.iter().map(|owed| [owed.loss.sequences.start, owed.loss.sequences.end - 1]).collect()
    }

    #[test]
    fn a_loss_ahead_of_the_cursor_does_not_move_it_until_it_comes_there() {
        let mut consumer = consumer();
        assert_eq!(lose(&mut consumer, 50..80), 30);
        assert_eq!(consumer.position(ROUTINE).next, 1, "what lies before is there and not taken");
        consumer.take(ROUTINE, 49, None);
        assert_eq!(consumer.position(ROUTINE).next, 49);
        consumer.take(ROUTINE, 50, None);
        assert_eq!(consumer.position(ROUTINE).next, 80, "over the hole");
        assert_eq!(owed(&consumer), [[50, 79]], "and is told of it");
    }

    #[test]
    fn a_loss_at_the_cursor_moves_it_and_what_was_taken_or_is_in_hand_is_not_lost() {
        let mut consumer = consumer();
        consumer.take(ROUTINE, 21, None);
        assert_eq!(lose(&mut consumer, 1..41), 20);
        assert_eq!((consumer.position(ROUTINE).next, owed(&consumer)), (41, vec![[21, 40]]));
        assert_eq!(consumer.hold(ROUTINE, 31, 100), 41..141);
        consumer.held(ROUTINE, 51);
        assert_eq!(lose(&mut consumer, 41..61), 10, "ten are on their way");
        assert_eq!(consumer.position(ROUTINE).next, 41, "they have not arrived");
        assert_eq!(
            consumer.hold(ROUTINE, 51, 100),
            61..161,
            "what is recorded is not read, if it is still there or not"
        );
        assert_eq!(consumer.hold(ROUTINE, 45, 100), 45..51);
        consumer.held(ROUTINE, 51);
        consumer.take(ROUTINE, 51, None);
        assert_eq!(consumer.position(ROUTINE).next, 61);
        assert_eq!(lose(&mut consumer, 41..61), 0, "nothing is lost twice");
    }

    #[test]
    fn losses_that_follow_each_other_are_told_as_one_until_one_is_told() {
        let mut consumer = consumer();
        lose(&mut consumer, 1..11);
        consumer.lose(&loss(11..21), std::slice::from_ref(&(11..21)), std::slice::from_ref(&(12..15)));
        assert_eq!((owed(&consumer), consumer.owed[0].loss.count), (vec![[1, 20]], 17));
        consumer.tell(|name, _| if name == "uplink" { 7 } else { 0 });
        lose(&mut consumer, 21..31);
        assert_eq!(owed(&consumer), [[1, 20], [21, 30]]);
        consumer.strike(Lane::Urgent, 7);
        assert_eq!(owed(&consumer), [[1, 20], [21, 30]], "the record is not durable");
        consumer.strike(Lane::Urgent, 8);
        assert_eq!(owed(&consumer), [[21, 30]]);
    }

    #[test]
    fn a_consumer_comes_back_from_its_bytes_and_at_its_bounds_fits_its_slot() {
        let mut consumer = Consumer::new(&Arc::from("n".repeat(NAME_BYTES_MAX).as_str()), [3, 4]);
        for number in 0..30 {
            lose(&mut consumer, 100 + number * 10..105 + number * 10);
            if number < 27 {
                consumer.tell(|_, _| 2);
                consumer.strike(Lane::Urgent, 3);
            }
        }
        consumer.take(ROUTINE, 5, Some(&[7; BLOB_BYTES_MAX]));
        let program = Ownership { owner: 1000, created_at: -1, seen: u64::MAX, is_released: true };
        consumer.program = Some(program);
        let bytes = consumer.to_bytes();
        assert!(bytes.len() <= BODY_BYTES_MAX, "{}", bytes.len());
        let read = Consumer::from_bytes(&bytes).expect("the same");
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!((read.position(Lane::Urgent).next, read.position(ROUTINE).durable), (3, 5));
        assert_eq!(read.program, Some(program));
        assert_eq!((read.holes[1].len(), read.owed.len(), read.blob().len()), (HOLES_MAX, OWED_MAX, BLOB_BYTES_MAX));
        assert!((0..bytes.len()).all(|length| Consumer::from_bytes(&bytes[..length]).is_none()));
    }

    #[test]
    fn a_loss_that_may_have_been_told_before_a_crash_does_not_grow_under_its_identifier() {
        let mut before = consumer();
        lose(&mut before, 1..101);
        before.tell(|_, _| 7);
        let mut after = Consumer::from_bytes(&before.to_bytes()).expect("the same");
        lose(&mut after, 101..201);
        assert_eq!(owed(&after), [[1, 100], [101, 200]]);
    }

    #[test]
    fn what_is_owed_is_bounded_while_nothing_can_be_made_durable() {
        let mut consumer = consumer();
        for number in 0..1000 {
            lose(&mut consumer, number * 10 + 1..number * 10 + 11);
            consumer.tell(|_, _| 2);
        }
        assert!(consumer.owed.len() <= TOLD_MAX + 1, "{}", consumer.owed.len());
        assert_eq!(consumer.owed.iter().map(|owed| owed.loss.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn a_record_that_is_carried_on_is_owed_until_its_copy_is_durable_or_taken() {
        let mut consumer = consumer();
        lose(&mut consumer, 1..11);
        consumer.tell(|_, _| 7);
        consumer.carried(7, 60);
        let (gone, told) = (1..50, 7..8);
        let loss = Loss { lane: Lane::Urgent, ..loss(gone.clone()) };
        consumer.lose(&loss, std::slice::from_ref(&gone), std::slice::from_ref(&told));
        assert_eq!(consumer.position(Lane::Urgent).next, 50, "over where the record stood");
        consumer.strike(Lane::Urgent, 1);
        assert_eq!(owed(&consumer)[0], [1, 10], "nobody has it");
        consumer.take(Lane::Urgent, 61, None);
        consumer.strike(Lane::Urgent, 1);
        assert_eq!(owed(&consumer), [[1, 49]]);
    }

    #[test]
    fn a_blob_and_the_cursor_that_it_was_committed_with_are_there_after_a_crash_or_neither() {
        let mut consumer = consumer();
        consumer.take(ROUTINE, 1, Some(b"at 1"));
        let (next, blob) = (consumer.safe(), consumer.safe_blob().to_owned());
        consumer.persisted(next, &blob);
        for number in 1..=5 {
            lose(&mut consumer, number * 100..number * 100 + 10);
        }
        consumer.take(ROUTINE, 1000, Some(b"at 1000"));
        let read = Consumer::from_bytes(&consumer.to_bytes()).expect("the same");
        let at = read.position(ROUTINE).next;
        assert_eq!(read.blob(), if at >= 1000 { &b"at 1000"[..] } else { b"at 1" }, "the cursor is at {at}");
    }
}
