//! The one thread that writes: takes events from the buffer, makes frames, puts them into the active generation of their
//! lane, flushes, and only then lets readers and waiting producers see them. Seals and rotates generations, makes the
//! ledger durable, and lets go of what may go (`removal`). When the storage fails it works around it (`rescue`).
//!
//! Always holds: what readers see is durable, or the log says that it is not. At most `flush_bytes` are handed to sled
//! between two flushes, for sled has no back-pressure of its own. What is not known to be durable is still in memory.
//! Without work there is no write and no sync: a sleeping disk stays asleep. How far a lane is durable is noted in the
//! ledger before anybody is told: after a kill the next start misses whatever of that is spoilt.

use super::flush_thread::FlushThread;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::event_log::{
    buffer::{Block, Work},
    disk::{
        ballast::Ballast,
        frame::{Circumstances, Effort, Encoder, FRAME_BYTES_MAX},
        generation::{Generation, SLOTS_MAX},
        lock::Lock,
        slots::Slots,
        summary::Summary,
    },
    error::LogError,
    lane::Lane,
    ledger::{age::AgeClock, header::Extent},
    settings::Room,
    shared::Shared,
    write::pending::Pending,
};

/// What a block should compress to: near the bound of a frame, so that few frames are needed, with a margin, so that
/// few blocks must be compressed a second time.
pub(in crate::event_log) const FRAME_BYTES_AIM: usize = 20 * 1024;

/// Bounds of a block's size, bytes of events.
const BLOCK_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024..=128 * 1024;

/// What is stored in a generation in memory before it is sealed: what is lost at a time when there are too many.
const MEMORY_GENERATION_BYTES: u64 = 1024 * 1024;

/// How long after its start the log begins with its ballast: who starts has more urgent things to do.
const BALLAST_DELAY: Duration = Duration::from_secs(10);

/// Between two steps of its growth.
const BALLAST_PAUSE: Duration = Duration::from_millis(100);

/// When there was no room for it, or it has its size: until the next look.
const BALLAST_INTERVAL: Duration = Duration::from_secs(60);

/// How long after its start a log without cursors waits for consumers before it takes everything for history: the
/// cursors may have been lost with a damaged ledger.
const CONSUMERS_DELAY: Duration = Duration::from_secs(60);

/// A generation whose loss the ledger owes, that goes as soon as the record of it is durable.
pub(in crate::event_log) struct Condemned {
    pub(super) lane: Lane,
    pub(super) number: u64,
    pub(super) disk_bytes: u64,
    /// Sequence after the record.
    pub(super) recorded: u64,
}

/// The disk cannot be written.
pub(in crate::event_log) struct Failing {
    pub(super) since: Instant,
    pub(in crate::event_log) retry_at: Instant,
    /// It only has no room: what is laid already, as the ledger, can be written.
    pub(in crate::event_log) is_full: bool,
    /// What the ledger gets in place of the epoch of the events in memory: whatever a crash leaves of these, those after it
    /// have numbers that nobody has seen.
    pub(in crate::event_log) epoch: Uuid,
}

/// The generation being written.
pub(in crate::event_log) struct Active {
    pub(super) number: u64,
    pub(super) generation: Arc<Generation>,
    /// What was put.
    pub(super) summary: Summary,
    /// What was there when it was flushed last.
    pub(super) durable: Summary,
}

impl Active {
    /// A generation all of whose frames are durable.
    pub(in crate::event_log) fn new(number: u64, generation: Arc<Generation>, summary: Summary) -> Active {
        Active { number, generation, durable: summary.clone(), summary }
    }

    pub(super) fn is_full(&self, generation_bytes: u64) -> bool {
        let bytes_max = match self.generation.is_in_memory() {
            true => MEMORY_GENERATION_BYTES,
            false => generation_bytes,
        };
        self.summary.stored_bytes >= bytes_max || self.generation.frames() >= SLOTS_MAX
    }
}

/// A lane as the writer sees it.
#[derive(Default)]
pub(super) struct LaneWork {
    /// Opened when the first event of the lane comes, or at the start when there is one.
    pub(super) active: Option<Active>,
    /// Put since the last flush.
    pub(super) pending: Vec<Pending>,
    pub(super) pending_bytes: usize,
    /// What the buffer still counts and is all pending.
    pub(super) events: usize,
    pub(super) event_bytes: usize,
}

