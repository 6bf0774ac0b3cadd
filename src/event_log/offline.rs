//! The log of an agent that does not run: looked at, read and repaired where it lies.
//!
//! For the command line. Nothing of it is opened with sled but a copy of `meta`, so looking changes nothing. Memory is
//! that of one generation.

mod glance;
mod survey;

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    Gap, Lane, LogError, ProbeCommand, Quarantined, StoredEvent,
    frame::{Frame, event_at},
    lock::Lock,
    probe::{self, Part, Verdict},
    quarantine, repair,
};

pub use self::glance::Glance;

/// A log that nobody else works on.
pub struct StoppedLog {
    root: PathBuf,
    probe: Option<ProbeCommand>,
    _lock: Lock,
}

/// What a log holds, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong with the store of cursors; `None` when nothing is.
    pub meta_damage: Option<String>,
    /// Urgent ones first, then by age, oldest first.
    pub generations: Vec<GenerationReport>,
    /// What lies in quarantine.
    pub quarantined: Vec<Quarantined>,
    /// What is not of the log's making. It is left alone. At most a hundred are named.
    pub unknown: Vec<PathBuf>,
}

/// The most unknown files that are named.
const UNKNOWN_MAX: usize = 100;

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.meta_damage.is_none() && !self.generations.iter().any(GenerationReport::is_damaged)
    }
}

/// What a generation holds.
#[derive(Clone, Debug)]
pub struct GenerationReport {
    /// Its lane.
    pub lane: Lane,
    /// Its number in the lane's row.
    pub number: u64,
    /// Sequence of the first event that it holds or should hold.
    pub first_sequence: u64,
    /// Sequence after the last.
    pub next_sequence: u64,
    /// Events that are there.
    pub events: u64,
    /// What it takes on the disk, bytes.
    pub disk_bytes: u64,
    /// Whether it is complete. One that is not was being written when the agent ended without order.
    pub sealed: bool,
    /// Sequences that should be there and are not.
    pub missing: Vec<Range<u64>>,
    /// Those of them that are recorded as lost already.
    pub recorded: Vec<Range<u64>>,
    /// Whether parts of the file are not what was written, or it cannot be read.
    pub broken: bool,
}

impl GenerationReport {
    /// Whether events are gone, or may be.
    pub fn is_damaged(&self) -> bool {
        // Of a complete one it is known what is missing; what else is broken is no event.
        !self.missing.is_empty() || (self.broken && !self.sealed)
    }

    /// Whether there is a point in [`StoppedLog::rewrite`]. An incomplete one is the agent's to complete when it starts.
    pub fn wants_rewriting(&self) -> bool {
        self.sealed && self.broken && self.is_damaged()
    }
}

impl StoppedLog {
    /// The log in `directory`.
    ///
    /// # Errors
    /// When it is not there, or another process works on it.
    pub fn open(directory: &Path, probe: Option<ProbeCommand>) -> Result<StoppedLog, LogError> {
        Ok(StoppedLog { root: directory.to_owned(), probe, _lock: Lock::take(directory)? })
    }

    /// Looks at everything. Reads the whole log and changes nothing.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn check(&self) -> Result<Report, LogError> {
        let mut report = Report {
            meta_damage: self.check_meta(),
            quarantined: quarantine::list(&self.root),
            unknown: survey::unknown(&self.root),
            generations: Vec::new(),
        };
        for lane in Lane::ALL {
            let mut next = None;
            for volume in survey::volumes(&self.root, lane)? {
                let generation = volume.report(next);
                next = Some(generation.next_sequence);
                report.generations.push(generation);
            }
        }
        Ok(report)
    }

    fn check_meta(&self) -> Option<String> {
        let store = self.root.join("meta");
        match probe::probe(&self.root, &store, Part::All, self.probe) {
            Verdict::Sound => None,
            Verdict::Damaged(why) | Verdict::Unknown(why) => Some(why),
        }
    }

    /// Gives every event that is there to `take`, lane by lane, in order, until it says no. Gives the holes.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn export(
        &self,
        lanes: &[Lane],
        mut take: impl FnMut(Lane, StoredEvent) -> bool,
    ) -> Result<Vec<(Lane, Gap)>, LogError> {
        let mut gaps = Vec::new();
        for lane in lanes {
            let mut position = None;
            for volume in survey::volumes(&self.root, *lane)? {
                let (frames, noted) = volume.frames();
                position = position.or(noted.as_ref().map(|noted| noted.start));
                let end = noted.as_ref().map_or(u64::MAX, |noted| noted.end).min(volume.end());
                for frame in frames {
                    let from = position.unwrap_or(frame.header.first_sequence);
                    gaps.extend(gap(from, frame.header.first_sequence.min(end)).map(|gap| (*lane, gap)));
                    if !give(&frame, from..end, &mut |event| take(*lane, event)) {
                        return Ok(gaps);
                    }
                    position = Some(from.max(frame.header.next_sequence().min(end)));
                }
                if let (Some(from), Some(_)) = (position, noted) {
                    gaps.extend(gap(from, end).map(|gap| (*lane, gap)));
                    position = Some(from.max(end));
                }
            }
        }
        Ok(gaps)
    }

    /// Rewrites a damaged generation: what is intact goes into a fresh one, the damaged one to quarantine. Gives where
    /// it lies then.
    ///
    /// # Errors
    /// When the storage fails; the generation is then as it was, or in quarantine with the fresh one to be moved in by
    /// the next start.
    pub fn rewrite(&self, lane: Lane, number: u64) -> Result<PathBuf, LogError> {
        repair::rewrite(&self.root, lane, number)
    }

    /// Moves the store of cursors to quarantine. The agent makes a new one from what is stored. Gives where it lies
    /// then.
    ///
    /// # Errors
    /// When the file system refuses; it is then where it was.
    pub fn set_meta_aside(&self) -> Result<PathBuf, LogError> {
        let meta = self.root.join("meta");
        quarantine::take_in(&self.root, &meta, "meta").map_err(|e| LogError::io("move", &meta, e))
    }
}

fn gap(from: u64, to: u64) -> Option<Gap> {
    (from < to).then_some(Gap { from, to })
}

/// Gives a frame's events with sequences in `range`. False when no more is wanted.
fn give(frame: &Frame, range: Range<u64>, take: &mut impl FnMut(StoredEvent) -> bool) -> bool {
    let mut at = 0;
    for sequence in frame.header.first_sequence..frame.header.next_sequence() {
        let Some((begin, end)) = event_at(&frame.fields, at) else { break };
        at = end;
        if range.contains(&sequence) && !take(StoredEvent { sequence, event: frame.fields.slice(begin..end) }) {
            return false;
        }
    }
    true
}
