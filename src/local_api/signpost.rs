//! A link from the usual place of the socket to where it is.
//!
//! Who cannot read the configuration, or finds it wrong or changed, looks for the agent at the usual place. Always holds: no
//! socket and no link that leads to one in use is replaced, and what is removed is the own link.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::UnixStream, time::timeout};

/// How long an agent that owns the socket has to take our question.
pub(super) const PROBE_TIME_MAX: Duration = Duration::from_secs(1);

/// The link, as long as this lives.
#[derive(Debug)]
pub(super) struct Signpost {
    at: PathBuf,
    to: PathBuf,
}

impl Signpost {
    /// Puts it where there is a directory for it and nothing in its place. Best effort: callers can name the socket.
    pub(super) async fn put(at: &Path, to: &Path) -> Option<Signpost> {
        let to = std::path::absolute(to).ok()?;
        // Of an agent that was killed and had this very socket.
        if !fs::read_link(at).is_ok_and(|found| found == to) {
            remove_dead_link(at).await;
            symlink(&to, at).ok()?;
        }
        Some(Signpost { at: at.to_owned(), to })
    }
}

impl Drop for Signpost {
    fn drop(&mut self) {
        if fs::read_link(&self.at).is_ok_and(|to| to == self.to) {
            // A dead one is replaced at the next start.
            let _ = fs::remove_file(&self.at);
        }
    }
}

/// Of an agent that was killed.
async fn remove_dead_link(at: &Path) {
    let is_link = fs::symlink_metadata(at).is_ok_and(|metadata| metadata.is_symlink());
    let is_dead = |error: io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    if is_link && timeout(PROBE_TIME_MAX, UnixStream::connect(at)).await.is_ok_and(|answer| answer.is_err_and(is_dead))
    {
        let _ = fs::remove_file(at);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::{Signpost, fs, symlink};

    #[tokio::test]
    async fn it_leads_to_the_socket_while_it_lives_and_replaces_only_what_leads_nowhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let (at, to, other) = (path("known.sock"), path("own.sock"), path("other.sock"));
        let _listener = UnixListener::bind(&to).expect("a socket");
        let signpost = Signpost::put(&at, &to).await.expect("a free place");
        assert!(UnixStream::connect(&at).is_ok());
        assert!(Signpost::put(&at, &other).await.is_none(), "it leads to one in use");
        drop(signpost);
        assert!(fs::symlink_metadata(&at).is_err() && to.exists());

        symlink(path("gone.sock"), &at).expect("a dead link");
        let signpost = Signpost::put(&at, &to).await.expect("a place that is free again");
        fs::remove_file(&at).expect("removed");
        let _taken = UnixListener::bind(&at).expect("the place of another");
        drop(signpost);
        assert!(at.exists(), "what is another's stays");
        assert!(Signpost::put(&at, &to).await.is_none());
        assert!(Signpost::put(&path("absent/known.sock"), &to).await.is_none());

        fs::remove_file(&at).expect("removed");
        symlink(&to, &at).expect("the link of an agent that was killed");
        drop(Signpost::put(&at, &to).await.expect("its successor's"));
        assert!(fs::symlink_metadata(&at).is_err());
    }
}
