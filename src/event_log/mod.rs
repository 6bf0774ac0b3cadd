//! The event log: keeps encoded events in the order in which they were accepted and lets each consumer read at its own
//! pace. The only user of sled.
//!
//! Takes from the pipeline, gives to sinks, the local socket and the command line. Nothing here knows what an event
//! means: it sees bytes, a level, a category and a time.
//!
//! # Layout
//!
//! ```text
//! log/ledger                 cursors, what is owed to consumers, epoch: small slots, each written twice in turn
//! log/routine/gen-0000000007/   sealed: written once, read, removed whole
//! log/routine/gen-0000000008/   active: the writer appends frames to its slots
//! log/urgent/…               the same for what must not wait
//! log/ballast                space to give up when the disk is full
//! log/quarantine/            what could not be read; never removed but by its bound
//! ```
//!
//! Always holds: a sequence is given once and never for two events of an epoch; what readers see, and what a committed
//! answer stands for, is durable (see `durable`); memory and descriptors do not depend on what is stored; what is
//! removed before every consumer had it is recorded as lost, and that record is itself an event of the log.

mod acceptance;
mod age;
mod allocator;
mod ballast;
mod buffer;
mod cursor;
mod damage;
mod disk;
mod draft;
mod durable;
mod error;
mod frame;
mod generation;
mod lane;
mod ledger;
mod lock;
mod loss_counts;
mod manifest;
mod numbering;
mod offline;
mod opening;
mod pending;
mod pieces;
mod quarantine;
mod reader;
mod record;
mod refusal;
mod repair;
mod retention;
mod row;
mod salvage;
mod settings;
mod status;
mod store;
mod summary;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use uuid::Uuid;

pub use self::{
    allocator::Allocator,
    cursor::Cursor,
    draft::{ClockState, Draft},
    error::LogError,
    generation::GENERATION_BYTES,
    lane::Lane,
    ledger::{consumer::BLOB_BYTES_MAX, loss::Cause},
    offline::{GenerationReport, Glance, Report, StoppedLog},
    pieces::{Piece, Pieces},
    quarantine::Quarantined,
    reader::{BatchLimits, Gap, Read, Reader, Run, StoredEvent},
    refusal::Refusal,
    settings::{Room, Settings},
};
use self::{
    buffer::Buffer,
    ledger::{Ledger, loss::Loss},
    loss_counts::LossCounts,
    numbering::Numbering,
    opening::Found,
    record::{CATEGORY, LEVEL, RECORDS, Record},
    row::Row,
    writer::Writer,
};
use crate::{
    health::{Pulse, Signs},
    metrics::Histogram,
    telemetry::{ErrorChain, message},
};

/// How far the lanes reach: the sequences after the last events.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// That readers see.
    visible: [u64; 2],
    /// That survive a loss of power; behind `visible` only while the disk cannot be written.
    durable: [u64; 2],
}

/// What the log's threads and handles have in common.
struct Shared {
    settings: Settings,
    numbering: Numbering,
    boot_id: Uuid,
    clock: AtomicU8,
    buffer: Buffer,
    rows: [Row; 2],
    ledger: Ledger,
    reach: watch::Sender<Reach>,
    lost: [AtomicU64; 2],
    losses: LossCounts,
    /// How long flushes took.
    commits: Histogram,
    ledger_bytes: AtomicU64,
    ballast_bytes: AtomicU64,
    /// Why events are not durable; empty when they are.
    degraded: Mutex<status::Degraded>,
    /// The writer's; readers are at the disk on its behalf, for it may need what they hold.
    pulse: Pulse,
    /// What of the settings has changed since the log was opened.
    room: Mutex<Room>,
}

impl Shared {
    fn durable(&self, lane: Lane) -> u64 {
        self.reach.borrow().durable[lane.index()]
    }

    fn visible(&self, lane: Lane) -> u64 {
        self.reach.borrow().visible[lane.index()]
    }

    /// Lets readers see everything before `next`, and if it is durable waiting producers too.
    fn show(&self, lane: Lane, next: u64, durable: bool) {
        self.reach.send_modify(|reach| {
            reach.visible[lane.index()] = next;
            if durable {
                reach.durable[lane.index()] = next;
            }
        });
    }

    /// Has the writer make a lane durable now, unless everything before `next` is.
    fn hurry(&self, lane: Lane, next: u64) {
        if self.durable(lane) < next {
            self.buffer.commit(lane);
        }
    }

    fn room(&self) -> Room {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_degraded(&self, reason: String) {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner).because(reason);
    }

    /// Why the disk cannot be written; empty when it can.
    fn failure(&self) -> String {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner).reason.clone()
    }

    fn ballast_bytes(&self) -> u64 {
        self.ballast_bytes.load(Ordering::Relaxed)
    }

    fn set_ballast(&self, bytes: u64) {
        self.ballast_bytes.store(bytes, Ordering::Relaxed);
    }

    fn lost(&self, lane: Lane) -> u64 {
        self.lost[lane.index()].load(Ordering::Relaxed)
    }

    fn clock(&self) -> ClockState {
        ClockState::from_number(self.clock.load(Ordering::Relaxed))
    }

    fn count_loss(&self, lane: Lane, events: u64) {
        self.lost[lane.index()].fetch_add(events, Ordering::Relaxed);
        if events > 0 {
            tracing::error!(message_id = %message::EVENTS_LOST, lane = lane.name(), events, "events are lost; a record says which");
        }
    }
}

