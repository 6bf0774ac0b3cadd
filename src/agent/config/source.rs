//! Where a configuration is read from, when the agent starts and whenever it is told to read it again.

use std::path::{Path, PathBuf};

use super::{Config, Loaded};
use crate::settings::Faults;

/// Keys that only a restart puts in force: what they name is held as long as the agent runs.
pub const NEEDS_RESTART: [&str; 2] = ["state_directory", SOCKET_KEY];

/// The one of them that the command line beats.
const SOCKET_KEY: &str = "socket";

/// Files, and what beats them.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file; without one, the standard file and its drop-ins.
    pub file: Option<PathBuf>,
    /// Where the standard files lie below.
    pub root: PathBuf,
    /// The socket that the command line or the environment names.
    pub socket: Option<PathBuf>,
}

impl Source {
    /// Reads the files as they are now. Blocking.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Loaded, Faults> {
        let mut loaded = Config::load(self.file.as_deref(), &self.root)?;
        if let Some(socket) = &self.socket {
            loaded.config.socket.clone_from(socket);
        }
        Ok(loaded)
    }

    /// Whether these are the settings of the machine's own agent, which the command line asks without being told where.
    pub fn is_of_system(&self) -> bool {
        self.file.is_none() && self.socket.is_none() && self.root == Path::new("/")
    }

    /// Whether another value of this key waits for a restart.
    pub fn needs_restart(&self, key: &str) -> bool {
        NEEDS_RESTART.contains(&key) && !(key == SOCKET_KEY && self.socket.is_some())
    }
}
