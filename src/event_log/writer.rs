//! The one thread that writes: takes events from the buffer, makes frames, puts them into the active generation of their
//! lane, flushes, and only then lets readers and waiting producers see them. Seals, rotates and removes generations, and
//! makes the cursors durable.
//!
//! Always holds: what readers see is durable. At most `flush_bytes` are handed to sled between two flushes, for sled has
//! no back-pressure of its own. Without work there is no write and no sync: a sleeping disk stays asleep.

use std::sync::Arc;

use super::{
    Lane, LogError, Shared,
    age::AgeClock,
    buffer::{Block, Work},
    frame::{Circumstances, Encoded, Encoder, FRAME_BYTES_MAX},
    generation::{Generation, SLOTS_MAX},
    loss::{self, Loss},
    meta::Meta,
    retention::{self, Candidates},
    row::Located,
    summary::Summary,
    tail::Tails,
};
use crate::schema::events::event_loss_payload::EventLossOperation;

/// The most that is put between two flushes, bytes, unless told otherwise.
pub(super) const FLUSH_BYTES: usize = 256 * 1024;

/// What a block should compress to: near the bound of a frame, so that few frames are needed, with a margin, so that
/// few blocks must be compressed a second time.
pub(super) const FRAME_BYTES_AIM: usize = 20 * 1024;

/// Bounds of a block's size, bytes of events.
const BLOCK_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024..=128 * 1024;

/// The generation being written.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) generation: Arc<Generation>,
    pub(super) summary: Summary,
}

/// A generation that goes as soon as the record of it is durable.
struct Condemned {
    lane: Lane,
    number: u64,
    next_sequence: u64,
    /// Sequence after the record.
    recorded: u64,
}

/// The lane that loss records go to.
const RECORDS: Lane = Lane::Routine;

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    meta: Meta,
    encoder: Encoder,
    /// Opened when the first event of the lane comes, or at the start when there is one.
    active: [Option<Active>; 2],
    age: AgeClock,
    condemned: Vec<Condemned>,
    /// How well events compress, stored bytes per byte, smoothed.
    ratio: f64,
}

impl Writer {
    /// # Errors
    /// When zstd cannot allocate.
    pub(super) fn new(shared: Arc<Shared>, meta: Meta, tails: Tails) -> Result<Writer, LogError> {
        let encoder = Encoder::new().map_err(|e| LogError::io("compress for", &shared.settings.directory, e))?;
        let age = AgeClock::new(meta.age()?, shared.boot_id, shared.settings.since_boot);
        Ok(Writer { shared, meta, encoder, active: tails.active, age, condemned: Vec::new(), ratio: 0.5 })
    }

    /// Works until the buffer is closed and empty.
    ///
    /// # Errors
    /// When the storage fails. What is not durable by then is still in the buffer, or lost with the process and named
    /// in the record of the next start.
    pub(super) fn run(mut self) -> Result<(), LogError> {
        self.retain()?;
        loop {
            match self.shared.buffer.next_work() {
                Work::Write(blocks) => {
                    self.write(blocks)?;
                    self.remove_condemned()?;
                }
                Work::Cursors => {
                    self.meta.set_age(self.age.note())?;
                    self.shared.cursors.persist(&self.meta)?;
                    self.retain()?;
                }
                Work::Age => {
                    self.seal_old()?;
                    self.retain()?;
                }
                Work::Close => {
                    self.remove_condemned()?;
                    self.meta.set_age(self.age.note())?;
                    self.shared.cursors.persist(&self.meta)?;
                    return self.meta.set_clean();
                }
            }
        }
    }

    /// Writes blocks, flushing whenever enough has been put. A flush never covers two lanes: each has its own store.
    fn write(&mut self, blocks: Vec<Block>) -> Result<(), LogError> {
        let flush_bytes = self.shared.settings.flush_bytes;
        let mut group = Group::default();
        for block in blocks {
            if group.bytes > 0 && (group.lane != block.lane || group.bytes + FRAME_BYTES_MAX > flush_bytes) {
                self.flush(&mut group)?;
            }
            group.lane = block.lane;
            self.put(block, &mut group)?;
        }
        self.flush(&mut group)
    }

