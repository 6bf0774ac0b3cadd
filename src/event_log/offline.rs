//! The log of an agent that does not run: looked at, read and repaired where it lies.
//!
//! For the command line. Looks at the disk as the start of the log does ([`volume`]), so that both say the same; looking
//! changes nothing. Memory is that of one generation.

mod glance;
mod survey;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::event_log::{
    disk::{
        files,
        frame::{Frame, event_at},
        lock::Lock,
        quarantine::{self, Quarantined},
        repair, slots,
        volume::{self, Known},
    },
    error::LogError,
    lane::Lane,
    ledger::Ledger,
    opening,
    ranges::{joined, without},
    read::reader::{Gap, StoredEvent},
};

pub use self::glance::Glance;

/// A log that nobody else works on.
pub struct StoppedLog {
    root: PathBuf,
    _lock: Lock,
}

/// What a log holds, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong with the ledger; `None` when nothing is.
    pub ledger_damage: Option<String>,
    /// Urgent ones first, then by age, oldest first.
    pub generations: Vec<GenerationReport>,
    /// Sequences that should be there, of which there is no generation.
    pub gone: Vec<(Lane, Range<u64>)>,
    /// Generations that were copied or renamed: where they lie, and where they belong.
    pub misplaced: Vec<(PathBuf, PathBuf)>,
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
        self.ledger_damage.is_none()
            && self.gone.is_empty()
            && self.misplaced.is_empty()
            && !self.generations.iter().any(GenerationReport::is_damaged)
    }
}

/// What a generation holds.
#[derive(Clone, Debug)]
pub struct GenerationReport {
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
    pub fn open(directory: &Path) -> Result<StoppedLog, LogError> {
        Ok(StoppedLog { root: directory.to_owned(), _lock: Lock::take(directory)? })
    }

    /// The directory of a log, without links.
    ///
    /// # Errors
    /// When it is not there, or cannot be reached.
    pub fn locate(directory: &Path) -> Result<PathBuf, LogError> {
        std::fs::canonicalize(directory).map_err(|e| LogError::io("open", directory, e))
    }

    /// Looks at everything. Reads the whole log and changes nothing.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn check(&self) -> Result<Report, LogError> {
        let noted = self.ledger()?;
        let mut report = Report {
            ledger_damage: noted.damage,
            quarantined: quarantine::list(&self.root),
            unknown: survey::unknown(&self.root),
            ..Report::default()
        };
        for lane in Lane::ALL {
            let volumes = volume::volumes(&self.root, lane, noted.known[lane.index()])?;
            let held: Vec<_> = volumes.iter().map(|volume| volume.sequences.clone()).collect();
            let first = noted.needed[lane.index()].unwrap_or_else(|| held.first().map_or(1, |range| range.start));
            let end = held.iter().map(|range| range.end).max().unwrap_or(1).max(noted.known[lane.index()].end);
            report.gone.extend(without(first..end, &joined(held)).into_iter().map(|range| (lane, range)));
            report.generations.extend(volumes.iter().map(|volume| survey::report(volume, lane)));
            let strangers = volume::strangers(&self.root, lane)?.into_iter();
            report.misplaced.extend(strangers.map(|stranger| (stranger.path, stranger.home)));
        }
        Ok(report)
    }

    fn ledger(&self) -> Result<Noted, LogError> {
        let found = match slots::read(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => slots::Found::default(),
            found => found.map_err(|e| LogError::io("read", &self.root.join(files::LEDGER), e))?,
        };
        let header = opening::header_of(&self.root, &found)?;
        let consumers = found.bodies.iter().enumerate().skip(1).map(|(number, body)| (number, body.as_slice()));
        let (ledger, unknown) = Ledger::load(consumers);
        let extents = header.as_ref().map_or_else(Default::default, |header| header.lanes);
        let passed = ledger.passed();
        Ok(Noted {
            damage: opening::damage_of(&found, header.as_ref(), unknown.len()),
            known: Lane::ALL.map(|lane| {
                let extent = extents[lane.index()];
                Known { sealed: extent.sealed, end: extent.end.max(ledger.furthest(lane)), is_exact: false }
            }),
            needed: Lane::ALL.map(|lane| passed.map(|passed| passed[lane.index()])),
        })
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
            for volume in volume::volumes(&self.root, *lane, Known::default())? {
                let range = volume.sequences.clone();
                let end = range.end;
                position = position.or(Some(range.start));
                for frame in survey::frames(&volume, *lane) {
                    let from = position.unwrap_or(frame.header.first_sequence);
                    gaps.extend(gap(from, frame.header.first_sequence.min(end)).map(|gap| (*lane, gap)));
                    if !give(&frame, from..end, &mut |event| take(*lane, event)) {
                        return Ok(gaps);
                    }
                    position = Some(from.max(frame.header.next_sequence().min(end)));
                }
                if let Some(from) = position.filter(|_| !range.is_empty()) {
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

    /// Moves the ledger to quarantine. The agent makes a new one from what is stored. Gives where it lies then.
    ///
    /// # Errors
    /// When the file system refuses; it is then where it was.
    pub fn set_ledger_aside(&self) -> Result<PathBuf, LogError> {
        let ledger = self.root.join(files::LEDGER);
        quarantine::take_in(&self.root, &ledger, files::LEDGER).map_err(|e| LogError::io("move", &ledger, e))
    }
}

/// What the ledger says.
struct Noted {
    damage: Option<String>,
    known: [Known; 2],
    /// First sequence that a consumer has yet to take.
    needed: [Option<u64>; 2],
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
