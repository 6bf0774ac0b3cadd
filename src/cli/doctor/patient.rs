//! What the checks look at: the configuration as the files have it, and the agent's own view where it answers. Gathered
//! once, so that all checks see the same.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::{Uid, User};
use tokio::{sync::OnceCell, time::timeout};

use super::super::socket;
use crate::{
    agent::{
        config::{Config, ControllerSettings, Loaded, STANDARD_FILE, STATE_DIRECTORY},
        probe::{self, ControllerLook},
    },
    client::{Client, ClientError, SOCKET, StatusResponse},
    settings::Faults,
};

/// How long the agent may take to say how it is.
const STATUS_TIME_MAX: Duration = Duration::from_secs(6);

/// What is looked at.
pub(super) struct Patient {
    /// The configuration; what is wrong with it; or which file this user may not read.
    pub(super) config: Result<Loaded, NoConfig>,
    /// The file that was named, or the standard one.
    pub(super) config_file: PathBuf,
    /// The agent's socket.
    pub(super) socket: PathBuf,
    /// What the agent says of itself.
    pub(super) status: Result<StatusResponse, NoStatus>,
    controller: OnceCell<ControllerLook>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(super) enum NoConfig {
    /// This user may not read this file or directory.
    Unreadable(PathBuf),
    Refused(Faults),
}

/// Why the agent says nothing; in words.
#[derive(Debug)]
pub(super) enum NoStatus {
    NotRunning(String),
    /// It is not for this user.
    NoPermission(String),
    Other(String),
}

impl Patient {
    /// The agent of this machine; or that of this configuration, on this socket.
    pub(super) async fn find(file: Option<PathBuf>, socket: Option<PathBuf>) -> Patient {
        let config_file = file.clone().unwrap_or_else(|| PathBuf::from(STANDARD_FILE));
        let loading = tokio::task::spawn_blocking(move || load(file.as_deref()));
        let config = loading.await.unwrap_or_else(|_| Err(NoConfig::Refused(Faults::one("the look has panicked"))));
        let configured = config.as_ref().ok().map(|loaded| loaded.config.socket.clone());
        let socket = match (socket, configured) {
            (Some(named), _) => named,
            // A change of it may wait for a restart.
            (None, Some(configured)) if is_of_service(&config_file) => {
                socket::in_force(configured, Path::new(SOCKET)).await
            }
            (None, configured) => configured.unwrap_or_else(|| PathBuf::from(SOCKET)),
        };
        let status = ask(&socket).await;
        Patient { config, config_file, socket, status, controller: OnceCell::new() }
    }

    /// The configured controller.
    pub(super) fn controller(&self) -> Option<&ControllerSettings> {
        self.config.as_ref().ok()?.config.controller.as_ref()
    }

    /// Whether the service's configuration was read, and no other.
    pub(super) fn is_of_service(&self) -> bool {
        is_of_service(&self.config_file)
    }

    /// Where the agent is to keep its events. What the agent says of that is shown and stands in no command: whoever
    /// looks may be root, and the agent is what is looked at.
    pub(super) fn state_directory(&self) -> PathBuf {
        self.configured_directory().unwrap_or(Path::new(STATE_DIRECTORY)).to_path_buf()
    }

    /// The directory of the configuration, where that is known.
    pub(super) fn configured_directory(&self) -> Option<&Path> {
        Some(&self.config.as_ref().ok()?.config.state_directory)
    }

    /// The way to the controller; the same look for all who ask. `None` when none is configured, or it is not known which.
    pub(super) async fn controller_look(&self) -> Option<&ControllerLook> {
        let settings = self.controller()?;
        Some(self.controller.get_or_init(async || probe::controller(settings, &self.state_directory()).await).await)
    }

    /// Who is looking: `root`, `uid 1000`.
    pub(super) fn user() -> String {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
        name.unwrap_or_else(|| format!("uid {uid}"))
    }

    /// One with this configuration, and without an agent.
    #[cfg(test)]
    pub(super) fn of_tests(configuration: &str) -> Patient {
        Patient {
            config: Config::parse("rodent.yml", configuration).map_err(NoConfig::Refused),
            config_file: PathBuf::from("rodent.yml"),
            socket: PathBuf::from("/nowhere/rodent.sock"),
            status: Err(NoStatus::NotRunning("no agent answers".to_owned())),
            controller: OnceCell::new(),
        }
    }
}

fn is_of_service(file: &Path) -> bool {
    file == Path::new(STANDARD_FILE)
}

fn load(file: Option<&Path>) -> Result<Loaded, NoConfig> {
    let path = file.unwrap_or(Path::new(STANDARD_FILE));
    Config::load(file, Path::new("/")).map_err(|faults| match unreadable(path) {
        Some(path) => NoConfig::Unreadable(path),
        None => NoConfig::Refused(faults),
    })
}

/// The file, or the drop-in beside it, that this user may not read.
fn unreadable(file: &Path) -> Option<PathBuf> {
    let directory = file.with_extension("d");
    let drop_ins = fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
    [file.to_path_buf(), directory.clone()].into_iter().chain(drop_ins).find(|path| is_forbidden(path))
}

fn is_forbidden(path: &Path) -> bool {
    matches!(fs::File::open(path), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

async fn ask(socket: &Path) -> Result<StatusResponse, NoStatus> {
    let asked = timeout(STATUS_TIME_MAX, async { Client::connect(socket).await?.status().await });
    match asked.await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(match &error {
            ClientError::NotRunning(_) => NoStatus::NotRunning(format!("no agent answers on {}", socket.display())),
            ClientError::NoPermission { .. } | ClientError::Denied(_) => NoStatus::NoPermission(error.to_string()),
            _ => NoStatus::Other(crate::telemetry::ErrorChain(&error).to_string()),
        }),
        Err(_) => Err(NoStatus::Other(format!("the agent does not answer within {} s", STATUS_TIME_MAX.as_secs()))),
    }
}
