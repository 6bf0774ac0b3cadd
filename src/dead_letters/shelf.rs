//! The directory of one consumer's dead letters: one file each, named by its number.
//!
//! Always holds: a file under its name is complete and durable, since it gets the name after its content is on the disk;
//! what is listed is what is there. Files with other names are left alone and not counted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
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
    consumer: Arc<str>,
    /// Bytes of the file of each letter.
    letters: BTreeMap<LetterId, u64>,
    bytes: u64,
}

impl Shelf {
    /// Opens the directory of a consumer, or makes it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn open(all: &Path, consumer: &Arc<str>) -> Result<Shelf, DeadLetterError> {
        let directory = all.join(&**consumer);
        let io = |act, source| DeadLetterError::io(act, &directory, source);
        make(&directory).map_err(|error| io("create", error))?;
        files::sync_directory(all).map_err(|error| io("sync", error))?;
        files::remove(&directory.join(UNFINISHED)).map_err(|error| io("clear", error))?;
        let consumer = Arc::clone(consumer);
        let mut shelf = Shelf { directory: directory.clone(), consumer, letters: BTreeMap::new(), bytes: 0 };
        for entry in fs::read_dir(&directory).map_err(|error| io("read", error))? {
            let entry = entry.map_err(|error| io("read", error))?;
            let file = entry.metadata().map_err(|error| io("read", error))?;
            let id = entry.file_name().to_str().and_then(|name| id_of(&shelf.consumer, name));
            match id.filter(|_| file.is_file()) {
                Some(id) => shelf.insert(id, file.len()),
                None => tracing::warn!(path = %entry.path().display(), "this is no dead letter; it is left alone"),
            }
        }
        // A letter that got its name just before a kill is there, but perhaps not for a loss of power.
        files::sync_directory(&directory).map_err(|error| io("sync", error))?;
        Ok(shelf)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn count(&self) -> u64 {
        self.letters.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn list(&self) -> impl Iterator<Item = (LetterId, u64)> {
        self.letters.iter().map(|(id, bytes)| (id.clone(), *bytes))
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
                let (consumer, letters) = (self.consumer.to_string(), self.count());
                return Err(DeadLetterError::Full { consumer, letters, bytes: self.bytes });
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
            return Err(DeadLetterError::Absent(id.clone()));
        }
        let path = self.path(id);
        let content = match read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DeadLetterError::Damaged { path, what: "its file is gone" });
            }
            Err(error) => return Err(DeadLetterError::io("read", &path, error)),
        };
        match Letter::from_bytes(&content, &self.consumer) {
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
        self.directory.join(file_name(id))
    }
}

/// `LANE-SEQUENCE-EPOCH.letter`.
fn file_name(id: &LetterId) -> String {
    let id = id.to_string();
    format!("{}{SUFFIX}", id.rsplit_once('/').map_or(id.as_str(), |(_, number)| number))
}

/// What a file among a consumer's letters is called, if it is one.
pub(super) fn id_of(consumer: &str, file: &str) -> Option<LetterId> {
    format!("{consumer}/{}", file.strip_suffix(SUFFIX)?).parse().ok()
}

/// Makes a directory for nobody else, unless it is there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The content of a file, and no more than a letter has.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LETTER_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}
