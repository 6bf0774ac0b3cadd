//! An open sled store: opened while somebody may just be letting go of it, or after a process was killed that opened it,
//! and let go of without a panic.

use std::{
    fs, io,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::probe::is_unfinished;

/// How long a store that is in use is waited for: a process that is ending holds its locks until the kernel has cleared it
/// away, and sled's own threads let go a moment after the handle is dropped.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// An open store. Trees of it are dropped before it.
///
/// sled 0.34.7 syncs once more when the last handle goes, and panics when that fails. Whatever was to be durable has been
/// flushed by then, so the failure is no news; the panic stays in here.
pub(super) struct Store(Option<sled::Db>);

impl Deref for Store {
    type Target = sled::Db;

    fn deref(&self) -> &sled::Db {
        self.0.as_ref().expect("taken only when it is dropped")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let db = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::warn!("a store of the event log could not be synced when it was let go of");
        }
    }
}

/// Opens a store, waiting for its lock, and clears away an unfinished snapshot that is in the way. Blocking.
///
/// # Errors
/// As sled says; a store that is still in use after [`LOCK_WAIT_MAX`] is an error.
pub(super) fn open(config: &sled::Config) -> sled::Result<Store> {
    let started = Instant::now();
    let mut cleared = false;
    loop {
        match config.open() {
            // It had the lock: nobody is writing that snapshot any more.
            Err(sled::Error::Corruption { .. }) if !cleared && clear_unfinished(&config.get_path())? => cleared = true,
            Err(error) if is_locked(&error) && started.elapsed() < LOCK_WAIT_MAX => thread::sleep(LOCK_PAUSE),
            other => return other.map(|db| Store(Some(db))),
        }
    }
}

/// sled 0.34.7 takes an unfinished snapshot of a killed process for a whole one and finds it damaged; without it, it reads
/// its log instead. Gives whether there was one.
fn clear_unfinished(store: &Path) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_unfinished) {
            fs::remove_file(entry.path())?;
            found = true;
        }
    }
    Ok(found)
}

/// sled has no variant of its own for it; the words are those of the version that we pin.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_a_killed_process_left_unfinished_is_no_damage() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = sled::Config::new().path(directory.path()).flush_every_ms(None);
        let store = open(&config).expect("a new store");
        store.insert(b"key", b"value").expect("written");
        store.flush().expect("durable");
        drop(store);
        for content in [&b""[..], b"half of it, with no checksum at its end"] {
            let leftover = directory.path().join("snap.FFFFFFFFFFFFFFFF.generating");
            fs::write(&leftover, content).expect("written");
            let store = open(&config).expect("it opens");
            assert_eq!(store.get(b"key").expect("readable").as_deref(), Some(&b"value"[..]));
            assert!(!leftover.exists());
        }
        let damaged = directory.path().join("snap.FFFFFFFFFFFFFFFF");
        fs::write(&damaged, b"a finished snapshot that is none").expect("written");
        assert!(matches!(open(&config), Err(sled::Error::Corruption { .. })), "other damage is told");
        assert!(damaged.exists());
    }
}
