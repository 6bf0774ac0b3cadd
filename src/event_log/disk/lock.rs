//! Who works on the log's directory: one process at a time, the agent or a command that mends.
//!
//! A lock on the directory itself, so that no file is needed for it. The kernel gives it up with the process.

use std::{
    fs::File,
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use crate::event_log::error::LogError;

/// How long one that is taken is waited for: a process that is ending holds it until the kernel has cleared it away.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Held as long as it lives.
pub(in crate::event_log) struct Lock {
    _directory: Flock<File>,
}

impl Lock {
    /// Takes the lock of a log's directory. Blocking.
    ///
    /// # Errors
    /// When another process still has it after [`WAIT_MAX`], or the directory cannot be opened.
    pub(in crate::event_log) fn take(root: &Path) -> Result<Lock, LogError> {
        let started = Instant::now();
        let mut directory = File::open(root).map_err(|e| LogError::io("open", root, e))?;
        loop {
            directory = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => return Ok(Lock { _directory: locked }),
                Err((directory, nix::Error::EWOULDBLOCK)) if started.elapsed() < WAIT_MAX => directory,
                Err((_, nix::Error::EWOULDBLOCK)) => return Err(LogError::InUse(root.display().to_string())),
                Err((_, error)) => return Err(LogError::io("lock", root, io::Error::from(error))),
            };
            thread::sleep(PAUSE);
        }
    }

    /// Whether another process has it. Whoever wants it at this very moment finds it taken for as long as this looks, and
    /// waits.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub(in crate::event_log) fn is_taken(root: &Path) -> Result<bool, LogError> {
        let directory = File::open(root).map_err(|e| LogError::io("open", root, e))?;
        Ok(matches!(Flock::lock(directory, FlockArg::LockSharedNonblock), Err((_, nix::Error::EWOULDBLOCK))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = Lock::take(directory.path()).expect("free");
        assert!(matches!(Lock::take(directory.path()), Err(LogError::InUse(_))));
        drop(held);
        Lock::take(directory.path()).expect("free again");
    }
}
