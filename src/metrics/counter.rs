//! A number that only grows: from any thread, at the price of one relaxed addition.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number. Begins with 0 when the program starts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds so many.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
