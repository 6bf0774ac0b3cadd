//! What one node may ask of the controller: calls, events and bytes a second, calls and connections at once. Asked by
//! `service` before a request's body is read, so that refusing costs next to nothing.
//!
//! What holds: a node pays only for itself, and is told nothing of others. Bytes are charged as they come and as they are
//! decompressed, whatever becomes of them, and events when they were read; a node in debt waits until it is paid: a
//! large batch is never refused for its size alone. A node that has asked for nothing lately costs no memory; at most [`NODES_MAX`] are kept in mind,
//! and while so many are busy, further ones are told to come later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::{limits::Bucket, lock::lock};

/// Nodes that are kept in mind, about 200 bytes each.
const NODES_MAX: usize = 100_000;

/// How long a rate may have been saved up for: an agent that was away comes back with a burst.
const BURST: Duration = Duration::from_secs(4);

/// The wait that is asked for where nothing tells how long it takes: a call of the node has to end first.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// The wait when there is no room for another node.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// How often room for nodes is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What one node may ask for; the defaults are for programs that run both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Calls a second; no limit when `None`.
    pub requests: Option<u32>,
    /// Events a second; no limit when `None`.
    pub events: Option<u32>,
    /// Bytes of requests a second, as they come or decompressed, whichever is more; no limit when `None`.
    pub bytes: Option<u64>,
    /// Calls at once, the control stream included.
    pub calls_max: u32,
    /// Connections at once.
    pub connections_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        // An agent has at most eight batches of each lane under way.
        Limits { requests: None, events: None, bytes: None, calls_max: 32, connections_max: 16 }
    }
}

/// Which limit a node has reached; the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Requests,
    Events,
    Bytes,
    Calls,
    Connections,
    Nodes,
    Places,
    Epochs,
    Stored,
    Reserve,
}

impl Limit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::Requests => "requests",
            Limit::Events => "events",
            Limit::Bytes => "bytes",
            Limit::Calls => "calls",
            Limit::Connections => "connections",
            Limit::Nodes => "nodes",
            Limit::Places => "places",
            Limit::Epochs => "epochs",
            Limit::Stored => "stored",
            Limit::Reserve => "reserve",
        }
    }

    /// For the caller.
    pub(super) fn message(self) -> &'static str {
        match self {
            Limit::Requests => "this node calls more often than it may",
            Limit::Events => "this node sends more events than it may",
            Limit::Bytes => "this node sends more bytes than it may",
            Limit::Calls => "this node has as many calls open as it may",
            Limit::Connections => "this node has as many connections open as it may",
            Limit::Nodes => "more nodes are busy than this controller can keep in mind",
            Limit::Places => "as many nodes are connected as this controller has places for",
            Limit::Epochs => "this node has begun as many numberings as are kept of a node",
            Limit::Stored => "the controller keeps no more events of this node",
            Limit::Reserve => "the controller has little room left for events, and this node has had its share",
        }
    }
}

impl Reached {
    /// All places for connections of nodes are taken.
    pub(super) fn places() -> Reached {
        Reached { limit: Limit::Places, after: ROOM_WAIT }
    }
}

/// A limit was reached: try again after so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reached {
    pub(super) limit: Limit,
    pub(super) after: Duration,
}

/// The limits, and what the nodes have used of them.
pub(super) struct NodeLimits {
    limits: Limits,
    nodes_max: usize,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    used: HashMap<Arc<str>, Used>,
    swept_at: Option<Instant>,
}

/// What a node has used; without a bucket there is no limit.
struct Used {
    requests: Option<Bucket>,
    events: Option<Bucket>,
    bytes: Option<Bucket>,
    calls: u32,
    connections: u32,
}

impl NodeLimits {
    pub(super) fn new(limits: Limits) -> Arc<NodeLimits> {
        NodeLimits::bounded(limits, NODES_MAX)
    }

    fn bounded(limits: Limits, nodes_max: usize) -> Arc<NodeLimits> {
        Arc::new(NodeLimits { limits, nodes_max, nodes: Mutex::default() })
    }

    /// Counts a call of a node until what is returned is dropped.
    pub(super) fn enter(self: &Arc<NodeLimits>, node: &str, now: Instant) -> Result<Call, Reached> {
        let name = self.with(node, now, |limits, used| {
            if used.calls >= limits.calls_max {
                return Err(Reached { limit: Limit::Calls, after: BUSY_WAIT });
            }
            let taken = used.requests.as_mut().map_or(Ok(()), |bucket| bucket.take(now));
            taken.map_err(|after| Reached { limit: Limit::Requests, after })?;
            used.calls += 1;
            Ok(())
        })?;
        Ok(Call { limits: Arc::clone(self), node: name })
    }

