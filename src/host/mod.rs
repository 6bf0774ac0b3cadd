//! How the machine is looked at: files below a root prefix, clocks, commands, netlink, watches. Knows no events.
//!
//! Given a root (`/`, or a fixture tree in tests); taken by collectors and the agent. Everything is bounded: files by
//! [`FILE_BYTES_MAX`], commands by time and output. No shell is ever between us and a program.

pub mod account_names;
pub mod clock;
pub mod command;
pub mod directory_watch;
pub mod file_watch;
pub mod journal;
pub mod kernel_log;
pub mod listener;
#[cfg(feature = "kernel")]
pub mod netlink;
pub mod nut;
pub mod space;
#[cfg(feature = "systemd")]
pub mod systemd_bus;
pub mod tree_watch;
#[cfg(feature = "kernel")]
pub mod uevent_watch;
pub mod xattr;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The most that is read of one file, bytes; a longer one is an error, never cut short in silence.
pub const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The machine, seen from a root directory.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The machine whose files lie below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// Where an absolute path of the machine lies for us.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Whether this is the running machine and not a fixture tree: only then sockets and netlink are used. Commands are
    /// those below the root, so a fixture tree has none but its own.
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Reads a text file whole; bytes that are no UTF-8 become replacement characters.
    ///
    /// # Errors
    /// When it cannot be read or is longer than [`FILE_BYTES_MAX`].
    pub fn read(&self, absolute: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        std::fs::File::open(self.path(absolute))?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{absolute}: longer than {FILE_BYTES_MAX} bytes"),
            ));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a directory, in order; none where there is no such directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self, absolute: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(absolute)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = entries.map(name).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// Does a look at files off the async threads.
    ///
    /// # Errors
    /// Those of `look`, and when the runtime is ending.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Host) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let host = self.clone();
        tokio::task::spawn_blocking(move || look(&host)).await.map_err(io::Error::other)?
    }

    /// The machine's name.
    ///
    /// # Errors
    /// When the kernel does not tell it.
    pub fn hostname(&self) -> io::Result<String> {
        Ok(self.read("/proc/sys/kernel/hostname")?.trim().to_owned())
    }

    /// The installation's own identifier, 32 hexadecimal digits; none before it is first set up. It never leaves the
    /// machine as it is: derive what is sent from it by a keyed hash.
    pub fn machine_id(&self) -> Option<String> {
        let text = self.read("/etc/machine-id").ok()?;
        let id = text.trim();
        (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_proper_identifier_has_none() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        assert_eq!(host.machine_id(), None);
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        assert_eq!(host.machine_id(), None);
        std::fs::write(root.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(host.machine_id().as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }

    #[tokio::test]
    async fn a_file_that_is_too_long_is_an_error_and_not_cut_short() {
        let root = tempfile::tempdir().unwrap();
        std::fs::File::create(root.path().join("long")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let host = Host::at(root.path());
        let error = host.look(|host| host.read("/long")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
