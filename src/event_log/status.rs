//! How the log is doing: for whoever watches it.

use std::{sync::atomic::Ordering, time::Duration};

use uuid::Uuid;

use crate::{
    event_log::{
        disk::{
            quarantine,
            row::{Located, Row},
        },
        lane::Lane,
        log::EventLog,
        loss_counts::LossCount,
    },
    lock::lock,
    metrics::Histogram,
};

/// How the log is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogState {
    /// In force: that of the events from now on.
    pub epoch: Uuid,
    /// In the order of [`Lane::ALL`].
    pub lanes: [LaneState; 2],
    /// One for each consumer and lane.
    pub cursors: Vec<CursorState>,
    /// The share of `disk_bytes_max` that only the urgent lane may take, percent.
    pub urgent_share: u8,
    /// Measured on the disk, not counted.
    pub disk_bytes: u64,
    /// What it may take.
    pub disk_bytes_max: u64,
    /// Given up when the disk is full, so that the log can go on. Part of `disk_bytes`.
    pub ballast_bytes: u64,
    /// Damaged parts that were put aside. Not part of `disk_bytes`.
    pub quarantined_bytes: u64,
    /// Why events are not durable at the moment; empty when they are.
    pub degraded: String,
}

/// How a lane is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneState {
    /// Events on the disk, and their bytes.
    pub stored_events: u64,
    /// Compressed.
    pub stored_bytes: u64,
    /// Parts in which they lie.
    pub generations: u64,
    /// Measured on the disk, not counted.
    pub disk_bytes: u64,
    /// Of the oldest event that is there.
    pub first_sequence: u64,
    /// What the next event gets.
    pub next_sequence: u64,
    /// Everything before it survives a loss of power.
    pub durable_sequence: u64,
    /// Accepted, in memory, and gone if the power fails now.
    pub waiting_events: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// How long the oldest of them has waited.
    pub waiting: Duration,
    /// Unix milliseconds of the oldest stored event; 0 when there is none.
    pub oldest_time: i64,
    /// Removed before every consumer had them, since the log was made.
    pub lost_events: u64,
    /// Since the log was opened, by cause; each cause is there, also without a loss.
    pub losses: Vec<LossCount>,
}

/// Where a consumer stands in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorState {
    /// The consumer's name.
    pub name: String,
    /// Each lane has its own place.
    pub lane: Lane,
    /// What it takes next.
    pub next_sequence: u64,
    /// Stored events that it has yet to take.
    pub lag_events: u64,
    /// When the oldest of them was accepted, Unix milliseconds. The log leaves it 0: see [`EventLog::time_of`].
    pub oldest_time: i64,
}

/// What of a lane is nowhere but in memory.
struct AtRisk {
    events: u64,
    bytes: u64,
    oldest: Duration,
}

impl EventLog {
    /// What is stored, what waits in memory, what it takes on the disk (measured now: a few dozen `stat` calls for each
    /// gigabyte) and where the cursors stand.
    pub fn status(&self) -> LogState {
        let shared = &self.shared;
        let room = shared.room();
        let disk_bytes = shared.rows.iter().map(Row::disk_bytes).sum::<u64>()
            + shared.ballast_bytes()
            + shared.ledger_bytes.load(Ordering::Relaxed);
        LogState {
            epoch: self.epoch(),
            lanes: Lane::ALL.map(|lane| self.lane_state(lane)),
            cursors: self.cursors(),
            urgent_share: room.urgent_share,
            disk_bytes,
            disk_bytes_max: room.disk_bytes_max,
            ballast_bytes: shared.ballast_bytes(),
            quarantined_bytes: quarantine::list(&shared.settings.directory).iter().map(|store| store.disk_bytes).sum(),
            degraded: self.degraded().unwrap_or_default(),
        }
    }

    /// Brings up to date what is known without the disk, and without any lock that may be held while the disk is asked:
    /// cursors, what waits, what is lost. For when [`status`](EventLog::status) does not come back.
    pub fn refresh(&self, state: &mut LogState) {
        state.cursors = self.cursors();
        for (lane, its) in Lane::ALL.into_iter().zip(&mut state.lanes) {
            self.refresh_lane(lane, its);
        }
    }

    fn refresh_lane(&self, lane: Lane, its: &mut LaneState) {
        its.next_sequence = self.next_sequence(lane);
        its.durable_sequence = self.shared.durable(lane);
        let mut waiting = self.shared.buffer.waiting(lane);
        // What can be read and is not durable lies in generations in memory: their bytes are not known here.
        let in_memory = self.shared.visible(lane).saturating_sub(its.durable_sequence);
        if in_memory > 0 {
            let since = lock(&self.shared.degraded).since;
            waiting.oldest = waiting.oldest.max(since.map_or(Duration::ZERO, |since| since.elapsed()));
        }
        its.waiting_events = waiting.events.saturating_add(in_memory);
        its.waiting_bytes = waiting.bytes;
        its.waiting = waiting.oldest;
        its.lost_events = self.shared.lost(lane);
        its.losses = self.shared.losses.of(lane);
    }

    /// How long the disk took to make groups of events durable, since the log was opened.
    pub fn commits(&self) -> &Histogram {
        &self.shared.commits
    }

    /// Where the cursors stand. Costs no look at the disk.
    pub fn cursors(&self) -> Vec<CursorState> {
        let list = self.shared.ledger.list().into_iter();
        list.map(|(name, lane, next)| self.cursor_state(name, lane, next)).collect()
    }

