//! Tells when something has been written to the journal. journald writes through memory, which inotify does not see, and touches its
//! file after it, which inotify does: some 250 ms later, once for all that came.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{Host, directory};
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
    /// Watches the directory that is in use now. Look at the journal after this, so that nothing falls between.
    pub fn begin(&mut self, host: &Host) {
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
