//! Opens the store beside the lanes, `meta`, in whatever state the disk has it.
//!
//! One that sled cannot open goes to quarantine and a new one is made. What it knew is found elsewhere: what the
//! generations hold in their manifests, where numbering goes on in what is stored. Where the cursors stood is not, so
//! they begin with the oldest stored event: what has been delivered is delivered again, and nothing is skipped.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::{
    LogError, Settings,
    meta::Meta,
    probe::{self, Part, Verdict},
    quarantine,
};
use crate::telemetry::message;

/// Opens `meta`. Gives why the old one had to be set aside, if so.
///
/// # Errors
/// When the storage fails, or it was written by another format.
pub(super) fn open_meta(settings: &Settings) -> Result<(Meta, Option<String>), LogError> {
    let root = &settings.directory;
    let store = root.join("meta");
    let failed = |e: io::Error| LogError::io("repair", &store, e);
    remove_files(&store, probe::is_unfinished).map_err(failed)?;
    let mut damage = match probe::probe(root, &store, Part::All, settings.probe) {
        Verdict::Damaged(why) => match probe::probe(root, &store, Part::Log, settings.probe) {
            Verdict::Sound => {
                // A snapshot only saves sled reading its log.
                remove_files(&store, probe::is_snapshot).map_err(failed)?;
                None
            }
            Verdict::Damaged(_) | Verdict::Unknown(_) => Some(why),
        },
        Verdict::Sound | Verdict::Unknown(_) => None,
    };
    if damage.is_none() {
        match catch_unwind(AssertUnwindSafe(|| Meta::open(root))) {
            Ok(Ok(meta)) => return Ok((meta, None)),
            Ok(Err(error)) if !error.is_damage() => return Err(error),
            Ok(Err(error)) => damage = Some(error.to_string()),
            Err(_) => damage = Some("sled panicked".to_owned()),
        }
    }
    let there = quarantine::take_in(root, &store, "meta").map_err(failed)?;
    let damage = damage.unwrap_or_default();
    tracing::error!(
        message_id = %message::LOG_DAMAGED,
        damage,
        moved_to = %there.display(),
        "the event log's cursors are damaged; delivery begins with the oldest event"
    );
    Ok((Meta::open(root)?, Some(damage)))
}

fn remove_files(store: &Path, which: fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(store) {
        Ok(entries) => entries,
        // Not there yet, or not what it should be: that is found out by opening it.
        Err(_) => return Ok(()),
    };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(which) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
