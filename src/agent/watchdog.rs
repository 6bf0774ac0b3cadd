//! Looks whether the event log's writer gets on: says when the disk keeps it waiting, and ends when it is stuck for good,
//! which ends the process, for only a new one can help. A slow disk alone never ends it.

use std::time::Duration;

use crate::{event_log::Progress, telemetry::message};

/// Between two looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Looks each `interval` until the writer is stuck; gives for how long it has been.
pub(super) async fn stuck(progress: impl Fn() -> Progress, interval: Duration) -> Duration {
    let mut hangs = false;
    loop {
        tokio::time::sleep(interval).await;
        match progress() {
            Progress::Stuck(since) => return since,
            Progress::Hung(since) if !hangs => {
                hangs = true;
                tracing::error!(
                    message_id = %message::WRITER_STUCK,
                    seconds = since.as_secs(),
                    "the disk of the event log does not answer; waiting for it"
                );
            }
            Progress::Fine if hangs => {
                hangs = false;
                tracing::info!(message_id = %message::WRITER_MOVES, "the disk of the event log answers again");
            }
            Progress::Hung(_) | Progress::Fine => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn only_a_writer_that_is_stuck_ends_the_wait() {
        let hung = Progress::Hung(Duration::from_secs(31));
        let (seen, at_last) =
            (RefCell::new(vec![Progress::Fine, hung, hung, Progress::Fine]), Duration::from_secs(120));
        let progress = || seen.borrow_mut().pop().unwrap_or(Progress::Stuck(at_last));
        assert_eq!(stuck(progress, Duration::from_millis(1)).await, at_last);
        assert!(seen.borrow().is_empty(), "a disk that hangs is waited for");
    }
}
