//! What the writer writes down in the ledger, and when: far enough ahead of every step that a crash leaves nothing unsaid.

use std::sync::{Arc, atomic::Ordering};

use super::writer::Writer;
use crate::{
    event_log::{
        error::LogError,
        lane::Lane,
        ledger::{
            header::{Extent, Header},
            numbering::Numbers,
        },
        record::RECORDS,
    },
    telemetry::ErrorChain,
};

/// How often at the most the records of losses are written that come up while the log is being closed; those that come up
/// then are owed, and told of by the next start.
const WINDING_UP_MAX: u32 = 8;

impl Writer {
    pub(super) fn keep_ledger(&mut self) {
        self.persist();
        self.shared.tell();
        self.retain();
    }

    /// Before the log is closed: what is owed is told while it can still be written. Gives whether there is more to write.
    pub(super) fn winds_up(&mut self) -> bool {
        if self.failing.is_some() || self.wound_up >= WINDING_UP_MAX {
            return false;
        }
        self.wound_up += 1;
        self.finish_flush();
        self.strike();
        self.retain();
        self.shared.tell();
        self.shared.buffer.commit(RECORDS);
        self.shared.buffer.has_work()
    }

    /// What is safely recorded is owed no more; what waited for that goes on.
    pub(super) fn strike(&mut self) {
        self.remove_condemned();
        let waited = !self.carried.is_empty() || !self.shared.ledger.can_owe();
        self.shared.ledger.strike(RECORDS, self.shared.durable(RECORDS));
        if waited {
            self.retain();
        }
    }

    pub(super) fn close(&mut self) {
        if self.failing.is_some() {
            self.recover();
        }
        // What is sealed says what it holds, and can be checked against it.
        if self.failing.is_none() {
            Lane::ALL.into_iter().for_each(|lane| self.seal(lane));
        }
        let passed = self.shared.ledger.passed().map_or(0, |passed| passed[RECORDS.index()]);
        let told = self.shared.durable(RECORDS).max(passed) >= self.recorded;
        let in_memory: u64 = self.shared.rows.iter().map(|row| row.memory_events()).sum();
        if in_memory > 0 {
            self.lose_memory();
        }
        // What is lost without anybody to be told is told of by the next start, and an unclean stop that nobody knows of yet.
        self.closed = told && (in_memory == 0 || self.shared.ledger.has_consumers());
        let stored = self.persist();
        if !stored || in_memory > 0 {
            tracing::error!(
                events = in_memory,
                "the event log is closed while the disk cannot be written: what is in memory is lost, and the next start reports it"
            );
        }
    }

    /// Makes the ledger durable; gives whether it is. When the disk does not take it all goes on in memory.
    pub(super) fn persist(&mut self) -> bool {
        if self.failing.as_ref().is_some_and(|failing| !failing.is_full) {
            return false;
        }
        // Once more: the first error takes the handle with it.
        match self.write_ledger().or_else(|_| self.write_ledger()) {
            Ok(()) => true,
            Err(_) if self.failing.is_some() => false,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "the event log's ledger cannot be written");
                self.enter_memory(&error);
                false
            }
        }
    }

    pub(super) fn write_ledger(&mut self) -> Result<(), LogError> {
        let (numbers, version) = self.numbers();
        self.write_ledger_with(&numbers)?;
        if self.shared.numbering.durable(version) {
            self.shared.reach.stir();
        }
        Ok(())
    }

    pub(super) fn write_ledger_with(&mut self, numbers: &Numbers) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let header = self.header(numbers.clone()).to_bytes();
        let bodies = shared.ledger.bodies();
        let written = self.slots.put(0, &header).and_then(|()| {
            bodies.iter().try_for_each(|body| self.slots.put(body.number, &body.bytes))?;
            self.slots.sync()
        });
        written.map_err(|e| LogError::io("write the ledger of", &shared.settings.directory, e))?;
        shared.ledger_bytes.store(self.slots.disk_bytes(), Ordering::Relaxed);
        shared.ledger.persisted(&bodies);
        Ok(())
    }

    /// What the ledger has to say of the numbering, and its version.
    pub(super) fn numbers(&self) -> (Numbers, u64) {
        let (numbers, version) = self.shared.numbering.numbers();
        let epoch = self.failing.as_ref().map_or(numbers.epoch, |failing| failing.epoch);
        (Numbers { epoch, ..numbers }, version)
    }

    pub(super) fn header(&self, numbers: Numbers) -> Header {
        let lanes = Lane::ALL.map(|lane| {
            let extent = self.extents[lane.index()];
            let lost = self.shared.lost(lane);
            let (end, seen) = (self.shared.durable(lane), self.shared.visible(lane));
            Extent { end: extent.end.max(end), seen: extent.seen.max(seen), lost, ..extent }
        });
        let owner = self.shared.settings.owner.clone();
        Header { closed: self.closed, lanes, age: self.age.note(), owner, numbers }
    }

    /// Notes how far a lane reaches, without a sync of its own: a process that is killed leaves it to the next one, and after a
    /// loss of power the one before is true enough.
    pub(super) fn note_end(&mut self, lane: Lane, next: u64) {
        let extent = &mut self.extents[lane.index()];
        extent.seen = next;
        match &self.failing {
            None => extent.end = next,
            Some(failing) if failing.is_full => {}
            Some(_) => return,
        }
        let header = self.header(self.numbers().0).to_bytes();
        if let Err(error) = self.slots.put(0, &header) {
            // The next sync of the ledger tells, if it is for long.
            tracing::debug!(%error, "the end of a lane of the event log is not noted");
        }
    }
}
