//! The memory in front of the disk: accepted events wait here until the writer takes them.
//!
//! Producers put, the writer takes. Bounded by events and bytes; a producer that finds it full waits. What the writer
//! has taken still counts until it is durable. Sequences are given here, so their order is the order of acceptance.
//!
//! Routine events wait for company: for a number of them, for a time, or until somebody waits for a commit. Urgent ones
//! do not: each asks for a commit at once, and what comes while the writer is busy goes with the next one. Only a storm
//! of them is grouped.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    event_log::{
        clock_state::ClockState,
        disk::frame::{Entry, push_event},
        draft::Draft,
        error::LogError,
        lane::Lane,
    },
    limits::Bucket,
    lock::{self, lock},
};

/// The most bytes of events that wait in memory, whatever their number. A producer waits beyond it.
pub(super) const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a moved cursor may wait until it is durable. After a crash at most so much is delivered again.
const CURSOR_DELAY: Duration = Duration::from_millis(200);

/// Commits of urgent events that may follow each other at once; so many come back each second.
const URGENT_COMMITS: f64 = 20.0;

/// How long urgent events wait for each other when there were more commits than that.
const URGENT_GROUPING: Duration = Duration::from_millis(50);

/// Bounds and times of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) events_max: usize,
    /// Waiting events from which on the writer begins by itself.
    pub(super) flush_threshold: usize,
    /// How long an event may wait.
    pub(super) flush_interval: Duration,
    /// How many blocks the writer takes at a time: what becomes one flush. At least one is taken.
    pub(super) step_blocks: usize,
}

/// Consecutive events that are to become one frame.
pub(super) struct Block {
    pub(super) lane: Lane,
    pub(super) first_sequence: u64,
    pub(super) fields: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) clock: ClockState,
    /// Bytes of the events themselves.
    pub(super) event_bytes: usize,
    since: Instant,
}

impl Block {
    fn next_sequence(&self) -> u64 {
        self.first_sequence + self.entries.len() as u64
    }
}

/// What the writer shall do next.
pub(super) enum Work {
    /// Write these.
    Write(Vec<Block>),
    /// Make the cursors durable.
    Cursors,
    /// The time that it asked to be woken at has come.
    Alarm,
    /// Everything is written and nothing more will come.
    Close,
}

/// What waits in a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) oldest: Duration,
}

#[derive(Default)]
struct Queue {
    next_sequence: u64,
    blocks: VecDeque<Block>,
    /// The writer goes on until everything before this sequence is taken.
    target: u64,
    /// Not yet durable: waiting or in the writer's hands.
    events: usize,
    bytes: usize,
    in_hand_since: Option<Instant>,
}

struct State {
    queues: [Queue; 2],
    /// Lets commits of urgent events through one by one, until there are too many.
    urgent_pace: Bucket,
    /// When the urgent events that wait are to be written.
    urgent_due: Option<Instant>,
    cursors_moved: Option<Instant>,
    closing: bool,
    ended: Option<String>,
    /// The writer sleeps, and nobody has woken it yet.
    asleep: bool,
    /// A producer has had to wait for room since the writer asked last.
    crowded: bool,
    /// Bytes of events at which a block is closed: what compresses to a frame, by the writer's experience.
    block_bytes: usize,
    limits: Limits,
}

pub(super) struct Buffer {
    state: Mutex<State>,
    work: Condvar,
    room: Notify,
}

impl Buffer {
    pub(super) fn new(limits: Limits, next_sequences: [u64; 2]) -> Buffer {
        let queue = |next_sequence| Queue { next_sequence, ..Queue::default() };
        Buffer {
            state: Mutex::new(State {
                queues: next_sequences.map(queue),
                urgent_pace: Bucket::new(URGENT_COMMITS, URGENT_COMMITS, Instant::now()),
                urgent_due: None,
                cursors_moved: None,
                closing: false,
                ended: None,
                asleep: false,
                crowded: false,
                block_bytes: 32 * 1024,
                limits,
            }),
            work: Condvar::new(),
            room: Notify::new(),
        }
    }

    /// Takes other bounds and times, for what waits already too.
    pub(super) fn limit(&self, limits: Limits) {
        let mut state = self.lock();
        state.limits = limits;
        self.wake(state);
        self.room.notify_waiters();
    }

    /// Bounds and times now.
    pub(super) fn limits(&self) -> Limits {
        self.lock().limits
    }

    /// Puts events of both lanes, urgent first, all of them or none; gives the sequences after the last. Waits while there is no
    /// room. `is_awaited`: a commit would be asked for at once.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing has been put.
    pub(super) async fn put(
        &self,
        drafts: [&[Draft<'_>]; 2],
        clock: ClockState,
        is_awaited: bool,
    ) -> Result<[u64; 2], LogError> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Room that is made from here on is not missed.
            room.as_mut().enable();
            if let Some(next) = self.put_if_room(drafts, clock, is_awaited)? {
                return Ok(next);
            }
            room.await;
        }
    }

