//! One lane on its way to a program: reads on behind the cursor, lets through what the program wants, deals it out to the
//! program's workers, and gives again what they do not commit in time.
//!
//! Always holds: the cursor stands before the first event that was given and is not committed; what the filter leaves out is
//! done with as soon as everything before it is; events about one subject are one worker's, and it is given them in order.

use std::{collections::VecDeque, ops::Range, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::worker::{Next, Worker, letter, share};
use crate::{
    consumers::programs::{Attachment, Uncommitted},
    dead_letters::Letter,
    event::{EventView, Head, Level, LossRecord, loss_record},
    event_log::{
        BatchLimits, Cause, EventLog, Gap, Lane, LogError, Piece, Pieces, Read, Reader, Run, Sieve, StoredEvent,
    },
    local_api::wanted::Wanted,
    order::Sorted as _,
    schema::{
        events::EventLossPayload,
        local::{ConsumedGap, ConsumedRun, StoredFrame, consume_response::Response, stored_frame},
    },
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

/// Between two looks for what is to come again and cannot be read.
const AGAIN_PAUSE: Duration = Duration::from_millis(100);

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
    /// At least one.
    pub(super) workers: usize,
    /// What is not committed for so long comes again.
    pub(super) redeliver_after: Option<Duration>,
    /// So often at the most; 0 for without end.
    pub(super) deliveries_max: u32,
}

/// A lane.
pub(super) struct Giving {
    pub(super) lane: Lane,
    log: EventLog,
    reader: Reader,
    workers: Vec<Worker>,
    /// What was given on earlier calls, as far as it did not come on this one.
    before: VecDeque<Uncommitted>,
    /// How many events the workers have.
    uncommitted_events: u64,
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
    Runs(Vec<ConsumedRun>),
    Gap(Gap),
    /// Nothing that is wanted.
    Nothing,
}

/// What a step of reading came to.
pub(super) enum Step {
    /// In this order; at least one.
    Give(Vec<Response>),
    /// The first that waits for a worker came as often as it may, and is to be kept as this letter.
    Bury(Box<Buried>),
    /// Nothing yet; go on.
    Again,
    /// Nothing is there, or there is no room for it.
    End,
}

/// An event that does not come again.
pub(super) struct Buried {
    pub(super) lane: Lane,
    pub(super) worker: usize,
    pub(super) letter: Letter,
}

impl Giving {
    pub(super) fn new(log: &EventLog, lane: Lane, attachment: &Attachment, workers: usize) -> Giving {
        let position = attachment.cursor.next(lane);
        let (first, end) = log.bounds(lane);
        Giving {
            lane,
            log: log.clone(),
            reader: log.reader(lane, position),
            workers: (0..workers).map(|_| Worker::new(position)).collect(),
            before: attachment.left(lane).iter().cloned().collect(),
            uncommitted_events: 0,
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

    /// Whether everything has come that was stored when the call began.
    pub(super) fn is_through(&self) -> bool {
        self.reader.position() >= self.end && !self.workers.iter().any(Worker::is_behind)
    }

    fn room(&self, terms: &Terms) -> usize {
        usize::try_from(terms.window.saturating_sub(self.uncommitted_events)).unwrap_or(usize::MAX)
    }

    /// Whether it could go on.
    pub(super) fn is_due(&self, terms: &Terms) -> bool {
        self.again_at(terms).is_some_and(|at| at <= Instant::now())
            || self.has_waiting(terms)
            || (self.room(terms) > 0 && self.reader.available() > 0)
    }

    /// Whether something waits that may be given now.
    fn has_waiting(&self, terms: &Terms) -> bool {
        self.workers.iter().any(|worker| worker.next(terms.deliveries_max).is_some())
    }

    /// When something is to come again, if nothing is committed.
    fn again_at(&self, terms: &Terms) -> Option<Instant> {
        let after = terms.redeliver_after?;
        self.workers.iter().filter_map(|worker| worker.due(after)).min()
    }

    /// Waits until something new is there, for ever while there is no room; or until something is to come again. Cancel safe.
    pub(super) async fn ready(&self, terms: &Terms) {
        if self.has_waiting(terms) {
            // The log does not give it at the moment: it is being numbered anew.
            return sleep(AGAIN_PAUSE).await;
        }
        let again = async {
            match self.again_at(terms) {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let new = async {
            match self.room(terms) {
                0 => std::future::pending().await,
                _ => self.reader.ready().await,
            }
        };
        tokio::select! {
            () = again => {}
            () = new => {}
        }
    }

    /// Goes on: with what is to come again, then with what is new. Blocks on the disk.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn step(&mut self, attachment: &Attachment, terms: &Terms) -> Result<Step, LogError> {
        if let Some(after) = terms.redeliver_after {
            let now = Instant::now();
            let late = self.workers.iter_mut().filter(|worker| worker.due(after).is_some_and(|at| at <= now));
            late.for_each(Worker::take_back);
        }
        for number in 0..self.workers.len() {
            let next = self.workers.get(number).and_then(|worker| worker.next(terms.deliveries_max));
            if let Some(next) = next {
                return self.again(number, next, attachment, terms);
            }
        }
        match self.read_on(attachment, terms)? {
            // It was read, and may be given.
            Step::End if self.has_waiting(terms) => Ok(Step::Again),
            step => Ok(step),
        }
    }

    fn read_on(&mut self, attachment: &Attachment, terms: &Terms) -> Result<Step, LogError> {
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
                return Ok(Step::Give(vec![self.gap(attachment, position..readable.start)]));
            }
            self.reader.until(readable.end);
            let found = self.read(room, attachment, terms, &sieve);
            attachment.cursor.held(self.lane, self.reader.position());
            match found? {
                Found::Runs(runs) => return Ok(Step::Give(runs.into_iter().map(Response::Run).collect())),
                Found::Gap(gap) => {
                    let cause = if gap.from < self.released_until { Cause::Released } else { Cause::Damage };
                    attachment.cursor.lost_by(cause, self.lane, gap);
                    self.pass(attachment);
                    return Ok(Step::Give(vec![self.gap(attachment, gap.from..gap.to)]));
                }
                Found::Nothing if self.reader.position() > position => self.pass(attachment),
                Found::Nothing => return Ok(Step::End),
            }
        }
        Ok(Step::Again)
    }

    /// Gives what waits for a worker, from its first on; or has it buried.
    fn again(&mut self, number: usize, next: Next, attachment: &Attachment, terms: &Terms) -> Result<Step, LogError> {
        let (Next::From(first) | Next::Alone(first) | Next::Never(first)) = next;
        let mut reader = self.log.reader(self.lane, first);
        let events_max = if matches!(next, Next::From(_)) { RUN_EVENTS_MAX } else { 1 };
        let run = match reader.read(events_max, RUN_BYTES_MAX)? {
            Read::Run(run) => run,
            Read::Gap(gap) => return Ok(self.lose(number, gap.to, attachment)),
            Read::End => return Ok(Step::End),
        };
        let worker_number = u32::try_from(number).unwrap_or(u32::MAX);
        let mut given = ConsumedRun { worker: worker_number, ..of(&run) };
        let Some(worker) = self.workers.get_mut(number) else { return Ok(Step::End) };
        for StoredEvent { sequence, event } in run.events() {
            let alone = match worker.next(terms.deliveries_max) {
                Some(Next::From(first)) if first == sequence => false,
                Some(Next::Alone(first)) if first == sequence => true,
                Some(Next::Never(first)) if first == sequence => {
                    let deliveries = worker.waiting().map_or(0, |waiting| waiting.deliveries);
                    let letter = letter(&run, event, attachment, deliveries);
                    return Ok(Step::Bury(Box::new(Buried { lane: self.lane, worker: number, letter })));
                }
                Some(_) => continue,
                None => break,
            };
            given.deliveries.extend(worker.take_up(sequence, alone));
            given.sequences.push(sequence);
            given.events.push(event);
        }
        attachment.retries();
        self.note(attachment, terms, given.events.iter().map(|event| event.len()).sum());
        Ok(Step::Give(vec![Response::Run(given)]))
    }

    /// The first of what waits for a worker is gone from the log, as is all before `until`.
    fn lose(&mut self, number: usize, until: u64, attachment: &Attachment) -> Step {
        let Some(worker) = self.workers.get_mut(number) else { return Step::End };
        let Some(Uncommitted { sequences, .. }) = worker.waiting() else { return Step::End };
        let (from, to) = (sequences.start, sequences.end.min(until));
        // What is with the worker was given, and is there to be committed.
        self.uncommitted_events -= worker.drop_waiting_until(to);
        attachment.cursor.lost_by(Cause::Damage, self.lane, Gap { from, to });
        attachment.cursor.held(self.lane, self.reader.position());
        self.move_cursor(attachment);
        Step::Give(vec![self.gap(attachment, from..to)])
    }

    /// The first that waits for a worker was kept as a letter, or could not be: then it comes once more.
    pub(super) fn buried(&mut self, number: usize, is_kept: bool, attachment: &Attachment) {
        let Some(worker) = self.workers.get_mut(number) else { return };
        let (true, Some(first)) = (is_kept, worker.first()) else { return worker.spare() };
        self.uncommitted_events -= worker.drop_until(first + 1);
        self.move_cursor(attachment);
        attachment.refused(self.lane, self.uncommitted_events);
    }

    fn read(&mut self, room: usize, attachment: &Attachment, terms: &Terms, sieve: &Sieve) -> Result<Found, LogError> {
        let (runs, bytes) = if terms.form == Form::Frames {
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
                Read::Run(run) => self.events(&run, attachment.name(), terms),
                Read::Gap(gap) => return Ok(Found::Gap(gap)),
                Read::End => return Ok(Found::Nothing),
            }
        };
        if runs.is_empty() {
            return Ok(Found::Nothing);
        }
        self.note(attachment, terms, bytes);
        Ok(Found::Runs(runs))
    }

    fn note(&self, attachment: &Attachment, terms: &Terms, bytes: usize) {
        let window = u32::try_from(terms.window).unwrap_or(u32::MAX);
        attachment.given(self.lane, bytes as u64, window, self.uncommitted_events);
    }

    /// A run as it is stored, and its bytes.
    fn frames(&mut self, run: &Run<Pieces>) -> (Vec<ConsumedRun>, usize) {
        self.uncommitted_events += run.count;
        self.workers.iter_mut().take(1).for_each(|worker| worker.give(run.first_sequence..run.next_sequence(), 0));
        let frames: Vec<_> = run.fields.iter().map(frame).collect();
        let bytes = frames.iter().map(frame_bytes).sum();
        (vec![ConsumedRun { frames, first_sequence: run.first_sequence, count: run.count, ..of(run) }], bytes)
    }

    /// What of a run is wanted, dealt out to the workers, and its bytes.
    fn events(&mut self, run: &Run, cursor: &str, terms: &Terms) -> (Vec<ConsumedRun>, usize) {
        let mut given: Vec<_> =
            (0..).take(self.workers.len()).map(|worker| ConsumedRun { worker, ..of(run) }).collect();
        let mut bytes = 0;
        for StoredEvent { sequence, event } in run.events() {
            let record = (self.lane == Lane::Urgent).then(|| record_for(cursor, &event)).flatten();
            if record.is_none() && !terms.wanted.takes(&event) {
                continue;
            }
            self.recorded.extend(record.and_then(lost));
            self.uncommitted_events += 1;
            let (number, (before, alone)) = (share(&event, self.workers.len()), self.given_before(sequence));
            let Some((worker, run)) = self.workers.get_mut(number).zip(given.get_mut(number)) else { continue };
            if worker.is_behind() || (before > 0 && terms.deliveries_max > 0) {
                worker.wait(sequence, before, alone);
                continue;
            }
            worker.give(sequence..sequence + 1, before);
            bytes += event.len();
            // One for each, from the first that is no news on.
            if before > 0 || !run.deliveries.is_empty() {
                run.deliveries.resize(run.sequences.len(), 1);
                run.deliveries.push(before.saturating_add(1));
            }
            run.sequences.push(sequence);
            run.events.push(event);
        }
        given.retain(|run| !run.events.is_empty());
        (given, bytes)
    }

    /// How often an event was given on earlier calls, and whether alone. To be asked in the order of the sequences.
    fn given_before(&mut self, sequence: u64) -> (u32, bool) {
        while self.before.front().is_some_and(|left| left.sequences.end <= sequence) {
            self.before.pop_front();
        }
        let first = self.before.front().filter(|left| left.sequences.contains(&sequence));
        first.map_or((0, false), |left| (left.deliveries, left.alone))
    }

    /// A worker has everything up to this sequence. Gives false when it was not given that far.
    pub(super) fn commit(&mut self, attachment: &Attachment, number: u32, sequence: u64) -> bool {
        let worker = usize::try_from(number).ok().and_then(|number| self.workers.get_mut(number));
        let Some(committed) = worker.and_then(|worker| worker.commit(sequence)) else { return false };
        self.uncommitted_events -= committed;
        if committed > 0 {
            self.move_cursor(attachment);
            attachment.committed(self.lane, committed, self.uncommitted_events);
        }
        true
    }

    /// What was left out is done with, as soon as it is worth a write.
    fn pass(&mut self, attachment: &Attachment) {
        if self.uncommitted_events == 0 && self.reader.position() >= self.committed + PASSED_MIN {
            self.move_cursor(attachment);
        }
    }

    fn move_cursor(&mut self, attachment: &Attachment) {
        let first = self.workers.iter().filter_map(Worker::first).min();
        let next = first.unwrap_or_else(|| self.reader.position());
        attachment.commit(self.lane, next);
        self.committed = next;
    }

    /// The last that is done with, before the program goes; and how often the rest was given.
    pub(super) fn leave(&mut self, attachment: &Attachment) {
        self.move_cursor(attachment);
        let mut left: Vec<Uncommitted> = self.workers.iter().flat_map(Worker::left).cloned().collect();
        left.order_by_key(|left| left.sequences.start);
        let position = self.reader.position();
        for mut ahead in self.before.drain(..) {
            ahead.sequences.start = ahead.sequences.start.max(position);
            left.extend((!ahead.sequences.is_empty()).then_some(ahead));
        }
        left.dedup_by(|next, last| last.join(next));
        attachment.leave(self.lane, left);
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

/// What the event says is lost and why, if it is a record of what this consumer lost, or everybody did: those come whatever it
/// wants.
fn record_for(cursor: &str, event: &[u8]) -> Option<(EventLossPayload, String)> {
    // Few events are at that level, and the head is read at no cost.
    Head::read(event).ok().filter(|head| head.level.to_wire() as i32 == LossRecord::LEVEL)?;
    let view = EventView::decode(event).ok()?;
    LossRecord::is_for(&view, cursor).then(|| loss_record(&view)).flatten()
}

/// The same as a gap of this consumer. What everybody lost has none: it never had numbers that would be missed, or they are met
/// on the way.
fn lost((loss, cause): (EventLossPayload, String)) -> Option<ConsumedGap> {
    (!loss.consumer.is_empty()).then_some(ConsumedGap {
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

#[cfg(test)]
mod tests;
