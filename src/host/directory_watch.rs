//! Tells when something in a directory changes, through inotify.
//!
//! The directory is watched and not the files in it: editors write a new file and rename it over the old one, and a
//! watch on a file would stay with the old one. What inotify cannot tell (its queue overflowed, the directory was
//! unmounted, moved or removed) is reported as [`DirectoryChange::Anew`]: look at everything again.

use crate::order::Gather as _;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep, timeout_at},
};

/// How often a directory that has gone is looked for.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// A directory under watch.
#[derive(Debug)]
pub struct DirectoryWatch {
    path: PathBuf,
    inotify: AsyncFd<Descriptor>,
    /// False after the kernel has dropped the watch.
    watching: bool,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryChange {
    /// These names in the directory.
    Names(BTreeSet<OsString>),
    /// Anything may have.
    Anew,
}

impl DirectoryChange {
    /// Whether one of these names may have changed.
    pub fn touches(&self, names: &[&str]) -> bool {
        match self {
            DirectoryChange::Anew => true,
            DirectoryChange::Names(changed) => names.iter().any(|name| changed.contains(std::ffi::OsStr::new(name))),
        }
    }
}

impl DirectoryWatch {
    /// Begins to watch. Look at the directory after this, so that no change falls between.
    ///
    /// # Errors
    /// When the directory is not there or the machine has no inotify instance left.
    pub fn open(path: &Path) -> io::Result<DirectoryWatch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(path, mask())?;
        Ok(DirectoryWatch { path: path.to_owned(), inotify: register(inotify)?, watching: true })
    }

    /// Waits for the next change.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When inotify itself breaks.
    pub async fn changed(&mut self) -> io::Result<DirectoryChange> {
        if !self.watching {
            self.reopen().await;
            return Ok(DirectoryChange::Anew);
        }
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?)) {
                Ok(events) => return Ok(self.note(events?)),
                Err(_would_block) => {}
            }
        }
    }

    /// Waits until none of these names has changed for `quiet`, but no longer than `at_most`: a program that rewrites
    /// several files is seen when it has finished.
    ///
    /// # Errors
    /// As [`DirectoryWatch::changed`].
    pub async fn settle(&mut self, names: &[&str], quiet: Duration, at_most: Duration) -> io::Result<()> {
        let end = Instant::now() + at_most;
        let mut quiet_at = Instant::now() + quiet;
        while let Ok(change) = timeout_at(quiet_at.min(end), self.changed()).await {
            if change?.touches(names) {
                quiet_at = Instant::now() + quiet;
            }
        }
        Ok(())
    }

    async fn reopen(&mut self) {
        while self.inotify.get_ref().0.add_watch(&self.path, mask()).is_err() {
            sleep(REOPEN_INTERVAL).await;
        }
        self.watching = true;
    }

    fn note(&mut self, events: Vec<InotifyEvent>) -> DirectoryChange {
        let moved = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_UNMOUNT;
        if let Some(event) = events.iter().find(|event| event.mask.contains(AddWatchFlags::IN_MOVE_SELF)) {
            // The watch has moved away with the directory; what is at the path now is another one.
            let _ = self.inotify.get_ref().0.rm_watch(event.wd);
        }
        let lost = moved | AddWatchFlags::IN_IGNORED;
        if events.iter().any(|event| event.mask.intersects(lost)) {
            self.watching = false;
            return DirectoryChange::Anew;
        }
        if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)) {
            return DirectoryChange::Anew;
        }
        DirectoryChange::Names(events.into_iter().filter_map(|event| event.name).gather())
    }
}

#[expect(unsafe_code, reason = "tokio lets nobody but the caller answer for the descriptor")]
pub(super) fn register(inotify: Inotify) -> io::Result<AsyncFd<Descriptor>> {
    // SAFETY: the descriptor is owned by what is registered, is always the same, and closes after it is deregistered.
    Ok(unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE) }?)
}

fn mask() -> AddWatchFlags {
    of_names() | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MODIFY
}

/// Names that come, go and are replaced in a directory, the rights on them, and what becomes of itself.
pub(super) fn of_names() -> AddWatchFlags {
    AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

#[derive(Debug)]
pub(super) struct Descriptor(pub(super) Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    async fn next(watch: &mut DirectoryWatch) -> DirectoryChange {
        tokio::time::timeout(SOON, watch.changed()).await.expect("a change").unwrap()
    }

    #[tokio::test]
    async fn a_file_renamed_over_another_is_seen_again_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::open(directory.path()).unwrap();
        for content in ["one", "two"] {
            std::fs::write(directory.path().join("passwd+"), content).unwrap();
            std::fs::rename(directory.path().join("passwd+"), directory.path().join("passwd")).unwrap();
            let change = next(&mut watch).await;
            assert!(change.touches(&["passwd"]), "{change:?}");
            assert!(!change.touches(&["shadow"]));
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_replaced_is_looked_at_anew_and_watched_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("etc");
        std::fs::create_dir(&path).unwrap();
        let mut watch = DirectoryWatch::open(&path).unwrap();
        std::fs::rename(&path, parent.path().join("old")).unwrap();
        assert_eq!(next(&mut watch).await, DirectoryChange::Anew);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(next(&mut watch).await, DirectoryChange::Anew);
        // The kernel's farewell to the old watch may come first.
        if next_after_write(&mut watch, &path).await == DirectoryChange::Anew {
            assert_eq!(next(&mut watch).await, DirectoryChange::Anew);
            assert!(next_after_write(&mut watch, &path).await.touches(&["passwd"]));
        }
    }

    async fn next_after_write(watch: &mut DirectoryWatch, path: &Path) -> DirectoryChange {
        std::fs::write(path.join("passwd"), "x").unwrap();
        next(watch).await
    }

    #[tokio::test]
    async fn settling_waits_for_quiet_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::open(directory.path()).unwrap();
        let (quiet, at_most) = (Duration::from_millis(800), Duration::from_millis(1600));
        let path = directory.path().join("passwd");
        let writer = async {
            for _ in 0..60 {
                std::fs::write(&path, "x").unwrap();
                sleep(Duration::from_millis(50)).await;
            }
        };
        let began = Instant::now();
        tokio::select! {
            () = writer => panic!("settling took longer than its bound"),
            settled = watch.settle(&["passwd"], quiet, at_most) => settled.unwrap(),
        }
        assert!(began.elapsed() >= at_most);
        let began = Instant::now();
        watch.settle(&["passwd"], quiet, at_most).await.unwrap();
        assert!(began.elapsed() < at_most);
    }
}
