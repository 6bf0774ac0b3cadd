//! What systemd is told: ready, how it is going, stopping. Nothing happens where no one listens.

use sd_notify::NotifyState;

/// The log is open and events are taken.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] tells that it is done.
pub(super) fn reloading() {
    // Without the time, newer ones do not take it for an answer to their own signal.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the time cannot be told; the service manager is not told of a reload"),
    }
}

/// Everything gets on: the watchdog waits anew.
pub(super) fn watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// One line for `systemctl status`.
pub(super) fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// The agent has begun to stop.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
