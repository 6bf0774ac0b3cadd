//! What the writer lets go of: carries out what `retention` decides, and records what consumers lose by it.
//!
//! Always holds: a generation whose removal loses events goes only after the record of the loss is durable (in memory:
//! after it can be read), and takes no such record with it. A crash in between counts events twice, never not at all.

use std::{sync::Arc, time::Instant};

use uuid::Uuid;

use super::Writer;
use crate::{
    event_log::{
        Lane, Shared,
        loss::{self, Loss, RECORDS},
        retention::{self, Candidates},
        row::{Located, Sealed},
        summary::Summary,
    },
    schema::events::event_loss_payload::EventLossOperation,
    telemetry::ErrorChain,
};

/// The most that is kept in memory while the disk cannot be written, bytes of frames. Beyond it the oldest goes, with a
/// record.
const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A generation that goes as soon as the record of it is safe.
pub(super) struct Condemned {
    lane: Lane,
    number: u64,
    next_sequence: u64,
    /// Sequence after the record.
    recorded: u64,
}

impl Writer {
    /// Removes what may go, and condemns what must.
    pub(super) fn retain(&mut self) {
        self.take_room();
        self.remove_condemned();
        match self.failing {
            None => self.retain_on_disk(),
            Some(_) => self.retain_in_memory(),
        }
        for row in &self.shared.rows {
            let first = row.first_sequence().unwrap_or_else(|| self.shared.visible(row.lane()));
            self.shared.numbering.forget(row.lane(), first);
        }
    }

    /// Goes by what the log may keep now.
    fn take_room(&mut self) {
        let room = self.shared.room();
        if room == std::mem::replace(&mut self.room, room) {
            return;
        }
        self.look_for_age_at = room.age_interval().map(|interval| Instant::now() + interval);
        self.ballast.resize(room.disk_bytes_max, self.shared.settings.ballast_bytes_max);
        self.shared.set_ballast(self.ballast.bytes());
    }

    fn retain_on_disk(&mut self) {
        let shared = Arc::clone(&self.shared);
        let lanes = self.candidates(shared.cursors.durably_passed());
        let sealed_bytes: u64 = lanes.iter().flat_map(|lane| &lane.sealed).map(|sealed| sealed.disk_bytes).sum();
        let rows_bytes: u64 =
            shared.rows.iter().map(|row| row.disk_bytes().saturating_sub(row.condemned_bytes())).sum();
        let beside = self.meta.disk_bytes() + self.ballast.bytes();
        let other_bytes = (rows_bytes + beside).saturating_sub(sealed_bytes);
        let bounds = self.room.bounds(shared.settings.generation_bytes, self.age.now());
        for removal in retention::decide(bounds, &lanes, other_bytes) {
            let Some(sealed) = find(&lanes, removal.lane, removal.number) else { continue };
            match removal.loses {
                true => self.condemn(removal.lane, sealed, EventLossOperation::Retention),
                false => self.remove(removal.lane, sealed.number, sealed.summary.next_sequence),
            }
        }
    }

    /// In memory there is one bound. What every consumer has goes first, then routine events, the oldest first.
    fn retain_in_memory(&mut self) {
        let bounds = retention::Bounds {
            disk_bytes_max: MEMORY_BYTES_MAX,
            routine_bytes_max: u64::MAX,
            history_bytes: Some(u64::MAX),
            expired_before: 0,
        };
        let passed = self.shared.cursors.passed();
        let lanes: Vec<_> = self
            .shared
            .rows
            .iter()
            .map(|row| Candidates {
                lane: row.lane(),
                sealed: row.sealed_in_memory(),
                passed: passed.map(|passed| passed[row.lane().index()]),
            })
            .collect();
        for removal in retention::decide(bounds, &lanes, 0) {
            let Some(sealed) = find(&lanes, removal.lane, removal.number) else { continue };
            match removal.loses {
                true => self.condemn(removal.lane, sealed, EventLossOperation::MemoryBound),
                false => self.forget(removal.lane, sealed.number),
            }
        }
    }

    /// Removes everything on the disk that every consumer has; gives whether there was anything. For a full disk: nothing
    /// else is written.
    pub(super) fn remove_history(&mut self) -> bool {
        let lanes = self.candidates(self.shared.cursors.durably_passed());
        let history: Vec<_> = lanes.iter().flat_map(Candidates::history).collect();
        for (lane, sealed) in &history {
            // The newest stays: with it goes what is known of the numbering, which cannot be written down now.
            if find(&lanes, *lane, u64::MAX).is_none_or(|newest| newest.number != sealed.number) {
                self.forget(*lane, sealed.number);
            }
        }
        !history.is_empty()
    }

    fn candidates(&self, passed: Option<[u64; 2]>) -> Vec<Candidates> {
        // Right after the start a consumer may only not have come yet.
        let passed = passed.or_else(|| (Instant::now() < self.consumers_known_at).then_some([0, 0]));
        let of = |row: &crate::event_log::row::Row| Candidates {
            lane: row.lane(),
            sealed: row.sealed(),
            passed: passed.map(|passed| passed[row.lane().index()]),
        };
        self.shared.rows.iter().map(of).collect()
    }

