//! One lane on its way to a program: reads on behind the cursor, lets through what the program wants, and knows what it has
//! been given and has not committed.
//!
//! Always holds: the cursor stands before the first event that was given and is not committed; what the filter leaves out is
//! done with as soon as everything before it is.

use std::{collections::VecDeque, ops::Range};

use crate::{
    consumers::programs::Attachment,
    event::{EventView, Head, Level, LossRecord, loss_record},
    event_log::{BatchLimits, Cause, EventLog, Gap, Lane, LogError, Piece, Pieces, Read, Reader, Run, Sieve},
    local_api::wanted::Wanted,
    schema::local::{ConsumedGap, ConsumedRun, StoredFrame, consume_response::Response, stored_frame},
};

/// Events of one answer.
const RUN_EVENTS_MAX: usize = 2_000;

/// Bytes of one answer in clear, but for its last event. Below what a gRPC client takes by default, 4 MiB.
const RUN_BYTES_MAX: usize = 512 * 1024;

/// The same of frames as they are stored.
const FRAMES_BYTES_MAX: usize = 1024 * 1024;

/// By how many events an answer of frames may exceed what there is room for: a frame is given whole.
const FRAME_EVENTS_MAX: usize = 1_024;

/// Sequences that are read at a time, or passed over.
const SPAN: u64 = 65_536;

/// Reads without anything to give before others have their turn at the disk.
const READS_MAX: usize = 16;

/// So many events that the filter left out move the cursor; it costs a write of the disk.
const PASSED_MIN: u64 = 1_000;

/// How events are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Events,
    Frames,
}

/// What is the same for both lanes.
pub(super) struct Terms {
    pub(super) wanted: Wanted,
    pub(super) form: Form,
    /// Events of a lane that are given and not committed.
    pub(super) window: u64,
}

/// A lane.
pub(super) struct Giving {
    pub(super) lane: Lane,
    reader: Reader,
    /// Given and not committed, ascending.
    uncommitted: VecDeque<Range<u64>>,
    /// How many events those are.
    uncommitted_events: u64,
    /// Sequence after the last that was given.
    given: u64,
    /// Where the cursor was moved to last.
    committed: u64,
    /// Where the lane ended when the call began.
    end: u64,
    /// Nothing was kept for the consumer before this.
    released_until: u64,
    /// What records say of what this consumer lost, as they were given last.
    recorded: Vec<ConsumedGap>,
}

/// What a read came to.
enum Found {
    Run(ConsumedRun),
    Gap(Gap),
    /// Nothing that is wanted.
    Nothing,
}

/// What a step of reading came to.
pub(super) enum Step {
    Give(Response),
    /// Nothing yet; go on.
    Again,
    /// Nothing is there, or there is no room for it.
    End,
}

impl Giving {
    pub(super) fn new(log: &EventLog, lane: Lane, attachment: &Attachment) -> Giving {
        let position = attachment.cursor.next(lane);
        let (first, end) = log.bounds(lane);
        Giving {
            lane,
            reader: log.reader(lane, position),
            uncommitted: VecDeque::new(),
            uncommitted_events: 0,
            given: position,
            committed: position,
            end,
            released_until: if attachment.was_released { first } else { 0 },
            recorded: Vec::new(),
        }
    }

    /// What records that were given since the last call say of what the consumer lost.
    pub(super) fn take_recorded(&mut self) -> Vec<ConsumedGap> {
        std::mem::take(&mut self.recorded)
    }

    /// The next sequence to be read, and where the lane ended when the call began.
    pub(super) fn way(&self) -> (u64, u64) {
        (self.reader.position(), self.end)
    }

    fn room(&self, terms: &Terms) -> usize {
        usize::try_from(terms.window.saturating_sub(self.uncommitted_events)).unwrap_or(usize::MAX)
    }

    /// Whether it could go on.
    pub(super) fn is_due(&self, terms: &Terms) -> bool {
        self.room(terms) > 0 && self.reader.available() > 0
    }

    /// Waits until something new is there; for ever while there is no room. Cancel safe.
    pub(super) async fn ready(&self, terms: &Terms) {
        match self.room(terms) {
            0 => std::future::pending().await,
            _ => self.reader.ready().await,
        }
    }

