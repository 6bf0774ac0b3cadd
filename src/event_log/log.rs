//! The open log, as everybody has it: producers append and commit, readers read, consumers take their cursors.
//!
//! Opening finds out what the disk holds (`opening`) and starts the writer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    buffer::{self, Buffer},
    clock_state::ClockState,
    cursor::Cursor,
    draft::Draft,
    error::LogError,
    lane::Lane,
    ledger::{
        loss::{Cause, Loss},
        ownership::Ownership,
    },
    loss_counts::LossCounts,
    opening::Found,
    reach::{Awaited, Reach},
    read::reader::Reader,
    record::RECORDS,
    settings::{Room, Settings},
    shared::Shared,
    write::writer::{FRAME_BYTES_AIM, Outset, Writer},
};
use crate::{
    health::{Pulse, Signs},
    lock::lock,
    metrics::Histogram,
    telemetry::{ErrorChain, message},
};

/// The open log. Cheap to copy; every copy is the same log.
#[derive(Clone)]
pub struct EventLog {
    pub(super) shared: Arc<Shared>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl EventLog {
    /// Opens the log, or makes it, and starts its writer. Blocking.
    ///
    /// After a process that did not close it, a loss record names what may be missing: events that were accepted but
    /// not yet durable, at most those of one flush interval.
    ///
    /// # Errors
    /// When the storage fails, is damaged, is used by another process, or cannot be made durable in this program.
    pub fn open(settings: Settings) -> Result<EventLog, LogError> {
        let found = Found::find(&settings)?;
        let Found { ledger, rows, numbering, next_sequences, extents, .. } = found;
        let limits = buffer::Limits {
            events_max: settings.buffer_size,
            flush_threshold: settings.flush_threshold,
            flush_interval: settings.flush_interval,
            step_blocks: settings.flush_bytes / FRAME_BYTES_AIM,
        };
        let shared = Arc::new(Shared {
            numbering,
            boot_id: settings.boot_id,
            clock: AtomicU8::new(ClockState::Unknown.number()),
            buffer: Buffer::new(limits, next_sequences),
            ledger,
            reach: Reach::new(next_sequences),
            lost: extents.map(|extent| AtomicU64::new(extent.lost)),
            losses: LossCounts::default(),
            commits: Histogram::default(),
            ledger_bytes: AtomicU64::new(found.slots.disk_bytes()),
            ballast_bytes: AtomicU64::new(0),
            degraded: Mutex::default(),
            pulse: Pulse::default(),
            rows,
            room: Mutex::new(settings.room()),
            age: found.age,
            settings,
        });
        for loss in &found.losses {
            let gone = std::slice::from_ref(&loss.sequences);
            // Without a consumer retention loses nothing to anybody.
            match loss.cause {
                Cause::Retention => shared.lose(loss, gone, &[]),
                _ => shared.lose_to_all(None, loss, gone),
            };
        }
        if found.unclean {
            Lane::ALL.into_iter().for_each(|lane| shared.record_unclean_stop(lane));
        }
        if found.cursors_are_lost {
            shared.record(&Loss::unknown(Lane::Routine, Cause::Damage, shared.numbering.epoch()));
        }
        Lane::ALL.into_iter().for_each(|lane| shared.report_damage(lane));
        let Found { lock, slots, age, fault, .. } = found;
        let recorded = shared.buffer.next_sequence(RECORDS);
        let outset = Outset { lock, slots, extents, age, fault, recorded };
        let writer = Writer::new(Arc::clone(&shared), outset)?;
        let handle = start(writer, Arc::clone(&shared))?;
        Ok(EventLog { shared, writer: Arc::new(Mutex::new(Some(handle))) })
    }

    /// Appends events, all of them or none, behind each other. Answers when they are in memory, with the sequence after
    /// the last; waits while the memory is full.
    ///
    /// # Errors
    /// When the log is closed or its writer has ended.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing has been appended.
    pub async fn append(&self, lane: Lane, drafts: &[Draft<'_>]) -> Result<u64, LogError> {
        let mut of_lanes: [&[Draft<'_>]; 2] = [&[], &[]];
        of_lanes[lane.index()] = drafts;
        Ok(self.append_to_both(of_lanes, false).await?[lane.index()])
    }

    /// Appends events to both lanes, urgent first: all of them or none of either. `is_awaited` for whoever makes them durable at
    /// once: one turn of the writer serves both. Gives the sequences after the last. Otherwise as [`EventLog::append`].
    ///
    /// # Errors
    /// As [`EventLog::append`].
    pub async fn append_to_both(&self, drafts: [&[Draft<'_>]; 2], is_awaited: bool) -> Result<[u64; 2], LogError> {
        self.shared.buffer.put(drafts, self.shared.clock(), is_awaited).await
    }

    /// Makes durable, now, everything of a lane before `next`. Cancel safe.
    ///
    /// # Errors
    /// When the writer ends before that.
    pub async fn commit(&self, lane: Lane, next: u64) -> Result<(), LogError> {
        self.shared.hurry(lane, next);
        self.durable(lane, next).await
    }

    /// Makes everything of a lane before `next` as safe as can be, now: durable, or, while the disk cannot be written,
    /// readable from memory. Then it gives the reason. Cancel safe.
    ///
    /// # Errors
    /// When the writer ends before that.
    pub async fn secure(&self, lane: Lane, next: u64) -> Result<Option<String>, LogError> {
        self.shared.hurry(lane, next);
        let (shared, reach) = (&self.shared, &self.shared.reach);
        loop {
            let is_visible = reach.visible(lane) >= next;
            let awaited = if is_visible { Awaited::Durable(lane, next) } else { Awaited::Visible(lane, next) };
            let woken = reach.wait(awaited);
            if reach.durable(lane) >= next {
                return Ok(None);
            }
            if let Some(reason) = shared.buffer.ended() {
                return Err(LogError::Closed(reason));
            }
            let reason = shared.failure();
            if is_visible && !reason.is_empty() {
                return Ok(Some(reason));
            }
            woken.await;
        }
    }

    /// Waits until everything of a lane before `next` is durable, without hurrying it. Cancel safe.
    ///
    /// # Errors
    /// When the writer ends before that.
    pub async fn durable(&self, lane: Lane, next: u64) -> Result<(), LogError> {
        let shared = &self.shared;
        loop {
            let woken = shared.reach.wait(Awaited::Durable(lane, next));
            if shared.durable(lane) >= next {
                return Ok(());
            }
            // The writer stirs once more when it ends.
            if let Some(reason) = shared.buffer.ended() {
                return Err(LogError::Closed(reason));
            }
            woken.await;
        }
    }

    /// Sequence after the last accepted event of a lane, durable or not.
    pub fn next_sequence(&self, lane: Lane) -> u64 {
        self.shared.buffer.next_sequence(lane)
    }

    /// First sequence that is still there, and the one after the last event that can be read. Equal when the lane is empty.
    pub fn bounds(&self, lane: Lane) -> (u64, u64) {
        let end = self.shared.visible(lane);
        (self.shared.rows[lane.index()].first_sequence().unwrap_or(end).min(end), end)
    }

    /// A reader that begins at `from`. It holds no cursor: the log does not wait for it.
    pub fn reader(&self, lane: Lane, from: u64) -> Reader {
        Reader::new(Arc::clone(&self.shared), lane, from)
    }

    /// The cursor of this name; a new one begins with the oldest stored events. `None` when there are too many, or the name
    /// is longer than 64 bytes.
    pub fn cursor(&self, name: &str) -> Option<Cursor> {
        self.register(name, Lane::ALL.map(|lane| self.bounds(lane).0), None)
    }

    /// The cursor of this name; a new one begins at these sequences.
    pub(super) fn register(&self, name: &str, first: [u64; 2], program: Option<Ownership>) -> Option<Cursor> {
        let name: Arc<str> = Arc::from(name);
        let registered = self.shared.ledger.register(&name, first, program);
        self.shared.buffer.cursor_moved();
        registered.then(|| Cursor { shared: Arc::clone(&self.shared), name })
    }

    /// Forgets the consumer of this name: nothing is kept for it any more, and it is not told of losses. Gives whether there
    /// was one. Its cursors do nothing from then on.
    pub fn remove_consumer(&self, name: &str) -> bool {
        let removed = self.shared.ledger.remove(name);
        self.shared.buffer.cursor_moved();
        removed
    }

    /// Keeps so much for so long, from now on: what has no room any more goes within a moment, with a record where somebody
    /// loses by it.
    pub fn set_room(&self, room: Room) {
        *lock(&self.shared.room) = room;
        self.shared.buffer.cursor_moved();
    }

    /// Takes other bounds of what waits in memory, at once. `flush_interval` can only be shortened below that of the
    /// [`Room`]: after an unclean stop the next start tells by that how much may have been lost.
    pub fn set_memory(&self, buffer_size: usize, flush_threshold: usize, flush_interval: Duration) {
        self.shared.buffer.limit(buffer::Limits {
            events_max: buffer_size,
            flush_threshold,
            flush_interval: flush_interval.min(self.shared.room().flush_interval),
            ..self.shared.buffer.limits()
        });
    }

    /// Tells the log whether the wall clock is in step; noted with every event from now on.
    pub fn set_clock(&self, state: ClockState) {
        self.shared.clock.store(state.number(), Ordering::Relaxed);
    }

    /// Identity of the numbering of new events.
    pub fn epoch(&self) -> Uuid {
        self.shared.numbering.epoch()
    }

    /// Gives everything that `cursor` has not passed numbers that nobody has seen: a new epoch, also for what is stored.
    /// For a consumer to whom the old numbers stand for other events, as after a rolled-back or copied disk. Readers must be
    /// placed anew; they get nothing of it until the new epoch is durable, a moment later.
    pub fn renumber(&self, cursor: &Cursor) -> Uuid {
        let (shared, epoch) = (&self.shared, Uuid::new_v4());
        let from = Lane::ALL.map(|lane| cursor.next(lane));
        // First without a stretch, so that whatever is accepted beyond the stretches bears the new epoch by itself.
        shared.numbering.renumber(epoch, from, from);
        shared.numbering.renumber(epoch, from, Lane::ALL.map(|lane| shared.buffer.next_sequence(lane)));
        shared.buffer.ledger_is_due();
        epoch
    }

    /// Waits until what [`renumber`](EventLog::renumber) gave other numbers can be read. Cancel safe.
    pub async fn renumbered(&self) {
        loop {
            let stirred = self.shared.reach.wait(Awaited::Stir);
            if !self.shared.numbering.has_pending() {
                return;
            }
            stirred.await;
        }
    }

    /// Why events are not durable at the moment; `None` when they are.
    pub fn degraded(&self) -> Option<String> {
        if let Some(reason) = self.shared.buffer.ended() {
            return Some(reason);
        }
        let (reason, signs) = (self.shared.failure(), self.signs());
        match (signs.stuck(), signs.hung()) {
            _ if !reason.is_empty() => Some(reason),
            (Some(time), _) => Some(format!("the event log's writer has not moved for {} s", time.as_secs())),
            (_, Some(time)) => Some(format!("the disk has not answered for {} s", time.as_secs())),
            (None, None) => None,
        }
    }

    /// How the writer is doing, for a watchdog: to be asked every few seconds.
    pub fn signs(&self) -> Signs {
        self.shared.pulse.look(Instant::now(), self.shared.buffer.has_work())
    }

    /// Waits until the writer has ended by itself, and says why. Cancel safe.
    pub async fn ended(&self) -> String {
        loop {
            let stirred = self.shared.reach.wait(Awaited::Stir);
            if let Some(reason) = self.shared.buffer.ended() {
                return reason;
            }
            stirred.await;
        }
    }

    /// Takes nothing more, makes everything durable and ends the writer. Blocking; waits as long as the disk does.
    pub fn close(&self) {
        self.shared.buffer.close();
        let handle = lock(&self.writer).take();
        if let Some(handle) = handle {
            // A panic of the writer has been reported by `start`'s guard.
            let _ = handle.join();
        }
    }
}

/// Starts the writer's thread. However it ends, producers and waiting callers learn it.
fn start(writer: Writer, shared: Arc<Shared>) -> Result<JoinHandle<()>, LogError> {
    let directory = shared.settings.directory.clone();
    std::thread::Builder::new()
        .name("event-log".to_owned())
        .spawn(move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
            let reason = match ended {
                Ok(Ok(())) => "the log is closed".to_owned(),
                Ok(Err(error)) => {
                    let chain = ErrorChain(&error).to_string();
                    tracing::error!(message_id = %message::LOG_DAMAGED, error = %chain, kind = error.kind(), "the event log has stopped");
                    chain
                }
                Err(_) => "the event log's writer panicked".to_owned(),
            };
            shared.buffer.end(reason);
            shared.reach.stir();
        })
        .map_err(|e| LogError::io("start the writer of", &directory, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_awaited_is_written_although_nothing_else_is_due_for_hours() {
        let directory = tempfile::tempdir().expect("a directory");
        let hours = Duration::from_secs(24 * 60 * 60);
        let settings = Settings { flush_interval: hours, ..Settings::new(directory.path().join("log")) };
        let log = EventLog::open(settings).expect("a log");
        let draft = Draft { event: b"x", level: 1, category: 1, timestamp: 1, kind: None };
        log.append(Lane::Routine, &[draft]).await.expect("appended");
        let next = log.append_to_both([&[], &[draft]], true).await.expect("appended");
        log.durable(Lane::Routine, next[1]).await.expect("durable without a commit");
        log.close();
    }
}
