//! Reads a lane in order, frame by frame, handing on the events' bytes as they are stored.
//!
//! A reader sees only what is durable, or what is kept in memory while the disk cannot be written. It holds no cursor: when retention overtakes it, it gets a [`Gap`], never silence.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::event_log::{
    clock_state::ClockState,
    disk::{
        frame::{Decoder, Frame, Header, Stored, event_at},
        generation::Generation,
        row::Located,
    },
    error::LogError,
    lane::Lane,
    reach::Awaited,
    read::{
        pieces::{Piece, Pieces},
        sieve::Sieve,
    },
    shared::Shared,
};

/// Reads durable events of one lane in order. Blocking I/O: not on the async threads.
pub struct Reader {
    shared: Arc<Shared>,
    lane: Lane,
    position: u64,
    /// It reads no further.
    end: u64,
    place: Option<Place>,
    decoder: Decoder,
}

/// The frame that the position lies in.
struct Place {
    generation: Arc<Generation>,
    slot: u32,
    stored: Stored,
    /// Absent until its events are wanted one by one.
    frame: Option<Frame>,
}

/// A stored frame is passed on whole when its events take at least so many bytes in clear: below, frames compressed one by
/// one are larger than their events compressed together.
const WHOLE_BYTES_MIN: usize = 16 * 1024;

/// What a read gave; the events in clear, unless it says otherwise.
#[derive(Debug)]
pub enum Read<F = Bytes> {
    /// Events, at least one, without a hole, of one boot, one epoch and one state of the clock.
    Run(Run<F>),
    /// The next sequences are gone; the reader now stands behind them.
    Gap(Gap),
    /// Nothing durable is there yet.
    End,
}

/// Sequences that can no longer be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First that is gone.
    pub from: u64,
    /// First that is there again.
    pub to: u64,
}

/// How much is read at a time for a batch. At least one event is.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub events_max: usize,
    /// Events where stopping at `events_max` would cut a stored frame; at least as many as `events_max`.
    pub events_max_whole: usize,
    /// About so many bytes, in clear.
    pub bytes_max: usize,
}

/// Consecutive events.
#[derive(Clone, Debug)]
pub struct Run<F = Bytes> {
    /// Their lane.
    pub lane: Lane,
    /// Identity of the numbering.
    pub epoch: Uuid,
    /// Boot in which they were accepted.
    pub boot_id: Uuid,
    /// Whether the wall clock was in step when they were accepted.
    pub clock: ClockState,
    pub first_sequence: u64,
    /// The events as fields 1 of an `EventBatch`: tag, length, bytes; again and again.
    pub fields: F,
    /// Number of events.
    pub count: u64,
}

/// One event out of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number in the lane.
    pub sequence: u64,
    /// The encoded event.
    pub event: Bytes,
}

impl<F> Run<F> {
    /// Sequence after the last event.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + self.count
    }

    /// The same events in another form.
    fn with<G>(self, fields: impl FnOnce(F) -> G) -> Run<G> {
        let Run { lane, epoch, boot_id, clock, first_sequence, count, .. } = self;
        Run { lane, epoch, boot_id, clock, first_sequence, count, fields: fields(self.fields) }
    }
}

impl Run {
    pub fn events(&self) -> impl Iterator<Item = StoredEvent> + '_ {
        let mut at = 0;
        (self.first_sequence..self.next_sequence()).map_while(move |sequence| {
            let (begin, end) = event_at(&self.fields, at)?;
            at = end;
            Some(StoredEvent { sequence, event: self.fields.slice(begin..end) })
        })
    }
}

impl Run<Pieces> {
    /// The same events in clear.
    ///
    /// # Errors
    /// When they cannot be decompressed.
    pub fn plain(&self) -> std::io::Result<Run> {
        let fields = self.fields.plain()?;
        Ok(self.clone().with(|_| fields))
    }

