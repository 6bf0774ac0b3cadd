//! The state of the log, for `rodent status`.

use std::sync::atomic::Ordering;

use super::{EventLog, Lane, row::Row};
use crate::schema::local::{CursorStatus, LaneStatus, LogStatus};

impl EventLog {
    /// What is stored, what waits in memory, what it takes on the disk (measured now: a few dozen `stat` calls for each
    /// gigabyte) and where the cursors stand.
    pub fn status(&self) -> LogStatus {
        let shared = &self.shared;
        let disk_bytes = shared.rows.iter().map(Row::disk_bytes).sum::<u64>()
            + shared.ballast_bytes()
            + shared.meta_bytes.load(Ordering::Relaxed);
        LogStatus {
            log_epoch: self.epoch().to_string(),
            lanes: Lane::ALL.map(|lane| self.lane_status(lane)).into(),
            cursors: self.cursors(),
            urgent_share: shared.settings.urgent_share.into(),
            disk_bytes,
            disk_bytes_max: shared.settings.disk_bytes_max,
            degraded: self.degraded().unwrap_or_default(),
        }
    }

    /// Where the cursors stand. Costs no look at the disk.
    pub fn cursors(&self) -> Vec<CursorStatus> {
        let list = self.shared.cursors.list().into_iter();
        list.map(|(name, lane, next)| self.cursor_status(name, lane, next)).collect()
    }

    fn lane_status(&self, lane: Lane) -> LaneStatus {
        let waiting = self.shared.buffer.waiting(lane);
        let (generations, events, bytes, oldest_time) = self.shared.rows[lane.index()].totals();
        let (first_sequence, durable_sequence) = self.bounds(lane);
        LaneStatus {
            lane: lane.name().to_owned(),
            stored_events: events,
            stored_bytes: bytes,
            generations,
            disk_bytes: self.shared.rows[lane.index()].disk_bytes(),
            first_sequence,
            next_sequence: self.next_sequence(lane),
            durable_sequence,
            waiting_events: waiting.events,
            waiting_bytes: waiting.bytes,
            waiting_milliseconds: u64::try_from(waiting.oldest.as_millis()).unwrap_or(u64::MAX),
            oldest_time,
            lost_events: self.shared.lost(lane),
        }
    }

    fn cursor_status(&self, name: String, lane: Lane, next: u64) -> CursorStatus {
        let lag_events = self.shared.visible(lane).saturating_sub(next);
        CursorStatus { name, lane: lane.name().to_owned(), next_sequence: next, lag_events }
    }
}