/// The open log. Cheap to copy; every copy is the same log.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
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
            step_blocks: settings.flush_bytes / writer::FRAME_BYTES_AIM,
        };
        let shared = Arc::new(Shared {
            numbering,
            boot_id: settings.boot_id,
            clock: AtomicU8::new(ClockState::Unknown.number()),
            buffer: Buffer::new(limits, next_sequences),
            ledger,
            reach: watch::Sender::new(Reach { visible: next_sequences, durable: next_sequences }),
            lost: extents.map(|extent| AtomicU64::new(extent.lost)),
            losses: LossCounts::default(),
            commits: Histogram::default(),
            ledger_bytes: AtomicU64::new(found.slots.disk_bytes()),
            ballast_bytes: AtomicU64::new(0),
            degraded: Mutex::default(),
            pulse: Pulse::default(),
            rows,
            room: Mutex::new(settings.room()),
            settings,
        });
        for loss in &found.losses {
            shared.lose(loss, std::slice::from_ref(&loss.sequences), &[]);
        }
        if found.unclean {
            Lane::ALL.into_iter().for_each(|lane| shared.record_unclean_stop(lane));
        }
        if found.cursors_are_lost {
            shared.record(&Loss::unknown(Lane::Routine, Cause::Damage, shared.numbering.epoch()));
        }
        Lane::ALL.into_iter().for_each(|lane| shared.report_damage(lane));
        let outset =
            writer::Outset { lock: found.lock, slots: found.slots, extents, age: found.age, fault: found.fault };
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
        self.shared.buffer.put(lane, drafts, self.shared.clock()).await
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
        let mut reach = self.shared.reach.subscribe();
        loop {
            let Reach { visible, durable } = *reach.borrow_and_update();
            if durable[lane.index()] >= next {
                return Ok(None);
            }
            if let Some(reason) = self.shared.buffer.ended() {
                return Err(LogError::Closed(reason));
            }
            let reason = self.shared.failure();
            if visible[lane.index()] >= next && !reason.is_empty() {
                return Ok(Some(reason));
            }
            let _ = reach.changed().await;
        }
    }

    /// Waits until everything of a lane before `next` is durable, without hurrying it. Cancel safe.
    ///
    /// # Errors
    /// When the writer ends before that.
    pub async fn durable(&self, lane: Lane, next: u64) -> Result<(), LogError> {
        let mut reach = self.shared.reach.subscribe();
        loop {
            if reach.borrow_and_update().durable[lane.index()] >= next {
                return Ok(());
            }
            if let Some(reason) = self.shared.buffer.ended() {
                return Err(LogError::Closed(reason));
            }
            // The writer touches the channel once more when it ends.
            let _ = reach.changed().await;
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
        let name: Arc<str> = Arc::from(name);
        let registered = self.shared.ledger.register(&name, Lane::ALL.map(|lane| self.bounds(lane).0));
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
        *self.shared.room.lock().unwrap_or_else(PoisonError::into_inner) = room;
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
        let mut reach = self.shared.reach.subscribe();
        // Err: the log is closed, and nothing can be read.
        let _ = reach.wait_for(|_| !self.shared.numbering.has_pending()).await;
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
        let mut reach = self.shared.reach.subscribe();
        loop {
            if let Some(reason) = self.shared.buffer.ended() {
                return reason;
            }
            let _ = reach.changed().await;
        }
    }

    /// Takes nothing more, makes everything durable and ends the writer. Blocking; waits as long as the disk does.
    pub fn close(&self) {
        self.shared.buffer.close();
        let handle = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
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
            shared.reach.send_modify(|_| ());
        })
        .map_err(|e| LogError::io("start the writer of", &directory, e))
}

impl Shared {
    fn record_unclean_stop(&self, lane: Lane) {
        let last = self.rows[lane.index()].newest_time();
        let window = i64::try_from(self.settings.flush_interval.as_millis()).unwrap_or(i64::MAX);
        let times = [last, last.saturating_add(window)];
        self.record(&Loss { times, ..Loss::unknown(lane, Cause::UncleanStop, self.numbering.epoch()) });
    }

    /// Each consumer that has not taken all of it loses what goes, and is owed the record ([`Shared::tell`]). `gone` is what
    /// of the loss's sequences is not there any more, `told` what of that is recorded already. Gives the most that one loses.
    fn lose(&self, loss: &Loss, gone: &[Range<u64>], told: &[Range<u64>]) -> u64 {
        let lost = self.ledger.lose(loss, gone, told);
        if lost > 0 {
            self.losses.add(loss.lane, loss.cause, lost);
            self.count_loss(loss.lane, lost);
        }
        lost
    }

    /// Appends the records that are owed. Gives whether there were any.
    fn tell(&self) -> bool {
        self.ledger.tell(|consumer, owed| self.put_record(&Record::new(consumer, owed.id, &owed.loss)))
    }

    /// Appends the record of a loss that everybody is told of who reads on.
    fn record(&self, loss: &Loss) {
        self.losses.add(loss.lane, loss.cause, loss.count);
        self.put_record(&Record::new("", Uuid::now_v7(), loss));
    }

    /// Gives the record's sequence.
    fn put_record(&self, record: &Record) -> u64 {
        let Record { event, timestamp, .. } = record;
        let draft = Draft { event, level: LEVEL, category: CATEGORY, timestamp: *timestamp };
        self.buffer.put_own(RECORDS, draft, self.clock())
    }
}
