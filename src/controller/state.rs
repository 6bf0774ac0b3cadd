//! What the parts of a running controller share, and how it is: counted by `service` and `ingest`, shown over HTTP
//! and by the gRPC health service.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    denied::Denied,
    heard::Heard,
    limits::{Limits, NodeLimits, Reached},
    metrics::{Metrics, Now, Refusal},
    pressure::Pressure,
    receive::Room,
    strangers::Strangers,
    tls::ServerTls,
};
use crate::{
    metrics::{Exposed, Format},
    schema::rpc,
};

/// Bytes of requests that are held at once.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One a server.
pub(super) struct State {
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Arc<NodeLimits>,
    pub(super) heard: Heard,
    pub(super) pressure: Pressure,
    pub(super) room: Arc<Room>,
    /// Cancelled when the server is told to stop.
    pub(super) stopping: CancellationToken,
    /// One permit for each connection on which a token may still be shown.
    pub(super) places: Arc<Semaphore>,
    pub(super) connections_max: usize,
    pub(super) strangers: Arc<Strangers>,
    pub(super) tls: Option<ServerTls>,
    pub(super) denied: Denied,
    /// What the store said of itself when it was asked last.
    store: Mutex<Option<&'static str>>,
}

impl State {
    pub(super) fn new(limits: Limits, connections_max: usize, tls: Option<ServerTls>, denied: Denied) -> Arc<State> {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        Arc::new(State {
            metrics: Arc::default(),
            limits: NodeLimits::new(limits),
            heard: Heard::default(),
            pressure: Pressure::default(),
            room: Room::new(HELD_BYTES_MAX),
            stopping: CancellationToken::new(),
            places: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            strangers: Strangers::new(connections_max),
            tls,
            denied,
            store: Mutex::default(),
        })
    }

    /// Counts that a limit was reached, and says so to the caller.
    pub(super) fn limited(&self, Reached { limit, after }: Reached) -> Status {
        self.metrics.refused(Refusal::Limit(limit));
        later(Code::ResourceExhausted, limit.message(), after)
    }

    /// Notes what the store says of itself.
    pub(super) fn note_store(&self, trouble: Option<&'static str>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Why batches had better go elsewhere now.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        if self.stopping.is_cancelled() {
            return Some("stopping");
        }
        let fails = self.pressure.store_fails(Instant::now()).then_some("the store fails");
        fails.or(*self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A refusal that says when to try again.
pub(super) fn later(code: Code, message: &str, after: Duration) -> Status {
    Status::with_details(code, message, rpc::retry_after_details(code as i32, message, after).into())
}

impl Exposed for State {
    fn trouble(&self) -> Option<String> {
        State::trouble(self).map(str::to_owned)
    }

    fn page(&self, format: Format) -> String {
        let now = Now {
            connections: self.connections_max - self.places.available_permits() + self.strangers.count(),
            limited_nodes: self.limits.nodes(),
            nodes: self.heard.nodes(Instant::now()),
            waiting: self.pressure.waiting(),
            waiting_age: self.pressure.age(Instant::now()),
            held_bytes: self.room.held(),
            ready: State::trouble(self).is_none(),
            certificate_ends_at: self.tls.as_ref().and_then(ServerTls::ends_at),
        };
        self.metrics.page(&now, format)
    }
}
