//! What nodes have in the stream, as far as this controller knows, and how full the stream is. Asked before a batch is
//! sent; a batch is charged then, whatever comes of it, but for one that the servers did not take.
//!
//! A stream tells how many messages a node has and not how many bytes. Where there is a bound on these, the headers of a
//! node's messages are read once, beside its first batches, and again when it has reached its bound, at most every
//! [`COUNT_INTERVAL`]: somebody may have removed some, and other controllers may have stored some. While they are read,
//! the node is judged by what it has sent to this controller.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::sleep};

use super::connection::Connection;
use crate::{
    controller::store::{
        Arrival, EPOCHS_MAX, Quota, StoreError,
        space::{Charge, Room, Space},
    },
    lock::lock,
};

/// At least between two counts of what a node has in the stream.
const COUNT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Nodes that are counted at once: each is a reader of the stream.
const COUNTS_AT_ONCE: usize = 1;

/// What an event takes in the stream beside its own bytes: subject, headers, and the record that the servers make of it.
const MESSAGE_BYTES: u64 = 300;

/// How often the servers are asked how full the stream is.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Nodes of which it is known what they have, about 200 bytes each; for a further one another is forgotten.
const NODES_MAX: usize = 100_000;

pub(super) struct Kept {
    space: Space,
    seen: Arc<Mutex<Seen>>,
    nodes: Mutex<HashMap<String, Tally>>,
    hashes: RandomState,
    turns: Semaphore,
}

/// What a batch was charged: bytes of its node, and where little is free of its node's share.
#[derive(Debug, Default)]
pub(super) struct Charged {
    bytes: u64,
    of_share: Option<Charge>,
}

/// How full the stream was, and what was sent since.
#[derive(Default)]
struct Seen {
    room: Option<Room>,
    sent: u64,
}

/// Of one node.
#[derive(Default)]
struct Tally {
    /// Bytes that the stream had at the last count.
    counted: u64,
    /// Bytes that were charged since.
    charged: u64,
    /// When the last count was asked for.
    asked_at: Option<Instant>,
    /// By lane, the hashes of the epochs that were seen.
    epochs: HashMap<String, HashSet<u64>>,
}

impl Kept {
    pub(super) fn new(quota: Quota) -> Kept {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let looked = Arc::clone(&seen);
        Kept {
            space: Space::seen(quota, Box::new(move || lock(&looked).now())),
            seen,
            nodes: Mutex::default(),
            hashes: RandomState::new(),
            turns: Semaphore::new(COUNTS_AT_ONCE),
        }
    }

    /// Whether there is nothing left but the reserve.
    pub(super) fn is_scarce(&self) -> bool {
        self.space.scarce().is_some()
    }

    /// Charges a batch of events, or says why it is not to be sent; and whether it is time to count what its node has.
    pub(super) fn charge(&self, arrival: &Arrival, now: Instant) -> (Result<Charged, StoreError>, bool) {
        let scarce = self.space.scarce();
        let is_bounded = self.space.quota().node_bytes.is_some();
        let bytes = arrival.records.iter().map(|record| record.bytes.len() as u64).sum();
        let mut nodes = lock(&self.nodes);
        if nodes.len() >= NODES_MAX && !nodes.contains_key(&arrival.node) {
            let another = nodes.keys().next().cloned();
            another.and_then(|another| nodes.remove(&another));
        }
        let tally = nodes.entry(arrival.node.clone()).or_default();
        let admitted = self.space.admit(&arrival.node, tally.bytes(), scarce);
        let is_due = tally.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= COUNT_INTERVAL);
        let count = is_bounded && is_due && (tally.asked_at.is_none() || admitted.is_err());
        if count {
            tally.asked_at = Some(now);
        }
        let charged = admitted.and_then(|()| tally.begin(arrival, &self.hashes)).map(|()| {
            tally.charged = tally.charged.saturating_add(bytes);
            let sent = bytes.saturating_add(MESSAGE_BYTES.saturating_mul(arrival.records.len() as u64));
            let mut seen = lock(&self.seen);
            seen.sent = seen.sent.saturating_add(sent);
            drop(seen);
            Charged { bytes, of_share: scarce.map(|_| self.space.charge(&arrival.node, bytes)) }
        });
        (charged, count)
    }

    /// Takes back what a batch was charged that the servers did not take.
    pub(super) fn take_back(&self, node: &str, charged: &Charged) {
        charged.of_share.iter().for_each(|charge| self.space.take_back(charge));
        if let Some(tally) = lock(&self.nodes).get_mut(node) {
            tally.charged = tally.charged.saturating_sub(charged.bytes);
        }
    }

    /// Counts what a node has in the stream.
    pub(super) async fn count(&self, connection: &Connection, node: &str) {
        let Ok(_turn) = self.turns.acquire().await else { return };
        let before = lock(&self.nodes).get(node).map_or(0, |tally| tally.charged);
        match connection.bytes_of(node).await {
            Ok(bytes) => {
                if let Some(tally) = lock(&self.nodes).get_mut(node) {
                    tally.counted = bytes;
                    tally.charged = tally.charged.saturating_sub(before);
                }
            }
            Err(error) => tracing::warn!(node, %error, "what the node has in the stream was not counted"),
        }
    }

    /// Looks how full the stream is, again and again.
    pub(super) async fn follow(&self, connection: &Connection) {
        loop {
            self.look(connection).await;
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks how full the stream is; while the servers do not say, what they said last holds.
    pub(super) async fn look(&self, connection: &Connection) {
        if let Ok(found) = connection.room().await {
            *lock(&self.seen) = Seen { room: found, sent: 0 };
            self.space.scarce();
        }
    }
}

impl Seen {
    fn now(&self) -> Option<Room> {
        self.room.map(|room| Room { free: room.free.saturating_sub(self.sent), ..room })
    }
}

impl Tally {
    fn bytes(&self) -> u64 {
        self.counted.saturating_add(self.charged)
    }

    /// Notes the numbering of a batch, unless it is one too many.
    fn begin(&mut self, arrival: &Arrival, hashes: &RandomState) -> Result<(), StoreError> {
        let Some(numbering) = &arrival.numbering else { return Ok(()) };
        let epochs = self.epochs.entry(numbering.lane().to_owned()).or_default();
        let epoch = hashes.hash_one(numbering.epoch());
        if epochs.len() >= EPOCHS_MAX && !epochs.contains(&epoch) {
            return Err(StoreError::TooManyEpochs);
        }
        epochs.insert(epoch);
        Ok(())
    }
}
