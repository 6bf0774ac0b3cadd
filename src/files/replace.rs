//! Replacing of files, durably.
//!
//! Always holds: under its name a file is the old one or the new one, whole, whenever the process is killed or the power
//! fails; after `Ok` it is the new one. Proved call by call in `tests/log_faults.rs`.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
};

/// Puts a file in place of another, or of none, for its owner alone. It is written beside it, under its name and `.new`.
///
/// # Errors
/// As the file system says; what was there is then still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    replace_by(path, Path::new(&new), content)
}

/// The same, written under another name in the same directory. What lies there is what a crash has left, and goes.
///
/// # Errors
/// As the file system says; what was there is then still there.
pub fn replace_by(path: &Path, new: &Path, content: &[u8]) -> io::Result<()> {
    replace_as(path, new, content, |_| Ok(()))
}

/// As [`replace`], for a group to read, or with a mode of its own: before it stands under its name.
///
/// # Errors
/// As the file system says; what was there is then still there.
pub fn replace_for(path: &Path, content: &[u8], mode: u32, group: Option<u32>) -> io::Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    replace_as(path, Path::new(&new), content, |file| {
        group.map_or(Ok(()), |group| fchown(file, None, Some(group)))?;
        file.set_permissions(Permissions::from_mode(mode))
    })
}

fn replace_as(
    path: &Path,
    new: &Path,
    content: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    remove(new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    prepare(&file)?;
    file.write_all(content)?;
    // Content, name, directory: each on the disk before the next.
    file.sync_all()?;
    fs::rename(new, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Removes a file that may not be there.
///
/// # Errors
/// As the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory's entries durable.
///
/// # Errors
/// As the file system says.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    // The parent of a bare name is written as nothing.
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(here)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_for_its_owner_alone_whatever_a_crash_has_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        fs::write(directory.path().join("state.json.new"), "left behind, and longer").expect("written");
        for content in ["first", "second"] {
            replace(&path, content.as_bytes()).expect("replaced");
            assert_eq!(fs::read_to_string(&path).expect("read"), content);
        }
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!((mode & 0o7777, fs::read_dir(directory.path()).expect("read").count()), (0o600, 1));
    }

    #[test]
    fn what_cannot_be_replaced_stays_as_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        replace(&path, b"first").expect("written");
        fs::create_dir(directory.path().join("state.json.new")).expect("in the way");
        replace(&path, b"second").expect_err("a directory is in the way");
        assert_eq!(fs::read_to_string(&path).expect("read"), "first");
    }
}