/// The writer's own state.
pub(in crate::event_log) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// As it was when the writer looked last.
    pub(super) room: Room,
    /// Absent while there is no directory to lock. Held until the writer ends.
    pub(super) lock: Option<Lock>,
    pub(super) slots: Slots,
    /// What the ledger has to say of each lane beside what everybody knows.
    pub(super) extents: [Extent; 2],
    /// Whether the log ends in good order.
    pub(super) closed: bool,
    pub(super) encoder: Encoder,
    pub(super) lanes: [LaneWork; 2],
    pub(super) age: AgeClock,
    /// Loss records that stand once more behind the generations that go: by number, the records' sequences there and the one
    /// after the last copy.
    pub(super) carried: BTreeMap<u64, (Vec<u64>, u64)>,
    pub(super) condemned: Vec<Condemned>,
    pub(super) wound_up: u32,
    /// Sequence after the records that the start made for everybody: the ledger does not owe them.
    pub(super) recorded: u64,
    /// How well events compress, stored bytes per byte, smoothed.
    pub(super) ratio: f64,
    pub(super) ballast: Ballast,
    pub(super) grow_ballast_at: Instant,
    /// Until then a log without cursors is one whose consumers have not come yet.
    pub(super) consumers_known_at: Instant,
    pub(super) look_for_age_at: Option<Instant>,
    /// While the disk cannot be written.
    pub(super) failing: Option<Failing>,
    pub(super) flusher: FlushThread,
    /// The lane whose flush is under way, and since when.
    pub(super) flushing: Option<(Lane, Instant)>,
}

/// What a writer begins with.
pub(in crate::event_log) struct Outset {
    pub(in crate::event_log) lock: Option<Lock>,
    pub(in crate::event_log) slots: Slots,
    pub(in crate::event_log) extents: [Extent; 2],
    pub(in crate::event_log) age: AgeClock,
    /// Why nothing can be written.
    pub(in crate::event_log) fault: Option<LogError>,
    /// Sequence after the records that the start made for everybody: the ledger does not owe them.
    pub(in crate::event_log) recorded: u64,
}

impl Writer {
    /// # Errors
    /// When zstd cannot allocate or there can be no thread.
    pub(in crate::event_log) fn new(shared: Arc<Shared>, outset: Outset) -> Result<Writer, LogError> {
        let settings = &shared.settings;
        let encoder = Encoder::new().map_err(|e| LogError::io("compress for", &settings.directory, e))?;
        let ballast = Ballast::find(&settings.directory, settings.disk_bytes_max, settings.ballast_bytes_max);
        let now = Instant::now();
        let mut writer = Writer {
            encoder,
            lock: outset.lock,
            slots: outset.slots,
            extents: outset.extents,
            closed: false,
            lanes: Default::default(),
            age: outset.age,
            carried: BTreeMap::new(),
            condemned: Vec::new(),
            wound_up: 0,
            recorded: outset.recorded,
            ratio: 0.5,
            ballast,
            grow_ballast_at: now + BALLAST_DELAY,
            consumers_known_at: now + CONSUMERS_DELAY,
            look_for_age_at: shared.room().age_interval().map(|interval| now + interval),
            failing: None,
            flusher: FlushThread::start()
                .map_err(|e| LogError::io("start a thread for", &shared.settings.directory, e))?,
            flushing: None,
            room: shared.room(),
            shared,
        };
        if let Some(error) = outset.fault {
            writer.enter_memory(&error);
        }
        // Before anything is written: whose numbers it bears, and that the log is open.
        writer.persist();
        writer.shared.tell();
        Ok(writer)
    }

