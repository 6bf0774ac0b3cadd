//! Connections as they come: accepted, counted, encrypted where that is asked for. Taken by `server`.
//!
//! What holds: of strangers there are never more than the bound, handshakes included, and when another comes the oldest
//! goes, for a peer that waits in a queue learns nothing. Nodes have places of their own, which `service` gives when a
//! token is shown. A handshake has its time, and none holds up another.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::stream;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    connection::{Connection, Patience, Peer, Stream},
    metrics::Metrics,
    state::State,
    strangers::Stranger,
    tls::ServerTls,
};

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Longer than the keepalive of `server` takes to notice, and short enough that strangers cost little.
const PATIENCE: Patience = Patience { silence: Duration::from_secs(60), introduction: Duration::from_secs(30) };

/// The wait after a connection could not be accepted, for want of descriptors mostly: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often it is said that there are too many strangers.
const CROWD_INTERVAL: Duration = Duration::from_secs(60);

/// Where connections come from.
pub(super) struct Incoming {
    listener: TcpListener,
    state: Arc<State>,
    handshakes: JoinSet<Option<Connection>>,
    refusing: bool,
    crowd_told_at: Option<Instant>,
}

impl Incoming {
    pub(super) fn new(listener: TcpListener, state: Arc<State>) -> Incoming {
        Incoming { listener, state, handshakes: JoinSet::new(), refusing: false, crowd_told_at: None }
    }

    /// For as long as it is asked.
    pub(super) fn connections(self) -> impl futures_util::Stream<Item = io::Result<Connection>> {
        stream::unfold(self, |mut incoming| async { Some((Ok(incoming.next().await), incoming)) })
    }

    async fn next(&mut self) -> Connection {
        loop {
            let (stream, address) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        self.pause(&error).await;
                        continue;
                    }
                },
                Some(finished) = self.handshakes.join_next() => match finished {
                    Ok(Some(connection)) => return connection,
                    // It has failed and was counted; or it panicked, which rustls does not.
                    Ok(None) | Err(_) => continue,
                },
            };
            self.refusing = false;
            let (stranger, one_went) = self.state.strangers.enter(address);
            if one_went {
                self.state.metrics.connections_refused.add(1);
                self.tell_crowd();
            }
            self.state.metrics.connections_accepted.add(1);
            // An answer is one small write: it shall not wait for more. Err: the peer has gone already.
            let _ = stream.set_nodelay(true);
            match &self.state.tls {
                None => {
                    let peer = Peer::new(address, None, stranger);
                    return Connection::new(Stream::Left(stream), peer, PATIENCE);
                }
                Some(tls) => {
                    let handshake = encrypt(tls.clone(), stream, address, stranger, Arc::clone(&self.state.metrics));
                    self.handshakes.spawn(handshake);
                }
            }
        }
    }

    /// Said once in a while: whoever can reach the port can cause it.
    fn tell_crowd(&mut self) {
        let now = Instant::now();
        if self.crowd_told_at.is_none_or(|at| now.saturating_duration_since(at) >= CROWD_INTERVAL) {
            self.crowd_told_at = Some(now);
            tracing::warn!("too many connections on which no token was shown; the oldest of them are closed");
        }
    }

    async fn pause(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.refusing, true) {
            tracing::warn!(%error, "connections are not accepted until this ends");
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

async fn encrypt(
    tls: ServerTls,
    stream: TcpStream,
    address: SocketAddr,
    stranger: Stranger,
    metrics: Arc<Metrics>,
) -> Option<Connection> {
    let sent_away = stranger.sent_away();
    let handshake = async {
        tokio::select! {
            accepted = tls.accept(stream) => accepted,
            () = sent_away.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    };
    let failed = match timeout(HANDSHAKE_MAX, handshake).await {
        Ok(Ok((stream, names))) => {
            let stream = Stream::Right(Box::new(stream));
            return Some(Connection::new(stream, Peer::new(address, names, stranger), PATIENCE));
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    metrics.handshakes_failed.add(1);
    // Whoever can reach the port can cause these: they are counted, not logged.
    tracing::debug!(peer = %address, error = %failed, "TLS handshake failed");
    None
}