    /// When an event was accepted, or the first that is there behind it; Unix milliseconds, give or take what was stored in
    /// the same frame. `None` when it cannot be read. May have to search a whole generation: not for every question.
    pub fn time_of(&self, lane: Lane, sequence: u64) -> Option<i64> {
        let (row, _at_disk) = (&self.shared.rows[lane.index()], self.shared.pulse.at_disk());
        let (generation, sequence) = match row.locate(sequence).ok()? {
            Located::In(generation) => (generation, sequence),
            Located::Gone(next) => match row.locate(next).ok()? {
                Located::In(generation) => (generation, next),
                Located::Gone(_) | Located::Ahead => return None,
            },
            Located::Ahead => return None,
        };
        let slot = generation.slot_of(sequence).ok()?;
        generation.header(slot).ok().map(|header| header.min_time)
    }

    fn lane_state(&self, lane: Lane) -> LaneState {
        let row = &self.shared.rows[lane.index()];
        let (at_risk, in_memory) = self.at_risk(lane);
        let (generations, events, bytes, oldest_time) = row.totals();
        LaneState {
            stored_events: events.saturating_sub(in_memory.events),
            stored_bytes: bytes.saturating_sub(in_memory.bytes),
            generations,
            disk_bytes: row.disk_bytes(),
            first_sequence: self.bounds(lane).0,
            next_sequence: self.next_sequence(lane),
            durable_sequence: self.shared.durable(lane),
            waiting_events: at_risk.events,
            waiting_bytes: at_risk.bytes,
            waiting: at_risk.oldest,
            oldest_time,
            lost_events: self.shared.lost(lane),
            losses: self.shared.losses.of(lane),
        }
    }

    /// What the lane would lose with the power; and how much of that lies in generations that the disk did not take.
    fn at_risk(&self, lane: Lane) -> (AtRisk, AtRisk) {
        let generations = self.shared.rows[lane.index()].in_memory();
        let since = lock(&self.shared.degraded).since;
        let in_memory = AtRisk {
            events: generations.iter().map(|(summary, _)| summary.events()).sum(),
            bytes: generations.iter().map(|(summary, _)| summary.stored_bytes).sum(),
            oldest: since.filter(|_| !generations.is_empty()).map_or(Duration::ZERO, |since| since.elapsed()),
        };
        let waiting = self.shared.buffer.waiting(lane);
        let all = AtRisk {
            events: waiting.events + in_memory.events,
            bytes: waiting.bytes + in_memory.bytes,
            oldest: waiting.oldest.max(in_memory.oldest),
        };
        (all, in_memory)
    }

    fn cursor_state(&self, name: String, lane: Lane, next: u64) -> CursorState {
        let lag_events = self.shared.visible(lane).saturating_sub(next);
        CursorState { name, lane, next_sequence: next, lag_events, oldest_time: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{draft::Draft, ledger::loss::Cause, settings::Settings};

    #[tokio::test]
    async fn nothing_is_at_risk_once_it_is_durable_also_when_it_fills_a_generation() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            buffer_size: 10,
            flush_threshold: 10,
            generation_bytes: 1,
            ..Settings::new(directory.path().join("log"))
        };
        let log = EventLog::open(settings).expect("a log");
        for round in 1..=3 {
            let draft =
                Draft { event: b"x", level: 1, category: 1, timestamp: i64::try_from(round).expect("few"), kind: None };
            // Waits for ever if what was written before still counts.
            let appended = tokio::time::timeout(Duration::from_secs(60), log.append(Lane::Routine, &[draft; 10])).await;
            let next = appended.expect("there is room").expect("appended");
            log.commit(Lane::Routine, next).await.expect("durable");
            let status = log.status();
            let routine = &status.lanes[Lane::Routine.index()];
            assert_eq!((routine.stored_events, routine.waiting_events, routine.waiting_bytes), (round * 10, 0, 0));
            assert_eq!((routine.durable_sequence, routine.next_sequence), (next, next));
            assert_eq!(log.time_of(Lane::Routine, next - 1), i64::try_from(round).ok());
            assert_eq!(log.time_of(Lane::Routine, next), None);
        }
        log.close();
    }

    #[tokio::test]
    async fn what_waits_and_what_is_lost_is_known_while_a_look_at_the_disk_holds_the_lanes() {
        let directory = tempfile::tempdir().expect("a directory");
        let settings =
            Settings { flush_interval: Duration::from_secs(3600), ..Settings::new(directory.path().join("log")) };
        let log = EventLog::open(settings).expect("a log");
        let mut seen = log.status();
        let draft = Draft { event: b"x", level: 1, category: 1, timestamp: 1, kind: None };
        let next = log.append(Lane::Routine, &[draft; 10]).await.expect("appended");
        log.shared.count_loss(Lane::Routine, 3);
        log.shared.losses.add(Lane::Routine, Cause::MemoryBound, 3);
        let (asked, bounds) = (log.status(), Lane::ALL.map(|lane| log.bounds(lane)));
        let refreshed = {
            let _held: Vec<_> = log.shared.rows.iter().map(Row::hold).collect();
            assert_eq!(Lane::ALL.map(|lane| log.bounds(lane)), bounds, "where a lane begins and ends, too");
            let (log, mut none) = (log.clone(), LogState::default());
            let refreshing = std::thread::spawn(move || {
                log.refresh(&mut seen);
                log.refresh(&mut none);
                [seen, none]
            });
            while !refreshing.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            refreshing.join().expect("no panic")
        };
        let told = |status: &LogState| {
            let lane = status.lanes[Lane::Routine.index()].clone();
            (lane.waiting_events, lane.waiting_bytes, lane.next_sequence, lane.lost_events, lane.losses)
        };
        for status in &refreshed {
            assert_eq!(told(status), told(&asked));
            assert_eq!((told(status).0, told(status).2, told(status).3), (10, next, 3));
        }
        log.close();
    }
}
