//! Whether the log takes events now: what readiness means for an agent.

use std::time::Duration;

use super::{EventLog, Lane};

/// A full buffer is emptied in a moment, unless the disk hangs: producers that have waited for so long may go on waiting.
const FULL_FOR: Duration = Duration::from_secs(10);

impl EventLog {
    /// Why an event that came now would be refused, or wait for nobody knows how long; `None` when it would be taken. A disk
    /// that cannot be written is no reason: what comes is kept in memory, and the oldest makes room. Does not block.
    pub fn refuses(&self) -> Option<String> {
        let buffer = &self.shared.buffer;
        if let Some(reason) = buffer.ended() {
            return Some(format!("the event log takes no events: {reason}"));
        }
        let oldest = Lane::ALL.map(|lane| buffer.waiting(lane).oldest).into_iter().max().unwrap_or_default();
        (buffer.is_full() && oldest >= FULL_FOR).then(|| {
            format!("the memory for events is full, and the disk has not taken any for {} s", oldest.as_secs())
        })
    }
}