    fn put(&mut self, block: Block, group: &mut Group) -> Result<(), LogError> {
        let shared = &self.shared;
        let with = Circumstances { lane: block.lane, epoch: shared.epoch, boot_id: shared.boot_id, clock: block.clock };
        let mut frames = Vec::with_capacity(1);
        self.encoder
            .encode(with, block.first_sequence, &block.fields, 0, &block.entries, &mut frames)
            .map_err(|e| LogError::io("compress for", &shared.settings.directory, e))?;
        let stored: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        self.learn(block.fields.len(), stored);
        let generation_bytes = self.shared.settings.generation_bytes;
        let mut entries = block.entries.as_slice();
        for Encoded { header, bytes } in frames {
            let active = self.active(block.lane, header.first_sequence)?;
            active.generation.put(&bytes)?;
            active.summary.add(&header, bytes.len());
            let (of_this, rest) = entries.split_at(header.count as usize);
            active.summary.count_levels(of_this);
            entries = rest;
            group.bytes += bytes.len();
            if active.summary.stored_bytes >= generation_bytes || active.generation.frames() >= SLOTS_MAX {
                self.flush_active(block.lane)?;
                self.show(block.lane);
                self.seal(block.lane)?;
            }
        }
        group.events += block.entries.len();
        group.event_bytes += block.event_bytes;
        Ok(())
    }

    /// Makes a group durable and shows it.
    fn flush(&mut self, group: &mut Group) -> Result<(), LogError> {
        if group.events > 0 {
            self.flush_active(group.lane)?;
            // Room first: who is woken by what is durable finds the memory free.
            self.shared.buffer.release(group.lane, group.events, group.event_bytes);
            self.show(group.lane);
        }
        *group = Group::default();
        Ok(())
    }

    fn flush_active(&mut self, lane: Lane) -> Result<(), LogError> {
        let Some(active) = &self.active[lane.index()] else { return Ok(()) };
        active.generation.flush()?;
        self.shared.rows[lane.index()].update_active(active.number, &active.summary);
        Ok(())
    }

    /// Lets readers and waiting producers see what has been flushed.
    fn show(&self, lane: Lane) {
        if let Some(active) = &self.active[lane.index()] {
            self.shared.set_durable(lane, active.summary.next_sequence);
        }
    }

    /// The generation that takes the lane's next frame.
    fn active(&mut self, lane: Lane, first_sequence: u64) -> Result<&mut Active, LogError> {
        let slot = &mut self.active[lane.index()];
        if slot.is_none() {
            let row = &self.shared.rows[lane.index()];
            let number = row.newest()?.map_or(1, |newest| newest + 1);
            let generation = Arc::new(Generation::create(row.path(), number)?);
            // Before anything can be removed: the sequence goes on even if every generation is gone.
            self.meta.set_floor(lane, first_sequence)?;
            self.meta.flush()?;
            let summary = Summary { begun_at: self.age.milliseconds(), ..Summary::empty(first_sequence) };
            row.set_active(number, &generation, &summary);
            *slot = Some(Active { number, generation, summary });
        }
        Ok(slot.as_mut().expect("set above"))
    }

    /// Closes the active generation of a lane for good. Everything in it is durable.
    fn seal(&mut self, lane: Lane) -> Result<(), LogError> {
        let Some(mut active) = self.active[lane.index()].take() else { return Ok(()) };
        active.summary.sealed_at = self.age.milliseconds();
        self.shared.rows[lane.index()].update_active(active.number, &active.summary);
        self.meta.set_age(self.age.note())?;
        self.meta.set_summary(lane, active.number, &active.summary)?;
        self.meta.set_floor(lane, active.summary.next_sequence)?;
        self.meta.flush()?;
        // After `meta`: a manifest that knows more than `meta` proves that `meta` has gone back.
        self.shared.rows[lane.index()].write_manifest(active.number, &active.summary, self.shared.epoch);
        drop(active.generation);
        self.shared.rows[lane.index()].seal(active.number);
        self.retain()
    }

    /// Seals what has been written to for so long that its oldest events would be kept too long.
    fn seal_old(&mut self) -> Result<(), LogError> {
        let Some(interval) = self.shared.settings.age_interval() else { return Ok(()) };
        let began_before = self.age.now().saturating_sub(interval).as_millis();
        for lane in Lane::ALL {
            let old = |active: &Active| active.summary.frames > 0 && u128::from(active.summary.begun_at) < began_before;
            if self.active[lane.index()].as_ref().is_some_and(old) {
                self.seal(lane)?;
            }
        }
        Ok(())
    }

