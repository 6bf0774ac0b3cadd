//! How long things take, in buckets that are the same for all, so that what happens in several places can be compared.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, milliseconds: from what needs no disk to what runs out of time.
const BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

/// Counts in buckets. From any thread, without a lock.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

/// What a histogram held at one moment.
pub(super) struct Reading {
    /// Upper bounds in seconds, each with how many were no longer.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) seconds: f64,
}

impl Histogram {
    /// Notes that something took so long.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(bucket) = bucket.and_then(|bucket| self.buckets.get(bucket)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How often something was noted.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> Reading {
        let count = self.count.load(Ordering::Relaxed);
        let mut sum = 0;
        let buckets = BOUNDS_MS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            sum += bucket.load(Ordering::Relaxed);
            // Read after the count: one more may have come in between, and must not exceed it.
            (*bound as f64 / 1000.0, sum.min(count))
        });
        Reading { buckets: buckets.collect(), count, seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}
