//! A connection, plain or encrypted, and who is at its other end. It ends by itself when nothing has come for a while
//! (a living HTTP/2 peer answers pings), or when nobody has shown a valid token on it in time: what a stranger can hold
//! is a socket, for half a minute, or until there are too many strangers.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{limits::Seat, strangers::Stranger};

/// How long a connection may last without something.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Without a byte from the peer. Longer than the keepalive's interval and answer together.
    pub(super) silence: Duration,
    /// From its beginning without a call with a valid token.
    pub(super) introduction: Duration,
}

/// Who is at the other end; found among the extensions of each request.
#[derive(Clone)]
pub(super) struct Peer(Arc<PeerFacts>);

struct PeerFacts {
    address: SocketAddr,
    /// DNS names of the client certificate; none without one.
    names: Option<Vec<String>>,
    introduced: AtomicBool,
    /// Its place among strangers, until a token is shown.
    stranger: Mutex<Option<Stranger>>,
    /// Its place among nodes, from then on.
    seat: OnceLock<(Seat, OwnedSemaphorePermit)>,
}

impl Peer {
    /// `names`: those of the client certificate, where one was asked for.
    pub(super) fn new(address: SocketAddr, names: Option<Vec<String>>, stranger: Stranger) -> Peer {
        let (introduced, stranger) = (AtomicBool::new(false), Mutex::new(Some(stranger)));
        Peer(Arc::new(PeerFacts { address, names, introduced, stranger, seat: OnceLock::new() }))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether the certificate of this connection, if one was asked for, is the node's.
    pub(super) fn may_be(&self, node: &str) -> bool {
        self.0.names.as_ref().is_none_or(|names| names.iter().any(|name| name == node))
    }

    /// Notes that a valid token was shown; `sit` counts the connection, the first time. Behind a proxy that puts calls of
    /// several nodes on one connection, it counts for the first of them.
    pub(super) fn introduce<E>(&self, sit: impl FnOnce() -> Result<(Seat, OwnedSemaphorePermit), E>) -> Result<(), E> {
        if !self.0.introduced.load(Ordering::Relaxed) {
            // Two first calls at once: the second seat is given back.
            let _ = self.0.seat.set(sit()?);
            self.0.introduced.store(true, Ordering::Relaxed);
            self.stranger().take();
        }
        Ok(())
    }

    fn stranger(&self) -> MutexGuard<'_, Option<Stranger>> {
        self.0.stranger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes from and to a peer.
pub(super) struct Connection {
    stream: Stream,
    peer: Peer,
    patience: Patience,
    begun_at: Instant,
    heard_at: Instant,
    deadline: Pin<Box<Sleep>>,
    /// Done when the place of this stranger is somebody else's.
    sent_away: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// What carries the bytes: in clear, or encrypted.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Connection {
    /// A connection of a stranger; it holds its place until it ends or a token is shown.
    pub(super) fn new(stream: Stream, peer: Peer, patience: Patience) -> Connection {
        let now = Instant::now();
        let deadline = Box::pin(sleep_until(now + patience.introduction.min(patience.silence)));
        let sent_away = peer.stranger().as_ref().map(|stranger| Box::pin(stranger.sent_away().cancelled_owned()));
        Connection { stream, peer, patience, begun_at: now, heard_at: now, deadline, sent_away }
    }

    /// When the connection ends if nothing changes.
    fn ends_at(&self) -> Instant {
        let silent = self.heard_at + self.patience.silence;
        match self.peer.0.introduced.load(Ordering::Relaxed) {
            true => silent,
            false => silent.min(self.begun_at + self.patience.introduction),
        }
    }

    /// Ready when the connection has lasted too long in silence or with a stranger, or there are too many of these. The timer is set anew only when it
    /// has run out, not with each read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.peer.0.introduced.load(Ordering::Relaxed) {
            self.sent_away = None;
        } else if let Some(sent_away) = &mut self.sent_away
            && sent_away.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        loop {
            ready!(self.deadline.as_mut().poll(cx));
            let ends_at = self.ends_at();
            if ends_at <= Instant::now() {
                return Poll::Ready(());
            }
            self.deadline.as_mut().reset(ends_at);
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.heard_at = Instant::now();
        }
        // Also while bytes keep coming: a stranger may send pings for ever.
        match self.poll_end(cx) {
            Poll::Ready(()) => {
                tracing::debug!(peer = %self.peer.address(), "connection given up: silent, or without a valid token");
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => read,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::Semaphore,
    };

    use super::*;
    use crate::controller::{
        limits::{Limits, NodeLimits},
        strangers::Strangers,
    };

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(600);

    async fn pair(silence: Duration, introduction: Duration) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (stream, address) = listener.accept().await.expect("accepted");
        let patience = Patience { silence, introduction };
        (client, Connection::new(Stream::Left(stream), peer(address, None), patience))
    }

    fn peer(address: SocketAddr, names: Option<Vec<String>>) -> Peer {
        Peer::new(address, names, Strangers::new(1).enter(address).0)
    }

    fn introduce(connection: &Connection) {
        let limits = NodeLimits::new(Limits::default());
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        let sit = || limits.sit("a", std::time::Instant::now()).map(|seat| (seat, place));
        connection.peer.introduce(sit).expect("a seat");
    }

    /// Reads what comes until the connection is given up.
    async fn given_up(mut connection: Connection) {
        let mut bytes = [0; 64];
        let error = loop {
            if let Err(error) = connection.read(&mut bytes).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_is_silent_is_given_up_introduced_or_not() {
        let (_client, connection) = pair(SHORT, LONG).await;
        introduce(&connection);
        given_up(connection).await;
        let (_client, connection) = pair(LONG, SHORT).await;
        given_up(connection).await;
    }

    #[tokio::test]
    async fn a_stranger_is_given_up_however_much_it_says() {
        let (mut client, connection) = pair(LONG, SHORT).await;
        let says = async {
            // Err: it was given up, and notices.
            while client.write_all(&[7]).await.is_ok() {
                tokio::time::sleep(SHORT / 20).await;
            }
        };
        tokio::join!(given_up(connection), says);
    }

    #[tokio::test]
    async fn a_stranger_whose_place_is_needed_is_given_up_and_a_node_is_not() {
        for is_node in [false, true] {
            let (mut client, mut connection) = pair(LONG, LONG).await;
            let sent_away = connection.peer.stranger().as_ref().map(Stranger::sent_away).expect("a stranger");
            if is_node {
                introduce(&connection);
            }
            sent_away.cancel();
            if is_node {
                client.write_all(&[7]).await.expect("sent");
                assert_eq!(connection.read_u8().await.expect("still there"), 7);
            } else {
                given_up(connection).await;
            }
        }
    }

    #[tokio::test]
    async fn a_node_that_was_introduced_in_time_stays() {
        let (mut client, mut connection) = pair(LONG, SHORT).await;
        introduce(&connection);
        tokio::time::sleep(SHORT * 2).await;
        client.write_all(&[7]).await.expect("sent");
        assert_eq!(connection.read_u8().await.expect("still there"), 7);
    }

    #[test]
    fn a_certificate_is_good_for_the_names_in_it_alone() {
        let address: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        assert!(peer(address, None).may_be("nas-1"), "no certificate was asked for");
        let certified = |names| peer(address, Some(names));
        let peer = certified(vec!["nas-1".into(), "*.example.com".into()]);
        let nodes = ["nas-1", "nas-2", "NAS-1", "a.example.com", ""].map(|node| peer.may_be(node));
        assert_eq!(nodes, [true, false, false, false, false]);
        assert!(!certified(Vec::new()).may_be(""));
    }
}
