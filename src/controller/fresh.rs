//! What is made of files and made again when they change: keys of tokens, certificates. The server asks for a refresh
//! every few seconds; callers always get the last good one.
//!
//! What holds: files that cannot be used change nothing, and it is said once for each change of them. A change is seen
//! by the file's identity, size and times, so a file that is replaced by renaming, as it should be, is seen too.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::telemetry::ErrorChain;

type BoxError = Box<dyn Error + Send + Sync>;

/// A value and the files that it is made of.
pub(super) struct Fresh<T> {
    current: RwLock<Arc<T>>,
    source: Option<Source<T>>,
}

struct Source<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    seen: Mutex<Vec<Stamp>>,
    make: Box<dyn Fn() -> Result<T, BoxError> + Send + Sync>,
}

/// By what a change of a file is seen; for a file that cannot be looked at, by the reason.
#[derive(Debug, PartialEq)]
enum Stamp {
    File { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    None(io::ErrorKind),
}

/// What became of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The files are as they were.
    Same,
    /// The value is made of the files as they are now.
    Renewed,
    /// The files have changed and cannot be used; the value is the last good one.
    Failed,
}

impl<T> Fresh<T> {
    /// A value that no file changes.
    pub(super) fn fixed(value: T) -> Fresh<T> {
        Fresh { current: RwLock::new(Arc::new(value)), source: None }
    }

    /// Makes the value of its files. `what` it is, for the log. Blocks.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn read<E: Error + Send + Sync + 'static>(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Fresh<T>, E> {
        // Before they are read: a change in between is seen by the next refresh.
        let seen = Mutex::new(stamps(&files));
        let value = make()?;
        let make = Box::new(move || make().map_err(BoxError::from));
        Ok(Fresh { current: RwLock::new(Arc::new(value)), source: Some(Source { what, files, seen, make }) })
    }

    /// The value as it is now.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the value anew if a file has changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        let Some(Source { what, files, seen, make }) = &self.source else { return Refreshed::Same };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(files);
        if *seen == stamps {
            return Refreshed::Same;
        }
        *seen = stamps;
        match make() {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!(what, "files have changed and are in use");
                Refreshed::Renewed
            }
            Err(error) => {
                tracing::warn!(what, error = %ErrorChain(&*error), "files have changed but cannot be used; what was read before stays in use");
                Refreshed::Failed
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(file) => Stamp::File {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        },
        Err(error) => Stamp::None(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_follows_its_file_and_outlives_a_bad_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("number");
        let replace = |text: &str| {
            let new = directory.path().join("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).expect("a file");
        };
        replace("1");
        let read = {
            let path = path.clone();
            move || fs::read_to_string(&path)?.parse::<u32>().map_err(io::Error::other)
        };
        let number = Fresh::read("a number", vec![path.clone()], read).expect("a number");
        let mut steps = Vec::new();
        let mut step = || steps.push((number.refresh(), *number.current()));
        step();
        replace("2");
        step();
        replace("two");
        step();
        step();
        fs::remove_file(&path).expect("it is there");
        step();
        replace("3");
        step();
        use Refreshed::{Failed, Renewed, Same};
        assert_eq!(steps, [(Same, 1), (Renewed, 2), (Failed, 2), (Same, 2), (Failed, 2), (Renewed, 3)]);
    }

    #[test]
    fn a_fixed_value_stays() {
        let fixed = Fresh::fixed(7);
        assert_eq!((fixed.refresh(), *fixed.current()), (Refreshed::Same, 7));
    }
}
