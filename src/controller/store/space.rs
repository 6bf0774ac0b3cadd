//! How much of its room a node may fill: so many bytes altogether, and of the reserve a share. What writes asks before each
//! batch of events, and so does who wants to know whether the store is ready.
//!
//! What holds: while more is free than the reserve, nobody is refused for the want of room. Within the reserve each node
//! gets its share and no more, so that one that floods the store does not keep the others out. A batch is never refused
//! for its size alone: a node that is below its bound may go over it once.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::StoreError;
use crate::lock::lock;

/// The reserve where nobody says, and its part of a small store.
const RESERVE_BYTES: u64 = 512 * 1024 * 1024;
const RESERVE_PART: u64 = 10;

/// A node gets this part of the reserve.
const SHARE_PART: u64 = 64;

/// Nodes whose shares are kept in mind, about 100 bytes each; further ones get none while the reserve is used.
const SHARES_MAX: usize = 100_000;

/// What nodes may fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of events that are kept of one node; no limit when `None`.
    pub node_bytes: Option<u64>,
    /// Bytes that are kept free, but for each node's share; half a GiB or a tenth of the whole, whichever is less, when
    /// `None`.
    pub reserve: Option<u64>,
}

/// How full the store's place is, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) free: u64,
    pub(super) total: u64,
}

type Look = Box<dyn Fn() -> Option<Room> + Send + Sync>;

/// The place that a store is in.
pub(super) struct Space {
    quota: Quota,
    look: Look,
    shares: Mutex<Shares>,
    /// Whether there was little room at the last look: the log gets the change.
    told: AtomicBool,
}

/// What was stored while there was nothing free but the reserve.
#[derive(Default)]
struct Shares {
    /// Bytes, by node.
    used: HashMap<String, u64>,
    /// How often somebody has made room, so that all have their whole share again.
    ended: u64,
}

/// What a node was charged of its share, to be taken back if it comes to nothing.
#[derive(Debug)]
pub(super) struct Charge {
    node: String,
    bytes: u64,
    ended: u64,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Space({:?})", self.quota)
    }
}

impl Space {
    /// `look` says how full it is; `None` where nobody knows. May block as long as it does.
    pub(super) fn seen(quota: Quota, look: Look) -> Space {
        Space { quota, look, shares: Mutex::default(), told: AtomicBool::new(false) }
    }

    /// What nodes may fill.
    #[cfg(feature = "nats")]
    pub(super) fn quota(&self) -> Quota {
        self.quota
    }

    /// Looks how full it is: bytes of the reserve, where nothing else is free. Blocks as long as a look does.
    pub(super) fn scarce(&self) -> Option<u64> {
        let room = (self.look)()?;
        let usual = RESERVE_BYTES.min(room.total / RESERVE_PART);
        let reserve = self.quota.reserve.unwrap_or(usual);
        let scarce = room.free < reserve;
        match (self.told.swap(scarce, Ordering::Relaxed), scarce) {
            (false, true) => {
                tracing::error!(reserve, "little room is left for events: each node gets a share of the reserve")
            }
            (true, false) => tracing::info!("there is room for events again"),
            _ => {}
        }
        if scarce {
            return Some(reserve);
        }
        let mut shares = lock(&self.shares);
        if !shares.used.is_empty() {
            shares.used.clear();
            shares.ended += 1;
        }
        None
    }

    /// Whether a node, of which so many bytes are stored, may store more. `scarce` is what a look has told.
    pub(super) fn admit(&self, node: &str, stored: u64, scarce: Option<u64>) -> Result<(), StoreError> {
        if self.quota.node_bytes.is_some_and(|most| stored >= most) {
            return Err(StoreError::NodeFull);
        }
        let Some(reserve) = scarce else { return Ok(()) };
        let shares = lock(&self.shares);
        let is_within = match shares.used.get(node) {
            Some(used) => *used < reserve / SHARE_PART,
            None => shares.used.len() < SHARES_MAX,
        };
        if is_within { Ok(()) } else { Err(StoreError::Scarce) }
    }

