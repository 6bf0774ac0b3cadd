//! A gRPC channel over the Unix socket, with errors that say what to do.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group};
use tokio::net::UnixStream;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use super::ClientError;

/// How long the agent has to take a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the agent has to answer a call, or to begin to where the answer is a stream. More than its own bound.
const CALL_TIME_MAX: Duration = Duration::from_secs(70);

/// The same for what needs no disk that may hang: longer, and somebody who looks at a terminal believes that nothing comes.
const LOOK_TIME_MAX: Duration = Duration::from_secs(15);

/// A call that only looks.
pub(super) fn look<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(LOOK_TIME_MAX);
    request
}

pub(super) async fn open(socket: &Path) -> Result<Channel, ClientError> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The name is never looked up: the connector knows its path.
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(CONNECT_TIME_MAX).timeout(CALL_TIME_MAX);
    endpoint.connect_with_connector(connector).await.map_err(|error| explain(socket.to_owned(), &error))
}

fn explain(path: PathBuf, error: &(dyn Error + 'static)) -> ClientError {
    let Some(cause) = io_cause(error) else {
        return ClientError::Connect { path, source: io::Error::other(error.to_string()) };
    };
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning(path),
        io::ErrorKind::PermissionDenied => ClientError::NoPermission { advice: advice(&path), path },
        kind => {
            let code = cause.raw_os_error();
            ClientError::Connect { path, source: code.map_or(kind.into(), io::Error::from_raw_os_error) }
        }
    }
}

fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref() {
        Some(cause) => Some(cause),
        None => error.source().and_then(io_cause),
    }
}

/// Who may use the socket, as far as its group tells.
fn advice(socket: &Path) -> String {
    let group = fs::metadata(socket).ok().and_then(|m| Group::from_gid(Gid::from_raw(m.gid())).ok().flatten());
    match group.filter(|group| group.gid.as_raw() != 0) {
        Some(group) => format!("become root or join the group `{}`", group.name),
        None => "become root, or have the administrator create the group `rodent` and restart the agent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_agent_the_error_says_how_to_get_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let absent = directory.path().join("rodent.sock");
        let error = open(&absent).await.expect_err("nobody there");
        assert!(matches!(&error, ClientError::NotRunning(path) if *path == absent), "{error:?}");
        assert!(error.to_string().contains("RODENT_SOCKET"));

        drop(std::os::unix::net::UnixListener::bind(&absent).expect("a socket that nobody answers on"));
        assert!(matches!(open(&absent).await, Err(ClientError::NotRunning(_))));
    }

    #[tokio::test]
    async fn another_fault_of_the_file_system_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x".repeat(200));
        assert!(matches!(open(&path).await, Err(ClientError::Connect { .. })));
    }
}
