//! The socket in the file system: takes the place of one that nobody answers on, never of one that is in use, and is
//! removed when dropped, unless another has taken its place.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::unistd::{Gid, Group};
use tokio::net::{UnixListener, UnixStream};

use super::{
    SocketSettings,
    gate::Gate,
    signpost::{PROBE_TIME_MAX, Signpost},
    usage::Usage,
};

/// Mode of the socket when its group does not exist or may not be given to it.
const OWNER_ONLY: u32 = 0o600;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Two agents on one socket would take each other's callers.
    #[error(
        "another agent is running: it answers on {0}; stop it, or give this one another path (`socket`; --socket and RODENT_SOCKET win over it)"
    )]
    AlreadyRunning(PathBuf),
    /// Nothing of ours.
    #[error("{0} is no socket; remove it, or set `socket` to another path")]
    NotASocket(PathBuf),
    /// The file system refuses.
    #[error("{action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug)]
pub(super) struct Socket {
    listener: Arc<UnixListener>,
    path: PathBuf,
    /// Device and inode: what we made, and may remove.
    identity: (u64, u64),
    group_name: String,
    group: Option<Gid>,
    /// Goes with it.
    _signpost: Option<Signpost>,
}

impl Socket {
    pub(super) async fn bind(settings: &SocketSettings) -> Result<Socket, BindError> {
        let path = settings.socket.clone();
        make_directory(&path)?;
        remove_stale(&path).await?;
        let listener = UnixListener::bind(&path).map_err(io_error("bind", &path))?;
        let group = find_group(&settings.group);
        let group = open_to(&path, group, settings)?;
        let metadata = fs::symlink_metadata(&path).map_err(io_error("look at", &path))?;
        let identity = (metadata.dev(), metadata.ino());
        let known = settings.known.as_deref().filter(|known| *known != path);
        let signpost = match known {
            Some(known) => Signpost::put(known, &path).await,
            None => None,
        };
        let (listener, group_name) = (Arc::new(listener), settings.group.clone());
        Ok(Socket { listener, path, identity, group_name, group, _signpost: signpost })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> Arc<UnixListener> {
        self.listener.clone()
    }

    /// Who may call through this socket.
    pub(super) fn gate(&self, usage: Usage) -> Gate {
        Gate::new(nix::unistd::geteuid(), self.group, self.group_name.clone(), usage)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity);
        if ours {
            // One that stays behind is recognised as stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Io { action, path, source }
}

/// Makes the directory of the socket, searchable by everyone: the socket's own mode says who may connect.
fn make_directory(socket: &Path) -> Result<(), BindError> {
    let Some(directory) = socket.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) else { return Ok(()) };
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    // The umask may have taken bits away.
    made.and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o755)))
        .map_err(io_error("make the directory", directory))
}

async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let is_link = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at", path)(error)),
        Ok(metadata) => metadata.is_symlink(),
    };
    if fs::metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match tokio::time::timeout(PROBE_TIME_MAX, UnixStream::connect(path)).await {
        // The signpost of an agent that listened elsewhere. Where it leads may be closed to this user.
        Ok(Err(error)) if is_link && error.kind() != io::ErrorKind::WouldBlock => {
            tracing::info!(socket = %path.display(), "removed a link to where nobody answered");
            fs::remove_file(path).map_err(io_error("remove the old link", path))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(socket = %path.display(), "removed a socket that nobody answered on");
            fs::remove_file(path).map_err(io_error("remove the old socket", path))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io_error("ask who answers on", path)(error))
        }
        // Connected, or its queue is full: somebody listens.
        _ => Err(BindError::AlreadyRunning(path.to_owned())),
    }
}

fn find_group(name: &str) -> Option<Gid> {
    let group = Group::from_name(name).ok().flatten().map(|group| group.gid);
    if group.is_none() {
        tracing::warn!(group = name, "no such group: only root and the agent's own user may use the local socket");
    }
    group
}

