//! Extended attributes of files, in which file systems keep access lists. Read only, and bounded by what the kernel takes.

use std::{
    ffi::{CStr, CString},
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// Enough for nearly all of them, bytes.
const USUAL_BYTES: usize = 4 * 1024;
/// What the kernel takes at the most, bytes.
const BYTES_MAX: usize = 64 * 1024;

/// An attribute of a file, not of what a link leads to; none where it has no such attribute or its file system has none at all.
///
/// # Errors
/// When it cannot be read.
pub fn xattr(path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    match read(&path, name, USUAL_BYTES) {
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => read(&path, name, BYTES_MAX).map(Some),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
        read => read.map(Some),
    }
}

#[expect(unsafe_code, reason = "nix has no extended attributes")]
fn read(path: &CStr, name: &CStr, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; bytes_max];
    // SAFETY: both texts end in a zero byte, and the kernel writes at most as many bytes as there are.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
    bytes.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_has_not_is_none_and_a_file_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(xattr(directory.path(), c"user.none").unwrap(), None);
        let error = xattr(&directory.path().join("none"), c"user.none").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
