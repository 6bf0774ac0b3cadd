//! Tells when a table of the kernel changes: it marks some of its files (`/proc/self/mountinfo`, `/proc/mdstat`) with an
//! urgent condition.

use std::{fs::File, io};

use tokio::io::{Interest, unix::AsyncFd};

use super::Host;

/// A file under watch, to be read after each change.
#[derive(Debug)]
pub struct FileWatch {
    file: AsyncFd<File>,
}

impl FileWatch {
    /// Begins to watch. Read the file after this, so that no change falls between.
    ///
    /// # Errors
    /// When the file is not there, or is a plain one, as in a fixture tree.
    #[expect(unsafe_code, reason = "tokio lets nobody but the caller answer for the descriptor")]
    pub fn open(host: &Host, path: &str) -> io::Result<FileWatch> {
        let file = File::open(host.path(path))?;
        // SAFETY: the descriptor is owned by the file that is registered, and closes after it is deregistered.
        Ok(FileWatch { file: unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }? })
    }

    /// Waits for the next change.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When polling itself breaks.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.file.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOUNTS: &str = "/proc/self/mountinfo";

    #[tokio::test]
    async fn a_plain_file_cannot_be_watched() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(root.path().join("proc/self/mountinfo"), "").unwrap();
        assert!(FileWatch::open(&Host::at(root.path()), MOUNTS).is_err());
    }

    #[tokio::test]
    async fn nothing_is_reported_while_nothing_is_mounted() {
        let mut watch = FileWatch::open(&Host::at("/"), MOUNTS).unwrap();
        // At most one leftover from before the watch, then silence.
        let quiet = Duration::from_millis(50);
        let _ = tokio::time::timeout(quiet, watch.changed()).await;
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    }
}