    /// Counts a connection of a node until what is returned is dropped.
    pub(super) fn sit(self: &Arc<NodeLimits>, node: &str, now: Instant) -> Result<Seat, Reached> {
        let name = self.with(node, now, |limits, used| {
            if used.connections >= limits.connections_max {
                return Err(Reached { limit: Limit::Connections, after: BUSY_WAIT });
            }
            used.connections += 1;
            Ok(())
        })?;
        Ok(Seat { limits: Arc::clone(self), node: name })
    }

    /// How many nodes are kept in mind.
    pub(super) fn nodes(&self) -> usize {
        self.lock().used.len()
    }

    fn with(
        &self,
        node: &str,
        now: Instant,
        ask: impl FnOnce(&Limits, &mut Used) -> Result<(), Reached>,
    ) -> Result<Arc<str>, Reached> {
        let mut nodes = self.lock();
        if !nodes.used.contains_key(node) {
            nodes.make_room(self.nodes_max, now)?;
            nodes.used.insert(node.into(), Used::new(&self.limits, now));
        }
        let name = nodes.used.get_key_value(node).map(|(name, _)| Arc::clone(name));
        match (name, nodes.used.get_mut(node)) {
            (Some(name), Some(used)) => ask(&self.limits, used).map(|()| name),
            _ => Err(Reached { limit: Limit::Nodes, after: ROOM_WAIT }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        // A panic while it was held would leave at most one count wrong.
        lock(&self.nodes)
    }
}

impl Nodes {
    /// Forgets nodes of which there is nothing to know, when there is no room.
    fn make_room(&mut self, nodes_max: usize, now: Instant) -> Result<(), Reached> {
        if self.used.len() < nodes_max {
            return Ok(());
        }
        // Looking through all of them for each newcomer would cost more than serving it.
        if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_INTERVAL) {
            self.swept_at = Some(now);
            self.used.retain(|_, used| !used.is_as_new(now));
        }
        if self.used.len() < nodes_max { Ok(()) } else { Err(Reached { limit: Limit::Nodes, after: ROOM_WAIT }) }
    }
}

impl Used {
    fn new(limits: &Limits, now: Instant) -> Used {
        Used {
            requests: limits.requests.map(|rate| bucket(rate.into(), now)),
            events: limits.events.map(|rate| bucket(rate.into(), now)),
            bytes: limits.bytes.map(|rate| bucket(rate as f64, now)),
            calls: 0,
            connections: 0,
        }
    }

    fn is_as_new(&mut self, now: Instant) -> bool {
        let buckets = [&mut self.requests, &mut self.events, &mut self.bytes];
        self.calls == 0 && self.connections == 0 && buckets.into_iter().flatten().all(|bucket| bucket.is_full(now))
    }
}

/// A call of a node.
pub(super) struct Call {
    limits: Arc<NodeLimits>,
    node: Arc<str>,
}

impl Call {
    /// Whether the node may send events now.
    pub(super) fn may_send(&self, now: Instant) -> Result<(), Reached> {
        self.used(|used| {
            let solvent = |bucket: &mut Option<Bucket>| bucket.as_mut().map_or(Ok(()), |bucket| bucket.solvent(now));
            solvent(&mut used.events).map_err(|after| Reached { limit: Limit::Events, after })?;
            solvent(&mut used.bytes).map_err(|after| Reached { limit: Limit::Bytes, after })
        })
        .unwrap_or(Ok(()))
    }

    /// Whether the node may say another thing on a stream: that counts as a call does.
    pub(super) fn may_say(&self, now: Instant) -> Result<(), Reached> {
        let take = |used: &mut Used| used.requests.as_mut().map_or(Ok(()), |bucket| bucket.take(now));
        self.used(take).unwrap_or(Ok(())).map_err(|after| Reached { limit: Limit::Requests, after })
    }

    /// Notes what the node has sent.
    pub(super) fn charge(&self, events: usize, bytes: usize, now: Instant) {
        self.used(|used| {
            for (bucket, amount) in [(&mut used.events, events), (&mut used.bytes, bytes)] {
                bucket.iter_mut().for_each(|bucket| bucket.charge(amount as f64, now));
            }
        });
    }

    fn used<T>(&self, look: impl FnOnce(&mut Used) -> T) -> Option<T> {
        self.limits.lock().used.get_mut(&self.node).map(look)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.used(|used| used.calls = used.calls.saturating_sub(1));
    }
}

/// A connection of a node.
pub(super) struct Seat {
    limits: Arc<NodeLimits>,
    node: Arc<str>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(used) = self.limits.lock().used.get_mut(&self.node) {
            used.connections = used.connections.saturating_sub(1);
        }
    }
}

/// At a rate a second, saved up for [`BURST`]: at least one, or a slow rate would never let anything through.
fn bucket(rate: f64, now: Instant) -> Bucket {
    Bucket::new(rate, (rate * BURST.as_secs_f64()).max(1.0), now)
}

#[cfg(test)]
mod tests;
