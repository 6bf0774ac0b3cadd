//! What the controller counts. Every room of the controller adds to it; `state` shows it.
//!
//! What holds: labels come from closed sets, so that the page does not grow with nodes or with what they send.

mod families;
mod page;

use std::time::Duration;

use tonic::Code;

pub use families::families;

use super::heard::Nodes;
use crate::metrics::{Counter, Histogram};

/// The methods that calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Register,
    SendEvents,
    Connect,
    /// One that there is not.
    Unknown,
}

impl Method {
    const ALL: [Method; 4] = [Method::Register, Method::SendEvents, Method::Connect, Method::Unknown];

    /// By the path of a request.
    pub(super) fn of(path: &str) -> Method {
        match path {
            "/rodent.RodentService/Register" => Method::Register,
            "/rodent.RodentService/SendEvents" => Method::SendEvents,
            "/rodent.RodentService/Connect" => Method::Connect,
            _ => Method::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Register => "Register",
            Method::SendEvents => "SendEvents",
            Method::Connect => "Connect",
            Method::Unknown => "unknown",
        }
    }
}

/// Why a call was refused that may be made again later; the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A limit of the node, by its place in [`REFUSALS`].
    Limit(super::limits::Limit),
    /// The store does not keep up.
    Store,
    /// There is no room for more requests.
    Room,
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Refusal::Limit(limit) => limit.name(),
            Refusal::Store => "store",
            Refusal::Room => "room",
        }
    }
}

/// The names of all refusals.
const REFUSALS: [&str; 12] = [
    "requests",
    "events",
    "bytes",
    "calls",
    "connections",
    "nodes",
    "places",
    "epochs",
    "stored",
    "reserve",
    "store",
    "room",
];

/// gRPC has so many codes.
const CODES: usize = 17;

/// Everything that is counted.
#[derive(Default)]
pub(super) struct Metrics {
    calls: [[Counter; CODES]; Method::ALL.len()],
    call_time: [Histogram; Method::ALL.len()],
    refused: [Counter; REFUSALS.len()],
    /// Bytes of requests of SendEvents as they came.
    pub(super) received_bytes: Counter,
    /// Bytes of their events, decompressed.
    pub(super) event_bytes: Counter,
    /// Events that were new.
    pub(super) events_stored: Counter,
    /// Events that were there already.
    pub(super) events_repeated: Counter,
    /// Batches that would have put two events in one place.
    pub(super) forks: Counter,
    /// What the store took for a batch.
    pub(super) store_time: Histogram,
    /// Batches that the store could not take.
    pub(super) store_failures: Counter,
    pub(super) connections_accepted: Counter,
    pub(super) connections_refused: Counter,
    pub(super) handshakes_failed: Counter,
    /// Files that were read again, and those that could not be used.
    pub(super) files_renewed: Counter,
    pub(super) files_failed: Counter,
}

/// What is not counted but is so now.
pub(super) struct Now {
    pub(super) connections: usize,
    pub(super) limited_nodes: usize,
    pub(super) nodes: Nodes,
    pub(super) waiting: usize,
    pub(super) waiting_age: Duration,
    pub(super) held_bytes: usize,
    pub(super) ready: bool,
    pub(super) certificate_ends_at: Option<i64>,
}

impl Metrics {
    /// Notes an answer.
    pub(super) fn answered(&self, method: Method, code: Code, took: Duration) {
        let place = Method::ALL.iter().position(|one| *one == method).unwrap_or(0);
        if let Some(counter) = self.calls.get(place).and_then(|codes| codes.get(code as usize)) {
            counter.add(1);
        }
        if let Some(time) = self.call_time.get(place) {
            time.observe(took);
        }
    }

    /// Notes that a caller was told to come later.
    pub(super) fn refused(&self, refusal: Refusal) {
        let place = REFUSALS.iter().position(|name| *name == refusal.name());
        if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
            counter.add(1);
        }
    }
}

#[cfg(test)]
mod tests;
