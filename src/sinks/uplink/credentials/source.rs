//! A value that stands in files and is read again whenever they change.
//!
//! Always holds: a value that could be used stays in use until the files hold another one that can be. Whoever replaces
//! two files, one after the other, is between them for a moment; so what is wrong is told only when it is still so at the
//! next look, and then once.

use std::{
    error::Error,
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::telemetry::{ErrorChain, message};

/// The longest file that is read, bytes: four times the bundle of all public authorities.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Tells one content of a file from another without reading it; `None` when it cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(Option<[u64; 5]>);

impl Version {
    /// Of the file at `path` as it is now, through links.
    pub(super) fn of(path: &Path) -> Version {
        let fields = |metadata: fs::Metadata| {
            // The time of the last change of the inode, too: a file that is moved in place may keep its other times.
            let moment =
                |seconds: i64, nanoseconds: i64| seconds.unsigned_abs().rotate_left(30) ^ nanoseconds.unsigned_abs();
            [
                metadata.dev(),
                metadata.ino(),
                metadata.len(),
                moment(metadata.mtime(), metadata.mtime_nsec()),
                moment(metadata.ctime(), metadata.ctime_nsec()),
            ]
        };
        Version(fs::metadata(path).ok().map(fields))
    }
}

/// Reads a file that must be an ordinary one of bounded size.
pub(in crate::sinks::uplink) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not an ordinary file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// A value and the files that it was read from.
pub(super) struct Source<T> {
    /// What it is, for the log.
    name: &'static str,
    files: Vec<PathBuf>,
    /// Of the files at the last look.
    versions: Vec<Version>,
    value: Option<T>,
    /// How often the value has changed.
    edition: u64,
    /// What kept the files from being used at the last look.
    trouble: Option<String>,
    /// The trouble that was told.
    told: Option<String>,
}

impl<T: Clone + PartialEq> Source<T> {
    pub(super) fn new(name: &'static str, files: Vec<PathBuf>) -> Source<T> {
        Source { name, files, versions: Vec::new(), value: None, edition: 0, trouble: None, told: None }
    }

    /// The value and its edition; read anew with `read` when the files have changed or could not be used.
    ///
    /// # Errors
    /// When they cannot be used and never could: in one line, why.
    pub(super) fn look<E: Error + 'static>(&mut self, read: impl FnOnce() -> Result<T, E>) -> Result<(T, u64), String> {
        // Before reading, so that a change in between is seen at the next look.
        let versions = self.current();
        let are_same = versions == self.versions;
        if !are_same || self.value.is_none() || self.trouble.is_some() {
            self.versions = versions;
            match read() {
                Ok(value) => self.take(value),
                Err(error) => self.note(ErrorChain(&error).to_string(), are_same),
            }
        }
        let trouble = || self.trouble.clone().unwrap_or_default();
        self.value.clone().map(|value| (value, self.edition)).ok_or_else(trouble)
    }

    fn take(&mut self, value: T) {
        self.trouble = None;
        if self.told.take().is_some() {
            tracing::info!(what = self.name, "the changed file can be used");
        }
        // Written again as it was is no change: nobody is to reconnect for it.
        if self.value.as_ref() != Some(&value) {
            self.value = Some(value);
            self.edition += 1;
        }
    }

    fn note(&mut self, error: String, are_same: bool) {
        if are_same && self.value.is_some() && self.told.as_ref() != Some(&error) {
            tracing::warn!(
                message_id = %message::CREDENTIALS_REFUSED,
                what = self.name,
                error,
                "a changed file cannot be used; what it held before stays in use"
            );
            self.told = Some(error.clone());
        }
        self.trouble = Some(error);
    }

    /// Whether the files are others than at the last look.
    pub(super) fn has_changed(&self) -> bool {
        self.current() != self.versions
    }

    fn current(&self) -> Vec<Version> {
        self.files.iter().map(|file| Version::of(file)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &Path) -> Result<u32, io::Error> {
        String::from_utf8_lossy(&read_bounded(path)?).trim().parse().map_err(io::Error::other)
    }

    #[test]
    fn what_could_be_used_stays_in_use_until_there_is_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("number");
        let mut source = Source::new("number", vec![path.clone()]);
        let mut look = || source.look(|| number(&path));
        assert!(look().expect_err("there is none").contains("No such file"));
        fs::write(&path, "1").expect("written");
        assert_eq!(look(), Ok((1, 1)));
        assert_eq!(look(), Ok((1, 1)), "not read again");
        fs::write(&path, "one").expect("written");
        assert_eq!((look(), look()), (Ok((1, 1)), Ok((1, 1))));
        fs::remove_file(&path).expect("removed");
        assert_eq!(look(), Ok((1, 1)));
        fs::write(&path, "22").expect("written");
        assert_eq!(look(), Ok((22, 2)));
        fs::write(&path, " 22").expect("written");
        assert_eq!(look(), Ok((22, 2)), "the same in other words");
        assert!(!source.has_changed());
        fs::write(&path, "333").expect("written");
        assert!(source.has_changed());
    }

    #[test]
    fn a_file_put_in_place_of_another_is_another_though_size_and_time_agree() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::write(&one, "1").expect("written");
        fs::write(&other, "2").expect("written");
        let time = fs::metadata(&one).and_then(|metadata| metadata.modified()).expect("a time");
        fs::File::options().write(true).open(&other).and_then(|file| file.set_modified(time)).expect("set");
        let before = Version::of(&one);
        fs::rename(&other, &one).expect("renamed");
        assert_ne!(before, Version::of(&one));
    }

    #[test]
    fn what_is_no_ordinary_file_or_endless_is_not_read() {
        assert!(read_bounded(Path::new("/dev/zero")).is_err());
        assert!(read_bounded(Path::new("/")).is_err());
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("long");
        fs::write(&path, vec![b'x'; 1024 * 1024 + 1]).expect("written");
        assert!(read_bounded(&path).is_err());
    }
}
