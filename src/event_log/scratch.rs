//! Copies of small stores in memory: sled writes when it opens a store, so on a full disk it can open none, and a copy is
//! the only way to learn what the log holds. Taken away as soon as they have been looked at.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// A file system in memory that every Linux has.
const MEMORY: &str = "/dev/shm";

/// A directory for copies; gone with the value.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// # Errors
    /// As the file system says.
    pub(super) fn new() -> io::Result<Scratch> {
        let path = Path::new(MEMORY).join(format!("rodent-{}", uuid::Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }

    /// Copies a store's files; gives where to.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn copy(&self, store: &Path) -> io::Result<PathBuf> {
        let name = store.file_name().unwrap_or(store.as_os_str());
        let copy = self.0.join(name);
        match fs::remove_dir_all(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => DirBuilder::new().mode(0o700).create(&copy)?,
        }
        for entry in fs::read_dir(store)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        Ok(copy)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays goes with the machine's memory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