    /// Works until the buffer is closed and empty.
    ///
    /// # Errors
    /// When zstd cannot allocate. Failures of the storage are worked around.
    pub(in crate::event_log) fn run(mut self) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let at_disk = shared.pulse.at_disk();
        self.retain();
        drop(at_disk);
        loop {
            let work = shared.buffer.next_work(self.alarm());
            shared.pulse.beat();
            let encoded = match &work {
                Work::Write(blocks) => self.encode_all(blocks)?,
                _ => Vec::new(),
            };
            // From here on it is at the disk, or waits for a reader who is.
            let _at_disk = shared.pulse.at_disk();
            // Only now: compressing went on while the disk was busy with what came before.
            self.finish_flush();
            let closed = matches!(work, Work::Close) && !self.winds_up();
            match work {
                Work::Write(blocks) => self.write(blocks, encoded),
                Work::Cursors => self.keep_ledger(),
                Work::Alarm => self.chores(),
                Work::Close if closed => self.close(),
                Work::Close => {}
            }
            self.strike();
            shared.note_damage();
            shared.pulse.rest();
            if closed {
                return Ok(());
            }
        }
    }

    pub(super) fn alarm(&self) -> Option<Instant> {
        let retry = self.failing.as_ref().map(|failing| failing.retry_at);
        let ballast = self.ballast.is_short().then_some(self.grow_ballast_at);
        [retry, ballast, self.look_for_age_at].into_iter().flatten().min()
    }

    pub(super) fn chores(&mut self) {
        let now = Instant::now();
        if self.failing.as_ref().is_some_and(|failing| now >= failing.retry_at) {
            self.recover();
        }
        if self.look_for_age_at.is_some_and(|at| now >= at) {
            self.look_for_age_at = self.room.age_interval().map(|interval| now + interval);
            self.seal_old();
            self.retain();
        }
        if now >= self.grow_ballast_at {
            self.grow_ballast(now);
        }
    }

    pub(super) fn grow_ballast(&mut self, now: Instant) {
        let grown = self.failing.is_none() && self.ballast.grow().unwrap_or(false);
        self.shared.set_ballast(self.ballast.bytes());
        let pause = if grown && self.ballast.is_short() { BALLAST_PAUSE } else { BALLAST_INTERVAL };
        self.grow_ballast_at = now + pause;
    }

    pub(super) fn encode_all(&mut self, blocks: &[Block]) -> Result<Vec<Vec<Pending>>, LogError> {
        let effort = if self.shared.buffer.take_crowded() { Effort::Hurried } else { Effort::Usual };
        self.encoder
            .set_effort(effort)
            .map_err(|e| LogError::io("compress for", &self.shared.settings.directory, e))?;
        blocks.iter().map(|block| self.encode(block)).collect()
    }

    /// Writes blocks, flushing whenever enough has been put. A flush never covers two lanes: each has its own store.
    pub(super) fn write(&mut self, blocks: Vec<Block>, encoded: Vec<Vec<Pending>>) {
        let flush_bytes = self.shared.settings.flush_bytes;
        let mut last = None;
        for (block, frames) in blocks.into_iter().zip(encoded) {
            let lane = block.lane;
            if let Some(last) = last.filter(|last| *last != lane) {
                self.flush(last);
            }
            last = Some(lane);
            let mut frames = frames.into_iter().peekable();
            while let Some(frame) = frames.next() {
                let work = &self.lanes[lane.index()];
                if !work.pending.is_empty() && work.pending_bytes + FRAME_BYTES_MAX > flush_bytes {
                    self.flush(lane);
                }
                if frames.peek().is_none() {
                    // Before the last frame is put: that may be what fills a generation, and flushes.
                    let work = &mut self.lanes[lane.index()];
                    work.events += block.entries.len();
                    work.event_bytes += block.event_bytes;
                }
                self.put(lane, frame);
            }
        }
        match last {
            Some(last) if self.shared.buffer.has_step() => self.begin_flush(last),
            Some(last) => self.flush(last),
            None => {}
        }
    }

    /// Has a lane flushed while the next step is compressed.
    pub(super) fn begin_flush(&mut self, lane: Lane) {
        let work = &self.lanes[lane.index()];
        let begun = match &work.active {
            Some(active) if !work.pending.is_empty() => self.flusher.begin(&active.generation),
            _ => false,
        };
        match begun {
            true => self.flushing = Some((lane, Instant::now())),
            false => self.flush(lane),
        }
    }

    /// Waits for the flush that is under way.
    pub(super) fn finish_flush(&mut self) {
        let Some((lane, begun)) = self.flushing.take() else { return };
        let finished = self.flusher.finish();
        self.shared.commits.observe(begun.elapsed());
        match finished {
            Ok(()) => self.flushed(lane),
            Err(error) => self.rescue(lane, error),
        }
    }

    pub(super) fn encode(&mut self, block: &Block) -> Result<Vec<Pending>, LogError> {
        let shared = &self.shared;
        let with = Circumstances {
            lane: block.lane,
            epoch: shared.numbering.epoch(),
            boot_id: shared.boot_id,
            clock: block.clock,
        };
        let mut frames = Vec::with_capacity(1);
        self.encoder
            .encode(with, block.first_sequence, &block.fields, 0, &block.entries, &mut frames)
            .map_err(|e| LogError::io("compress for", &shared.settings.directory, e))?;
        let stored = frames.iter().map(|frame| frame.bytes.len()).sum();
        self.learn(block.fields.len(), stored);
        let mut entries = block.entries.as_slice();
        let pending = frames.into_iter().map(|frame| {
            let (of_this, rest) = entries.split_at(frame.header.count as usize);
            entries = rest;
            Pending::new(frame, of_this)
        });
        Ok(pending.collect())
    }

    pub(super) fn put(&mut self, lane: Lane, mut frame: Pending) {
        // It was made before the epoch changed.
        frame.renumber(self.shared.numbering.epoch());
        let put = self.try_put(lane, &frame);
        let work = &mut self.lanes[lane.index()];
        work.pending_bytes += frame.len();
        work.pending.push(frame);
        match put {
            Err(error) => self.rescue(lane, error),
            Ok(full) if full => {
                self.flush(lane);
                self.seal(lane);
            }
            Ok(_) => {}
        }
    }

    /// Gives whether the generation is full now.
    pub(super) fn try_put(&mut self, lane: Lane, frame: &Pending) -> Result<bool, LogError> {
        let generation_bytes = self.shared.settings.generation_bytes;
        let active = self.active(lane, frame.first_sequence())?;
        frame.put(&active.generation, &mut active.summary)?;
        Ok(active.is_full(generation_bytes))
    }

    /// Makes durable what is pending of a lane, and shows it.
    pub(super) fn flush(&mut self, lane: Lane) {
        let work = &self.lanes[lane.index()];
        if work.pending.is_empty() {
            return;
        }
        let begun = Instant::now();
        let flushed = work.active.as_ref().map_or(Ok(()), |active| active.generation.flush());
        self.shared.commits.observe(begun.elapsed());
        match flushed {
            Ok(()) => self.flushed(lane),
            Err(error) => self.rescue(lane, error),
        }
    }

    /// Everything that was put into a lane is where it should be.
    pub(super) fn flushed(&mut self, lane: Lane) {
        let work = &mut self.lanes[lane.index()];
        work.pending.clear();
        work.pending_bytes = 0;
        let (events, event_bytes) = (std::mem::take(&mut work.events), std::mem::take(&mut work.event_bytes));
        let Some(active) = &mut work.active else { return };
        active.durable = active.summary.clone();
        let next = active.summary.next_sequence;
        self.shared.rows[lane.index()].update_active(active.number, &active.summary);
        self.note_end(lane, next);
        // Room first: who is woken by what is durable finds the memory free.
        self.shared.buffer.release(lane, events, event_bytes);
        self.shared.reach.show(lane, next, self.failing.is_none());
    }

    /// The generation that takes the lane's next frame.
    pub(super) fn active(&mut self, lane: Lane, first_sequence: u64) -> Result<&mut Active, LogError> {
        let work = &mut self.lanes[lane.index()];
        if work.active.is_none() {
            let row = &self.shared.rows[lane.index()];
            let number = row.next_number();
            let generation = Arc::new(match self.failing {
                None => Generation::create(row.path(), number)?,
                Some(_) => Generation::in_memory(row.path()),
            });
            let summary = Summary { begun_at: self.age.milliseconds(), ..Summary::empty(first_sequence) };
            row.set_active(number, &generation, &summary);
            work.active = Some(Active::new(number, generation, summary));
        }
        Ok(work.active.as_mut().expect("set above"))
    }

    /// Closes the active generation of a lane for good. Everything in it has been flushed.
    pub(super) fn seal(&mut self, lane: Lane) {
        let sealed_at = self.age.milliseconds();
        let Some(active) = &mut self.lanes[lane.index()].active else { return };
        active.durable.sealed_at = sealed_at;
        let (number, summary) = (active.number, active.durable.clone());
        if self.failing.is_none() {
            self.extents[lane.index()].sealed = summary.next_sequence;
            // Before the manifest: one that knows more than the ledger proves that the ledger has gone back.
            if self.persist() {
                self.shared.rows[lane.index()].write_manifest(number, &summary, self.shared.numbering.epoch());
            }
        }
        self.put_away(lane);
        self.retain();
    }

    /// Takes the active generation out of the writer's hands, as it was flushed last.
    pub(super) fn put_away(&mut self, lane: Lane) {
        let Some(active) = self.lanes[lane.index()].active.take() else { return };
        let row = &self.shared.rows[lane.index()];
        row.update_active(active.number, &active.durable);
        drop(active.generation);
        row.seal(active.number);
    }

    /// Seals what has been written to for so long that its oldest events would be kept too long.
    pub(super) fn seal_old(&mut self) {
        let Some(interval) = self.room.age_interval() else { return };
        let began_before = self.age.now().saturating_sub(interval).as_millis();
        for lane in Lane::ALL {
            let old = |active: &Active| active.durable.frames > 0 && u128::from(active.durable.begun_at) < began_before;
            if self.lanes[lane.index()].active.as_ref().is_some_and(old) {
                self.seal(lane);
            }
        }
    }

    pub(super) fn learn(&mut self, raw: usize, stored: usize) {
        if raw >= *BLOCK_BYTES.start() / 2 {
            self.ratio = 0.8 * self.ratio + 0.2 * (stored as f64 / raw as f64);
            let aim = (FRAME_BYTES_AIM as f64 / self.ratio.max(0.01)) as usize;
            self.shared.buffer.set_block_bytes(aim.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()));
        }
    }
}
