//! Whether the last process closed the log in good order: a mark that is there while it is closed.
//!
//! Taken away at the start and set again at the end, never the other way round: taking a file away works on a full
//! disk too, and a mark that could not be set only makes the next start more careful.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::durable::sync_directory;

/// Its name below the log's root.
pub(super) const NAME: &str = "closed";

fn mark(root: &Path) -> PathBuf {
    root.join(NAME)
}

/// Whether nobody has had a log here yet. What `meta` says does not tell: it may have been made anew.
pub(super) fn is_new(root: &Path) -> bool {
    ["meta", "urgent", "routine", "quarantine"].iter().all(|name| !root.join(name).exists())
}

/// Takes the mark away, durably; gives whether it was there.
///
/// # Errors
/// As the file system says.
pub(super) fn take(root: &Path) -> io::Result<bool> {
    match fs::remove_file(mark(root)) {
        Ok(()) => sync_directory(root).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets the mark, durably. Everything else must be durable by then.
///
/// # Errors
/// As the file system says.
pub(super) fn set(root: &Path) -> io::Result<()> {
    File::create(mark(root))?.sync_all()?;
    sync_directory(root)
}
