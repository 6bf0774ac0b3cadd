//! Files that hold a secret: read whole, up to a bound, with a word of warning when everybody on the machine can read
//! them too. Used for token secrets and private keys; what was read is never part of a message.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Bytes of a file of keys; a longer one is a mistake.
pub(super) const BYTES_MAX: u64 = 64 * 1024;

/// Permission of everybody to read.
const OTHERS_READ: u32 = 0o004;

/// The bytes of a file, one more than [`BYTES_MAX`] at the most, so that the caller sees that it is too long.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & OTHERS_READ != 0 {
        tracing::warn!(path = %path.display(), "everybody on this machine can read this secret; chmod o= would end that");
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
