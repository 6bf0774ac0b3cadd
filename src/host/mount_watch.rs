//! Tells when the table of mounts changes: the kernel marks `/proc/self/mountinfo` with an urgent condition.

use std::{fs::File, io};

use tokio::io::{Interest, unix::AsyncFd};

use super::Host;

/// The file that is watched, and to be read after each change.
pub const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// The table of mounts under watch.
#[derive(Debug)]
pub struct MountWatch {
    table: AsyncFd<File>,
}

impl MountWatch {
    /// Begins to watch. Read the table after this, so that no change falls between.
    ///
    /// # Errors
    /// When the table is not there, or is a plain file, as in a fixture tree.
    #[expect(unsafe_code, reason = "tokio lets nobody but the caller answer for the descriptor")]
    pub fn open(host: &Host) -> io::Result<MountWatch> {
        let file = File::open(host.path(MOUNT_TABLE))?;
        // SAFETY: the descriptor is owned by the file that is registered, and closes after it is deregistered.
        Ok(MountWatch { table: unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }? })
    }

    /// Waits for the next change.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When polling itself breaks.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.table.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_plain_file_cannot_be_watched() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(root.path().join("proc/self/mountinfo"), "").unwrap();
        assert!(MountWatch::open(&Host::at(root.path())).is_err());
    }

    #[tokio::test]
    async fn nothing_is_reported_while_nothing_is_mounted() {
        let mut watch = MountWatch::open(&Host::at("/")).unwrap();
        // At most one leftover from before the watch, then silence.
        let quiet = Duration::from_millis(50);
        let _ = tokio::time::timeout(quiet, watch.changed()).await;
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    }
}