    /// Records what consumers lose by the removal of a generation. Loss records in it that somebody has not taken are
    /// not lost with it: they are appended again.
    fn condemn(&mut self, lane: Lane, sealed: &Sealed, cause: EventLossOperation) {
        let Sealed { number, summary, .. } = sealed;
        let shared = Arc::clone(&self.shared);
        let passed = shared.cursors.passed().map_or(0, |passed| passed[lane.index()]);
        let from = passed.max(summary.first_sequence);
        if from >= summary.next_sequence {
            // Everybody has taken all of it, which is only not durable yet.
            if self.with_meta(|meta| shared.cursors.persist(meta)).is_some() {
                self.remove(lane, *number, summary.next_sequence);
            }
            return;
        }
        let (epoch, carried) = self.carry_records(lane, summary, from);
        // What is damaged is recorded as such, and not a second time.
        shared.report_damage(lane);
        let carried = carried + shared.rows[lane.index()].missing_events(*number, from);
        shared.count_loss(lane, summary.next_sequence.saturating_sub(from).saturating_sub(carried));
        shared.record(&Loss {
            lane,
            epoch,
            cause,
            consumers: shared.cursors.behind(lane, summary.next_sequence),
            summary: summary.clone(),
            from,
            carried,
        });
        shared.rows[lane.index()].condemn(*number);
        let recorded = shared.buffer.next_sequence(RECORDS);
        self.condemned.push(Condemned { lane, number: *number, next_sequence: summary.next_sequence, recorded });
    }

    /// Gives the epoch under which the event `from` was to be sent, and how many records it carried on.
    fn carry_records(&self, lane: Lane, summary: &Summary, from: u64) -> (Uuid, u64) {
        let shared = &self.shared;
        let searched = match shared.rows[lane.index()].locate(summary.first_sequence) {
            Ok(Located::In(generation)) => {
                loss::records_in(&generation, from).and_then(|records| Ok((generation.header(0)?.epoch, records)))
            }
            Ok(Located::Gone(_) | Located::Ahead) => Ok((shared.numbering.epoch(), Vec::new())),
            Err(error) => Err(error),
        };
        let (written, records) = searched.unwrap_or_else(|error| {
            tracing::warn!(error = %ErrorChain(&error), "a generation that must go cannot be searched for loss records");
            (shared.numbering.epoch(), Vec::new())
        });
        for record in &records {
            shared.put_record(&record.event, record.timestamp);
        }
        (shared.numbering.resolve(lane, from, written).0, records.len() as u64)
    }

    /// Removes the generations whose loss is safely recorded, after moving the cursors past them.
    pub(super) fn remove_condemned(&mut self) {
        if self.condemned.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let safe = match self.failing {
            None => shared.durable(RECORDS),
            Some(_) => shared.visible(RECORDS),
        };
        let (due, rest) = std::mem::take(&mut self.condemned).into_iter().partition(|c: &Condemned| c.recorded <= safe);
        self.condemned = rest;
        let due: Vec<Condemned> = due;
        for Condemned { lane, number, next_sequence, .. } in due {
            shared.cursors.raise(lane, next_sequence);
            if shared.rows[lane.index()].is_in_memory(number) != Some(false) {
                self.forget(lane, number);
                continue;
            }
            let lost = shared.lost(lane);
            self.with_meta(|meta| {
                meta.set_lost(lane, lost)?;
                shared.cursors.persist(meta)
            });
            self.remove(lane, number, next_sequence);
        }
    }

    /// Removes a generation from the disk. Before that the numbering is safe even if nothing else is left of the lane.
    fn remove(&mut self, lane: Lane, number: u64, next_sequence: u64) {
        let noted = self.with_meta(|meta| {
            if meta.floor(lane)? < next_sequence {
                meta.set_floor(lane, next_sequence)?;
                meta.flush()?;
            }
            meta.remove_summary(lane, number)
        });
        if noted.is_some() {
            self.forget(lane, number);
        }
    }

    fn forget(&mut self, lane: Lane, number: u64) {
        if let Err(error) = self.shared.rows[lane.index()].remove(number) {
            tracing::warn!(error = %ErrorChain(&error), "a generation that is not needed any more stays");
        }
    }
}

/// A lane's generation of this number, or its newest.
fn find(lanes: &[Candidates], lane: Lane, number: u64) -> Option<&Sealed> {
    let sealed = &lanes.iter().find(|candidates| candidates.lane == lane)?.sealed;
    if number == u64::MAX { sealed.last() } else { sealed.iter().find(|sealed| sealed.number == number) }
}

impl Shared {
    /// Appends a loss record to the log.
    pub(in crate::event_log) fn record(&self, loss: &Loss) {
        let (event, timestamp) = loss.event();
        self.losses.add(loss.lane, loss.cause, loss.events());
        self.put_record(&event, timestamp);
    }

    fn put_record(&self, event: &[u8], timestamp: i64) {
        let draft = crate::event_log::Draft { event, level: loss::LEVEL, category: loss::CATEGORY, timestamp };
        self.buffer.put_own(RECORDS, draft, self.clock());
    }
}
