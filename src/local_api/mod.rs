//! The agent's end of the Unix socket: takes events from programs on the machine, answers questions about what is
//! stored and how the agent is doing (`proto/local.proto`).
//!
//! Takes from [`crate::client`] and whatever else speaks gRPC on this machine; gives to the pipeline, reads the event
//! log. What callers take is bounded for each user, and some is kept for root. Every call is checked against the credentials that the kernel reports for the peer, and these become the
//! origin of the events. Readers hold no cursor, so that they cannot hold the log back; a consumer
//! has one, and is released when its program stays away. Nothing here can run anything or
//! bring settings of its own; only who owns the agent can throw dead letters away, or have its files read again. Beside its
//! own service it has those of gRPC for health and reflection, for those who may call.

mod authority;
mod connections;
mod consume;
mod consumers;
mod dead_letters;
mod emission;
mod gate;
mod health;
mod held;
mod page;
mod query;
mod reflection;
mod scopes;
mod service;
mod shares;
mod signpost;
mod socket;
mod tail;
mod usage;
mod wanted;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, server::NamedService, transport::Server};

pub use scopes::Scopes;
pub use socket::BindError;
pub use usage::Usage;

use self::held::Counted;
use crate::{
    consumers::programs::Programs,
    dead_letters::DeadLetters,
    event_log::EventLog,
    health::{BEAT, Health},
    pipeline::{Emitter, Origin},
    schema::local::{
        AcknowledgeRequest, AcknowledgeResponse, ReloadRequest, ReloadResponse, SOCKET, SilenceRequest,
        SilenceResponse, StateRequest, StateResponse, StatusResponse, TestSinkResponse,
        local_service_server::LocalServiceServer,
    },
};

/// Calls at once on one connection; further ones wait at the client.
const STREAMS_PER_CONNECTION_MAX: u32 = 16;

/// Bytes that a caller may send before they are asked for, on one call and on one connection: what is held of those is counted
/// by nobody else.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// A request that is larger is refused before it is decoded. Above [`emission::REQUEST_BYTES_MAX`], so that a slightly
/// larger one gets our own sentence.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The longest that a call without a stream may take; it ends with CANCELLED after that.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// After the stop is asked for, calls that are still running get this long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// Where the socket is and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// Path of the socket. Its directory is made if it is missing.
    pub socket: PathBuf,
    /// Members of this group may use the socket, besides root and the agent's own user. If no such group exists, only
    /// those two may.
    pub group: String,
    /// Mode of the socket when the group exists.
    pub mode: u32,
    /// Where callers look who do not know better: if nobody listens there, a link leads from there to the socket.
    pub known: Option<PathBuf>,
}

impl Default for SocketSettings {
    fn default() -> SocketSettings {
        SocketSettings { socket: PathBuf::from(SOCKET), group: "rodent".to_owned(), mode: 0o660, known: None }
    }
}

/// Says how the agent is doing. May block for the time of a few file system calls.
pub type StatusSource = Arc<dyn Fn() -> StatusResponse + Send + Sync>;

/// Has the agent read its configuration again. What it has begun it ends, also when nobody waits for the answer.
pub type ReloadDesk = Arc<dyn Fn(ReloadRequest) -> BoxFuture<'static, Result<ReloadResponse, Status>> + Send + Sync>;

/// Waits until the states are those of all events that can be read now, but not for long.
pub type Settling = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Says how each thing is. Takes as long as a copy of the answer.
pub type StatesSource = Arc<dyn Fn(StateRequest) -> StateResponse + Send + Sync>;

/// Marks problems as known, in the name of who asks. What it has begun it ends, also when nobody waits for the answer.
pub type AcknowledgeDesk =
    Arc<dyn Fn(AcknowledgeRequest, Origin) -> BoxFuture<'static, Result<AcknowledgeResponse, Status>> + Send + Sync>;

/// Has nobody be told of something for a while, in the name of who asks; or ends that. What it has begun it ends, also when nobody
/// waits for the answer.
pub type SilenceDesk =
    Arc<dyn Fn(SilenceRequest, Origin) -> BoxFuture<'static, Result<SilenceResponse, Status>> + Send + Sync>;

/// Has a sink of this name send a test.
pub type SinksDesk = Arc<dyn Fn(String) -> BoxFuture<'static, Result<TestSinkResponse, Status>> + Send + Sync>;

