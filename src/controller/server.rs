//! The listening end: binds, serves until it is told to stop, answers what it took, closes the store. Used by
//! `rodent-controller serve` and, on a port of the system's choice, by `rodent try`.
//!
//! Plaintext: TLS is deliberately absent yet, so listen on the loopback or behind something that adds it.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::transport;

use super::{ingest::Ingest, service::RodentService, store::Store, token::Keys};

/// Calls that one connection may have open; more wait at the caller.
const STREAMS_MAX: u32 = 64;

/// How long one call may take, slow senders included; then it is cancelled and the agent tries again.
const CALL_MAX: Duration = Duration::from_secs(60);

/// How long calls under way may take to end when the server stops; then they are left without an answer.
const GRACE_MAX: Duration = Duration::from_secs(10);

/// A connection that is silent for this long is asked whether it is alive, and given up when it does not answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(20);

/// The wait after a connection could not be accepted, for want of descriptors mostly: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a controller is made of.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whose tokens are valid.
    pub keys: Keys,
    /// Where events go.
    pub store: Arc<dyn Store>,
}

impl Settings {
    /// What a controller needs at the least; everything else has its default.
    pub fn new(listen: SocketAddr, keys: Keys, store: Arc<dyn Store>) -> Settings {
        Settings { listen, keys, store }
    }
}

/// Why a controller does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, not this machine's, or not allowed.
    #[error("listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("serve agents")]
    Serve(#[source] transport::Error),
}

/// A controller whose address is bound, not serving yet. Dropped, it lets go of the address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

impl Server {
    /// Binds the address, so that agents may connect from now on.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(settings: Settings) -> Result<Server, ServeError> {
        let failed = |source| ServeError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Server { listener, address, settings })
    }

    /// The address that was bound, its port in clear.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is done; then takes no more calls, answers those under way (for at most ten seconds)
    /// and closes the store.
    ///
    /// # Errors
    /// When the server ends before it is told to.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Settings { keys, store, .. } = self.settings;
        let stopping = CancellationToken::new();
        let service = RodentService::new(Ingest::new(keys, Arc::clone(&store)), stopping.clone());
        let told = async {
            shutdown.await;
            stopping.cancel();
        };
        let serving = builder().add_service(service).serve_with_incoming_shutdown(connections(self.listener), told);
        let overdue = async {
            stopping.cancelled().await;
            sleep(GRACE_MAX).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(ServeError::Serve),
            () = overdue => {
                tracing::warn!(grace = ?GRACE_MAX, "calls were still open at the end of the grace; their agents will repeat them");
                Ok(())
            }
        };
        store.close().await;
        served
    }
}

/// Binds and serves, for callers that need no address back.
///
/// # Errors
/// As [`Server::bind`] and [`Server::run`].
pub async fn serve(settings: Settings, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
    Server::bind(settings).await?.run(shutdown).await
}

fn builder() -> transport::Server {
    transport::Server::builder()
        .timeout(CALL_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER_MAX))
}

/// Accepted connections, for as long as the process lives.
fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    stream::unfold(listener, |listener| async {
        let mut refused = false;
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // An answer is one small write: it shall not wait for more. Err: the peer has gone already.
                    let _ = connection.set_nodelay(true);
                    return Some((Ok(connection), listener));
                }
                Err(error) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!(%error, "connections are not accepted until this ends");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}
