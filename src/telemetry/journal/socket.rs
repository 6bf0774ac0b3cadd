//! The socket of journald: a datagram an entry.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::telemetry::outbox::{Sent, Target};

/// How long one attempt to send waits for journald to read.
const ATTEMPT: Duration = Duration::from_millis(250);

/// A socket that sends to journald, also to one that has been started anew.
pub(super) struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Socket {
    /// Looks whether somebody listens at `path`, by an empty datagram, which journald passes over.
    ///
    /// # Errors
    /// When nobody does.
    pub(super) fn open(path: &Path) -> io::Result<Socket> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        match socket.send_to(&[], path) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(ATTEMPT))?;
        Ok(Socket { socket, path: path.to_owned() })
    }
}

impl Target for Socket {
    /// Waits at most [`ATTEMPT`].
    fn send(&self, entry: &[u8]) -> Sent {
        match self.socket.send_to(entry, &self.path) {
            Ok(_) => Sent::Yes,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Sent::Later { has_waited: true },
                // It is being started anew.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::Interrupted => {
                    Sent::Later { has_waited: false }
                }
                _ => Sent::Never,
            },
        }
    }
}
