//! The listening end: binds, serves until it is told to stop, answers what it took, closes the store. Used by
//! `rodent-controller serve` and, on a port of the system's choice, by `rodent try`.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::sleep};
use tonic::{server::NamedService, transport};
use tonic_health::pb::health_server::HealthServer;

use super::{
    denied::Denied, fresh::Refreshed, incoming::Incoming, ingest::Ingest, limits::Limits, service::RodentService,
    state::State, store::Store, tls::ServerTls, token::Keys,
};
use crate::{health::Health, metrics::Listener};

/// Calls that one connection may have open; more wait at the caller.
const STREAMS_MAX: u32 = 64;

/// How long one call may take, slow senders included; then it is cancelled and the agent tries again.
const CALL_MAX: Duration = Duration::from_secs(60);

/// How long calls under way may take to end when the server stops; then they are left without an answer.
const GRACE_MAX: Duration = Duration::from_secs(10);

/// A connection that is silent for this long is asked whether it is alive, and given up when it does not answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a sender may have under way without an answer: as much as the largest request, so that distance does not slow
/// it down, and four of them a connection.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Bytes of the headers of one call: a token of eight thousand and some more.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of a question for the health, the name of a service: strangers ask, and what they send is not counted.
const HEALTH_BYTES_MAX: usize = 1024;

/// Connections at once, for callers that do not say.
const CONNECTIONS_MAX: usize = 1024;

/// How often files of keys and certificates are looked at, and the store is asked how it is.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is looked how the server is, for its health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// What a controller is made of.
#[derive(Clone)]
pub struct ServerSettings {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whose tokens are valid.
    pub keys: Keys,
    /// Where events go.
    pub store: Arc<dyn Store>,
    /// Certificates; without them the connection is plaintext.
    pub tls: Option<ServerTls>,
    /// Nodes that are shut out although their tokens are valid.
    pub denied: Denied,
    /// What one node may ask for.
    pub limits: Limits,
    /// Connections at once, of all nodes; those on which no token was shown yet have places of their own.
    pub connections_max: usize,
    /// Where to answer `/livez`, `/readyz` and `/metrics`; nowhere when `None`.
    pub http: Option<SocketAddr>,
}

impl ServerSettings {
    /// What a controller needs at the least; everything else has its default.
    pub fn new(listen: SocketAddr, keys: Keys, store: Arc<dyn Store>) -> ServerSettings {
        let (limits, connections_max) = (Limits::default(), CONNECTIONS_MAX);
        let denied = Denied::default();
        ServerSettings { listen, keys, store, tls: None, denied, limits, connections_max, http: None }
    }
}

/// Why a controller does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ControllerServeError {
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
    http: Option<Listener>,
    settings: ServerSettings,
}

impl Server {
    /// Binds the addresses, so that agents may connect from now on.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn bind(settings: ServerSettings) -> Result<Server, ControllerServeError> {
        let (listener, address) = listen(settings.listen).await?;
        let http = match settings.http {
            Some(address) => {
                Some(Listener::bind(address).await.map_err(|source| ControllerServeError::Listen { address, source })?)
            }
            None => None,
        };
        Ok(Server { listener, address, http, settings })
    }

    /// The address that was bound, its port in clear.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/livez`, `/readyz` and `/metrics` are answered.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(Listener::address)
    }

    /// Serves until `shutdown` is done; then takes no more calls, answers those under way (for at most ten seconds)
    /// and closes the store.
    ///
    /// # Errors
    /// When the server ends before it is told to.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ControllerServeError> {
        let ServerSettings { keys, store, tls, denied, limits, connections_max, .. } = self.settings;
        let state = State::new(limits, connections_max, tls.clone(), denied);
        let health = Health::new(RodentService::NAME);
        let told = async {
            shutdown.await;
            state.stopping.cancel();
            health.stop().await;
        };
        let ingest = Ingest::new(keys.clone(), Arc::clone(&store), Arc::clone(&state));
        let incoming = Incoming::new(self.listener, Arc::clone(&state)).connections();
        let serving = builder()
            // It asks for no token; a connection that carries nothing else ends after half a minute.
            .add_service(HealthServer::new(health.service()).max_decoding_message_size(HEALTH_BYTES_MAX))
            .add_service(RodentService::new(ingest, Arc::clone(&state)))
            .serve_with_incoming_shutdown(incoming, told);
        let overdue = async {
            state.stopping.cancelled().await;
            sleep(GRACE_MAX).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(ControllerServeError::Serve),
            () = overdue => {
                tracing::warn!(grace = ?GRACE_MAX, "calls were still open at the end of the grace; their agents will repeat them");
                Ok(())
            }
            never = refresh(&keys, &store, &state) => match never {},
            never = show(self.http, Arc::clone(&state)) => match never {},
            never = health.follow(|| state.trouble().is_some(), HEALTH_INTERVAL) => match never {},
        };
        store.close().await;
        served
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ControllerServeError> {
    let failed = |source| ControllerServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Follows the files of keys, certificates and denied nodes, and how the store is.
async fn refresh(keys: &Keys, store: &Arc<dyn Store>, state: &Arc<State>) -> Infallible {
    loop {
        let (keys, store, state) = (keys.clone(), Arc::clone(store), Arc::clone(state));
        let look = move || {
            state.note_store(store.trouble());
            let refreshed =
                [Some(keys.refresh()), state.tls.as_ref().map(ServerTls::refresh), Some(state.denied.refresh())];
            for one in refreshed.into_iter().flatten() {
                match one {
                    Refreshed::Same => {}
                    Refreshed::Renewed => state.metrics.files_renewed.add(1),
                    Refreshed::Failed => state.metrics.files_failed.add(1),
                }
            }
        };
        // Err: it was interrupted by the end of the process.
        let _ = tokio::task::spawn_blocking(look).await;
        sleep(REFRESH_INTERVAL).await;
    }
}

/// Answers over HTTP; without a listener it only waits.
async fn show(http: Option<Listener>, state: Arc<State>) -> Infallible {
    match http {
        Some(listener) => listener.serve(state).await,
        None => std::future::pending().await,
    }
}

/// Binds and serves, for callers that need no address back.
///
/// # Errors
/// As [`Server::bind`] and [`Server::run`].
pub async fn serve(
    settings: ServerSettings,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ControllerServeError> {
    Server::bind(settings).await?.run(shutdown).await
}

fn builder() -> transport::Server {
    transport::Server::builder()
        .timeout(CALL_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER_MAX))
}
