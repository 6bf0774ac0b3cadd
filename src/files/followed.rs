//! A value that stands in files and is read again whenever they change.
//!
//! Always holds: a value that could be used stays in use until the files hold another one that can be. Whoever replaces
//! two files, one after the other, is between them for a moment; so what is wrong is to be told only when it is still so
//! at the next look, and then once.

use std::{
    error::Error,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::telemetry::ErrorChain;

/// Tells one content of a file from another without reading it: device, inode, length, and the times of its content and of
/// its inode, since a file that is moved in place may keep all others. `None` when it cannot be looked at.
type Stamp = Option<(u64, u64, u64, [(i64, i64); 2])>;

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    let times = [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())];
    Some((file.dev(), file.ino(), file.len(), times))
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing to tell: the value is as it was, or there was none and still is none.
    Same,
    /// There is another value.
    Renewed,
    /// What was told to be wrong has ended, and the value is as it was.
    Mended,
    /// The files have changed and cannot be used, for this reason; what they held before stays in use.
    Refused(String),
}

/// A value and the files that it was read from.
#[derive(Debug)]
pub struct Followed<T> {
    files: Vec<PathBuf>,
    /// Of the files at the last look.
    stamps: Vec<Stamp>,
    value: Option<T>,
    /// How often the value has changed.
    edition: u64,
    /// What kept the files from being used at the last look.
    trouble: Option<String>,
    /// The trouble that was told.
    told: Option<String>,
}

impl<T: PartialEq> Followed<T> {
    /// Files that nobody has looked at yet.
    pub fn new(files: Vec<PathBuf>) -> Followed<T> {
        Followed { files, stamps: Vec::new(), value: None, edition: 0, trouble: None, told: None }
    }

    /// Files that have to be there, and their value.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn begin<E>(files: Vec<PathBuf>, read: impl FnOnce() -> Result<T, E>) -> Result<(Followed<T>, T), E>
    where
        T: Clone,
    {
        let mut followed = Followed::new(files);
        followed.stamps = followed.current();
        let value = read()?;
        followed.take(value.clone());
        Ok((followed, value))
    }

    /// Reads the value anew when the files have changed or could not be used.
    pub fn look<E: Error + 'static>(&mut self, read: impl FnOnce() -> Result<T, E>) -> Look {
        // Before reading, so that a change in between is seen at the next look.
        let stamps = self.current();
        let are_same = stamps == self.stamps;
        if are_same && self.value.is_some() && self.trouble.is_none() {
            return Look::Same;
        }
        self.stamps = stamps;
        match read() {
            Ok(value) => self.take(value),
            Err(error) => self.note(ErrorChain(&error).to_string(), are_same),
        }
    }

    fn take(&mut self, value: T) -> Look {
        self.trouble = None;
        let was_told = self.told.take().is_some();
        // Written again as it was is no change: nobody is to reconnect for it.
        if self.value.as_ref() != Some(&value) {
            self.value = Some(value);
            self.edition += 1;
            return Look::Renewed;
        }
        if was_told { Look::Mended } else { Look::Same }
    }

    fn note(&mut self, error: String, are_same: bool) -> Look {
        self.trouble = Some(error.clone());
        if are_same && self.value.is_some() && self.told.as_ref() != Some(&error) {
            self.told = Some(error.clone());
            return Look::Refused(error);
        }
        Look::Same
    }

    /// The last good value and its edition.
    ///
    /// # Errors
    /// When there never was one: in one line, why.
    pub fn value(&self) -> Result<(&T, u64), String> {
        self.value.as_ref().map(|value| (value, self.edition)).ok_or_else(|| self.trouble.clone().unwrap_or_default())
    }

    /// Whether what is wrong with the files was told, and they are still the same.
    pub fn is_settled(&self) -> bool {
        self.told.is_some() && self.told == self.trouble && !self.has_changed()
    }

    /// Whether the files are others than at the last look.
    pub fn has_changed(&self) -> bool {
        self.current() != self.stamps
    }

    fn current(&self) -> Vec<Stamp> {
        self.files.iter().map(|file| stamp(file)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn number(path: &Path) -> Result<u32, io::Error> {
        fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
    }

    #[test]
    fn what_could_be_used_stays_in_use_until_there_is_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("number");
        let mut followed = Followed::new(vec![path.clone()]);
        let mut look = || {
            let look = followed.look(|| number(&path));
            (look, followed.value().map(|(value, edition)| (*value, edition)))
        };
        assert!(look().1.expect_err("there is none").contains("No such file"));
        fs::write(&path, "1").expect("written");
        assert_eq!(look(), (Look::Renewed, Ok((1, 1))));
        assert_eq!(look(), (Look::Same, Ok((1, 1))), "not read again");
        fs::write(&path, "one").expect("written");
        assert_eq!(look(), (Look::Same, Ok((1, 1))), "perhaps somebody is still at it");
        assert!(matches!(look(), (Look::Refused(_), Ok((1, 1)))));
        assert_eq!(look(), (Look::Same, Ok((1, 1))), "told once");
        fs::write(&path, "1 ").expect("written");
        assert_eq!(look(), (Look::Mended, Ok((1, 1))));
        fs::remove_file(&path).expect("removed");
        assert_eq!(look(), (Look::Same, Ok((1, 1))));
        fs::write(&path, "22").expect("written");
        assert_eq!(look(), (Look::Renewed, Ok((22, 2))));
        fs::write(&path, " 22").expect("written");
        assert_eq!(look(), (Look::Same, Ok((22, 2))), "the same in other words");
        assert!(!followed.has_changed());
        fs::write(&path, "333").expect("written");
        assert!(followed.has_changed());
    }

    #[test]
    fn a_file_put_in_place_of_another_is_another_though_size_and_time_agree() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::write(&one, "1").expect("written");
        fs::write(&other, "2").expect("written");
        let time = fs::metadata(&one).and_then(|metadata| metadata.modified()).expect("a time");
        fs::File::options().write(true).open(&other).and_then(|file| file.set_modified(time)).expect("set");
        let before = stamp(&one);
        fs::rename(&other, &one).expect("renamed");
        assert_ne!(before, stamp(&one));
    }
}
