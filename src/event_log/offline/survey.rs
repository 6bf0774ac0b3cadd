//! What a generation's file holds, held against what it should hold, and what lies beside the log's own.

use std::{fs, path::Path, path::PathBuf};

use super::{GenerationReport, UNKNOWN_MAX};
use crate::event_log::{
    disk::{
        files::{self, is_known},
        frame::Frame,
        generation, repair,
        salvage::Salvage,
        volume::Volume,
    },
    lane::Lane,
};
use crate::order::Sorted as _;

/// What it holds.
pub(super) fn report(volume: &Volume, lane: Lane) -> GenerationReport {
    let salvage = salvage(volume, lane);
    let whole = volume.sequences.clone();
    let missing = match &salvage {
        Some(salvage) => salvage.missing(whole.clone()),
        None => [whole.clone()].into_iter().filter(|range| !range.is_empty()).collect(),
    };
    GenerationReport {
        lane,
        number: volume.number,
        first_sequence: whole.start,
        next_sequence: whole.end,
        events: (whole.end - whole.start) - missing.iter().map(|range| range.end - range.start).sum::<u64>(),
        disk_bytes: files::disk_bytes(&volume.path),
        sealed: volume.manifest.is_some(),
        missing,
        recorded: volume.manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.missing.clone()),
        broken: salvage.is_none_or(|salvage| salvage.is_broken()),
    }
}

/// `None` when its file cannot be opened: then nothing of it is there.
fn salvage(volume: &Volume, lane: Lane) -> Option<Salvage> {
    Salvage::search(&volume.path, lane).ok()
}

/// Its intact frames.
pub(super) fn frames(volume: &Volume, lane: Lane) -> impl Iterator<Item = Frame> {
    let salvage = salvage(volume, lane);
    let count = salvage.as_ref().map_or(0, Salvage::frames);
    (0..count).filter_map(move |number| Frame::decode(&salvage.as_ref()?.frame(number).ok()?).ok())
}

/// What is not of the log's making, below its root.
pub(super) fn unknown(root: &Path) -> Vec<PathBuf> {
    let mut unknown = strangers(root, |name| {
        ["quarantine", "ballast", files::LEDGER, repair::NAME].contains(&name) || Lane::from_name(name).is_some()
    });
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
    strangers.order_by(Ord::cmp);
    strangers
}
