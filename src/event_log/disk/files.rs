//! Files and directories of the log: made, synced, measured, removed.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

pub(in crate::event_log) use crate::files::sync_directory;

/// Name of the file beside a generation's frames that says what it holds, and the one that it is written under.
pub(in crate::event_log) const MANIFEST: &str = "manifest";
pub(in crate::event_log) const MANIFEST_NEW: &str = "manifest.new";

/// Name of the ledger's file below the log's root.
pub(in crate::event_log) const LEDGER: &str = "ledger";

/// Makes a directory for its owner only, and its entry durable, unless it is there.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !path.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if let Some(parent) = path.parent() {
            sync_directory(parent)?;
        }
    }
    Ok(())
}

/// Syncs the regular files of a directory, then the directory.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(directory)
}

/// What a directory takes on the disk, by its blocks. 0 where it cannot be read.
pub(in crate::event_log) fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .filter_map(|entry| {
            let metadata = entry.ok()?.metadata().ok()?;
            // One level is all that sled makes: `blobs`, which stays empty.
            Some(metadata.blocks().saturating_mul(512))
        })
        .sum()
}

/// Removes a directory of the log's with the files in it that are known to be the log's. Gives whether nothing else was
/// in it; otherwise it stays, with that.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn remove_store(directory: &Path) -> io::Result<bool> {
    let mut empty = true;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (name, is_file) = (entry.file_name(), entry.file_type()?.is_file());
        match name.to_str() {
            Some(name) if is_file && is_known(name) => fs::remove_file(entry.path())?,
            // sled's, and never anything in it: its removal fails if there is.
            Some("blobs") if fs::remove_dir(entry.path()).is_ok() => {}
            _ => empty = false,
        }
    }
    if empty {
        fs::remove_dir(directory)?;
    }
    Ok(empty)
}

/// Removes a directory of ours as [`remove_store`] does; one that is not there is no error.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove_store(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Whether a file of this name in a generation is the log's.
pub(in crate::event_log) fn is_known(name: &str) -> bool {
    matches!(name, "db" | "conf" | MANIFEST | MANIFEST_NEW) || name.starts_with("snap.")
}
