//! The generations of a lane as they lie on the disk: one view for the start of the log and for `rodent log`, so that both
//! say the same.
//!
//! Looks and changes nothing. A generation that was sealed has a manifest that bears its lane and number, and is believed;
//! one without was being written when its process ended, and holds what is found in it; one whose manifest, or all of whose
//! frames, bear another place is a stranger: somebody has copied or renamed it.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::event_log::{
    disk::{
        frame::Header,
        generation::{self, directory},
        manifest::Manifest,
        salvage::Salvage,
        summary::Summary,
    },
    error::LogError,
    lane::Lane,
};

/// What the ledger says of a lane's end.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::event_log) struct Known {
    /// Where the last sealed generation ended; 0 when nothing is known.
    pub(in crate::event_log) sealed: u64,
    /// Everything before was durable, or taken by somebody.
    pub(in crate::event_log) end: u64,
    /// Whether nothing beyond was: the machine has been running ever since.
    pub(in crate::event_log) is_exact: bool,
}

/// A generation.
pub(in crate::event_log) struct Volume {
    pub(in crate::event_log) number: u64,
    pub(in crate::event_log) path: PathBuf,
    /// Absent when it was never sealed.
    pub(in crate::event_log) manifest: Option<Manifest>,
    /// What is in its file; looked for only where no manifest tells.
    salvage: Option<Salvage>,
    /// What it holds or should hold, less what another generation holds.
    pub(in crate::event_log) sequences: Range<u64>,
    /// Whether it may have held more.
    pub(in crate::event_log) is_suspect: bool,
}

/// A generation that belongs elsewhere.
pub(in crate::event_log) struct Stranger {
    pub(in crate::event_log) lane: Lane,
    pub(in crate::event_log) number: u64,
    pub(in crate::event_log) path: PathBuf,
    /// Where its manifest or its frames say that it belongs.
    pub(in crate::event_log) home: PathBuf,
}

/// The strangers among a lane's generations.
///
/// # Errors
/// When the directory cannot be read.
pub(in crate::event_log) fn strangers(root: &Path, lane: Lane) -> Result<Vec<Stranger>, LogError> {
    let row = root.join(lane.name());
    let stranger = |number| {
        let path = directory(&row, number);
        let belongs = match Manifest::read_any(&path) {
            Some(noted) => (noted.lane, noted.number),
            None => (Salvage::search(&path, lane).ok()?.other_lane()?, number),
        };
        let home = directory(&root.join(belongs.0.name()), belongs.1);
        (belongs != (lane, number)).then_some(Stranger { lane, number, path, home })
    };
    Ok(numbers(&row)?.into_iter().filter_map(stranger).collect())
}

/// A lane's generations, oldest first, without strangers; none where there is no such directory.
///
/// # Errors
/// When the directory, or a generation's file for a reason that is not in it, cannot be read.
pub(in crate::event_log) fn volumes(root: &Path, lane: Lane, known: Known) -> Result<Vec<Volume>, LogError> {
    let row = root.join(lane.name());
    let mut found: Vec<Volume> = Vec::new();
    for number in numbers(&row)? {
        let path = directory(&row, number);
        let before = found.iter().map(|volume| volume.sequences.end).max();
        let volume = match Manifest::read_any(&path) {
            Some(manifest) if (manifest.lane, manifest.number) != (lane, number) => continue,
            Some(manifest) => Volume {
                sequences: manifest.summary.first_sequence..manifest.summary.next_sequence,
                number,
                path,
                manifest: Some(manifest),
                salvage: None,
                is_suspect: false,
            },
            None => Volume::search(number, path, lane, before.or(Some(known.sealed).filter(|end| *end > 0)), known)?,
        };
        found.push(volume);
    }
    settle(&mut found);
    if let Some(last) = found.last_mut().filter(|last| last.manifest.is_none()) {
        // Events that were durable or taken were there: in the last generation, if nowhere else.
        last.is_suspect |= known.end > last.sequences.end;
        last.sequences.end = last.sequences.end.max(known.end);
    }
    Ok(found)
}

fn numbers(row: &Path) -> Result<Vec<u64>, LogError> {
    match generation::list(row) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        numbers => numbers.map_err(|e| LogError::io("list", row, e)),
    }
}

/// Leaves each sequence to one generation. What a generation that was cut off holds at its end, the next one holds again:
/// it was not known to be durable. One that only holds what others hold is a copy, and left with nothing.
fn settle(volumes: &mut [Volume]) {
    for at in 1..volumes.len() {
        let (before, rest) = volumes.split_at_mut(at);
        let Some(this) = rest.first_mut() else { return };
        for earlier in before.iter_mut().rev().filter(|earlier| !earlier.sequences.is_empty()) {
            let (own, theirs) = (&mut this.sequences, &mut earlier.sequences);
            if own.start >= theirs.end || own.is_empty() {
                break;
            }
            let goes_on = own.end >= theirs.end;
            if own.start > theirs.start && goes_on && (earlier.manifest.is_none() || this.manifest.is_some()) {
                theirs.end = own.start;
            } else if own.start <= theirs.start && goes_on && earlier.manifest.is_none() {
                theirs.end = theirs.start;
            } else {
                own.start = theirs.end.min(own.end);
                if !goes_on {
                    own.start = own.end;
                }
            }
        }
    }
}

