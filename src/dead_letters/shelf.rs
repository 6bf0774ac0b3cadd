//! The directory of the dead letters: one file each, named by its identifier.
//!
//! Always holds: a file under its name is complete and durable, since it gets the name after its content is on the disk;
//! what is listed is what is there. Files with other names are left alone and not counted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::{DeadLetterError, LETTERS_BYTES_MAX, LETTERS_MAX, Letter, LetterId, letter::LETTER_BYTES_MAX};
use crate::files;

/// What the names of letters end with.
const SUFFIX: &str = ".letter";

/// What a letter is written to before it gets its name.
const UNFINISHED: &str = "unfinished";

/// The open directory.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    /// Bytes of the file of each letter.
    letters: BTreeMap<LetterId, u64>,
    bytes: u64,
}

impl Shelf {
    /// Opens a directory, or makes it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn open(directory: &Path) -> Result<Shelf, DeadLetterError> {
        let io = |act, source| DeadLetterError::io(act, directory, source);
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io("create", error)),
            _ => {}
        }
        files::remove(&directory.join(UNFINISHED)).map_err(|error| io("clear", error))?;
        let mut shelf = Shelf { directory: directory.to_owned(), letters: BTreeMap::new(), bytes: 0 };
        for entry in fs::read_dir(directory).map_err(|error| io("read", error))? {
            let entry = entry.map_err(|error| io("read", error))?;
            let file = entry.metadata().map_err(|error| io("read", error))?;
            let id = entry.file_name().to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            match id.filter(|_| file.is_file()) {
                Some(id) => shelf.insert(id, file.len()),
                None => tracing::warn!(path = %entry.path().display(), "this is no dead letter; it is left alone"),
            }
        }
        // A letter that got its name just before a kill is there, but perhaps not for a loss of power.
        files::sync_directory(directory).map_err(|error| io("sync", error))?;
        Ok(shelf)
    }

    pub(super) fn count(&self) -> u64 {
        self.letters.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn list(&self) -> Vec<(LetterId, u64)> {
        self.letters.iter().map(|(id, bytes)| (*id, *bytes)).collect()
    }

    /// Writes a letter, unless it is there and intact.
    pub(super) fn add(&mut self, letter: &Letter) -> Result<(), DeadLetterError> {
        let (id, content) = (letter.id(), letter.to_bytes());
        let bytes = content.len() as u64;
        match self.letters.get(&id) {
            Some(_) if self.get(&id).is_ok() => return Ok(()),
            // Damaged: written anew in its place.
            Some(_) => {}
            None if self.count() >= LETTERS_MAX || self.bytes + bytes > LETTERS_BYTES_MAX => {
                return Err(DeadLetterError::Full { letters: self.count(), bytes: self.bytes });
            }
            None => {}
        }
        let path = self.path(&id);
        if let Err(error) = files::replace_by(&path, &self.directory.join(UNFINISHED), &content) {
            // What can be removed need not be explained; what cannot is written anew by the next attempt.
            let _ = files::remove(&self.directory.join(UNFINISHED));
            return Err(DeadLetterError::io("write", &path, error));
        }
        self.insert(id, bytes);
        Ok(())
    }

    pub(super) fn get(&self, id: &LetterId) -> Result<Letter, DeadLetterError> {
        if !self.letters.contains_key(id) {
            return Err(DeadLetterError::Absent(*id));
        }
        let path = self.path(id);
        let content = match read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DeadLetterError::Damaged { path, what: "its file is gone" });
            }
            Err(error) => return Err(DeadLetterError::io("read", &path, error)),
        };
        match Letter::from_bytes(&content) {
            Ok(letter) if letter.id() == *id => Ok(letter),
            Ok(_) => Err(DeadLetterError::Damaged { path, what: "it is another letter" }),
            Err(what) => Err(DeadLetterError::Damaged { path, what }),
        }
    }

    /// One sync for all of them.
    pub(super) fn remove(&mut self, ids: &[LetterId]) -> Result<u64, DeadLetterError> {
        let mut removed = 0;
        for id in ids {
            let path = self.path(id);
            if self.letters.contains_key(id) {
                files::remove(&path).map_err(|error| DeadLetterError::io("remove", &path, error))?;
                self.bytes -= self.letters.remove(id).unwrap_or(0);
                removed += 1;
            }
        }
        if removed > 0 {
            files::sync_directory(&self.directory)
                .map_err(|error| DeadLetterError::io("sync", &self.directory, error))?;
        }
        Ok(removed)
    }

    fn insert(&mut self, id: LetterId, bytes: u64) {
        let before = self.letters.insert(id, bytes).unwrap_or(0);
        self.bytes = self.bytes + bytes - before;
    }

    fn path(&self, id: &LetterId) -> PathBuf {
        self.directory.join(format!("{id}{SUFFIX}"))
    }
}

/// The content of a file, and no more than a letter has.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LETTER_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}
