//! What the writer lets go of: carries out what `retention` decides, and owes the record to each consumer that loses by it.
//!
//! Always holds: a generation whose removal loses events goes only after the ledger owes its loss durably and the record of it
//! is durable (in memory: after the ledger owes it), and takes no loss record with it that somebody has yet to take. A crash
//! in between tells of it twice, under one identifier, never not at all.

use std::{ops::Range, sync::Arc, time::Instant};

use uuid::Uuid;

use super::writer::{Condemned, Writer};
use crate::{
    event::LossRecord,
    event_log::{
        disk::row::{Located, Row, Sealed},
        lane::Lane,
        ledger::{
            loss::{Cause, Loss},
            retention::{self, Candidates},
        },
        record::{self, RECORDS},
    },
    telemetry::ErrorChain,
};

/// The most that is kept in memory while the disk cannot be written, bytes of frames. Beyond it the oldest goes, with a
/// record.
const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Writer {
    /// Removes what may go, and what must.
    pub(in crate::event_log) fn retain(&mut self) {
        self.take_room();
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
        let lanes = self.candidates(shared.ledger.durably_passed());
        let sealed_bytes: u64 = lanes.iter().flat_map(|lane| &lane.sealed).map(|sealed| sealed.disk_bytes).sum();
        let condemned_bytes: u64 = self.condemned.iter().map(|condemned| condemned.disk_bytes).sum();
        let beside = (self.slots.disk_bytes() + self.ballast.bytes()).saturating_sub(condemned_bytes);
        let other_bytes = (shared.rows.iter().map(Row::disk_bytes).sum::<u64>() + beside).saturating_sub(sealed_bytes);
        let bounds = self.room.bounds(shared.settings.generation_bytes, self.age.now());
        let (mut going, mut losing) = (Vec::new(), Vec::new());
        for removal in retention::decide(bounds, &lanes, other_bytes) {
            let Some(sealed) = find(&lanes, removal.lane, removal.number) else { continue };
            // What has to wait is tried again when what it waits for is durable; what is younger does not overtake it.
            match removal.loses {
                true if !self.lose(removal.lane, sealed, Cause::Retention) => break,
                true => losing.push((removal.lane, sealed)),
                false => going.push((removal.lane, sealed)),
            }
        }
        self.let_go(&going, &losing);
    }

    /// In memory there is one bound. What every consumer has goes first, then routine events, the oldest first.
    fn retain_in_memory(&mut self) {
        let bounds = retention::Bounds {
            disk_bytes_max: MEMORY_BYTES_MAX,
            routine_bytes_max: u64::MAX,
            history_bytes: Some(u64::MAX),
            expired_before: 0,
        };
        let passed = self.shared.ledger.passed();
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
            if !removal.loses || self.lose(removal.lane, sealed, Cause::MemoryBound) {
                self.forget(removal.lane, sealed.number);
            }
        }
    }

    /// Removes everything on the disk that every consumer has; gives whether there was anything. For a full disk: nothing
    /// else is written.
    pub(in crate::event_log) fn remove_history(&mut self) -> bool {
        let lanes = self.candidates(self.shared.ledger.durably_passed());
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
        let is_condemned = |lane: Lane, sealed: &Sealed| {
            self.condemned.iter().any(|condemned| (condemned.lane, condemned.number) == (lane, sealed.number))
        };
        let of = |row: &Row| Candidates {
            lane: row.lane(),
            sealed: row.sealed().into_iter().filter(|sealed| !is_condemned(row.lane(), sealed)).collect(),
            passed: passed.map(|passed| passed[row.lane().index()]),
        };
        self.shared.rows.iter().map(of).collect()
    }

    /// Has the ledger owe to each consumer what it loses by the removal of a generation. Gives false when that has to wait:
    /// until records that were owed before are durable, or copies of those in the generation, or while it cannot be read: it
    /// may hold records, and says under which epochs its events were to be sent.
    fn lose(&mut self, lane: Lane, sealed: &Sealed, cause: Cause) -> bool {
        let Sealed { number, summary, .. } = sealed;
        let shared = Arc::clone(&self.shared);
        // What is damaged is recorded as such, and not a second time.
        let whole = summary.first_sequence..summary.next_sequence;
        let located = match shared.rows[lane.index()].locate(whole.start) {
            Ok(located) => located,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "a generation that must go stays until it can be read");
                return false;
            }
        };
        shared.report_damage(lane);
        let misses = shared.ledger.misses(None, lane, &whole);
        if !misses.is_empty() && self.failing.is_none() && !shared.ledger.can_owe() {
            return false;
        }
        // Also what is on its way: it may not arrive, and only the record tells of what it records.
        let from = shared.ledger.passed().map_or(whole.end, |passed| passed[lane.index()]);
        let Some(carried) = self.carry_records(lane, sealed, from, &located) else { return false };
        // Everybody has taken all of it, which is only not durable yet, or has it in hand.
        let (Some(first), Some(last)) = (misses.first(), misses.last()) else { return true };
        let told = [shared.rows[lane.index()].missing(*number), carried.clone()].concat();
        let mut loss = Loss::of_generation(lane, cause, shared.numbering.epoch(), summary);
        if let Some(count) = usize::try_from(LossRecord::LEVEL).ok().and_then(|level| loss.levels.get_mut(level)) {
            *count = count.saturating_sub(carried.len() as u64);
        }
        for (range, epoch) in self.epochs(lane, &(first.start..last.end)) {
            let loss = Loss { epoch, sequences: range.clone(), ..loss.clone() };
            shared.lose(&loss, &[range], &told);
        }
        true
    }

    /// Stretches of these sequences with the epoch under which each was to be sent.
    pub(in crate::event_log) fn epochs(&self, lane: Lane, sequences: &Range<u64>) -> Vec<(Range<u64>, Uuid)> {
        let (row, numbering) = (&self.shared.rows[lane.index()], &self.shared.numbering);
        let parts = row.epochs(sequences).into_iter();
        parts
            .flat_map(|(range, written)| numbering.parts(lane, &range, written.unwrap_or_else(|| numbering.epoch())))
            .collect()
    }

    /// Appends the loss records of a generation once more that somebody has yet to take, from this sequence on. Gives where
    /// they stood; `None` while they cannot be found or their copies are not safe.
    fn carry_records(&mut self, lane: Lane, sealed: &Sealed, from: u64, located: &Located) -> Option<Vec<Range<u64>>> {
        if lane != RECORDS {
            return Some(Vec::new());
        }
        let number = sealed.number;
        if !self.carried.contains_key(&number) {
            let searched = match located {
                Located::In(generation) => record::records_in(generation, from),
                Located::Gone(_) | Located::Ahead => Ok(Vec::new()),
            };
            let records = match searched {
                Ok(records) => records,
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "a generation that must go cannot be searched for loss records");
                    // One frame is not what it was: the next look leaves that out, and finds the records in the others.
                    self.shared.rows[lane.index()].distrust(sealed.summary.first_sequence);
                    return None;
                }
            };
            let mut copies = 0;
            for record in &records {
                let copy = self.shared.put_record(record);
                self.shared.ledger.carried(record.sequence, copy);
                copies = copy + 1;
            }
            self.carried.insert(number, (records.iter().map(|record| record.sequence).collect(), copies));
        }
        let (sequences, copies) = self.carried.get(&number)?;
        let safe = self.failing.is_some() || *copies <= self.shared.durable(RECORDS);
        safe.then(|| sequences.iter().map(|sequence| *sequence..sequence + 1).collect())
    }

    /// Removes generations from the disk, those that somebody loses by when the record is durable. Before that the ledger owes
    /// what is lost, and knows the numbering even if nothing else is left of the lane.
    fn let_go(&mut self, going: &[(Lane, &Sealed)], losing: &[(Lane, &Sealed)]) {
        if going.is_empty() && losing.is_empty() {
            return;
        }
        for (lane, sealed) in going.iter().chain(losing) {
            let extent = &mut self.extents[lane.index()];
            extent.first = extent.first.max(sealed.summary.next_sequence);
        }
        if !self.persist() {
            return;
        }
        going.iter().for_each(|(lane, sealed)| self.forget(*lane, sealed.number));
        self.shared.tell();
        let recorded = self.shared.buffer.next_sequence(RECORDS);
        self.condemned.extend(losing.iter().map(|(lane, sealed)| Condemned {
            lane: *lane,
            number: sealed.number,
            disk_bytes: sealed.disk_bytes,
            recorded,
        }));
    }

    /// Removes the generations whose loss is safely recorded.
    pub(in crate::event_log) fn remove_condemned(&mut self) {
        let durable = self.shared.durable(RECORDS);
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.condemned).into_iter().partition(|condemned| condemned.recorded <= durable);
        self.condemned = rest;
        due.iter().for_each(|condemned| self.forget(condemned.lane, condemned.number));
    }

    fn forget(&mut self, lane: Lane, number: u64) {
        if lane == RECORDS {
            self.carried.remove(&number);
        }
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
