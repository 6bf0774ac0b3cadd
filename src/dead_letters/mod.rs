//! Dead letters: events that the controller refuses by themselves while it takes others. Each is kept in a file of its
//! own, so that the rest of its lane goes on, until somebody has it sent again or throws it away.
//!
//! Takes from the uplink, gives to the local socket. Always holds: a letter that was added survives a loss of power, and is
//! there once however often it was added; there are never more than [`LETTERS_MAX`] or [`LETTERS_BYTES_MAX`]: beyond them a
//! letter is not taken, and the uplink holds the lane instead. A file that is damaged is told of and kept. Nothing is
//! removed but by [`DeadLetters::remove`]. Deliberately absent: an age. Whether an event matters is for people to say.

mod error;
mod letter;
mod shelf;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use self::shelf::Shelf;
pub use self::{
    error::DeadLetterError,
    letter::{Letter, LetterId, LetterName, MESSAGE_BYTES_MAX, NotALetter},
};
use crate::lock::lock;

/// The most letters. So many refused events are no accident: the controller does not understand what this node sends.
pub const LETTERS_MAX: u64 = 1_000;

/// The most that all letters take together, bytes of their files: room for [`LETTERS_MAX`] of the largest events.
pub const LETTERS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The dead letters of a node. Cheap to copy; every copy is the same. Blocking but for the counts.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Absent until the directory could be read.
    shelf: Mutex<Option<Shelf>>,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl DeadLetters {
    /// Letters in `directory`, which is made (mode 0700) when it is not there. What a crash left half-written is removed.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(directory: &Path) -> Result<DeadLetters, DeadLetterError> {
        let letters = DeadLetters::at(directory);
        letters.shelf(|_| Ok(()))?;
        Ok(letters)
    }

    /// The same without looking: the directory is opened by whatever is done first, and again by the next as long as that
    /// fails. For an agent whose disk cannot be read yet.
    pub fn at(directory: &Path) -> DeadLetters {
        let inner = Inner {
            directory: directory.to_owned(),
            shelf: Mutex::new(None),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        DeadLetters { inner: Arc::new(inner) }
    }

    /// Adds a letter; durable when it returns. One of the same epoch, lane and sequence that is there stays as it is.
    ///
    /// # Errors
    /// [`DeadLetterError::Full`] at a bound, otherwise what the file system says. The letter is not there then.
    pub fn add(&self, letter: &Letter) -> Result<(), DeadLetterError> {
        self.shelf(|shelf| shelf.add(letter))
    }

    /// Letters that are kept, damaged ones too; 0 as long as the directory could not be read. Does not block.
    pub fn count(&self) -> u64 {
        self.inner.count.load(Ordering::Relaxed)
    }

    /// What they take, bytes of their files. Does not block.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes.load(Ordering::Relaxed)
    }

    /// The identifiers of all letters with the bytes of their files, those of the urgent lane first, each lane by sequence.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<(LetterId, u64)>, DeadLetterError> {
        self.shelf(|shelf| Ok(shelf.list()))
    }

    /// A letter.
    ///
    /// # Errors
    /// [`DeadLetterError::Absent`] when there is none, [`DeadLetterError::Damaged`] when its file is no letter of this
    /// identifier any more, otherwise what the file system says.
    pub fn get(&self, id: &LetterId) -> Result<Letter, DeadLetterError> {
        self.shelf(|shelf| shelf.get(id))
    }

    /// Removes letters, damaged or not; durable when it returns. Gives how many of them were there.
    ///
    /// # Errors
    /// What the file system says. Some of the letters may be gone, then.
    pub fn remove(&self, ids: &[LetterId]) -> Result<u64, DeadLetterError> {
        self.shelf(|shelf| shelf.remove(ids))
    }

    /// Does something with the directory, which is opened if it is not.
    fn shelf<T>(&self, act: impl FnOnce(&mut Shelf) -> Result<T, DeadLetterError>) -> Result<T, DeadLetterError> {
        let mut place = self.lock();
        let shelf = match &mut *place {
            Some(shelf) => shelf,
            None => place.insert(Shelf::open(&self.inner.directory)?),
        };
        let done = act(shelf);
        self.inner.count.store(shelf.count(), Ordering::Relaxed);
        self.inner.bytes.store(shelf.bytes(), Ordering::Relaxed);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shelf>> {
        lock(&self.inner.shelf)
    }
}
