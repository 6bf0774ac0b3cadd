//! Where the agent of this machine listens, when nobody names its socket.
//!
//! Given the standard configuration, gives a path. Always holds: who may not read the configuration, or finds it wrong, gets the
//! default without a word; so does who finds an agent there and none where the configuration says, as after a change of
//! `socket` that waits for a restart. Nothing is waited for.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::net::UnixStream;

use crate::{agent::config::Config, client::SOCKET};

/// The named socket, else the one of the standard configuration below `/`.
pub(super) async fn of(named: Option<PathBuf>) -> PathBuf {
    match named {
        Some(named) => named,
        None => standard(Path::new("/"), Path::new(SOCKET)).await,
    }
}

async fn standard(root: &Path, default: &Path) -> PathBuf {
    let owned = root.to_owned();
    let loaded = tokio::task::spawn_blocking(move || Config::load(None, &owned)).await;
    match loaded {
        // The default of the key is the same path, and is asked for by nobody.
        Ok(Ok(loaded)) if loaded.config.socket != Path::new(SOCKET) => in_force(loaded.config.socket, default).await,
        _ => default.to_owned(),
    }
}

/// The configured socket, unless an agent listens on the default one alone.
pub(super) async fn in_force(configured: PathBuf, default: &Path) -> PathBuf {
    if !listens(&configured).await && listens(default).await { default.to_owned() } else { configured }
}

/// Whether somebody listens there; also who does not listen to this user, or has too much to do, does. Does not wait: a socket
/// takes a connection at once or refuses it.
async fn listens(socket: &Path) -> bool {
    let connected = UnixStream::connect(socket).await;
    !matches!(connected, Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(configuration: Option<&str>) -> Machine {
            let machine = Machine(tempfile::tempdir().expect("a directory"));
            if let Some(text) = configuration {
                fs::create_dir_all(machine.path("etc/rodent")).expect("a directory");
                let text = text.replace("HERE", &machine.path("").display().to_string());
                fs::write(machine.path("etc/rodent/rodent.yml"), text).expect("a configuration");
            }
            machine
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn listen(&self, name: &str) -> UnixListener {
            UnixListener::bind(self.path(name)).expect("a socket")
        }

        async fn found(&self) -> PathBuf {
            let found = standard(self.0.path(), &self.path("default.sock")).await;
            found.strip_prefix(self.0.path()).expect("below it").to_owned()
        }
    }

    #[tokio::test]
    async fn what_the_configuration_says_counts_also_while_nobody_listens_there() {
        let machine = Machine::with(Some("socket: HEREown.sock"));
        assert_eq!(machine.found().await, Path::new("own.sock"));
        let _own = machine.listen("own.sock");
        let _default = machine.listen("default.sock");
        assert_eq!(machine.found().await, Path::new("own.sock"));
    }

    #[tokio::test]
    async fn while_a_change_of_the_socket_waits_for_a_restart_the_agent_is_found_where_it_was() {
        let machine = Machine::with(Some("socket: HEREown.sock"));
        let _default = machine.listen("default.sock");
        assert_eq!(machine.found().await, Path::new("default.sock"));
        // One that has died without removing its file.
        drop(machine.listen("own.sock"));
        assert_eq!(machine.found().await, Path::new("default.sock"));
    }

    #[tokio::test]
    async fn a_configuration_that_is_wrong_or_absent_or_says_nothing_gives_the_default() {
        for configuration in [None, Some("sockets: HEREown.sock"), Some("log: {level: debug}")] {
            assert_eq!(Machine::with(configuration).found().await, Path::new("default.sock"), "{configuration:?}");
        }
        let named = PathBuf::from("/named.sock");
        assert_eq!(of(Some(named.clone())).await, named);
    }
}