impl Volume {
    /// One that was never sealed. `before` is where what is known before it ends.
    fn search(number: u64, path: PathBuf, lane: Lane, before: Option<u64>, known: Known) -> Result<Volume, LogError> {
        let salvage = Salvage::search_or_nothing(&path, lane).map_err(|e| LogError::io("open", &path, e))?;
        let is_broken = salvage.is_broken();
        let start = match (salvage.first_sequence(), before) {
            // What is missing before the first frame was in one that is broken.
            (Some(first), Some(before)) if is_broken => first.min(before),
            (Some(first), _) => first,
            (None, before) => before.unwrap_or(1),
        };
        // A frame beyond what was durable was being written; if it is torn nobody was told of it, and nothing is lost.
        let torn = if known.is_exact { salvage.next_sequence().min(known.end) } else { salvage.next_sequence() };
        let sequences = start..salvage.intact_end().max(torn).max(start);
        let is_suspect = is_broken || !salvage.missing(sequences.clone()).is_empty();
        Ok(Volume { number, path, manifest: None, salvage: Some(salvage), sequences, is_suspect })
    }

    /// What it holds, as far as that is known without decoding an event.
    pub(in crate::event_log) fn summary(&self) -> Summary {
        let noted = self.manifest.as_ref().map(|manifest| manifest.summary.clone());
        let mut summary = noted.unwrap_or_else(|| self.salvage.as_ref().map(summary_of).unwrap_or_default());
        (summary.first_sequence, summary.next_sequence) = (self.sequences.start, self.sequences.end);
        summary
    }

    /// The epoch when it was sealed, or of its last frame.
    pub(in crate::event_log) fn epoch(&self) -> Option<Uuid> {
        let found = || {
            let salvage = self.salvage.as_ref()?;
            let last = salvage.frame(salvage.frames().checked_sub(1)?).ok()?;
            Header::parse(&last).ok().map(|header| header.epoch)
        };
        self.manifest.as_ref().map(|manifest| manifest.epoch).or_else(found)
    }
}

fn summary_of(salvage: &Salvage) -> Summary {
    let mut summary = Summary::default();
    for number in 0..salvage.frames() {
        // Err: what cannot be read now is missed when it is read.
        if let Ok(header) = salvage.frame(number).map_err(drop).and_then(|frame| Header::parse(&frame).map_err(drop)) {
            summary.add(&header, header.frame_bytes());
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(sequences: Range<u64>, sealed: bool) -> Volume {
        let summary = Summary { first_sequence: sequences.start, next_sequence: sequences.end, ..Summary::default() };
        let manifest = Manifest { lane: Lane::Routine, number: 1, epoch: Uuid::nil(), summary, missing: Vec::new() };
        let manifest = sealed.then_some(manifest);
        Volume { number: 1, path: PathBuf::new(), manifest, salvage: None, sequences, is_suspect: false }
    }

    fn settled(volumes: &[(Range<u64>, bool)]) -> Vec<Range<u64>> {
        let mut volumes: Vec<_> = volumes.iter().map(|(range, sealed)| volume(range.clone(), *sealed)).collect();
        settle(&mut volumes);
        volumes.into_iter().map(|volume| volume.sequences).collect()
    }

    #[test]
    fn what_two_generations_hold_is_read_from_the_later_one_if_the_earlier_was_cut_off() {
        assert_eq!(settled(&[(1..120, false), (100..200, true)]), [1..100, 100..200]);
        assert_eq!(settled(&[(1..120, true), (100..200, true)]), [1..100, 100..200]);
        assert_eq!(settled(&[(1..120, true), (100..200, false)]), [1..120, 120..200]);
        // Given up half-way when the disk came back, and made once more.
        assert_eq!(settled(&[(1..100, true), (100..150, false), (100..300, false)]), [1..100, 100..100, 100..300]);
    }

    #[test]
    fn a_copy_takes_nothing_from_what_is_there() {
        let originals = [(1..100, true), (100..200, true), (200..300, true)];
        for copy in [1..100, 100..200, 150..250, 1..300] {
            let with_copy: Vec<_> = originals.iter().cloned().chain([(copy.clone(), false)]).collect();
            let settled = settled(&with_copy);
            assert_eq!(settled[..3], [1..100, 100..200, 200..300], "{copy:?}");
            assert!(settled[3].is_empty(), "{copy:?}");
        }
    }
}
