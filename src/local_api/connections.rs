//! Connections to the socket, counted: one beyond the bounds waits until another ends, and no user takes them all.
//!
//! Always holds: who is not served yet holds up nobody else; and a connection on which nothing is asked for a while ends.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    time::{Sleep, sleep},
};
use tonic::transport::server::{Connected, UdsConnectInfo};

use super::{
    authority::AuthorityFilter,
    held::SILENCE_MAX,
    shares::{Bounds, Share, Shares},
    usage::{Counted, Usage},
};

/// Connections at once.
const CONNECTIONS: Bounds = Bounds { max: 64, user_max: 24, kept: 8 };

/// Connections that wait for one of these; a further one is closed at once.
const WAITING: Bounds = Bounds { max: 192, user_max: 64, kept: 64 };

/// When the process is out of descriptors, accepting again at once would only burn a processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that holds its place until it ends.
pub(super) struct Connection {
    stream: UnixStream,
    authority: AuthorityFilter,
    /// Runs until the first request.
    silence: Option<Pin<Box<Sleep>>>,
    _place: Share,
    _counted: Counted,
}

/// Where connections come from.
struct Incoming {
    listener: Arc<UnixListener>,
    usage: Usage,
    places: Arc<Shares>,
    waiting_places: Arc<Shares>,
    waiting: VecDeque<Waiting>,
    /// Whether it was told that connections are closed.
    is_told: bool,
}

/// A connection without a place.
struct Waiting {
    stream: UnixStream,
    user: u32,
    _place: Share,
}

/// Connections as they come, never more than [`CONNECTIONS`] at once. Does not end.
pub(super) fn incoming(listener: Arc<UnixListener>, usage: Usage) -> impl Stream<Item = io::Result<Connection>> {
    let (places, waiting_places) = (Shares::new(CONNECTIONS), Shares::new(WAITING));
    let incoming = Incoming { listener, usage, places, waiting_places, waiting: VecDeque::new(), is_told: false };
    stream::unfold(incoming, |mut incoming| async { Some((Ok(incoming.next().await), incoming)) })
}

impl Incoming {
    async fn next(&mut self) -> Connection {
        loop {
            if let Some(connection) = self.place_one() {
                return connection;
            }
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.places.freed() => continue,
            };
            match accepted {
                Ok((stream, _)) => self.queue(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the local socket could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The first of those who wait for whom there is a place.
    fn place_one(&mut self) -> Option<Connection> {
        let mut waiting = self.waiting.iter().enumerate();
        let (at, place) = waiting.find_map(|(at, who)| Some((at, self.places.take(who.user, 1)?)))?;
        let Waiting { stream, .. } = self.waiting.remove(at)?;
        let (authority, silence) = (AuthorityFilter::default(), Some(Box::pin(sleep(SILENCE_MAX))));
        Some(Connection { stream, authority, silence, _place: place, _counted: self.usage.connected() })
    }

    fn queue(&mut self, stream: UnixStream) {
        // Whom the kernel does not name is nobody, and refused when it asks.
        let user = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
        match self.waiting_places.take(user, 1) {
            Some(place) => self.waiting.push_back(Waiting { stream, user, _place: place }),
            None if std::mem::replace(&mut self.is_told, true) => {}
            None => tracing::warn!(
                user,
                "a user has more connections to the local socket than it may, and others of its are closed"
            ),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Connection { stream, authority, silence, .. } = self.get_mut();
        let read = authority.poll_read(stream, cx, buffer);
        if authority.has_asked() {
            *silence = None;
        }
        match silence.as_mut().map(|silence| silence.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => read,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_until_one_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        let listener = Arc::new(UnixListener::bind(&path).expect("a socket"));
        let mut incoming = Box::pin(incoming(listener, Usage::default()));
        let (mut clients, mut served) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS.max {
            clients.push(UnixStream::connect(&path).await.expect("connected"));
            served.push(incoming.next().await.expect("a stream without end").expect("accepted"));
        }
        clients.push(UnixStream::connect(&path).await.expect("queued"));
        let wait = Duration::from_millis(50);
        assert!(tokio::time::timeout(wait, incoming.next()).await.is_err());
        served.pop();
        assert!(tokio::time::timeout(wait, incoming.next()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_asked_ends_and_one_that_has_asked_may_be_silent() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rodent.sock");
        let listener = Arc::new(UnixListener::bind(&path).expect("a socket"));
        let mut incoming = Box::pin(incoming(listener, Usage::default()));
        // The settings of a client, then the head of a HEADERS frame without fields.
        let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
        let asked = [settings, b"\0\0\0\x01\x05\0\0\0\x01"].concat();
        for (says, may_be_silent) in [(b"".as_slice(), false), (settings, false), (asked.as_slice(), true)] {
            let mut client = UnixStream::connect(&path).await.expect("connected");
            client.write_all(says).await.expect("written");
            let mut served = incoming.next().await.expect("a stream without end").expect("accepted");
            let mut bytes = vec![0; says.len()];
            served.read_exact(&mut bytes).await.expect("what it says");
            let more = tokio::time::timeout(SILENCE_MAX * 3, served.read_u8()).await;
            assert_eq!(more.is_err(), may_be_silent, "{more:?}");
        }
    }
}
