//! What makes "flushed" mean "survives a loss of power".
//!
//! sled 0.34.7 ends a flush with `sync_file_range`, which neither writes the file's size nor empties the device's
//! cache: after a power cut flushed data is missing or the whole store cannot be opened. So this program has a
//! `sync_file_range` of its own, found by the linker before the C library's, that calls `fdatasync`. (The other way,
//! a seccomp filter that answers ENOSYS so that sled falls back to `fsync`, would depend on the service manager.)
//!
//! Always holds: [`verify`] has seen the override at work before the log promises anything. Of what sled writes at other
//! times than a flush, files and directories, [`sync_tree`] takes care when a generation is made.

use std::{
    fs::File,
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

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
pub(super) fn syncs() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

/// Writes to `db` and checks that the flush went through [`sync_file_range`] above.
///
/// # Errors
/// When it did not (another definition came first, as in a statically linked program), or the storage failed.
pub(super) fn verify(db: &sled::Db) -> io::Result<()> {
    let before = syncs();
    db.insert(b"probe", &before.to_le_bytes()).map_err(io::Error::other)?;
    // The value must change, or the flush would have nothing to do.
    db.insert(b"probe", uuid::Uuid::new_v4().as_bytes()).map_err(io::Error::other)?;
    db.flush().map_err(io::Error::other)?;
    if syncs() == before {
        return Err(io::Error::other(
            "flushes do not reach the disk: sync_file_range is not overridden in this program",
        ));
    }
    Ok(())
}

/// Syncs the regular files of a directory, then the directory.
///
/// # Errors
/// As the file system says.
pub(super) fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(directory)
}

/// Makes a directory's entries durable.
///
/// # Errors
/// As the file system says.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_of_sled_reaches_fdatasync() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = sled::Config::new().path(directory.path().join("db")).flush_every_ms(None).open().expect("a store");
        verify(&db).expect("the override is in force");
    }
}
