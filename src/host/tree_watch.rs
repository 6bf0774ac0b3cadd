//! Tells what changes in many directories at once, through one inotify instance: names that come and go or are replaced, and
//! rights, owners and, where that is asked for, content that changes.
//!
//! Directories are watched and not the files in them, so that a file that is replaced stays in sight. The kernel follows a
//! directory that is moved, and names it as before: whoever gets [`Touch::Replaced`] forgets what was below and looks again.
//! What inotify cannot tell (its queue overflowed, more changed than is kept) is [`TreeChange::is_anew`].

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, timeout_at},
};

use super::directory_watch::{Descriptor, of_names, register};

/// The most paths that are told one by one; beyond them everything may have changed.
const TOUCHED_MAX: usize = 4096;
/// What changes in several steps is told when nothing has for so long, but no later than this.
const QUIET: Duration = Duration::from_millis(200);
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Directories under watch.
#[derive(Debug)]
pub struct TreeWatch {
    inotify: AsyncFd<Descriptor>,
    mask: AddWatchFlags,
    places: HashMap<WatchDescriptor, PathBuf>,
    watches: BTreeMap<PathBuf, WatchDescriptor>,
}

/// What has happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// It is the same, with other rights, another owner or other content.
    Altered,
    /// Something else is there, or nothing.
    Replaced,
}

/// What has changed since.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TreeChange {
    /// Anything may have.
    pub is_anew: bool,
    /// These have.
    pub paths: BTreeMap<PathBuf, Touch>,
}

impl TreeChange {
    /// Takes another one in.
    pub fn join(&mut self, other: TreeChange) {
        self.is_anew |= other.is_anew;
        for (path, touch) in other.paths {
            self.touch(path, touch);
        }
    }

    /// Nothing has changed.
    pub fn is_empty(&self) -> bool {
        !self.is_anew && self.paths.is_empty()
    }

    fn touch(&mut self, path: PathBuf, touch: Touch) {
        if self.paths.len() >= TOUCHED_MAX && !self.paths.contains_key(&path) {
            self.is_anew = true;
        } else {
            let before = self.paths.entry(path).or_insert(touch);
            *before = touch.max(*before);
        }
    }
}

