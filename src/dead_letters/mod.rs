//! Dead letters: events that a consumer refuses by themselves while it takes others. Each is kept in a file of its own, so
//! that the rest of its lane goes on, until somebody has it sent again or throws it away.
//!
//! Takes from the consumers' driver, gives to the local socket. Always holds: a letter that was added survives a loss of
//! power, and is there once however often it was added; of one consumer there are never more than [`LETTERS_MAX`] or
//! [`LETTERS_BYTES_MAX`], whatever the others have: beyond them its next letter is not taken, and its lane holds instead. A
//! file that is damaged is told of and kept. Nothing is removed but by [`DeadLetters::remove`], also when the consumer is not
//! configured any more. Deliberately absent: an age. Whether an event matters is for people to say.

mod error;
mod letter;
mod shelf;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

pub use self::{
    error::DeadLetterError,
    letter::{Letter, LetterId, LetterName, MESSAGE_BYTES_MAX, NotALetter},
};
use self::{letter::consumer_of, shelf::Shelf};
use crate::{files, lock::lock, schema::local::PROGRAM_PREFIX};

/// The most letters of a consumer. So many refused events are no accident: the other side does not understand what this node
/// sends.
pub const LETTERS_MAX: u64 = 1_000;

/// The most that all letters of a consumer take together, bytes of their files: room for [`LETTERS_MAX`] of the largest
/// events.
pub const LETTERS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Of so many consumers of programs there may be letters, those that are gone among them. The agent's own, of which the
/// configuration says how many there are, always have their place.
pub const CONSUMERS_MAX: usize = 64;

/// Whose the letters are that earlier versions kept beside each other, in the directory itself.
const FIRST_CONSUMER: &str = "uplink";

/// The dead letters of a node. Cheap to copy; every copy is the same. Blocking but for the counts.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    inner: Arc<Inner>,
}

type Shelves = BTreeMap<Arc<str>, Shelf>;

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Absent until the directory could be read. Locked while the disk is waited for.
    shelves: Mutex<Option<Shelves>>,
    /// What stood in them last; never locked for long.
    counts: Mutex<Vec<LetterCount>>,
}

