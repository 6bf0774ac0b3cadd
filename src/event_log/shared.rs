//! What the log's handles and its writer have in common: buffer, rows, ledger, reach; and how a loss is owed and told.
//!
//! Below the writer and the readers, which call nothing of each other.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Instant,
};

use uuid::Uuid;

use super::{
    buffer::Buffer,
    clock_state::ClockState,
    disk::{damage::News, row::Row},
    draft::Draft,
    lane::Lane,
    ledger::{
        Ledger,
        age::AgeClock,
        loss::{Cause, Loss},
        numbering::Numbering,
    },
    loss_counts::LossCounts,
    ranges::within,
    reach::Reach,
    record::{RECORDS, Record},
    settings::{Room, Settings},
};
use crate::{event::LossRecord, health::Pulse, metrics::Histogram, telemetry::message};

use crate::lock::lock;

/// The most records for what is found in a generation at a time; the last one stands for what follows.
const RECORDS_MAX: usize = 32;

/// Why events are not durable, and since when.
#[derive(Debug, Default)]
pub(super) struct Degraded {
    /// Empty when they are.
    pub(super) reason: String,
    pub(super) since: Option<Instant>,
}

impl Degraded {
    /// An empty reason: all is well again.
    pub(super) fn because(&mut self, reason: String) {
        self.since = (!reason.is_empty()).then(|| self.since.unwrap_or_else(Instant::now));
        self.reason = reason;
    }
}

/// What the log's threads and handles have in common.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) numbering: Numbering,
    pub(super) boot_id: Uuid,
    pub(super) clock: AtomicU8,
    pub(super) buffer: Buffer,
    pub(super) rows: [Row; 2],
    pub(super) ledger: Ledger,
    pub(super) reach: Reach,
    pub(super) lost: [AtomicU64; 2],
    pub(super) losses: LossCounts,
    /// How long flushes took.
    pub(super) commits: Histogram,
    pub(super) ledger_bytes: AtomicU64,
    pub(super) ballast_bytes: AtomicU64,
    /// Why events are not durable; empty when they are.
    pub(super) degraded: Mutex<Degraded>,
    /// The writer's; readers are at the disk on its behalf, for it may need what they hold.
    pub(super) pulse: Pulse,
    /// What of the settings has changed since the log was opened.
    pub(super) room: Mutex<Room>,
    /// The log's own time.
    pub(super) age: AgeClock,
}

impl Shared {
    pub(super) fn durable(&self, lane: Lane) -> u64 {
        self.reach.durable(lane)
    }

    pub(super) fn visible(&self, lane: Lane) -> u64 {
        self.reach.visible(lane)
    }

    /// Has the writer make a lane durable now, unless everything before `next` is.
    pub(super) fn hurry(&self, lane: Lane, next: u64) {
        if self.durable(lane) < next {
            self.buffer.commit(lane);
        }
    }

    pub(super) fn room(&self) -> Room {
        *lock(&self.room)
    }

    pub(super) fn set_degraded(&self, reason: String) {
        lock(&self.degraded).because(reason);
    }

    /// Why the disk cannot be written; empty when it can.
    pub(super) fn failure(&self) -> String {
        lock(&self.degraded).reason.clone()
    }