impl TreeWatch {
    /// Watches nothing yet. With `content`, files that were written count as altered.
    ///
    /// # Errors
    /// When the machine has no inotify instance left.
    pub fn new(content: bool) -> io::Result<TreeWatch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mask = if content { of_names() | AddWatchFlags::IN_CLOSE_WRITE } else { of_names() };
        Ok(TreeWatch { inotify: register(inotify)?, mask, places: HashMap::new(), watches: BTreeMap::new() })
    }

    /// Watches one more directory. Look into it after this, so that no change falls between.
    ///
    /// # Errors
    /// When it is not there, may not be read, or the kernel takes no more watches.
    pub fn add(&mut self, directory: &Path) -> io::Result<()> {
        let watch = self.inotify.get_ref().0.add_watch(directory, self.mask)?;
        if let Some(before) = self.places.insert(watch, directory.to_owned())
            && before != directory
        {
            self.watches.remove(&before);
        }
        self.watches.insert(directory.to_owned(), watch);
        Ok(())
    }

    /// How many directories are watched.
    pub fn count(&self) -> usize {
        self.watches.len()
    }

    /// Whether this one is.
    pub fn watches(&self, directory: &Path) -> bool {
        self.watches.contains_key(directory)
    }

    /// Lets go of a directory and of what is below it.
    pub fn forget_below(&mut self, directory: &Path) {
        let below = self.watches.range(directory.to_owned()..).take_while(|(path, _)| path.starts_with(directory));
        for (path, watch) in below.map(|(path, watch)| (path.clone(), *watch)).collect::<Vec<_>>() {
            // It may be gone already.
            let _ = self.inotify.get_ref().0.rm_watch(watch);
            self.forget(&path, watch);
        }
    }

    fn forget(&mut self, path: &Path, watch: WatchDescriptor) {
        self.watches.remove(path);
        self.places.remove(&watch);
    }

    /// Waits for the next change.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When inotify itself breaks.
    pub async fn changed(&mut self) -> io::Result<TreeChange> {
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?)) {
                Ok(events) => return Ok(self.note(events?)),
                Err(_would_block) => {}
            }
        }
    }

    /// Takes in what changes until nothing does for `quiet`, but no longer than `at_most`: a program that does it in several steps
    /// is seen when it has finished. What `change` has when this is dropped, it keeps.
    ///
    /// # Errors
    /// As [`TreeWatch::changed`].
    pub async fn settle(&mut self, change: &mut TreeChange, quiet: Duration, at_most: Duration) -> io::Result<()> {
        let end = Instant::now() + at_most;
        while let Ok(more) = timeout_at((Instant::now() + quiet).min(end), self.changed()).await {
            change.join(more?);
        }
        Ok(())
    }

    /// Waits for a change that `concerns`, and takes in what follows it until it has been quiet for a moment.
    ///
    /// # Cancel safety
    /// When the future is dropped, `change` keeps what it has taken in.
    ///
    /// # Errors
    /// As [`TreeWatch::changed`].
    pub async fn concerned(
        &mut self,
        change: &mut TreeChange,
        concerns: impl Fn(&TreeChange) -> bool,
    ) -> io::Result<()> {
        loop {
            let next = self.changed().await?;
            if concerns(&next) {
                change.join(next);
                return self.settle(change, QUIET, SETTLE_MAX).await;
            }
        }
    }

    fn note(&mut self, events: Vec<InotifyEvent>) -> TreeChange {
        let lost = AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_UNMOUNT
            | AddWatchFlags::IN_IGNORED;
        let altered = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_CLOSE_WRITE;
        let mut change = TreeChange::default();
        for event in events {
            change.is_anew |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            let Some(place) = self.places.get(&event.wd).cloned() else { continue };
            let touch = if event.mask.intersects(altered) { Touch::Altered } else { Touch::Replaced };
            if event.mask.intersects(lost) {
                let _ = self.inotify.get_ref().0.rm_watch(event.wd);
                self.forget(&place, event.wd);
                change.touch(place, Touch::Replaced);
            } else if let Some(name) = event.name {
                change.touch(place.join(name), touch);
            } else {
                change.touch(place, touch);
            }
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// What happens while this is done.
    async fn touched(watch: &mut TreeWatch, act: impl FnOnce()) -> Vec<(PathBuf, Touch)> {
        act();
        let mut change = tokio::time::timeout(SOON, watch.changed()).await.expect("a change").unwrap();
        watch.settle(&mut change, Duration::from_millis(50), SOON).await.unwrap();
        assert!(!change.is_anew);
        change.paths.into_iter().collect()
    }

    #[tokio::test]
    async fn rights_of_a_file_of_its_directory_and_a_file_that_is_replaced_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let (deep, file) = (root.path().join("deep"), root.path().join("deep/file"));
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(&file, "1").unwrap();
        let mut watch = TreeWatch::new(false).unwrap();
        watch.add(&deep).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(touched(&mut watch, || mode(&file, 0o600)).await, [(file.clone(), Touch::Altered)]);
        assert_eq!(touched(&mut watch, || mode(&deep, 0o700)).await, [(deep.clone(), Touch::Altered)]);
        let other = root.path().join("other");
        std::fs::write(&other, "2").unwrap();
        let replaced = touched(&mut watch, || std::fs::rename(&other, &file).unwrap()).await;
        assert_eq!(replaced, [(file.clone(), Touch::Replaced)]);
        assert_eq!(touched(&mut watch, || mode(&file, 0o640)).await, [(file, Touch::Altered)], "it is still in sight");
    }

    #[tokio::test]
    async fn a_directory_that_moves_away_is_told_and_let_go_with_what_is_below() {
        let root = tempfile::tempdir().unwrap();
        let (deep, deeper) = (root.path().join("deep"), root.path().join("deep/deeper"));
        std::fs::create_dir_all(&deeper).unwrap();
        let mut watch = TreeWatch::new(false).unwrap();
        for directory in [root.path(), &deep, &deeper] {
            watch.add(directory).unwrap();
        }
        let moved = touched(&mut watch, || std::fs::rename(&deep, root.path().join("away")).unwrap()).await;
        assert!(moved.contains(&(deep.clone(), Touch::Replaced)), "{moved:?}");
        assert!(!watch.watches(&deep) && watch.watches(&deeper));
        watch.forget_below(&deep);
        assert_eq!(watch.count(), 1);
    }
}
