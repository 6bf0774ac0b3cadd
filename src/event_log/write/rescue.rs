//! What the writer does when the storage fails it: makes room, begins a new generation, and puts there everything that is
//! not known to be durable. When that fails too it goes on in memory, and looks every few seconds whether the disk is
//! back.
//!
//! A handle that has failed once is never used again, and what was written through it since its last good flush is
//! never read back to find out: the page cache would show what the disk does not hold. In memory the lanes are rows of
//! generations as ever, so that readers notice nothing but the epoch: what is delivered from memory and then forgotten
//! by a crash must not share its numbers with what comes after the crash.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::writer::{Active, Failing, LaneWork, Writer};
use crate::{
    event_log::{
        disk::{files::make_directory, generation::Generation, lock::Lock, row::Row, summary::Summary},
        error::LogError,
        lane::Lane,
        ledger::loss::{Cause, Loss},
        opening,
    },
    telemetry::{ErrorChain, message},
};

/// Between two looks at a disk that cannot be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// How room is made on a full disk, the cheapest first.
#[derive(Clone, Copy)]
enum Sacrifice {
    Nothing,
    History,
    Ballast,
}

impl Writer {
    /// Puts everything that is pending in a lane somewhere else: onto the disk if there is a way, else into memory.
    pub(in crate::event_log) fn rescue(&mut self, lane: Lane, error: LogError) {
        tracing::warn!(lane = lane.name(), error = %ErrorChain(&error), "the event log begins a new generation");
        let mut error = error;
        for sacrifice in [Sacrifice::Nothing, Sacrifice::History, Sacrifice::Ballast] {
            self.cut(lane);
            if !self.sacrifice(sacrifice, &error) {
                continue;
            }
            match self.put_pending(lane) {
                Ok(()) => return self.flushed(lane),
                Err(again) => error = again,
            }
        }
        self.enter_memory(&error);
    }

    /// Gives whether it is worth trying again.
    fn sacrifice(&mut self, sacrifice: Sacrifice, error: &LogError) -> bool {
        match sacrifice {
            Sacrifice::Nothing => true,
            _ if !error.is_out_of_space() => false,
            Sacrifice::History => self.remove_history(),
            Sacrifice::Ballast => {
                let released = self.ballast.release();
                self.shared.set_ballast(0);
                if released {
                    tracing::warn!(
                        message_id = %message::DISK_FAILS,
                        error = %ErrorChain(error),
                        "the disk is full: the event log has given up its reserve"
                    );
                }
                released
            }
        }
    }

    fn put_pending(&mut self, lane: Lane) -> Result<(), LogError> {
        let pending = std::mem::take(&mut self.lanes[lane.index()].pending);
        let put = pending.iter().try_for_each(|frame| {
            let active = self.active(lane, frame.first_sequence())?;
            frame.put(&active.generation, &mut active.summary)
        });
        self.lanes[lane.index()].pending = pending;
        put?;
        self.lanes[lane.index()].active.as_ref().map_or(Ok(()), |active| active.generation.flush())
    }

    /// Lets go of the active generation; what it held at its last good flush stays.
    fn cut(&mut self, lane: Lane) {
        let empty = self.lanes[lane.index()].active.as_ref().map(|active| {
            active.generation.cut(active.durable.next_sequence);
            (active.number, active.durable.frames == 0)
        });
        self.put_away(lane);
        if let Some((number, true)) = empty
            && let Err(error) = self.shared.rows[lane.index()].remove(number)
        {
            // It holds nothing; what is left of it is cleared away with the lane's next generations.
            tracing::debug!(error = %ErrorChain(&error), "an empty generation stays");
        }
    }

    /// From now on events are kept in memory.
    pub(in crate::event_log) fn enter_memory(&mut self, error: &LogError) {
        if self.failing.is_some() {
            return;
        }
        if self.flushing.take().is_some() {
            // However it ends: what it covers is still pending, and is put into memory below.
            let _ = self.flusher.finish();
        }
        let reason = ErrorChain(error).to_string();
        tracing::error!(
            message_id = %message::DISK_FAILS,
            error = reason,
            "the disk cannot be written: events are kept in memory and delivered from there"
        );
        let now = Instant::now();
        self.failing = Some(Failing {
            since: now,
            retry_at: now + RETRY_INTERVAL,
            is_full: self.is_full(error),
            epoch: Uuid::new_v4(),
        });
        self.shared.set_degraded(reason);
        let epoch = Uuid::new_v4();
        self.shared.numbering.begin(epoch);
        for lane in Lane::ALL {
            self.cut(lane);
            let LaneWork { pending, .. } = &mut self.lanes[lane.index()];
            if pending.is_empty() {
                continue;
            }
            pending.iter_mut().for_each(|frame| frame.renumber(epoch));
            self.put_pending(lane).expect("memory takes every frame");
            self.flushed(lane);
        }
    }

    /// Whether only room is missing. Where nothing is locked nothing is ours to be written.
    fn is_full(&self, error: &LogError) -> bool {
        error.is_out_of_space() && self.lock.is_some()
    }