    fn put_if_room(
        &self,
        [urgent, routine]: [&[Draft<'_>]; 2],
        clock: ClockState,
        is_awaited: bool,
    ) -> Result<Option<[u64; 2]>, LogError> {
        let bytes: usize = urgent.iter().chain(routine).map(|draft| draft.event.len()).sum();
        let count = urgent.len() + routine.len();
        let mut state = self.lock();
        state.check_open()?;
        let (events, held) = (state.events(), state.bytes());
        // A request larger than the whole buffer is taken when it is alone.
        let fits = events + count <= state.limits.events_max && held + bytes <= BUFFER_BYTES_MAX;
        if !fits && events > 0 {
            state.aim_at_everything();
            state.crowded = true;
            self.wake(state);
            return Ok(None);
        }
        let next = [state.push(Lane::Urgent, urgent, clock), state.push(Lane::Routine, routine, clock)];
        if events + count >= state.limits.flush_threshold || held + bytes >= BUFFER_BYTES_MAX / 2 {
            state.aim_at_everything();
        } else if !urgent.is_empty() {
            state.hurry();
        } else if !is_awaited && events > 0 {
            return Ok(Some(next));
        }
        if is_awaited && !routine.is_empty() {
            state.aim_at(Lane::Routine);
        }
        self.wake(state);
        Ok(Some(next))
    }

    /// Puts an event of the log's own, whether there is room or not; gives its sequence.
    pub(super) fn put_own(&self, lane: Lane, draft: Draft<'_>, clock: ClockState) -> u64 {
        let mut state = self.lock();
        let next = state.push(lane, &[draft], clock);
        state.hurry();
        self.wake(state);
        next - 1
    }

    /// Asks for everything put so far into a lane to be made durable now.
    pub(super) fn commit(&self, lane: Lane) {
        let mut state = self.lock();
        state.aim_at(lane);
        self.wake(state);
    }

    /// Notes that a cursor has moved.
    pub(super) fn cursor_moved(&self) {
        let mut state = self.lock();
        if state.cursors_moved.is_none() {
            state.cursors_moved = Some(Instant::now());
            self.wake(state);
        }
    }

    /// Has the ledger written now.
    pub(super) fn ledger_is_due(&self) {
        let (mut state, now) = (self.lock(), Instant::now());
        state.cursors_moved = Some(now.checked_sub(CURSOR_DELAY).unwrap_or(now));
        self.wake(state);
    }

    /// Nothing more is taken in; the writer is to write what is there and end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.aim_at_everything();
        self.wake(state);
        self.room.notify_waiters();
    }

    /// The writer has ended; producers learn the reason.
    pub(super) fn end(&self, reason: String) {
        self.lock().ended.get_or_insert(reason);
        self.room.notify_waiters();
    }

    /// Why nothing is taken any more, if so.
    pub(super) fn ended(&self) -> Option<String> {
        self.lock().ended.clone()
    }

    /// Sequence after the last accepted event of a lane.
    pub(super) fn next_sequence(&self, lane: Lane) -> u64 {
        self.lock().queues[lane.index()].next_sequence
    }

    /// What is not yet durable.
    pub(super) fn waiting(&self, lane: Lane) -> Waiting {
        let state = self.lock();
        let queue = &state.queues[lane.index()];
        let since = queue.in_hand_since.or(queue.blocks.front().map(|block| block.since));
        Waiting {
            events: queue.events as u64,
            bytes: queue.bytes as u64,
            oldest: since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Whether producers wait for room, or the next one would.
    pub(super) fn is_full(&self) -> bool {
        let state = self.lock();
        state.crowded || state.events() >= state.limits.events_max || state.bytes() >= BUFFER_BYTES_MAX
    }

    /// Blocks until there is something to do; at the latest until `alarm`. The writer's side, like the two below.
    pub(super) fn next_work(&self, alarm: Option<Instant>) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.due(now) {
                state.aim_at_everything();
            } else if state.urgent_due.is_some_and(|due| now >= due) {
                state.aim_at(Lane::Urgent);
            }
            let step = state.limits.step_blocks.max(1);
            let blocks = state.take_step(step);
            if !blocks.is_empty() {
                return Work::Write(blocks);
            }
            if state.closing {
                return Work::Close;
            }
            if state.cursors_moved.is_some_and(|since| now >= since + CURSOR_DELAY) {
                state.cursors_moved = None;
                return Work::Cursors;
            }
            if alarm.is_some_and(|alarm| now >= alarm) {
                return Work::Alarm;
            }
            state = self.sleep(state, now, alarm);
        }
    }

    /// Wakes the writer if it sleeps: with the lock free, or it would sleep again at once.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.work.notify_one();
        }
    }

    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        now: Instant,
        alarm: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        let alarms = [
            state.oldest().map(|since| since + state.limits.flush_interval),
            state.cursors_moved.map(|since| since + CURSOR_DELAY),
            state.urgent_due,
            alarm,
        ];
        state.asleep = true;
        let mut state = match alarms.into_iter().flatten().min() {
            Some(alarm) => lock::whole(self.work.wait_timeout(state, alarm.saturating_duration_since(now))).0,
            None => lock::whole(self.work.wait(state)),
        };
        state.asleep = false;
        state
    }

    /// Whether there is something that the writer should take up at once.
    pub(super) fn has_work(&self) -> bool {
        let (state, now) = (self.lock(), Instant::now());
        let is_aimed_at = |queue: &Queue| queue.blocks.front().is_some_and(|block| block.first_sequence < queue.target);
        state.queues.iter().any(is_aimed_at)
            || state.due(now)
            || state.urgent_due.is_some_and(|due| now >= due)
            || state.cursors_moved.is_some_and(|since| now >= since + CURSOR_DELAY)
    }

    /// Whether producers have had to wait for room since this was asked last.
    pub(super) fn take_crowded(&self) -> bool {
        std::mem::take(&mut self.lock().crowded)
    }

    /// Whether there is a whole step to be taken already.
    pub(super) fn has_step(&self) -> bool {
        let state = self.lock();
        let due = |queue: &Queue| {
            queue.blocks.len() > state.limits.step_blocks.max(1)
                && queue.blocks.get(state.limits.step_blocks).is_some_and(|block| block.first_sequence < queue.target)
        };
        state.queues.iter().any(due)
    }

    /// What the writer took of a lane is durable: there is room again.
    pub(super) fn release(&self, lane: Lane, events: usize, bytes: usize) {
        let mut state = self.lock();
        let queue = &mut state.queues[lane.index()];
        queue.events = queue.events.saturating_sub(events);
        queue.bytes = queue.bytes.saturating_sub(bytes);
        queue.in_hand_since = None;
        drop(state);
        self.room.notify_waiters();
    }

    /// Sets the size at which blocks are closed.
    pub(super) fn set_block_bytes(&self, bytes: usize) {
        self.lock().block_bytes = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn check_open(&self) -> Result<(), LogError> {
        let reason = self.ended.clone().or_else(|| self.closing.then(|| "the agent is stopping".to_owned()));
        reason.map_or(Ok(()), |reason| Err(LogError::Closed(reason)))
    }

    fn events(&self) -> usize {
        self.queues.iter().map(|queue| queue.events).sum()
    }

    fn bytes(&self) -> usize {
        self.queues.iter().map(|queue| queue.bytes).sum()
    }

    fn oldest(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| queue.blocks.front()).map(|block| block.since).min()
    }

    fn due(&self, now: Instant) -> bool {
        self.oldest().is_some_and(|since| now >= since + self.limits.flush_interval)
    }

    fn aim_at_everything(&mut self) {
        for lane in Lane::ALL {
            self.aim_at(lane);
        }
    }

    fn aim_at(&mut self, lane: Lane) {
        let queue = &mut self.queues[lane.index()];
        queue.target = queue.next_sequence;
        if lane == Lane::Urgent {
            self.urgent_due = None;
        }
    }

    /// Urgent events have come: says when they are written, unless that is said already.
    fn hurry(&mut self) {
        if self.urgent_due.is_none() {
            let now = Instant::now();
            let wait = if self.urgent_pace.take(now).is_ok() { Duration::ZERO } else { URGENT_GROUPING };
            self.urgent_due = Some(now + wait);
        }
    }

    fn push(&mut self, lane: Lane, drafts: &[Draft<'_>], clock: ClockState) -> u64 {
        let block_bytes = self.block_bytes;
        // Whoever sends many fills a block; its last event goes beyond.
        let room = if let [first, _, ..] = drafts { block_bytes + 2 * first.event.len() } else { 0 };
        let queue = &mut self.queues[lane.index()];
        for draft in drafts {
            let block = queue.open_block(lane, clock, block_bytes, room);
            push_event(&mut block.fields, draft.event);
            block.entries.push(draft.entry(block.fields.len()));
            block.event_bytes += draft.event.len();
            queue.next_sequence += 1;
            queue.events += 1;
            queue.bytes += draft.event.len();
        }
        queue.next_sequence
    }

    /// Takes blocks, urgent ones first, until there are `step_blocks` of them or the targets are reached.
    fn take_step(&mut self, step_blocks: usize) -> Vec<Block> {
        let mut blocks = Vec::new();
        for queue in &mut self.queues {
            while blocks.len() < step_blocks
                && queue.blocks.front().is_some_and(|block| block.first_sequence < queue.target)
            {
                if let Some(block) = queue.blocks.pop_front() {
                    queue.in_hand_since.get_or_insert(block.since);
                    blocks.push(block);
                }
            }
        }
        blocks
    }
}

impl Queue {
    /// The block that the next event goes into.
    fn open_block(&mut self, lane: Lane, clock: ClockState, block_bytes: usize, room: usize) -> &mut Block {
        let goes_on = self.blocks.back().is_some_and(|block| block.fields.len() < block_bytes && block.clock == clock);
        if !goes_on {
            let first_sequence = self.next_sequence;
            debug_assert!(self.blocks.back().is_none_or(|block| block.next_sequence() == first_sequence));
            self.blocks.push_back(Block {
                lane,
                first_sequence,
                fields: Vec::with_capacity(room),
                entries: Vec::new(),
                clock,
                event_bytes: 0,
                since: Instant::now(),
            });
        }
        self.blocks.back_mut().expect("a block was pushed above if there was none")
    }
}