/// What is kept for one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterCount {
    /// Who refuses the events.
    pub consumer: Arc<str>,
    /// Letters, damaged ones too.
    pub letters: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl DeadLetters {
    /// Letters in `directory`, which is made (mode 0700) when it is not there. What a crash left half-written is removed.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(directory: &Path) -> Result<DeadLetters, DeadLetterError> {
        let letters = DeadLetters::at(directory);
        letters.shelves(|_| Ok(()))?;
        Ok(letters)
    }

    /// The same without looking: the directory is opened by whatever is done first, and again by the next as long as that
    /// fails. For an agent whose disk cannot be read yet.
    pub fn at(directory: &Path) -> DeadLetters {
        let (directory, shelves, counts) = (directory.to_owned(), Mutex::new(None), Mutex::default());
        DeadLetters { inner: Arc::new(Inner { directory, shelves, counts }) }
    }

    /// Adds a letter; durable when it returns. One of the same consumer, epoch, lane and sequence that is there stays as it
    /// is.
    ///
    /// # Errors
    /// [`DeadLetterError::Full`] or [`DeadLetterError::Consumers`] at a bound, otherwise what the file system says. The letter
    /// is not there then.
    pub fn add(&self, letter: &Letter) -> Result<(), DeadLetterError> {
        consumer_of(&letter.consumer).map_err(|_| DeadLetterError::Absent(letter.id()))?;
        self.shelves(|shelves| {
            let is_programs = |consumer: &str| consumer.starts_with(PROGRAM_PREFIX);
            let is_new = !shelves.contains_key(&letter.consumer);
            let of_programs = || shelves.keys().filter(|consumer| is_programs(consumer)).count();
            if is_new && is_programs(&letter.consumer) && of_programs() >= CONSUMERS_MAX {
                return Err(DeadLetterError::Consumers(letter.consumer.to_string()));
            }
            if is_new {
                let shelf = Shelf::open(&self.inner.directory, &letter.consumer)?;
                shelves.insert(Arc::clone(&letter.consumer), shelf);
            }
            shelves.get_mut(&letter.consumer).map_or(Ok(()), |shelf| shelf.add(letter))
        })
    }

    /// How much there is of each consumer of which there is any; nothing as long as the directory could not be read. Does
    /// not block.
    pub fn counts(&self) -> Vec<LetterCount> {
        lock(&self.inner.counts).clone()
    }

    /// Letters that are kept. Does not block.
    pub fn count(&self) -> u64 {
        self.counts().iter().map(|count| count.letters).sum()
    }

    /// What they take, bytes of their files. Does not block.
    pub fn bytes(&self) -> u64 {
        self.counts().iter().map(|count| count.bytes).sum()
    }

    /// The identifiers of all letters with the bytes of their files, by consumer; of each those of the urgent lane first,
    /// each lane by sequence.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<(LetterId, u64)>, DeadLetterError> {
        self.shelves(|shelves| Ok(shelves.values().flat_map(Shelf::list).collect()))
    }

    /// A letter.
    ///
    /// # Errors
    /// [`DeadLetterError::Absent`] when there is none, [`DeadLetterError::Damaged`] when its file is no letter of this
    /// identifier any more, otherwise what the file system says.
    pub fn get(&self, id: &LetterId) -> Result<Letter, DeadLetterError> {
        self.shelves(|shelves| match shelves.get(&id.consumer) {
            Some(shelf) => shelf.get(id),
            None => Err(DeadLetterError::Absent(id.clone())),
        })
    }

    /// Removes letters, damaged or not; durable when it returns. Gives how many of them were there.
    ///
    /// # Errors
    /// What the file system says. Some of the letters may be gone, then.
    pub fn remove(&self, ids: &[LetterId]) -> Result<u64, DeadLetterError> {
        self.shelves(|shelves| {
            let mut removed = 0;
            for shelf in shelves.values_mut() {
                removed += shelf.remove(ids)?;
            }
            // What is not empty holds files of others.
            shelves.retain(|_, shelf| shelf.count() > 0 || fs::remove_dir(shelf.directory()).is_err());
            Ok(removed)
        })
    }

    /// Does something with what is in the directory, which is opened if it is not.
    fn shelves<T>(&self, act: impl FnOnce(&mut Shelves) -> Result<T, DeadLetterError>) -> Result<T, DeadLetterError> {
        let mut place: MutexGuard<'_, Option<Shelves>> = lock(&self.inner.shelves);
        let shelves = match &mut *place {
            Some(shelves) => shelves,
            None => place.insert(open(&self.inner.directory)?),
        };
        let done = act(shelves);
        let count = |(consumer, shelf): (&Arc<str>, &Shelf)| LetterCount {
            consumer: Arc::clone(consumer),
            letters: shelf.count(),
            bytes: shelf.bytes(),
        };
        *lock(&self.inner.counts) = shelves.iter().map(count).collect();
        done
    }
}

/// The letters of each consumer of which a directory holds some. Other files are left alone and not counted.
fn open(directory: &Path) -> Result<Shelves, DeadLetterError> {
    let io = |act, source| DeadLetterError::io(act, directory, source);
    shelf::make(directory).map_err(|error| io("create", error))?;
    let (mut shelves, mut early) = (Shelves::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(|error| io("read", error))? {
        let entry = entry.map_err(|error| io("read", error))?;
        let file = entry.metadata().map_err(|error| io("read", error))?;
        let name = entry.file_name();
        match name.to_str() {
            Some(name) if file.is_file() && shelf::id_of(FIRST_CONSUMER, name).is_some() => early.push(name.to_owned()),
            Some(name) if file.is_dir() && consumer_of(name).is_ok() => {
                shelves.insert(name.into(), Shelf::open(directory, &name.into())?);
            }
            _ => tracing::warn!(path = %entry.path().display(), "this is no dead letter; it is left alone"),
        }
    }
    if !early.is_empty() {
        let place = directory.join(FIRST_CONSUMER);
        shelf::make(&place).map_err(|error| io("create", error))?;
        for name in early {
            fs::rename(directory.join(&name), place.join(&name)).map_err(|error| io("sort", error))?;
        }
        shelves.insert(FIRST_CONSUMER.into(), Shelf::open(directory, &FIRST_CONSUMER.into())?);
        files::sync_directory(directory).map_err(|error| io("sync", error))?;
    }
    Ok(shelves)
}
