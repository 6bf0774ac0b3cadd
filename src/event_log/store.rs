//! Opening a sled store that somebody may just be letting go of.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a store that is in use is waited for: a process that is ending holds its locks until the kernel has cleared it
/// away, and sled's own threads let go a moment after the handle is dropped.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Opens a store, waiting for its lock. Blocking.
///
/// # Errors
/// As sled says; a store that is still in use after [`LOCK_WAIT_MAX`] is an error.
pub(super) fn open(config: &sled::Config) -> sled::Result<sled::Db> {
    let started = Instant::now();
    loop {
        match config.open() {
            Err(error) if is_locked(&error) && started.elapsed() < LOCK_WAIT_MAX => thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
}

/// sled has no variant of its own for it; the words are those of the version that we pin.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}
