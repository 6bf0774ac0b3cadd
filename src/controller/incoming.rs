//! Connections as they come: accepted, counted, encrypted where that is asked for. Taken by `server`.
//!
//! What holds: there are never more than the bound, handshakes included; one beyond it is closed at once, for a peer
//! that waits in a queue learns nothing. A handshake has its time, and none holds up another.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::stream;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    connection::{Connection, Patience, Peer, Stream},
    metrics::Metrics,
    state::State,
    tls::Tls,
};

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Longer than the keepalive of `server` takes to notice, and short enough that strangers cost little.
const PATIENCE: Patience = Patience { silence: Duration::from_secs(60), introduction: Duration::from_secs(30) };

/// The wait after a connection could not be accepted, for want of descriptors mostly: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where connections come from.
pub(super) struct Incoming {
    listener: TcpListener,
    state: Arc<State>,
    handshakes: JoinSet<Option<Connection>>,
    refusing: bool,
}

impl Incoming {
    /// As many at once as `state` has places.
    pub(super) fn new(listener: TcpListener, state: Arc<State>) -> Incoming {
        Incoming { listener, state, handshakes: JoinSet::new(), refusing: false }
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
            let Ok(place) = Arc::clone(&self.state.places).try_acquire_owned() else {
                self.state.metrics.connections_refused.add(1);
                continue;
            };
            self.state.metrics.connections_accepted.add(1);
            // An answer is one small write: it shall not wait for more. Err: the peer has gone already.
            let _ = stream.set_nodelay(true);
            match &self.state.tls {
                None => return Connection::new(Stream::Left(stream), Peer::new(address, None), PATIENCE, place),
                Some(tls) => {
                    let handshake = encrypt(tls.clone(), stream, address, place, Arc::clone(&self.state.metrics));
                    self.handshakes.spawn(handshake);
                }
            }
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
    tls: Tls,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
) -> Option<Connection> {
    let failed = match timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok((stream, names))) => {
            let stream = Stream::Right(Box::new(stream));
            return Some(Connection::new(stream, Peer::new(address, names), PATIENCE, place));
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    metrics.handshakes_failed.add(1);
    // Whoever can reach the port can cause these: they are counted, not logged.
    tracing::debug!(peer = %address, error = %failed, "TLS handshake failed");
    None
}
