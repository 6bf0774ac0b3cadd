//! How the rights on a path are read.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use super::{list, rights::Rights};
use crate::host::xattr::xattr;

/// What a look at a path finds.
pub(super) struct Seen {
    pub(super) rights: Rights,
    pub(super) is_directory: bool,
    /// The file system that it is on.
    pub(super) device: u64,
    /// Its lists have more entries than are followed.
    pub(super) is_too_long: bool,
}

/// Of a path itself; none of a link, which has no rights of its own.
pub(super) fn look(path: &Path) -> io::Result<Option<Seen>> {
    let found = std::fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(None);
    }
    let mut rights = Rights { mode: found.mode() & 0o7777, user: found.uid(), group: found.gid(), list: Vec::new() };
    if let Some(bytes) = xattr(path, list::POSIX)? {
        list::posix(&bytes, &mut rights);
    }
    if found.is_dir()
        && let Some(bytes) = xattr(path, list::POSIX_DEFAULT)?
    {
        list::posix_default(&bytes, &mut rights);
    }
    if let Some(bytes) = xattr(path, list::NFS4)? {
        list::nfs4(&bytes, &mut rights);
    }
    let is_too_long = rights.cut();
    Ok(Some(Seen { rights, is_directory: found.is_dir(), device: found.dev(), is_too_long }))
}