    pub(super) fn ballast_bytes(&self) -> u64 {
        self.ballast_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_ballast(&self, bytes: u64) {
        self.ballast_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn lost(&self, lane: Lane) -> u64 {
        self.lost[lane.index()].load(Ordering::Relaxed)
    }

    pub(super) fn clock(&self) -> ClockState {
        ClockState::from_number(self.clock.load(Ordering::Relaxed))
    }

    pub(super) fn count_loss(&self, lane: Lane, events: u64) {
        self.lost[lane.index()].fetch_add(events, Ordering::Relaxed);
        if events > 0 {
            tracing::error!(message_id = %message::EVENTS_LOST, lane = lane.name(), events, "events are lost; a record says which");
        }
    }

    pub(super) fn record_unclean_stop(&self, lane: Lane) {
        let last = self.rows[lane.index()].newest_time();
        let window = i64::try_from(self.settings.flush_interval.as_millis()).unwrap_or(i64::MAX);
        let times = [last, last.saturating_add(window)];
        self.record(&Loss { times, ..Loss::unknown(lane, Cause::UncleanStop, self.numbering.epoch()) });
    }

    /// Each consumer that has not taken all of it loses what goes, and is owed the record ([`Shared::tell`]). `gone` is what
    /// of the loss's sequences is not there any more, `told` what of that is recorded already. Gives the most that one loses.
    pub(super) fn lose(&self, loss: &Loss, gone: &[Range<u64>], told: &[Range<u64>]) -> u64 {
        let lost = self.ledger.lose(loss, gone, told);
        if lost > 0 {
            self.losses.add(loss.lane, loss.cause, lost);
            self.count_loss(loss.lane, lost);
        }
        lost
    }

    /// Appends the records that are owed. Gives whether there were any.
    pub(super) fn tell(&self) -> bool {
        self.ledger.tell(|consumer, owed| self.put_record(&Record::new(consumer, owed.id, &owed.loss)))
    }

    /// Appends the record of a loss that everybody is told of who reads on.
    pub(super) fn record(&self, loss: &Loss) {
        self.losses.add(loss.lane, loss.cause, loss.count);
        self.put_record(&Record::new("", Uuid::now_v7(), loss));
    }

    /// Gives the record's sequence.
    pub(super) fn put_record(&self, record: &Record) -> u64 {
        let Record { event, timestamp, .. } = record;
        let (level, category) = (LossRecord::LEVEL, LossRecord::CATEGORY);
        let draft = Draft { event, level, category, timestamp: *timestamp, kind: None };
        self.buffer.put_own(RECORDS, draft, self.clock())
    }

    /// Records what has been found to be gone of a lane. From whoever found it.
    pub(in crate::event_log) fn report_damage(&self, lane: Lane) {
        let row = &self.rows[lane.index()];
        for news in row.take_news() {
            self.record_damage(lane, &news);
            self.tell();
            row.set_recorded(news.number, self.buffer.next_sequence(RECORDS));
        }
    }

    fn record_damage(&self, lane: Lane, news: &News) {
        let gone: Vec<_> = news.ranges.iter().map(|(range, _)| range.clone()).collect();
        let (apart, together) = news.ranges.split_at(news.ranges.len().min(RECORDS_MAX - 1));
        let mut events = 0;
        for (range, epoch) in apart {
            events += self.lose_damaged(lane, news, std::slice::from_ref(range), *epoch);
        }
        if let [(_, epoch), ..] = together {
            events += self.lose_damaged(lane, news, &gone[apart.len()..], *epoch);
        }
        tracing::error!(
            message_id = %message::LOG_DAMAGED,
            lane = lane.name(),
            generation = news.number,
            events,
            "a part of the event log is damaged; what is lost is recorded"
        );
    }

    fn lose_damaged(&self, lane: Lane, news: &News, gone: &[Range<u64>], epoch: Option<Uuid>) -> u64 {
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return 0 };
        let written = epoch.unwrap_or_else(|| self.numbering.epoch());
        let times = [news.summary.min_time, news.summary.max_time];
        let parts = self.numbering.parts(lane, &(first.start..last.end), written).into_iter();
        let losses = parts.map(|(range, epoch)| Loss { times, ..Loss::of(lane, Cause::Damage, epoch, range) });
        losses.map(|loss| self.lose_to_all(Some(news.number), &loss, &within(gone, &loss.sequences))).sum()
    }

    /// As [`Shared::lose`]; where there is no consumer yet, whoever comes is told. `number` is the generation of what is damaged.
    pub(super) fn lose_to_all(&self, number: Option<u64>, loss: &Loss, gone: &[Range<u64>]) -> u64 {
        if self.ledger.has_consumers() {
            return self.lose(loss, gone, &[]);
        }
        // Whoever comes, and finds it gone, finds the record too.
        let count = gone.iter().map(|range| range.end - range.start).sum();
        if count > 0 {
            self.record(&Loss { count, ..loss.clone() });
            self.count_loss(loss.lane, count);
            if let Some(number) = number {
                self.rows[loss.lane.index()].set_told_to_all(number, gone);
            }
        }
        count
    }

    /// Notes what is gone where its record is durable. The writer's side.
    pub(in crate::event_log) fn note_damage(&self) {
        for row in &self.rows {
            row.note_damage(self.durable(RECORDS), self.numbering.epoch());
        }
    }
}