    /// The first `count` events and the rest, as runs of their own.
    ///
    /// # Errors
    /// When the events cannot be decompressed, or are fewer.
    pub fn split(self, count: u64) -> std::io::Result<(Run<Pieces>, Run<Pieces>)> {
        let (head, rest) = self.fields.split(count)?;
        let (all, first_sequence) = (self.count, self.first_sequence);
        let tail = Run { first_sequence: first_sequence + count, count: all - count, ..self.clone().with(|_| rest) };
        Ok((Run { count, ..self.with(|_| head) }, tail))
    }
}

impl Reader {
    pub(in crate::event_log) fn new(shared: Arc<Shared>, lane: Lane, position: u64) -> Reader {
        Reader { shared, lane, position: position.max(1), end: u64::MAX, place: None, decoder: Decoder::default() }
    }

    /// The sequence that the next read begins with.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to another place.
    pub fn seek(&mut self, position: u64) {
        self.position = position.max(1);
    }

    /// Reads no further than before `end`: there is the end of the log for it.
    pub fn until(&mut self, end: u64) {
        self.end = end;
    }

    /// Durable events from the position on.
    pub fn available(&self) -> u64 {
        if self.shared.numbering.is_pending(self.lane, self.position) {
            return 0;
        }
        self.shared.visible(self.lane).saturating_sub(self.position)
    }

    /// Waits until something durable stands at the position. Cancel safe.
    pub async fn ready(&self) {
        self.ready_for(1).await;
    }

    /// Waits until at least `count` durable events stand from the position on. Cancel safe.
    pub async fn ready_for(&self, count: u64) {
        let wanted = self.position.saturating_add(count.max(1));
        let (shared, lane) = (&self.shared, self.lane);
        let is_pending = || shared.numbering.is_pending(lane, self.position);
        loop {
            // That an epoch has become durable stirs.
            let was_pending = is_pending();
            let awaited = if was_pending { Awaited::Stir } else { Awaited::Visible(lane, wanted) };
            let woken = shared.reach.wait(awaited);
            match (shared.visible(lane) >= wanted, is_pending()) {
                (true, false) => return,
                (_, now) if now != was_pending => {}
                _ => woken.await,
            }
        }
    }

    /// Reads on: at most `events_max` events and about `bytes_max` bytes, but at least one event.
    ///
    /// # Errors
    /// When the storage fails or what it gives back is damaged.
    pub fn read(&mut self, events_max: usize, bytes_max: usize) -> Result<Read, LogError> {
        self.read_where(&Sieve::OPEN, events_max, bytes_max)
    }