    /// Looks whether the disk is back.
    pub(in crate::event_log) fn recover(&mut self) {
        let Some(failing) = &self.failing else { return };
        let (since, epoch) = (failing.since, failing.epoch);
        match self.try_recover(epoch) {
            // The disk has failed once more while the copies took their places.
            Ok(()) if self.failing.is_some() => {}
            Ok(()) => {
                // Before anybody takes the log for whole.
                self.shared.tell();
                self.shared.set_degraded(String::new());
                tracing::info!(
                    message_id = %message::DISK_BACK,
                    seconds = since.elapsed().as_secs(),
                    "the disk can be written again; every event is durable"
                );
                self.keep_ledger();
            }
            Err(error) => {
                self.shared.set_degraded(ErrorChain(&error).to_string());
                let is_full = self.is_full(&error);
                self.failing = Some(Failing { since, retry_at: Instant::now() + RETRY_INTERVAL, is_full, epoch });
            }
        }
    }

    fn try_recover(&mut self, epoch: Uuid) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let root = &shared.settings.directory;
        make_directory(root).map_err(|e| LogError::io("create", root, e))?;
        if self.lock.is_none() {
            let lock = Lock::take(root)?;
            if !opening::is_empty(root) {
                // Begun without a directory: what has appeared, as with a disk that was mounted late, has numbers, cursors
                // and generations of its own.
                let why = "an event log has come where there was none; restart the agent to go on with it";
                return Err(LogError::io("begin", root, io::Error::other(why)));
            }
            self.lock = Some(lock);
        }
        shared.rows.iter().try_for_each(Row::make).map_err(|e| LogError::io("create a lane of", root, e))?;
        if let Some(there) = self.slots.verify().map_err(|e| LogError::io("read the ledger of", root, e))? {
            tracing::error!(
                message_id = %message::LOG_REPAIRED,
                kept = %there.display(),
                "the event log's ledger is damaged on the disk; it is written anew"
            );
        }
        // Durable before anything else.
        self.write_ledger_with(&self.numbers().0)?;
        let mut moved = Vec::new();
        for row in &self.shared.rows {
            match self.copy_to_disk(row) {
                Ok(copied) => moved.push((row.lane(), copied)),
                Err((made, error)) => {
                    let all = moved.into_iter().flat_map(|(lane, copied)| copied.into_iter().map(move |c| (lane, c)));
                    all.chain(made.into_iter().map(|c| (row.lane(), c)))
                        .for_each(|(lane, copy)| self.discard(lane, copy));
                    return Err(error);
                }
            }
        }
        self.failing = None;
        self.shared.numbering.begin(epoch);
        for (lane, copies) in moved {
            self.take_over(lane, copies);
        }
        Ok(())
    }

    /// Writes a row's generations in memory into new ones on the disk, durably; with the error, those that it made.
    fn copy_to_disk(&self, row: &Row) -> Result<Vec<Active>, (Vec<Active>, LogError)> {
        let mut copies: Vec<Active> = Vec::new();
        for (summary, generation) in row.in_memory() {
            if let Err(error) = self.copy_one(row, &mut copies, &summary, &generation) {
                return Err((copies, error));
            }
        }
        Ok(copies)
    }

    fn copy_one(&self, row: &Row, copies: &mut Vec<Active>, of: &Summary, from: &Generation) -> Result<(), LogError> {
        let full = |copy: &Active| copy.is_full(self.shared.settings.generation_bytes);
        if copies.last().is_none_or(full) {
            let number = row.next_number();
            let generation = Arc::new(Generation::create(row.path(), number)?);
            let summary = Summary { begun_at: of.begun_at, ..Summary::empty(of.first_sequence) };
            copies.push(Active::new(number, generation, summary));
        }
        let copy = copies.last_mut().expect("one was pushed if there was none");
        for slot in 0..from.frames() {
            let header = from.header(slot)?;
            if header.first_sequence >= of.next_sequence {
                break;
            }
            let bytes = from.slot(slot)?;
            copy.summary.add(&header, bytes.len());
            copy.generation.put(bytes)?;
        }
        copy.summary.add_levels(&of.levels);
        copy.generation.flush()?;
        copy.durable = copy.summary.clone();
        Ok(())
    }

    /// The log ends while the disk cannot be written: what only memory has is lost.
    pub(in crate::event_log) fn lose_memory(&mut self) {
        for lane in Lane::ALL {
            for (summary, _) in self.shared.rows[lane.index()].in_memory() {
                let whole = summary.first_sequence..summary.next_sequence;
                for (range, epoch) in self.epochs(lane, &whole) {
                    let loss = Loss::of_generation(lane, Cause::DiskFull, epoch, &summary);
                    self.shared.lose(&Loss { sequences: range.clone(), ..loss }, &[range], &[]);
                }
            }
        }
    }

    fn discard(&self, lane: Lane, copy: Active) {
        let path = self.shared.rows[lane.index()].path();
        drop(copy.generation);
        // On a full disk this may fail; a generation that holds what another holds is ignored at the next start.
        let _ = crate::event_log::disk::generation::remove(path, copy.number);
    }

    /// The copies take the place of what they were made from.
    fn take_over(&mut self, lane: Lane, copies: Vec<Active>) {
        self.lanes[lane.index()].active = None;
        let row = &self.shared.rows[lane.index()];
        let next_sequence = copies.last().map(|copy| copy.durable.next_sequence);
        for copy in &copies {
            row.set_active(copy.number, &copy.generation, &copy.durable);
        }
        row.forget_memory();
        for copy in copies {
            // All but the last are complete.
            self.seal(lane);
            self.lanes[lane.index()].active = Some(copy);
        }
        // Also when memory had no room for any of it: it is recorded as lost, and nobody waits for it any more.
        let next = next_sequence.unwrap_or_else(|| self.shared.visible(lane));
        self.shared.reach.show(lane, next, true);
    }
}
