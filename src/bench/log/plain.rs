//! The measure of all things: a plain file that is appended to and made durable with fdatasync.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::bench::{machine::append_to, sample::Pool};

/// The file; gone when dropped.
pub(super) struct PlainFile {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
}

impl PlainFile {
    /// # Errors
    /// As the file system says.
    pub(super) fn create(directory: &Path) -> io::Result<PlainFile> {
        let path = directory.join("plain");
        Ok(PlainFile { file: append_to(&path)?, path, pending: Vec::new() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes an event, with its length before it; gives how many bytes wait.
    pub(super) fn push(&mut self, event: &[u8]) -> usize {
        self.pending.extend_from_slice(&(event.len() as u32).to_le_bytes());
        self.pending.extend_from_slice(event);
        self.pending.len()
    }

    /// Writes what waits and makes it durable.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        self.file.sync_data()
    }

    /// Appends `count` events, with a commit whenever so many bytes wait, and at the end.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn stream(&mut self, pool: &Pool, count: u64, commit_bytes: usize) -> io::Result<Duration> {
        let started = Instant::now();
        for some in pool.portions(count) {
            for event in some {
                if self.push(event) >= commit_bytes {
                    self.commit()?;
                }
            }
        }
        self.commit()?;
        Ok(started.elapsed())
    }
}

impl Drop for PlainFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a temporary file cannot be removed");
        }
    }
}
