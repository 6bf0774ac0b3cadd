//! Finds the generations of a lane by their names, manifests and frames, and what lies beside them.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{GenerationReport, UNKNOWN_MAX};
use crate::event_log::{
    Lane, LogError, closed, frame::Frame, generation, manifest::Manifest, probe::COPY_PREFIX, quarantine::is_known,
    repair, salvage::Salvage,
};

/// A generation as it is found.
pub(super) struct Volume {
    lane: Lane,
    number: u64,
    path: PathBuf,
    manifest: Option<Manifest>,
    /// Where the following one begins: what this one holds from there on is written there again.
    end: u64,
}

/// The generations of a lane, oldest first; none where there is no such directory.
pub(super) fn volumes(root: &Path, lane: Lane) -> Result<Vec<Volume>, LogError> {
    let row = root.join(lane.name());
    let numbers = match generation::list(&row) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        numbers => numbers.map_err(|e| LogError::io("list", &row, e))?,
    };
    let mut end = u64::MAX;
    let mut volumes: Vec<Volume> = Vec::new();
    for number in numbers.into_iter().rev() {
        let path = generation::directory(&row, number);
        let manifest = Manifest::read(&path, lane, number);
        let volume = Volume { lane, number, path, manifest, end };
        end = volume.first_sequence().map_or(end, |first| first.min(end));
        volumes.push(volume);
    }
    volumes.reverse();
    Ok(volumes)
}

impl Volume {
    fn first_sequence(&self) -> Option<u64> {
        match &self.manifest {
            Some(manifest) => Some(manifest.summary.first_sequence),
            None => self.salvage()?.first_sequence(),
        }
    }

    /// `None` when its file cannot be opened: then nothing of it is there.
    fn salvage(&self) -> Option<Salvage> {
        Salvage::search(&self.path, self.lane).ok()
    }

    /// What it holds. `before` is where the generation before it ends.
    pub(super) fn report(&self, before: Option<u64>) -> GenerationReport {
        let salvage = self.salvage();
        let noted = self.manifest.as_ref().map(|manifest| &manifest.summary);
        let found = salvage.as_ref().and_then(|salvage| Some((salvage.first_sequence()?, salvage.next_sequence())));
        let bounds = noted.map(|summary| (summary.first_sequence, summary.next_sequence)).or(found);
        let (first, next) = bounds.unwrap_or_else(|| (before.unwrap_or(1), before.unwrap_or(1)));
        let first_sequence = before.map_or(first, |before| before.min(first));
        let next_sequence = next.min(self.end).max(first_sequence);
        let whole = first_sequence..next_sequence;
        let missing = match &salvage {
            Some(salvage) => salvage.missing(whole),
            None => [whole].into_iter().filter(|range| !range.is_empty()).collect(),
        };
        GenerationReport {
            lane: self.lane,
            number: self.number,
            first_sequence,
            next_sequence,
            events: (next_sequence - first_sequence) - missing.iter().map(|range| range.end - range.start).sum::<u64>(),
            disk_bytes: generation::disk_bytes(&self.path),
            sealed: noted.is_some(),
            missing,
            recorded: self.manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.missing.clone()),
            broken: salvage.is_none_or(|salvage| salvage.is_broken()),
        }
    }

    /// Where the following one begins.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Its intact frames, and which sequences it should hold, if that is noted.
    pub(super) fn frames(&self) -> (impl Iterator<Item = Frame>, Option<Range<u64>>) {
        let noted = self.manifest.as_ref().map(|m| m.summary.first_sequence..m.summary.next_sequence);
        let salvage = self.salvage();
        let count = salvage.as_ref().map_or(0, Salvage::frames);
        let frames = (0..count).filter_map(move |number| Frame::decode(&salvage.as_ref()?.frame(number).ok()?).ok());
        (frames, noted)
    }
}

/// What is not of the log's making, below its root.
pub(super) fn unknown(root: &Path) -> Vec<PathBuf> {
    let mut unknown = strangers(root, |name| {
        ["meta", "quarantine", "ballast", closed::NAME, repair::NAME].contains(&name)
            || Lane::from_name(name).is_some()
            || name.starts_with(COPY_PREFIX)
    });
    unknown.extend(strangers(&root.join("meta"), is_of_store));
    for lane in Lane::ALL {
        let row = root.join(lane.name());
        let number = |name: &str| generation::number_of(name.as_ref(), "gen-");
        unknown.extend(strangers(&row, |name| number(name).is_some() || generation::is_leftover(name.as_ref())));
        for number in generation::list(&row).unwrap_or_default() {
            unknown.extend(strangers(&generation::directory(&row, number), is_of_store));
        }
    }
    unknown.truncate(UNKNOWN_MAX);
    unknown
}

fn is_of_store(name: &str) -> bool {
    is_known(name) || name == "blobs"
}

fn strangers(directory: &Path, is_ours: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut strangers: Vec<_> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_str().is_some_and(&is_ours))
        .map(|entry| entry.path())
        .take(UNKNOWN_MAX)
        .collect();
    strangers.sort();
    strangers
}
