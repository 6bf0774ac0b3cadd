//! The spool: where hooks leave events while the agent is away, each in a file of its own, and where the agent finds them.
//!
//! Given by `rodent hook`, which runs as root; taken by the agent, which owns the directory. Neither trusts the other with
//! more than it must: the writer goes through one open directory and never follows a link nor opens what is there, so
//! that whoever owns the directory cannot lead it elsewhere; the reader takes plain files of root or its own user alone,
//! out of a directory that nobody else may write to. Always holds: a file is there whole and durable, or not at all; at
//! most [`FILES_MAX`] files of [`EVENT_BYTES_MAX`] bytes. Deliberately absent: what an event means.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    fcntl::{OFlag, open, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use uuid::Uuid;

use crate::event::EVENT_BYTES_MAX;
use crate::order::Sorted as _;

/// Files that may lie in the spool, those set aside among them; 16 MB at worst. Beyond it a hook complains instead.
pub const FILES_MAX: usize = 1000;

/// Its name in the agent's state directory.
const DIRECTORY: &str = "spool";
const WHOLE: &str = ".event";
const REFUSED: &str = ".refused";
const UNFINISHED: &str = ".unfinished";

/// A file that is still not whole after this time never will be: its writer was killed.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(60);

/// The spool of one agent.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
}

/// Why an event was not left in the spool, or could not be had from it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The agent has never run here.
    #[error("there is no spool {0}: it is made when the agent first starts")]
    Absent(PathBuf),
    /// No room for another file.
    #[error("the spool {0} is full: {FILES_MAX} files")]
    Full(PathBuf),
    /// It could be tampered with.
    #[error("{path} is not trusted: {why}")]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Reading or writing.
    #[error("use the spool {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What somebody left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// An encoded event, as far as can be told without looking into it.
    pub event: Vec<u8>,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
}

impl Spool {
    /// The spool of the agent with this state directory. Touches nothing.
    pub fn of(state_directory: &Path) -> Spool {
        Spool { directory: state_directory.join(DIRECTORY) }
    }