/// What is to be done with a sink that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkAct {
    /// Nothing is sent, also after a restart.
    Pause,
    /// It goes on, and tries at once.
    Resume,
    /// It begins again at these sequences, urgent first, where they are further back.
    Replay {
        /// Where.
        to: [u64; 2],
        /// Nothing is done but counted.
        dry_run: bool,
    },
}

/// What somebody asks of a sink.
#[derive(Clone, Debug)]
pub struct SinkOrder {
    /// As the configuration calls it.
    pub sink: String,
    /// What.
    pub act: SinkAct,
    /// Who, as the kernel says.
    pub actor: String,
}

/// Has a sink obey; gives how many events come once more, of a replay. What it has begun it ends, also when nobody waits for the
/// answer.
pub type SinkOrders = Arc<dyn Fn(SinkOrder) -> BoxFuture<'static, Result<u64, Status>> + Send + Sync>;

/// Says why no events are taken now, if so. Does not block.
pub type TroubleSource = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What the socket gives access to.
#[derive(Clone)]
pub struct Rooms {
    /// Takes what callers emit.
    pub emitter: Emitter,
    /// Is read by queries and tails.
    pub log: EventLog,
    /// Answers `status`.
    pub status: StatusSource,
    /// What the controller refused.
    pub dead_letters: DeadLetters,
    /// Consumers that are programs'.
    pub programs: Programs,
    /// What users may read.
    pub scopes: watch::Receiver<Scopes>,
    /// Answers `reload`.
    pub reload: ReloadDesk,
    /// Is waited for before the states are told.
    pub settling: Settling,
    /// Answers `state`.
    pub states: StatesSource,
    /// Marks problems as known.
    pub acknowledge: AcknowledgeDesk,
    /// Begins and ends silences.
    pub silence: SilenceDesk,
    /// Has sinks tested.
    pub sinks: SinksDesk,
    /// Has sinks paused, resumed and replayed.
    pub sink_orders: SinkOrders,
    /// Why no events are taken, for those who ask for the health.
    pub trouble: TroubleSource,
}

/// The socket stopped working.
#[derive(Debug, thiserror::Error)]
#[error("serve the local socket")]
pub struct ServeError(#[from] tonic::transport::Error);

/// A bound socket. Callers queue in the kernel until [`LocalApi::serve`] takes them.
#[derive(Debug)]
pub struct LocalApi {
    socket: socket::Socket,
    usage: Usage,
}

impl LocalApi {
    /// Binds the socket.
    ///
    /// # Errors
    /// When another agent answers on it, when something that is no socket stands there, or when the file system refuses.
    pub async fn bind(settings: &SocketSettings) -> Result<LocalApi, BindError> {
        Ok(LocalApi { socket: socket::Socket::bind(settings).await?, usage: Usage::default() })
    }

    /// Where it is bound.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Who uses it.
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// Answers calls until `shutdown`, then lets running calls end, ends tails, and removes the socket.
    ///
    /// # Errors
    /// When the transport gives up.
    pub async fn serve(self, rooms: Rooms, shutdown: CancellationToken) -> Result<(), ServeError> {
        let (gate, trouble) = (self.socket.gate(self.usage.clone()), Arc::clone(&rooms.trouble));
        let health = Health::new(<LocalServiceServer<service::Service> as NamedService>::NAME);
        let service = service::Service::new(rooms, gate.clone(), shutdown.child_token());
        let service = LocalServiceServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let shares = held::shares();
        let reflection = reflection::Described::new(gate.clone());
        let health_service = health::Guarded::new(gate, health.clone(), Arc::clone(&trouble));
        let serving = Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .timeout(CALL_TIME_MAX)
            .add_service(Counted::new(service, Arc::clone(&shares)))
            .add_service(Counted::new(reflection, Arc::clone(&shares)))
            .add_service(Counted::new(health_service, shares))
            .serve_with_incoming_shutdown(connections::incoming(self.socket.listener(), self.usage), async {
                shutdown.cancelled().await;
                health.stop().await;
            });
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_TIME_MAX).await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = overdue => Ok(()),
            never = health.follow(|| trouble().is_some(), BEAT) => match never {},
        }
    }
}
