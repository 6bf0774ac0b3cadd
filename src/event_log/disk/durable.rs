//! What makes "flushed" mean "survives a loss of power".
//!
//! sled 0.34.7 ends a flush with `sync_file_range`, which neither writes the file's size nor empties the device's
//! cache: after a power cut flushed data is missing or the whole store cannot be opened. So this program has a
//! `sync_file_range` of its own, found by the linker before the C library's, that calls `fdatasync`. (The other way,
//! a seccomp filter that answers ENOSYS so that sled falls back to `fsync`, would depend on the service manager.)
//!
//! Always holds: when a generation is made, its first flush is seen to go through the override, or the log promises nothing. Of what sled writes at other
//! times than a flush, files and directories, `files::sync_tree` takes care when a generation is made.

use std::sync::atomic::{AtomicU64, Ordering};

/// Calls of the override, in the whole process.
static SYNCS: AtomicU64 = AtomicU64::new(0);

/// Takes the place of the C library's function for the whole process; sled is its only caller.
///
/// Syncing more than the caller asked for is always allowed.
#[expect(unsafe_code, reason = "overrides a symbol of the C library: the one way to make sled's flush durable")]
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(
    fd: libc::c_int,
    _offset: libc::off64_t,
    _bytes: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: fdatasync takes any number and answers EBADF for one that is no descriptor.
    unsafe { libc::fdatasync(fd) }
}

/// How often flushes have reached the disk.
pub(in crate::event_log) fn syncs() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_of_sled_reaches_fdatasync() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = sled::Config::new().path(directory.path().join("db")).flush_every_ms(None).open().expect("a store");
        db.insert("key", "value").expect("written");
        let before = syncs();
        db.flush().expect("flushed");
        assert!(syncs() > before, "the override is in force");
    }
}