    /// Reads on, past frames that hold nothing for the sieve: those of whole frames that hold something, or may.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_where(&mut self, sieve: &Sieve, events_max: usize, bytes_max: usize) -> Result<Read, LogError> {
        self.pass_over(sieve)?;
        let limits = BatchLimits { events_max, events_max_whole: events_max, bytes_max };
        Ok(match self.gather(limits, Some(sieve))? {
            Read::Run(run) => Read::Run(run.with(|pieces| pieces.plain().expect("no piece is compressed"))),
            Read::Gap(gap) => Read::Gap(gap),
            Read::End => Read::End,
        })
    }

    /// Reads on for a batch, leaving compressed what can be passed on as it is stored.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_batch(&mut self, limits: BatchLimits) -> Result<Read<Pieces>, LogError> {
        self.gather(limits, None)
    }

    /// Goes on to the next frame that the sieve takes; past frames that hold nothing for it, not past a gap.
    ///
    /// # Errors
    /// When the storage fails.
    fn pass_over(&mut self, sieve: &Sieve) -> Result<(), LogError> {
        loop {
            let end = self.shared.visible(self.lane).min(self.end);
            if self.position >= end || self.shared.numbering.is_pending(self.lane, self.position) {
                return Ok(());
            }
            if let Some(next) = self.end_of_unwanted(sieve) {
                self.position = next.min(end);
            } else if self.find_frame()?.is_none()
                && let Some(place) = &mut self.place
                && !place.is_taken(sieve, &mut self.decoder)
            {
                self.position = place.stored.header.next_sequence().min(self.end);
            } else {
                return Ok(());
            }
        }
    }

    /// The end of the generation that the position lies in, where nothing in it is wanted. Asked where one begins.
    fn end_of_unwanted(&mut self, sieve: &Sieve) -> Option<u64> {
        let is_within = |place: &Place| {
            holds(&place.stored.header, self.position)
                || (place.stored.header.next_sequence() == self.position && place.slot + 1 < place.generation.frames())
        };
        if self.place.as_ref().is_some_and(is_within) {
            return None;
        }
        let row = &self.shared.rows[self.lane.index()];
        let next = row.end_of_unwanted(self.position, |summary| sieve.takes_some_of(summary))?;
        // What is let go of is not read on from.
        self.place = None;
        Some(next)
    }

    /// Without a sieve, whole frames as they are stored; with one, the events in clear, up to a frame that it does not take.
    fn gather(&mut self, limits: BatchLimits, sieve: Option<&Sieve>) -> Result<Read<Pieces>, LogError> {
        let mut run: Option<Run<Pieces>> = None;
        let mut bytes = 0;
        while self.position < self.shared.visible(self.lane).min(self.end) {
            if self.shared.numbering.is_pending(self.lane, self.position) {
                break;
            }
            if let Some(gap) = self.find_frame()? {
                if run.is_some() {
                    break;
                }
                self.position = gap.to;
                return Ok(Read::Gap(gap));
            }
            let Some(place) = &mut self.place else { break };
            if let Some(sieve) = sieve.filter(|_| run.is_some())
                && !place.is_taken(sieve, &mut self.decoder)
            {
                break;
            }
            let header = &place.stored.header;
            let (epoch, border) = self.shared.numbering.resolve(self.lane, self.position, header.epoch);
            let border = border.min(self.end);
            if run.as_ref().is_some_and(|run| !run.goes_on(header, epoch)) {
                break;
            }
            let run = run.get_or_insert_with(|| Run::at(header, epoch, self.position));
            let (count, raw_bytes) = (run.count as usize, header.raw_bytes as usize);
            if let Some(frame) = place.stored.zstd().filter(|_| sieve.is_none() && raw_bytes >= WHOLE_BYTES_MIN)
                && header.first_sequence == self.position
                && header.next_sequence() <= border
            {
                let fits =
                    count + header.count as usize <= limits.events_max_whole && (bytes + raw_bytes <= limits.bytes_max);
                if fits {
                    run.fields.push(Piece::Zstd { frame: frame.clone(), raw_bytes });
                    run.count += u64::from(header.count);
                    bytes += raw_bytes;
                    self.position = header.next_sequence();
                    if run.count as usize >= limits.events_max {
                        break;
                    }
                    continue;
                }
                if count > 0 {
                    break;
                }
            }
            // What is left of a frame that would have gone whole is not cut either.
            let rest = usize::try_from(header.next_sequence().min(border) - self.position).unwrap_or(usize::MAX);
            let goes_whole = sieve.is_none() && raw_bytes >= WHOLE_BYTES_MIN && count + rest <= limits.events_max_whole;
            let events = if goes_whole { rest } else { limits.events_max.saturating_sub(count) };
            let room = (
                events.min(usize::try_from(border - self.position).unwrap_or(usize::MAX)),
                limits.bytes_max.saturating_sub(bytes),
            );
            let frame = place.decoded(&mut self.decoder)?;
            let (fields, taken) = take(frame, self.position, room, count == 0);
            if taken == 0 {
                break;
            }
            bytes += fields.len();
            run.fields.push(Piece::Plain(fields));
            run.count += taken;
            self.position += taken;
        }
        Ok(run.map_or(Read::End, Read::Run))
    }

    /// Makes `place` the frame that holds the position, or tells that it is gone. A frame that is not what it was when the
    /// generation was opened is gone too.
    fn find_frame(&mut self) -> Result<Option<Gap>, LogError> {
        match self.look() {
            Err(error) if error.is_damage() => {
                self.place = None;
                self.shared.rows[self.lane.index()].distrust(self.position);
                self.look()
            }
            found => found,
        }
    }

    fn look(&mut self) -> Result<Option<Gap>, LogError> {
        if self.place.as_ref().is_some_and(|place| holds(&place.stored.header, self.position)) {
            return Ok(None);
        }
        let (generation, slot) = match self.place.take() {
            // The usual way: the next slot of the same generation.
            Some(place)
                if place.stored.header.next_sequence() == self.position
                    && place.slot + 1 < place.generation.frames()
                    && place.generation.holds(self.position) =>
            {
                (place.generation, place.slot + 1)
            }
            _ => match self.locate()? {
                Located::In(generation) => {
                    let slot = generation.slot_of(self.position)?;
                    (generation, slot)
                }
                Located::Gone(to) => return Ok(Some(Gap { from: self.position, to })),
                Located::Ahead => return Ok(Some(Gap { from: self.position, to: self.shared.visible(self.lane) })),
            },
        };
        // Where a frame is missing, the one before it is found, and the one behind it says how far that goes.
        for slot in [slot, slot.saturating_add(1)].into_iter().filter(|slot| *slot < generation.frames()) {
            let stored = generation.stored(slot)?;
            let first = stored.header.first_sequence;
            if holds(&stored.header, self.position) {
                self.place = Some(Place { generation, slot, stored, frame: None });
                return Ok(None);
            }
            if first > self.position {
                return Ok(Some(Gap { from: self.position, to: first }));
            }
        }
        let end = self.shared.rows[self.lane.index()].end_of(self.position);
        Ok(Some(Gap { from: self.position, to: end.unwrap_or_else(|| self.shared.visible(self.lane)) }))
    }

    fn locate(&self) -> Result<Located, LogError> {
        let _at_disk = self.shared.pulse.at_disk();
        let located = self.shared.rows[self.lane.index()].locate(self.position)?;
        self.shared.report_damage(self.lane);
        Ok(located)
    }
}