    /// Charges a node what it stores while there is nothing free but the reserve.
    pub(super) fn charge(&self, node: &str, bytes: u64) -> Charge {
        let mut shares = lock(&self.shares);
        let used = shares.used.entry(node.to_owned()).or_default();
        *used = used.saturating_add(bytes);
        Charge { node: node.to_owned(), bytes, ended: shares.ended }
    }

    #[cfg(test)]
    pub(super) fn used(&self, node: &str) -> u64 {
        lock(&self.shares).used.get(node).copied().unwrap_or_default()
    }

    /// Takes back what was charged and is not stored.
    pub(super) fn take_back(&self, charge: &Charge) {
        let mut shares = lock(&self.shares);
        if shares.ended == charge.ended
            && let Some(used) = shares.used.get_mut(&charge.node)
        {
            *used = used.saturating_sub(charge.bytes);
        }
    }
}

/// The file system that a directory is on; `None` when the system does not say. Blocks.
#[cfg(feature = "sqlite")]
pub(super) fn disk(directory: &std::path::Path) -> Option<Room> {
    let found = nix::sys::statvfs::statvfs(directory).ok()?;
    let block = found.fragment_size();
    Some(Room { free: found.blocks_available() * block, total: found.blocks() * block })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// With so many MiB free of 1 GiB.
    fn space(quota: Quota) -> (Space, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(1000));
        let seen = Arc::clone(&free);
        let look = move || Some(Room { free: seen.load(Ordering::Relaxed) * MIB, total: 1024 * MIB });
        (Space::seen(quota, Box::new(look)), free)
    }

    #[test]
    fn a_node_that_fills_the_disk_gets_its_share_of_the_reserve_and_leaves_the_rest_to_others() {
        let (space, free) = space(Quota { node_bytes: None, reserve: Some(64 * MIB) });
        let store = |node: &str, bytes| {
            let scarce = space.scarce();
            space.admit(node, 0, scarce).map(|()| scarce.map(|_| space.charge(node, bytes))).ok()
        };
        let stores = |node: &str, bytes| store(node, bytes).is_some();
        assert!((0..100).all(|_| stores("flood", 10 * MIB)), "there is enough");
        free.store(63, Ordering::Relaxed);
        assert_eq!([stores("flood", MIB), stores("flood", MIB)], [true, false]);
        assert_eq!([stores("calm", MIB / 2), stores("calm", MIB / 2), stores("calm", 1)], [true, true, false]);
        free.store(64, Ordering::Relaxed);
        assert!(stores("flood", MIB) && space.scarce().is_none(), "somebody has made room");
    }

    #[test]
    fn what_was_charged_and_is_not_stored_is_taken_back_once_and_only_while_it_counts() {
        let (space, free) = space(Quota { node_bytes: None, reserve: Some(64 * MIB) });
        free.store(63, Ordering::Relaxed);
        assert!(space.scarce().is_some());
        let charge = space.charge("n", MIB);
        space.take_back(&space.charge("n", MIB / 2));
        assert_eq!(space.used("n"), MIB);
        free.store(64, Ordering::Relaxed);
        assert!(space.scarce().is_none());
        free.store(63, Ordering::Relaxed);
        assert!(space.scarce().is_some());
        space.charge("n", 3);
        space.take_back(&charge);
        assert_eq!(space.used("n"), 3, "since then somebody has made room");
    }

    #[test]
    fn a_node_may_keep_so_many_bytes_and_goes_over_them_once() {
        let (space, _) = space(Quota { node_bytes: Some(10), reserve: None });
        let refused = |stored| matches!(space.admit("n", stored, None), Err(StoreError::NodeFull));
        assert_eq!([0, 9, 10, 11].map(refused), [false, false, true, true]);
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn the_usual_reserve_is_half_a_gib_or_a_tenth_of_a_small_disk() {
        let (space, free) = space(Quota::default());
        free.store(103, Ordering::Relaxed);
        assert_eq!(space.scarce(), None);
        free.store(102, Ordering::Relaxed);
        assert_eq!(space.scarce(), Some(1024 * MIB / 10));
        assert!(disk(std::path::Path::new("/")).is_some_and(|room| room.free <= room.total && room.total > 0));
    }
}
