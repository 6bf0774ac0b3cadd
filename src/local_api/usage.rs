//! Who uses the socket, counted.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{metrics::Counter, schema::local::SocketStatus};

/// The counters of one socket. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU32,
    accepted: Counter,
    calls: Counter,
    refused: Counter,
}

/// A connection that counts until it is dropped.
pub(super) struct Counted(Usage);

impl Usage {
    /// A program connects.
    pub(super) fn connected(&self) -> Counted {
        self.0.accepted.add(1);
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// A program calls, and may or not.
    pub(super) fn called(&self, is_admitted: bool) {
        self.0.calls.add(1);
        self.0.refused.add(u64::from(!is_admitted));
    }

    /// For `rodent status`.
    pub fn status(&self) -> SocketStatus {
        SocketStatus {
            connections: self.0.connections.load(Ordering::Relaxed),
            accepted_connections: self.0.accepted.value(),
            calls: self.0.calls.value(),
            refused_calls: self.0.refused.value(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_until_it_ends_and_a_call_for_ever() {
        let usage = Usage::default();
        let (first, _second) = (usage.connected(), usage.connected());
        drop(first);
        usage.called(true);
        usage.called(false);
        let expected = SocketStatus { connections: 1, accepted_connections: 2, calls: 2, refused_calls: 1 };
        assert_eq!(usage.status(), expected);
    }
}