impl Place {
    /// Whether the frame may hold what the sieve is for. One that cannot be decompressed is told when it is read.
    fn is_taken(&mut self, sieve: &Sieve, decoder: &mut Decoder) -> bool {
        sieve.takes(&self.stored.header)
            && (!sieve.asks_for_texts() || self.decoded(decoder).map_or(true, |frame| sieve.takes_bytes(&frame.fields)))
    }

    /// The events of the frame, decompressed once.
    ///
    /// # Errors
    /// When the frame does not hold what its header says.
    fn decoded(&mut self, decoder: &mut Decoder) -> Result<&Frame, LogError> {
        match &mut self.frame {
            Some(frame) => Ok(frame),
            none => {
                let frame = self.stored.decode(decoder).map_err(|e| self.generation.damaged(self.slot, e))?;
                Ok(none.insert(frame))
            }
        }
    }
}

fn holds(header: &Header, sequence: u64) -> bool {
    (header.first_sequence..header.next_sequence()).contains(&sequence)
}

/// The events of a frame from `position` on, as many as there is room for; one at least if `force`.
fn take(frame: &Frame, position: u64, room: (usize, usize), force: bool) -> (Bytes, u64) {
    let skip = usize::try_from(position - frame.header.first_sequence).unwrap_or(usize::MAX);
    let begin = skip.checked_sub(1).and_then(|before| frame.ends.get(before)).map_or(0, |end| *end as usize);
    let rest = frame.ends.get(skip..).unwrap_or_default();
    let mut count = rest.iter().take(room.0).take_while(|end| **end as usize - begin <= room.1).count();
    if count == 0 && force {
        count = 1.min(rest.len());
    }
    let end = count.checked_sub(1).and_then(|last| rest.get(last)).map_or(begin, |end| *end as usize);
    (frame.fields.slice(begin..end), count as u64)
}

impl Run<Pieces> {
    fn at(header: &Header, epoch: Uuid, first_sequence: u64) -> Run<Pieces> {
        Run {
            lane: header.lane,
            epoch,
            boot_id: header.boot_id,
            clock: header.clock,
            first_sequence,
            fields: Pieces::default(),
            count: 0,
        }
    }

    fn goes_on(&self, header: &Header, epoch: Uuid) -> bool {
        (epoch, header.boot_id, header.clock) == (self.epoch, self.boot_id, self.clock)
    }
}
