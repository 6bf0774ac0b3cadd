//! Tells when something has been written to the journal. journald writes through memory, which inotify does not see, and touches its
//! file after it, which inotify does: some 250 ms later, once for all that came.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{Host, JournalPlaces, JournalSight, directory, look};
use crate::host::directory_watch::DirectoryWatch;

/// A journal that is written without end is looked at so often.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is where nothing tells of what comes.
const BLIND: Duration = Duration::from_secs(3);

/// The directory that is in use, under watch.
#[derive(Debug, Default)]
pub struct JournalWatch {
    open: Option<(PathBuf, DirectoryWatch)>,
}

impl JournalWatch {
    /// What the programs with these executables have said since the last look; see [`look`]. From now on it is told what comes.
    ///
    /// # Errors
    /// When the journal is there, may be read, and cannot be.
    pub fn look(&mut self, host: &Host, places: &mut JournalPlaces, wanted: &[&str]) -> io::Result<JournalSight> {
        // Before the look, so that nothing falls between.
        self.begin(host);
        match look(host, places, wanted) {
            Ok(look) => Ok(JournalSight::Open(look)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(JournalSight::Absent),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(JournalSight::Closed),
            Err(error) => Err(error),
        }
    }

    /// Watches the directory that is in use now.
    fn begin(&mut self, host: &Host) {
        let Ok((directory, _)) = directory(host) else { return };
        if self.open.as_ref().is_none_or(|(open, _)| *open != directory) {
            self.open =
                open(&directory).inspect_err(|error| tracing::debug!(%error, "the journal is looked at in turn")).ok();
        }
    }

    /// Waits until there is something, or may be.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: whoever looks then sees it.
    pub async fn changed(&mut self) {
        match &mut self.open {
            Some((_, watch)) => {
                if watch.changed().await.is_err() {
                    self.open = None;
                }
                sleep(PAUSE).await;
            }
            None => sleep(BLIND).await,
        }
    }
}

fn open(directory: &Path) -> io::Result<(PathBuf, DirectoryWatch)> {
    Ok((directory.to_owned(), DirectoryWatch::open(directory)?))
}
