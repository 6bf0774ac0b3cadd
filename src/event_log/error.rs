//! What can go wrong with the log.

use std::{io, path::Path};

/// The log cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("{action}")]
    Io {
        /// Verb first, with the path.
        action: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// sled refused.
    #[error("{action}")]
    Storage {
        /// Verb first, with the path.
        action: String,
        /// The cause.
        #[source]
        source: Box<sled::Error>,
    },
    /// What is stored is not what was written.
    #[error("{action}: the event log is damaged there")]
    Damaged {
        /// Verb first, with the place.
        action: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The directory was written by a version that this one does not understand.
    #[error(
        "{path}: written by another version of rodent (format {found}, this one knows {known}); use that version, or move the directory away"
    )]
    Format {
        /// The directory.
        path: String,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Another process works on it.
    #[error("the event log in {0} is in use by another process, such as the agent")]
    InUse(String),
    /// The writer has ended; the reason was logged when it happened.
    #[error("the event log takes nothing any more: {0}")]
    Closed(String),
}

impl LogError {
    pub(super) fn io(verb: &str, path: &Path, source: io::Error) -> LogError {
        LogError::Io { action: format!("{verb} {}", path.display()), source }
    }

    pub(super) fn storage(verb: &str, path: &Path, source: sled::Error) -> LogError {
        LogError::Storage { action: format!("{verb} {}", path.display()), source: Box::new(source) }
    }

    pub(super) fn damaged(action: String, source: impl std::error::Error + Send + Sync + 'static) -> LogError {
        LogError::Damaged { action, source: Box::new(source) }
    }

    /// Whether the disk has no room for what was to be written.
    pub(super) fn is_out_of_space(&self) -> bool {
        let kind = match self {
            LogError::Io { source, .. } => source.kind(),
            LogError::Storage { source, .. } => match &**source {
                sled::Error::Io(error) => error.kind(),
                _ => return false,
            },
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether the reason lies in what is stored, and not in the disk's being full, read-only or the like.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            LogError::Damaged { .. } => true,
            LogError::Io { source, .. } => is_damage(source),
            LogError::Storage { source, .. } => match &**source {
                sled::Error::Io(error) => is_damage(error),
                _ => true,
            },
            LogError::Format { .. } | LogError::InUse(_) | LogError::Closed(_) => false,
        }
    }

    /// A word for labels.
    pub fn kind(&self) -> &'static str {
        match self {
            LogError::Io { .. } => "io",
            LogError::Storage { .. } => "storage",
            LogError::Damaged { .. } => "damaged",
            LogError::Format { .. } => "format",
            LogError::InUse(_) => "in_use",
            LogError::Closed(_) => "closed",
        }
    }
}

/// Whether an error stems from what is stored rather than from the disk's being full, read-only or the like.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, IsADirectory, NotADirectory, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | IsADirectory | NotADirectory)
        || is_refusal(error)
}

/// Whether the disk itself refused: because of what is stored there, or because it gives nothing at all.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}
