//! When each node last called, for whoever watches a fleet: how many are known, and how many have fallen silent.
//!
//! Kept in memory since the controller started, so a node that has been silent since before is not known, and behind a
//! balancer each controller knows those that came to it; `rodent-controller nodes` asks the store and knows all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::lock::lock;

/// Nodes that are kept in mind; further ones are not counted until others are forgotten. About 100 bytes each.
const NODES_MAX: usize = 100_000;

/// A node says something at least every 15 minutes, unless its heartbeat is set otherwise: three of them.
const SILENT_AFTER: Duration = Duration::from_secs(45 * 60);

/// Whoever has been silent for longer was taken away, not lost.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The nodes that have called.
#[derive(Default)]
pub(super) struct Heard {
    last: Mutex<HashMap<Arc<str>, Instant>>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    pub(super) heard: usize,
    /// Those of them that should have called again by now.
    pub(super) silent: usize,
}

impl Heard {
    /// A node calls.
    pub(super) fn note(&self, node: &str, now: Instant) {
        let mut last = self.lock();
        if let Some(at) = last.get_mut(node) {
            *at = now;
        } else if last.len() < NODES_MAX {
            last.insert(node.into(), now);
        }
    }

    /// Counts them, and forgets whom nobody will hear from again.
    pub(super) fn nodes(&self, now: Instant) -> Nodes {
        let mut last = self.lock();
        last.retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN_AFTER);
        let is_silent = |at: &&Instant| now.saturating_duration_since(**at) >= SILENT_AFTER;
        Nodes { heard: last.len(), silent: last.values().filter(is_silent).count() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Instant>> {
        lock(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_silent_after_three_heartbeats_and_forgotten_after_a_week() {
        let (heard, begin) = (Heard::default(), Instant::now());
        heard.note("nas-1", begin);
        heard.note("nas-2", begin);
        heard.note("nas-2", begin + Duration::from_secs(60));
        assert_eq!(heard.nodes(begin + Duration::from_secs(60)), Nodes { heard: 2, silent: 0 });
        assert_eq!(heard.nodes(begin + SILENT_AFTER), Nodes { heard: 2, silent: 1 });
        assert_eq!(heard.nodes(begin + FORGOTTEN_AFTER), Nodes { heard: 1, silent: 1 });
        heard.note("nas-2", begin + FORGOTTEN_AFTER);
        assert_eq!(heard.nodes(begin + FORGOTTEN_AFTER), Nodes { heard: 1, silent: 0 });
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let (heard, now) = (Heard::default(), Instant::now());
        for node in 0..=NODES_MAX {
            heard.note(&node.to_string(), now);
        }
        assert_eq!(heard.nodes(now).heard, NODES_MAX);
    }
}
