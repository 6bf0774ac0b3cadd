//! What is made of files and made again when they change: keys of tokens, certificates. The server asks for a refresh
//! every few seconds; callers always get the last good one.
//!
//! What holds: files that cannot be used change nothing, and it is said once for each change of them, when it is still so
//! at the next refresh.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
};

use crate::{
    files::{Followed, Look},
    lock::{self, lock},
};

/// A value and the files that it is made of.
pub(super) struct Fresh<T> {
    current: RwLock<Arc<T>>,
    source: Option<Source<T>>,
}

struct Source<T> {
    what: &'static str,
    followed: Mutex<Followed<Made<T>>>,
    make: Box<dyn Fn() -> Result<T, Unmade> + Send + Sync>,
}

/// Each is another one, whatever it is made of.
struct Made<T>(Arc<T>);

impl<T> Clone for Made<T> {
    fn clone(&self) -> Made<T> {
        Made(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for Made<T> {
    fn eq(&self, other: &Made<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Why nothing could be made.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unmade(Box<dyn Error + Send + Sync>);

/// What became of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The value is as it was.
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
        let (followed, Made(first)) = Followed::begin(files, || make().map(|value| Made(Arc::new(value))))?;
        let make = Box::new(move || make().map_err(|error| Unmade(error.into())));
        let source = Source { what, followed: Mutex::new(followed), make };
        Ok(Fresh { current: RwLock::new(first), source: Some(source) })
    }

    /// The value as it is now.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&lock::read(&self.current))
    }

    /// Makes the value anew if a file has changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        let Some(Source { what, followed, make }) = &self.source else { return Refreshed::Same };
        let mut followed = lock(followed);
        // Reading again what was told would only warn again of what else is wrong with it.
        if followed.is_settled() {
            return Refreshed::Same;
        }
        match followed.look(|| make().map(|value| Made(Arc::new(value)))) {
            Look::Same | Look::Mended => Refreshed::Same,
            Look::Renewed => {
                if let Ok((Made(value), _)) = followed.value() {
                    *lock::write(&self.current) = Arc::clone(value);
                }
                tracing::info!(what, "files have changed and are in use");
                Refreshed::Renewed
            }
            Look::Refused(error) => {
                tracing::warn!(what, error, "files have changed but cannot be used; what was read before stays in use");
                Refreshed::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        sync::atomic::{AtomicU32, Ordering},
    };

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
        let reads = Arc::new(AtomicU32::new(0));
        let read = {
            let (path, reads) = (path.clone(), Arc::clone(&reads));
            move || {
                reads.fetch_add(1, Ordering::Relaxed);
                fs::read_to_string(&path)?.parse::<u32>().map_err(io::Error::other)
            }
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
        step();
        fs::remove_file(&path).expect("it is there");
        step();
        step();
        replace("3");
        step();
        use Refreshed::{Failed, Renewed, Same};
        assert_eq!(
            steps,
            [(Same, 1), (Renewed, 2), (Same, 2), (Failed, 2), (Same, 2), (Same, 2), (Failed, 2), (Renewed, 3)]
        );
        assert_eq!(reads.load(Ordering::Relaxed), 7, "what was told is not read again");
    }

    #[test]
    fn a_fixed_value_stays() {
        let fixed = Fresh::fixed(7);
        assert_eq!((fixed.refresh(), *fixed.current()), (Refreshed::Same, 7));
    }
}