    /// Reads on. Blocks on the disk.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn step(&mut self, attachment: &Attachment, terms: &Terms) -> Result<Step, LogError> {
        let sieve = terms.wanted.sieve_with_records(self.lane);
        for _ in 0..READS_MAX {
            let room = self.room(terms);
            if room == 0 {
                return Ok(Step::End);
            }
            let position = self.reader.position();
            let readable = attachment.cursor.hold(self.lane, position, SPAN);
            if readable.start > position {
                // Lost, and recorded.
                self.reader.seek(readable.start);
                attachment.cursor.held(self.lane, readable.start);
                self.pass(attachment);
                return Ok(Step::Give(self.gap(attachment, position..readable.start)));
            }
            self.reader.until(readable.end);
            let found = self.read(room, attachment, terms, &sieve);
            attachment.cursor.held(self.lane, self.reader.position());
            match found? {
                Found::Run(run) => return Ok(Step::Give(Response::Run(run))),
                Found::Gap(gap) => {
                    let cause = if gap.from < self.released_until { Cause::Released } else { Cause::Damage };
                    attachment.cursor.lost_by(cause, self.lane, gap);
                    self.pass(attachment);
                    return Ok(Step::Give(self.gap(attachment, gap.from..gap.to)));
                }
                Found::Nothing if self.reader.position() > position => self.pass(attachment),
                Found::Nothing => return Ok(Step::End),
            }
        }
        Ok(Step::Again)
    }

    fn read(&mut self, room: usize, attachment: &Attachment, terms: &Terms, sieve: &Sieve) -> Result<Found, LogError> {
        let (run, bytes) = if terms.form == Form::Frames {
            let limits = BatchLimits {
                events_max: room.min(RUN_EVENTS_MAX),
                events_max_whole: room.min(RUN_EVENTS_MAX) + FRAME_EVENTS_MAX,
                bytes_max: FRAMES_BYTES_MAX,
            };
            match self.reader.read_batch(limits)? {
                Read::Run(run) => self.frames(&run),
                Read::Gap(gap) => return Ok(Found::Gap(gap)),
                Read::End => return Ok(Found::Nothing),
            }
        } else {
            match self.reader.read_where(sieve, room.min(RUN_EVENTS_MAX), RUN_BYTES_MAX)? {
                Read::Run(run) => match self.events(&run, attachment.name(), &terms.wanted) {
                    Some(given) => given,
                    None => return Ok(Found::Nothing),
                },
                Read::Gap(gap) => return Ok(Found::Gap(gap)),
                Read::End => return Ok(Found::Nothing),
            }
        };
        let window = u32::try_from(terms.window).unwrap_or(u32::MAX);
        attachment.given(self.lane, bytes as u64, window, self.uncommitted_events);
        Ok(Found::Run(run))
    }

    /// A run as it is stored, and its bytes.
    fn frames(&mut self, run: &Run<Pieces>) -> (ConsumedRun, usize) {
        self.note_given(run.first_sequence..run.next_sequence());
        let frames: Vec<_> = run.fields.iter().map(frame).collect();
        let bytes = frames.iter().map(frame_bytes).sum();
        (ConsumedRun { frames, first_sequence: run.first_sequence, count: run.count, ..of(run) }, bytes)
    }

    /// What of a run is wanted, if any, and its bytes.
    fn events(&mut self, run: &Run, cursor: &str, wanted: &Wanted) -> Option<(ConsumedRun, usize)> {
        let (mut given, mut bytes) = (of(run), 0);
        for stored in run.events() {
            let loss = (self.lane == Lane::Urgent).then(|| loss_of(cursor, &stored.event)).flatten();
            if loss.is_none() && !wanted.takes(&stored.event) {
                continue;
            }
            self.recorded.extend(loss);
            self.note_given(stored.sequence..stored.sequence + 1);
            bytes += stored.event.len();
            given.sequences.push(stored.sequence);
            given.events.push(stored.event);
        }
        (!given.events.is_empty()).then_some((given, bytes))
    }

    fn note_given(&mut self, sequences: Range<u64>) {
        self.uncommitted_events += sequences.end - sequences.start;
        self.given = sequences.end;
        match self.uncommitted.back_mut() {
            Some(last) if last.end == sequences.start => last.end = sequences.end,
            _ => self.uncommitted.push_back(sequences),
        }
    }

    /// The program has everything up to this sequence. Gives false when it was not given that far.
    pub(super) fn commit(&mut self, attachment: &Attachment, sequence: u64) -> bool {
        if sequence >= self.given {
            return false;
        }
        let before = self.uncommitted_events;
        while let Some(first) = self.uncommitted.front_mut()
            && first.start <= sequence
        {
            let end = first.end.min(sequence + 1);
            self.uncommitted_events -= end - first.start;
            first.start = end;
            if first.is_empty() {
                self.uncommitted.pop_front();
            }
        }
        let committed = before - self.uncommitted_events;
        if committed > 0 {
            self.move_cursor(attachment);
            attachment.committed(self.lane, committed, self.uncommitted_events);
        }
        true
    }

    /// What was left out is done with, as soon as it is worth a write.
    fn pass(&mut self, attachment: &Attachment) {
        if self.uncommitted.is_empty() && self.reader.position() >= self.committed + PASSED_MIN {
            self.move_cursor(attachment);
        }
    }

    fn move_cursor(&mut self, attachment: &Attachment) {
        let next = self.uncommitted.front().map_or_else(|| self.reader.position(), |first| first.start);
        attachment.commit(self.lane, next);
        self.committed = next;
    }

    /// The last that is done with, before the program goes.
    pub(super) fn leave(&mut self, attachment: &Attachment) {
        self.move_cursor(attachment);
    }

    fn gap(&self, attachment: &Attachment, sequences: Range<u64>) -> Response {
        let known = attachment.cursor.known_loss(self.lane, &sequences);
        let is_exact = known.levels.iter().sum::<u64>() == known.count;
        let levels = (0i32..).zip(known.levels).filter(|(_, count)| is_exact && *count > 0);
        let name =
            |number| Level::from_wire(number).map_or_else(|| format!("level_{number}"), |it| it.name().to_owned());
        Response::Gap(ConsumedGap {
            lane: self.lane.name().to_owned(),
            first_sequence: sequences.start,
            last_sequence: sequences.end - 1,
            count: if known.cause.is_some() { known.count } else { sequences.end - sequences.start },
            count_by_level: levels.map(|(number, count)| (name(number), count)).collect(),
            cause: known.cause.map_or_else(String::new, |cause| cause.name().to_owned()),
        })
    }
}

