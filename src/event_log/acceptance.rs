//! Whether the log takes events now: what readiness means for an agent.

use std::time::Duration;

use crate::event_log::{lane::Lane, log::EventLog};

/// A full buffer is emptied in a moment, unless the disk hangs: producers that have waited for so long may go on waiting.
const FULL_FOR: Duration = Duration::from_secs(10);

impl EventLog {
    /// Why an event that came now would be refused, or wait for nobody knows how long; `None` when it would be taken. A disk
    /// that cannot be written is no reason: what comes is kept in memory, and the oldest makes room. Does not block.
    pub fn refuses(&self) -> Option<String> {
        let buffer = &self.shared.buffer;
        let oldest = Lane::ALL.map(|lane| buffer.waiting(lane).oldest).into_iter().max().unwrap_or_default();
        judge(buffer.ended(), buffer.is_full(), oldest)
    }
}

fn judge(ended: Option<String>, is_full: bool, oldest: Duration) -> Option<String> {
    if let Some(reason) = ended {
        return Some(format!("the event log takes no events: {reason}"));
    }
    (is_full && oldest >= FULL_FOR)
        .then(|| format!("the memory for events is full, and the disk has not taken any for {} s", oldest.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{draft::Draft, settings::Settings};

    #[test]
    fn a_full_memory_is_a_reason_only_when_the_disk_has_not_emptied_it_for_a_while() {
        assert_eq!(judge(None, true, FULL_FOR / 2), None);
        assert_eq!(judge(None, false, FULL_FOR * 9), None);
        let full = judge(None, true, FULL_FOR).expect("a reason");
        assert!(full.ends_with("has not taken any for 10 s"), "{full}");
        assert!(judge(Some("it is closed".to_owned()), false, Duration::ZERO).is_some());
    }

    #[tokio::test]
    async fn a_log_takes_events_until_it_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let draft = Draft { event: b"x", level: 1, category: 1, timestamp: 1, kind: None };
        log.append(Lane::Routine, &[draft]).await.expect("appended");
        assert_eq!(log.refuses(), None);
        log.close();
        let refusal = log.refuses().expect("closed");
        assert!(refusal.contains("the log is closed"), "{refusal}");
        log.append(Lane::Routine, &[draft]).await.expect_err("closed");
    }
}
