//! Opening a sled store that somebody may just be letting go of, or that a killed process was opening.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a store that is in use is waited for: a process that is ending holds its locks until the kernel has cleared it
/// away, and sled's own threads let go a moment after the handle is dropped.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How a snapshot's name ends until it is whole. sled 0.34.7 takes such a leftover of a killed process for a snapshot
/// and finds it damaged; without it, it reads its log instead.
const UNFINISHED: &str = ".generating";

/// Opens a store, waiting for its lock, and clears away an unfinished snapshot that is in the way. Blocking.
///
/// # Errors
/// As sled says; a store that is still in use after [`LOCK_WAIT_MAX`] is an error.
pub(super) fn open(config: &sled::Config) -> sled::Result<sled::Db> {
    let started = Instant::now();
    let mut cleared = false;
    loop {
        match config.open() {
            // It had the lock: nobody is writing that snapshot any more.
            Err(sled::Error::Corruption { .. }) if !cleared && clear_unfinished(&config.get_path())? => cleared = true,
            Err(error) if is_locked(&error) && started.elapsed() < LOCK_WAIT_MAX => thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
}

/// Gives whether there was anything.
fn clear_unfinished(store: &Path) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(UNFINISHED)) {
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