fn of<F>(run: &Run<F>) -> ConsumedRun {
    ConsumedRun { lane: run.lane.name().to_owned(), log_epoch: run.epoch.to_string(), ..ConsumedRun::default() }
}

/// What the event says that this consumer lost, if it is a record of that: those come whatever it wants.
fn loss_of(cursor: &str, event: &[u8]) -> Option<ConsumedGap> {
    // Few events are at that level, and the head is read at no cost.
    Head::read(event).ok().filter(|head| head.level.to_wire() as i32 == LossRecord::LEVEL)?;
    let (loss, cause) = loss_record(&EventView::decode(event).ok()?)?;
    (loss.consumer == cursor).then_some(ConsumedGap {
        lane: loss.lane,
        first_sequence: loss.first_sequence,
        last_sequence: loss.last_sequence,
        count: loss.count,
        count_by_level: loss.count_by_level,
        cause,
    })
}

fn frame(piece: &Piece) -> StoredFrame {
    match piece {
        Piece::Plain(bytes) => {
            StoredFrame { raw_bytes: bytes.len() as u64, frame: Some(stored_frame::Frame::Plain(bytes.clone())) }
        }
        Piece::Zstd { frame, raw_bytes } => {
            StoredFrame { raw_bytes: *raw_bytes as u64, frame: Some(stored_frame::Frame::Zstd(frame.clone())) }
        }
    }
}

fn frame_bytes(frame: &StoredFrame) -> usize {
    match &frame.frame {
        Some(stored_frame::Frame::Plain(bytes) | stored_frame::Frame::Zstd(bytes)) => bytes.len(),
        None => 0,
    }
}