    /// Makes the directory when it is not there. For the agent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self) -> Result<(), SpoolError> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(self.io(error)),
            _ => Ok(()),
        }
    }

    /// Leaves an encoded event. When this returns, it is on the disk. For hooks.
    ///
    /// # Errors
    /// Nothing has been left then.
    pub fn leave(&self, event: &[u8]) -> Result<(), SpoolError> {
        let directory = self.open()?;
        if self.names(&directory)?.len() >= FILES_MAX {
            return Err(SpoolError::Full(self.directory.clone()));
        }
        // Sorts by time.
        let id = Uuid::now_v7();
        let (unfinished, whole) = (format!("{id}{UNFINISHED}"), format!("{id}{WHOLE}"));
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&directory, unfinished.as_str(), flags, Mode::from_bits_truncate(0o600));
        let file = File::from(file.map_err(|error| self.io(error.into()))?);
        let written = write(file, event)
            .and_then(|()| Ok(renameat(&directory, unfinished.as_str(), &directory, whole.as_str())?))
            .and_then(|()| File::from(directory.try_clone()?).sync_all());
        written.map_err(|error| {
            let _ = unlinkat(&directory, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
            self.io(error)
        })
    }

    /// Names of what has been left, oldest first; removes what never became whole. For the agent.
    ///
    /// # Errors
    /// When the directory is not there, cannot be read, or others may write to it.
    pub fn list(&self) -> Result<Vec<String>, SpoolError> {
        let directory = self.open()?;
        let names = self.names(&directory)?;
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            let age = fs::symlink_metadata(self.directory.join(name)).and_then(|metadata| metadata.modified());
            let age = age.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > UNFINISHED_AGE_MAX) {
                let _ = unlinkat(&directory, name.as_str(), UnlinkatFlags::NoRemoveDir);
            }
        }
        let mut whole: Vec<String> = names.into_iter().filter(|name| name.ends_with(WHOLE)).collect();
        whole.order_by(Ord::cmp);
        Ok(whole)
    }

    /// What stands in a file of [`Spool::list`]; it stays there.
    ///
    /// # Errors
    /// [`SpoolError::Untrusted`] when it is not a plain file of root or of this user, or too large.
    pub fn read(&self, name: &str) -> Result<Left, SpoolError> {
        let path = self.directory.join(name);
        let untrusted = |why| Err(SpoolError::Untrusted { path: path.clone(), why });
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) {
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
                return untrusted("it is a link");
            }
            file => file.map_err(|error| self.io(error))?,
        };
        let metadata = file.metadata().map_err(|error| self.io(error))?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return untrusted("it is no plain file");
        }
        if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
            return untrusted("it belongs to somebody else");
        }
        if metadata.len() > EVENT_BYTES_MAX as u64 {
            return untrusted("it is too large for an event");
        }
        let mut event = Vec::new();
        file.take(EVENT_BYTES_MAX as u64).read_to_end(&mut event).map_err(|error| self.io(error))?;
        Ok(Left { event, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// Removes a file: its event is in the log.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), SpoolError> {
        fs::remove_file(self.directory.join(name)).map_err(|error| self.io(error))
    }

    /// Keeps a file that is no event out of the way, for somebody to look at. It counts among [`FILES_MAX`].
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn set_aside(&self, name: &str) -> Result<(), SpoolError> {
        let stem = name.strip_suffix(WHOLE).unwrap_or(name);
        fs::rename(self.directory.join(name), self.directory.join(format!("{stem}{REFUSED}")))
            .map_err(|error| self.io(error))
    }

    /// The directory itself, if nobody but root and its owner can write to it.
    fn open(&self) -> Result<OwnedFd, SpoolError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = open(&self.directory, flags, Mode::empty()).map_err(io::Error::from);
        let directory = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SpoolError::Absent(self.directory.clone()),
            _ => self.io(error),
        })?;
        let metadata =
            directory.try_clone().and_then(|fd| File::from(fd).metadata()).map_err(|error| self.io(error))?;
        if metadata.mode() & 0o022 != 0 {
            return Err(SpoolError::Untrusted { path: self.directory.clone(), why: "others may write to it" });
        }
        Ok(directory)
    }

    /// Names in the open directory, somewhat more than allowed at most.
    fn names(&self, directory: &OwnedFd) -> Result<Vec<String>, SpoolError> {
        let same = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let entries = fs::read_dir(same).map_err(|error| self.io(error))?;
        Ok(entries.flatten().take(2 * FILES_MAX).filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn io(&self, source: io::Error) -> SpoolError {
        SpoolError::Io { path: self.directory.clone(), source }
    }
}

/// Readable by the agent, which is not root; the directory keeps everybody else away.
fn write(mut file: File, event: &[u8]) -> io::Result<()> {
    file.write_all(event)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let state = tempfile::tempdir().expect("a directory");
        let spool = Spool::of(state.path());
        spool.make().expect("make the spool");
        (state, spool)
    }

    #[test]
    fn what_is_left_is_found_in_its_order_and_gone_when_removed() {
        let (_state, spool) = spool();
        spool.make().expect("it may be there");
        for event in [b"one", b"two"] {
            spool.leave(event).expect("leave");
        }
        let names = spool.list().expect("list");
        let left: Vec<_> = names.iter().map(|name| spool.read(name).expect("read").event).collect();
        assert_eq!(left, [b"one", b"two"]);
        spool.remove(&names[0]).expect("remove");
        spool.set_aside(&names[1]).expect("set aside");
        assert_eq!(spool.list().expect("list"), [""; 0]);
    }

    #[test]
    fn without_an_agent_there_is_no_spool_and_it_is_said() {
        let state = tempfile::tempdir().expect("a directory");
        assert!(matches!(Spool::of(state.path()).leave(b"x"), Err(SpoolError::Absent(_))));
    }

    #[test]
    fn a_full_spool_takes_nothing_and_keeps_what_it_has() {
        let (state, spool) = spool();
        for number in 0..FILES_MAX {
            File::create(state.path().join(format!("spool/{number}.event"))).expect("make a file");
        }
        assert!(matches!(spool.leave(b"x"), Err(SpoolError::Full(_))));
        assert_eq!(spool.list().expect("list").len(), FILES_MAX);
    }

    #[test]
    fn a_spool_that_others_may_write_to_or_that_leads_elsewhere_is_not_used() {
        let (state, spool) = spool();
        fs::set_permissions(state.path().join("spool"), Permissions::from_mode(0o770)).expect("set permissions");
        assert!(matches!(spool.leave(b"x"), Err(SpoolError::Untrusted { .. })));
        assert!(matches!(spool.list(), Err(SpoolError::Untrusted { .. })));

        let elsewhere = tempfile::tempdir().expect("a directory");
        fs::remove_dir(state.path().join("spool")).expect("remove");
        symlink(elsewhere.path(), state.path().join("spool")).expect("make a link");
        assert!(spool.leave(b"x").is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).expect("read").count(), 0);
    }

    #[test]
    fn links_pipes_directories_and_large_files_are_not_read() {
        let (state, spool) = spool();
        let at = |name: &str| state.path().join("spool").join(name);
        fs::write(state.path().join("secret"), "secret").expect("write");
        symlink(state.path().join("secret"), at("1.event")).expect("make a link");
        fs::hard_link(state.path().join("secret"), at("2.event")).expect("make a link");
        nix::unistd::mkfifo(&at("3.event"), Mode::from_bits_truncate(0o600)).expect("make a pipe");
        fs::create_dir(at("4.event")).expect("make a directory");
        fs::write(at("5.event"), vec![0; EVENT_BYTES_MAX + 1]).expect("write");
        let names = spool.list().expect("list");
        assert_eq!(names.len(), 5);
        for name in names {
            assert!(matches!(spool.read(&name), Err(SpoolError::Untrusted { .. })), "{name}");
        }
    }

    #[test]
    fn what_never_became_whole_is_not_an_event_and_goes_when_it_is_old() {
        let (state, spool) = spool();
        let path = state.path().join("spool/1.unfinished");
        fs::write(&path, "x").expect("write");
        assert_eq!(spool.list().expect("list"), [""; 0]);
        assert!(path.exists());
        let old = SystemTime::now() - 2 * UNFINISHED_AGE_MAX;
        File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("set the time");
        assert_eq!(spool.list().expect("list"), [""; 0]);
        assert!(!path.exists());
    }
}