/// Gives the socket its group and mode; without a group only its owner keeps access. Returns the group that has it.
fn open_to(path: &Path, group: Option<Gid>, settings: &SocketSettings) -> Result<Option<Gid>, BindError> {
    // Often it is the agent's own group, and has it already: the sandbox allows no change of owners at all.
    let has_it = |gid: Gid| fs::metadata(path).is_ok_and(|socket| socket.gid() == gid.as_raw());
    let given = group.filter(|&gid| match nix::unistd::chown(path, None, Some(gid)) {
        Ok(()) => true,
        Err(_) if has_it(gid) => true,
        Err(error) => {
            tracing::warn!(group = settings.group, %error, "the local socket cannot be given to its group: only root and the agent's own user may use it");
            false
        }
    });
    let mode = if given.is_some() { settings.mode } else { OWNER_ONLY };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io_error("set the mode of", path))?;
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: PathBuf) -> SocketSettings {
        SocketSettings { socket: path, group: "no-such-group-here".to_owned(), mode: 0o660, known: None }
    }

    #[tokio::test]
    async fn a_socket_that_nobody_answers_on_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists());
        let socket = Socket::bind(&settings(path.clone())).await.expect("the place is free");
        UnixStream::connect(&path).await.expect("the new one answers");
        drop(socket);
        assert!(!path.exists(), "its own socket goes with it");
    }

    #[tokio::test]
    async fn a_socket_in_use_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        let _first = Socket::bind(&settings(path.clone())).await.expect("the first");
        let error = Socket::bind(&settings(path.clone())).await.expect_err("the second");
        assert!(matches!(error, BindError::AlreadyRunning(_)), "{error}");
        assert!(error.to_string().starts_with("another agent is running"));
        UnixStream::connect(&path).await.expect("the first still answers");
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_is_replaced_and_one_to_an_agent_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, elsewhere) = (directory.path().join("rodent.sock"), directory.path().join("elsewhere.sock"));
        let agent =
            Socket::bind(&SocketSettings { known: Some(path.clone()), ..settings(elsewhere) }).await.expect("free");
        let error = Socket::bind(&settings(path.clone())).await.expect_err("an agent answers through it");
        assert!(matches!(error, BindError::AlreadyRunning(_)), "{error}");
        drop(agent);
        assert!(fs::symlink_metadata(&path).is_err(), "the link goes with it");
        // To nothing, and round in a circle.
        for to in [directory.path().join("gone.sock"), path.clone()] {
            std::os::unix::fs::symlink(to, &path).expect("a link");
            Socket::bind(&settings(path.clone())).await.expect("the place is free");
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        fs::write(&path, "precious").expect("a file");
        assert!(matches!(Socket::bind(&settings(path.clone())).await, Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[tokio::test]
    async fn the_directory_is_made_and_without_its_group_only_the_owner_may_connect() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run/rodent/rodent.sock");
        let socket = Socket::bind(&settings(path.clone())).await.expect("bound");
        assert_eq!(fs::metadata(&path).expect("the socket").mode() & 0o777, OWNER_ONLY);
        let parent = path.parent().expect("a parent");
        assert_eq!(fs::metadata(parent).expect("the directory").mode() & 0o777, 0o755);
        assert_eq!(socket.group, None);
    }

    #[tokio::test]
    async fn the_socket_belongs_to_its_group_when_that_exists() {
        let own = Group::from_gid(nix::unistd::getegid()).expect("a look-up").expect("our own group");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        let settings = SocketSettings { socket: path.clone(), group: own.name, mode: 0o660, known: None };
        let socket = Socket::bind(&settings).await.expect("bound");
        let metadata = fs::metadata(&path).expect("the socket");
        assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o660, own.gid.as_raw()));
        assert_eq!(socket.group, Some(own.gid));
    }

    #[tokio::test]
    async fn a_socket_that_took_our_place_is_not_removed_with_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        let socket = Socket::bind(&settings(path.clone())).await.expect("bound");
        let other = directory.path().join("other.sock");
        let _other = std::os::unix::net::UnixListener::bind(&other).expect("another");
        fs::rename(&other, &path).expect("moved over ours");
        drop(socket);
        assert!(path.exists());
    }
}
