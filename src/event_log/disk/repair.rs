//! Writes the intact frames of a damaged generation into a fresh one that takes its place; the damaged one goes to
//! quarantine.
//!
//! The fresh one is made complete beside the lanes, in `log/repair`, and then moved in. When the process dies between
//! the two moves the next one finds it there and moves it in: see [`adopt`].

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::event_log::{
    disk::{
        files::{self, make_directory, sync_directory},
        frame::Frame,
        generation::{self, Generation},
        manifest::Manifest,
        quarantine,
        salvage::Salvage,
    },
    error::LogError,
    lane::Lane,
};

/// Where fresh generations are made, below the log's root.
pub(in crate::event_log) const NAME: &str = "repair";

/// Rewrites a generation. Gives where the damaged one lies now.
///
/// # Errors
/// When the storage fails; until the fresh one is complete nothing is changed.
pub(in crate::event_log) fn rewrite(root: &Path, lane: Lane, number: u64) -> Result<PathBuf, LogError> {
    let row = root.join(lane.name());
    let damaged = generation::directory(&row, number);
    let failed = |e: io::Error| LogError::io("repair", &damaged, e);
    let stage = stage(root, lane);
    make_directory(&root.join(NAME)).and_then(|()| make_directory(&stage)).map_err(failed)?;
    let fresh = generation::directory(&stage, number);
    files::remove_if_there(&fresh).map_err(failed)?;
    fill(&Generation::create(&stage, number)?, &damaged, lane).map_err(failed)?;
    if let Some(manifest) = Manifest::read(&damaged, lane, number) {
        manifest.write(&fresh).map_err(failed)?;
    }
    let name = quarantine::generation_name(lane, number);
    let there = quarantine::take_in(root, &damaged, &name).map_err(failed)?;
    move_in(&fresh, &row, number).map_err(failed)?;
    // Only if empty: tidiness, nothing depends on it.
    let _ = fs::remove_dir(&stage).and_then(|()| fs::remove_dir(root.join(NAME)));
    Ok(there)
}

/// Puts the intact frames of a damaged generation into a fresh one, durably.
fn fill(fresh: &Generation, damaged: &Path, lane: Lane) -> io::Result<()> {
    let salvage = Salvage::search_or_nothing(damaged, lane)?;
    for number in 0..salvage.frames() {
        let frame = salvage.frame(number)?;
        Frame::decode(&frame).map_err(io::Error::other)?;
        fresh.put(frame.into()).map_err(io::Error::other)?;
    }
    fresh.flush().map_err(io::Error::other)
}

/// Ends what a process left that died while it repaired a lane: fresh generations whose damaged one is already gone
/// are moved in, others are thrown away.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn adopt(root: &Path, lane: Lane) -> io::Result<()> {
    let (stage, row) = (stage(root, lane), root.join(lane.name()));
    let numbers = match generation::list(&stage) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        numbers => numbers?,
    };
    generation::clear_leftovers(&stage)?;
    for number in numbers {
        let fresh = generation::directory(&stage, number);
        if fs::symlink_metadata(generation::directory(&row, number)).is_ok() {
            files::remove_if_there(&fresh)?;
        } else {
            move_in(&fresh, &row, number)?;
        }
    }
    Ok(())
}

fn move_in(fresh: &Path, row: &Path, number: u64) -> io::Result<()> {
    fs::rename(fresh, generation::directory(row, number))?;
    sync_directory(row)
}

fn stage(root: &Path, lane: Lane) -> PathBuf {
    root.join(NAME).join(lane.name())
}
