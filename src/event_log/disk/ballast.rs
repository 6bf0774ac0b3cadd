//! Space that the log gives up when the disk is full, so that there is room for what must still be written.
//!
//! A file of bytes that no file system can compress or share: what is only reserved is not there on a copy-on-write
//! disk. Counts towards the log's share of the disk. The writer lets it grow while it has nothing else to do, and
//! only where there is plenty of room.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The most that it takes, bytes, unless told otherwise.
pub(in crate::event_log) const BALLAST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The part of the log's share that it takes at most.
const SHARE: u64 = 16;

/// What lies in its place and is no file is not waited for, and not followed.
const NO_SURPRISES: i32 = libc::O_NONBLOCK | libc::O_NOFOLLOW;

/// How much it grows at a time: what a producer may have to wait for.
const STEP_BYTES: u64 = 1024 * 1024;

/// The ballast of a log.
pub(in crate::event_log) struct Ballast {
    path: PathBuf,
    target: u64,
    bytes: u64,
}

impl Ballast {
    /// What is there of it below the log's root.
    pub(in crate::event_log) fn find(root: &Path, disk_bytes_max: u64, ballast_bytes_max: u64) -> Ballast {
        let path = root.join("ballast");
        let target = (disk_bytes_max / SHARE).min(ballast_bytes_max);
        let bytes = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        Ballast { path, target, bytes }
    }

    /// Is to be as large as fits a log of so many bytes. What is too much is given up; what is missing grows.
    pub(in crate::event_log) fn resize(&mut self, disk_bytes_max: u64, ballast_bytes_max: u64) {
        self.target = (disk_bytes_max / SHARE).min(ballast_bytes_max);
        if self.bytes > self.target {
            let mut opened = OpenOptions::new();
            let opened = opened.write(true).custom_flags(NO_SURPRISES).open(&self.path);
            let shrunk = opened.and_then(|file| file.set_len(self.target));
            match shrunk {
                Ok(()) => self.bytes = self.target,
                Err(_) => drop(self.release()),
            }
        }
    }

    /// What it takes on the disk, bytes.
    pub(in crate::event_log) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is smaller than it should be.
    pub(in crate::event_log) fn is_short(&self) -> bool {
        self.bytes < self.target
    }

    /// Gives all of it up. Gives whether there was any.
    pub(in crate::event_log) fn release(&mut self) -> bool {
        let had = fs::remove_file(&self.path).is_ok() && self.bytes > 0;
        self.bytes = 0;
        had
    }

    /// Grows by a step, if the disk has at least twice as much room as is missing. Gives whether it grew.
    ///
    /// # Errors
    /// As the file system says; what had grown is given up then.
    pub(in crate::event_log) fn grow(&mut self) -> io::Result<bool> {
        let missing = self.target.saturating_sub(self.bytes);
        let directory = self.path.parent().unwrap_or(&self.path);
        if missing == 0 || free_bytes(directory)? < missing.saturating_mul(2) {
            return Ok(false);
        }
        let grown = self.append(missing.min(STEP_BYTES));
        if grown.is_err() {
            self.release();
        }
        grown.map(|()| true)
    }

    fn append(&mut self, bytes: u64) -> io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NO_SURPRISES).open(&self.path)?;
        io::copy(&mut File::open("/dev/urandom")?.take(bytes), &mut file)?;
        file.flush()?;
        // Delayed allocation would promise space that is not there.
        file.sync_all()?;
        self.bytes += bytes;
        Ok(())
    }
}

/// What an ordinary program may still write to the disk of a directory, bytes.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(directory).map_err(io::Error::from)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_step_by_step_to_its_size_and_is_given_up_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut ballast = Ballast::find(directory.path(), 40 * 1024 * 1024, BALLAST_BYTES_MAX);
        assert!(ballast.is_short());
        while ballast.is_short() {
            assert!(ballast.grow().expect("a writable disk"), "there is room");
        }
        assert_eq!(ballast.bytes(), 40 * 1024 * 1024 / SHARE);
        assert_eq!(super::super::files::disk_bytes(directory.path()), ballast.bytes());
        let mut found = Ballast::find(directory.path(), 40 * 1024 * 1024, BALLAST_BYTES_MAX);
        assert!(!found.is_short());
        assert!(found.release());
        assert!(!found.release());
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
    }
}
