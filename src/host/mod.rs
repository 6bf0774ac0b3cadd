//! How the machine is looked at: files below a root prefix, clocks, commands, netlink, watches. Knows no events.
//!
//! Given a root (`/`, or a fixture tree in tests); taken by collectors and the agent. Everything is bounded: files by
//! [`FILE_BYTES_MAX`], commands by time and output. No shell is ever between us and a program.

pub mod clock;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The most that is read of one file, bytes; a longer one is an error, never cut short in silence.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

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

    /// Whether this is the running machine and not a fixture tree: only then commands, sockets and netlink are used.
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
}