    /// Removes what may go, and condemns what must: that is recorded as lost now and removed when the record is durable,
    /// so that a crash in between counts events twice rather than not at all.
    fn retain(&mut self) -> Result<(), LogError> {
        self.remove_condemned()?;
        let shared = Arc::clone(&self.shared);
        let lanes: Vec<_> = shared
            .rows
            .iter()
            .map(|row| Candidates { lane: row.lane(), sealed: row.sealed(), passed: shared.cursors.passed(row.lane()) })
            .collect();
        let sealed_bytes: u64 = lanes.iter().flat_map(|lane| &lane.sealed).map(|sealed| sealed.disk_bytes).sum();
        let rows_bytes: u64 =
            shared.rows.iter().map(|row| row.disk_bytes().saturating_sub(row.condemned_bytes())).sum();
        let other_bytes = (rows_bytes + self.meta.disk_bytes()).saturating_sub(sealed_bytes);
        for removal in retention::decide(shared.settings.bounds(self.age.now()), &lanes, other_bytes) {
            let sealed = lanes.iter().filter(|lane| lane.lane == removal.lane).flat_map(|lane| &lane.sealed);
            let Some(sealed) = sealed.into_iter().find(|sealed| sealed.number == removal.number) else { continue };
            if removal.loses {
                self.condemn(removal.lane, sealed.number, &sealed.summary)?;
            } else {
                self.remove(removal.lane, sealed.number)?;
            }
        }
        Ok(())
    }

    /// Records what consumers lose by the removal of a generation. Loss records in it that somebody has not taken are
    /// not lost with it: they are appended again.
    fn condemn(&mut self, lane: Lane, number: u64, summary: &Summary) -> Result<(), LogError> {
        let shared = &self.shared;
        let from = shared.cursors.passed(lane).unwrap_or(0).max(summary.first_sequence);
        let records = match shared.rows[lane.index()].locate(summary.first_sequence)? {
            Located::In(generation) => loss::records_in(&generation, from)?,
            Located::Gone(_) | Located::Ahead => Vec::new(),
        };
        let carried = records.len() as u64;
        for record in records {
            shared.put_record(&record.event, record.timestamp);
        }
        shared.count_loss(lane, summary.next_sequence.saturating_sub(from).saturating_sub(carried));
        shared.record(&Loss {
            lane,
            epoch: shared.epoch,
            cause: EventLossOperation::Retention,
            consumers: shared.cursors.behind(lane, summary.next_sequence),
            summary: summary.clone(),
            from,
            carried,
        });
        shared.buffer.commit();
        shared.rows[lane.index()].condemn(number);
        let recorded = shared.buffer.next_sequence(RECORDS);
        self.condemned.push(Condemned { lane, number, next_sequence: summary.next_sequence, recorded });
        Ok(())
    }

    /// Removes the generations whose loss is durably recorded, after moving the cursors past them.
    fn remove_condemned(&mut self) -> Result<(), LogError> {
        let durable = self.shared.durable(RECORDS);
        let (due, rest) =
            std::mem::take(&mut self.condemned).into_iter().partition(|c: &Condemned| c.recorded <= durable);
        self.condemned = rest;
        for Condemned { lane, number, next_sequence, .. } in due {
            self.shared.cursors.raise(lane, next_sequence);
            self.shared.cursors.persist(&self.meta)?;
            self.remove(lane, number)?;
        }
        Ok(())
    }

    fn remove(&self, lane: Lane, number: u64) -> Result<(), LogError> {
        self.shared.rows[lane.index()].remove(number)?;
        self.meta.remove_summary(lane, number)
    }

    fn learn(&mut self, raw: usize, stored: usize) {
        if raw >= *BLOCK_BYTES.start() / 2 {
            self.ratio = 0.8 * self.ratio + 0.2 * (stored as f64 / raw as f64);
            let aim = (FRAME_BYTES_AIM as f64 / self.ratio.max(0.01)) as usize;
            self.shared.buffer.set_block_bytes(aim.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()));
        }
    }
}

/// What has been put and not yet flushed.
struct Group {
    lane: Lane,
    bytes: usize,
    events: usize,
    event_bytes: usize,
}

impl Default for Group {
    fn default() -> Group {
        Group { lane: Lane::Routine, bytes: 0, events: 0, event_bytes: 0 }
    }
}

impl Shared {
    /// Appends a loss record to the log.
    pub(super) fn record(&self, loss: &Loss) {
        let (event, timestamp) = loss.event();
        self.put_record(&event, timestamp);
    }

    fn put_record(&self, event: &[u8], timestamp: i64) {
        let draft = super::Draft { event, level: loss::LEVEL, category: loss::CATEGORY, timestamp };
        self.buffer.put_own(RECORDS, draft, self.clock());
    }
}
