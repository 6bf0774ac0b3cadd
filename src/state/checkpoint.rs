//! The states in a file beside the log, so that a start folds only what has come since.
//!
//! File format: magic, CRC32C over the rest, encoded `StateCheckpoint`. Replaced whole; what is damaged is known as such and used
//! by nobody. It says by which meanings it was folded: states of other meanings are carried over, never mixed.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path};

use prost::Message as _;

use super::fold::Fold;
use crate::{event::Catalogue, files, schema::local::StateCheckpoint};

const MAGIC: [u8; 8] = *b"RDNTSTA1";

/// A larger file is not read: some sixteen times what the usual states take, and more than the bounds let them.
pub const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Changes whenever the same events are folded otherwise.
const FOLD_VERSION: u64 = 2;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The states.
    pub fold: Fold,
    /// When it was written, Unix milliseconds.
    pub written_at: i64,
    /// Whether it was folded as this version folds.
    pub is_current: bool,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointDamage {
    /// The file system.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// What stands in it.
    #[error("{0}")]
    Content(&'static str),
}

impl Checkpoint {
    /// Reads a file; `None` when there is none. Blocking.
    ///
    /// # Errors
    /// When it cannot be read, or does not hold what was written.
    pub fn read(path: &Path) -> Result<Option<Checkpoint>, CheckpointDamage> {
        match files::read_bounded(path, FILE_BYTES_MAX) {
            Ok(bytes) => Checkpoint::parse(&bytes).map(Some).map_err(CheckpointDamage::Content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the file by the states as they are at `now`, Unix milliseconds. Blocking.
    ///
    /// # Errors
    /// As the file system says; what was there is then still there.
    pub fn write(path: &Path, fold: Fold, now: i64) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        files::replace(path, &bytes(fold, now))
    }

    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Checkpoint, &'static str> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or("it is cut short")?;
        let (crc, message) = rest.split_first_chunk::<4>().ok_or("it is cut short")?;
        if *magic != MAGIC {
            return Err("it is of another format");
        }
        if crc32c::crc32c(message) != u32::from_be_bytes(*crc) {
            return Err("its checksum is wrong");
        }
        let StateCheckpoint { meanings, written_at, folding, subjects, silences } =
            StateCheckpoint::decode(message).map_err(|_| "it holds no states")?;
        let fold = Fold::of(folding.unwrap_or_default(), subjects, silences).ok_or("it holds no states")?;
        Ok(Checkpoint { fold, written_at, is_current: meanings == meanings_of_this_version() })
    }
}

pub(super) fn bytes(fold: Fold, now: i64) -> Vec<u8> {
    let message = StateCheckpoint {
        meanings: meanings_of_this_version(),
        written_at: now,
        folding: Some(fold.folding()),
        subjects: fold.subjects.into_values().collect(),
        silences: fold.silences.into_kept(),
    }
    .encode_to_vec();
    [&MAGIC[..], &crc32c::crc32c(&message).to_be_bytes(), &message].concat()
}

fn meanings_of_this_version() -> u64 {
    Catalogue::compiled().meanings_digest() ^ FOLD_VERSION
}
