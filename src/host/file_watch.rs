//! Tells when a table of the kernel changes: it marks some of its files (`/proc/self/mountinfo`, `/proc/mdstat`) with an
//! urgent condition.

use std::{fs::File, future::pending, io};

use tokio::io::{Interest, unix::AsyncFd};

use super::Host;

/// A file to watch, and to read after each change.
#[derive(Debug)]
pub struct FileWatch {
    path: &'static str,
    file: Option<AsyncFd<File>>,
}

impl FileWatch {
    /// Of a file of the kernel; watched from [`FileWatch::begin`] on.
    pub fn new(path: &'static str) -> FileWatch {
        FileWatch { path, file: None }
    }

    /// Begins to watch, unless it does already. Read the file after this, so that no change falls between.
    ///
    /// # Errors
    /// When the file is not there, or is a plain one, as in a fixture tree: then nothing is told of changes.
    #[expect(unsafe_code, reason = "tokio lets nobody but the caller answer for the descriptor")]
    pub fn begin(&mut self, host: &Host) -> io::Result<()> {
        if self.file.is_none() {
            let file = File::open(host.path(self.path))?;
            // SAFETY: the descriptor is owned by the file that is registered, and closes after it is deregistered.
            self.file = Some(unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?);
        }
        Ok(())
    }

    /// Waits for the next change.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When polling itself breaks: begin anew.
    pub async fn changed(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return pending().await };
        let ready = file.ready(Interest::PRIORITY).await.map(|mut ready| ready.clear_ready());
        if ready.is_err() {
            self.file = None;
        }
        ready
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
        assert!(FileWatch::new(MOUNTS).begin(&Host::at(root.path())).is_err());
    }

    #[tokio::test]
    async fn nothing_is_reported_while_nothing_is_mounted() {
        let mut watch = FileWatch::new(MOUNTS);
        watch.begin(&Host::at("/")).unwrap();
        // At most one leftover from before the watch, then silence.
        let quiet = Duration::from_millis(50);
        let _ = tokio::time::timeout(quiet, watch.changed()).await;
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    }
}
