//! Why a dead letter cannot be kept or read.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::LetterId;

/// Something is wrong with the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// A bound is reached: no letter is taken until one is removed.
    #[error(
        "the dead letters of {consumer} are full: {letters} letters, {bytes} bytes; retry or purge some with `rodent dead-letters`"
    )]
    Full {
        /// Whose.
        consumer: String,
        /// How many there are.
        letters: u64,
        /// What they take.
        bytes: u64,
    },
    /// There are letters of so many consumers that none of another one is taken until those of one are removed.
    #[error(
        "there is no place for dead letters of {0}: others have left theirs; retry or purge those with `rodent dead-letters`"
    )]
    Consumers(String),
    /// There is no such letter.
    #[error("there is no dead letter {0}")]
    Absent(LetterId),
    /// The file of a letter is not what was written.
    #[error("the dead letter {path} is damaged: {what}")]
    Damaged {
        /// The file, which is kept.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file system refuses.
    #[error("{act} {path}")]
    Io {
        /// What was to be done.
        act: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl DeadLetterError {
    /// A word for labels.
    pub fn kind(&self) -> &'static str {
        match self {
            DeadLetterError::Full { .. } | DeadLetterError::Consumers(_) => "full",
            DeadLetterError::Absent(_) => "absent",
            DeadLetterError::Damaged { .. } => "damaged",
            DeadLetterError::Io { .. } => "io",
        }
    }

    pub(super) fn io(act: &'static str, path: &Path, source: io::Error) -> DeadLetterError {
        DeadLetterError::Io { act, path: path.to_owned(), source }
    }
}
