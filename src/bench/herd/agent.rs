//! One agent of the herd: its backlog, and the pacing that real ones have.

use std::time::Duration;

use super::{Policy, dice::Dice};
use crate::{
    consumers::Pacing,
    sinks::uplink::{WINDOW_MAX, Window},
};

/// How long fewer events than a batch wait, as in the default profile.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Agent {
    /// Events that wait, not counting those on their way.
    pub(super) waiting: u64,
    /// Events a second that come anew.
    pub(super) rate: f64,
    /// When it last sent something.
    pub(super) sent_at: Duration,
    /// When it looks again by itself.
    pub(super) next_look: Duration,
    /// Up to when new events have been counted.
    pub(super) counted_to: Duration,
    pub(super) connected: bool,
    pub(super) link: u64,
    pub(super) in_flight: usize,
    /// How many pauses there have been, and until when this one lasts.
    pub(super) pauses: u64,
    pub(super) pause_until: Duration,
    pub(super) window: Window,
    pacing: Pacing,
    /// When nothing waited any more for the first time.
    pub(super) drained_at: Option<Duration>,
    /// What there was to drain when the controller came back.
    pub(super) backlog: u64,
}

impl Agent {
    /// One in a hundred has a hundred times as much to say.
    pub(super) fn new(number: usize) -> Agent {
        let rate = if number.is_multiple_of(100) { 50.0 } else { 0.5 };
        Agent {
            waiting: 0,
            rate,
            sent_at: Duration::ZERO,
            next_look: Duration::ZERO,
            counted_to: Duration::ZERO,
            connected: false,
            link: 0,
            in_flight: 0,
            pauses: 0,
            pause_until: Duration::ZERO,
            window: Window::default(),
            pacing: Pacing::default(),
            drained_at: None,
            backlog: 0,
        }
    }

    /// Counts the events that have come since the last time.
    pub(super) fn accumulate(&mut self, now: Duration) {
        let fresh = ((now - self.counted_to).as_secs_f64() * self.rate).floor();
        self.waiting += fresh as u64;
        self.counted_to += Duration::from_secs_f64(fresh / self.rate);
    }

    /// Whether a batch is to be sent: a full one, or one that has waited.
    pub(super) fn is_due(&self, now: Duration, batch_size: u64) -> bool {
        self.waiting >= batch_size || self.waiting > 0 && now >= self.sent_at + BATCH_TIMEOUT
    }

    /// How long until one is.
    pub(super) fn until_due(&self, batch_size: u64) -> Duration {
        let full = Duration::from_secs_f64(batch_size.saturating_sub(self.waiting) as f64 / self.rate);
        full.min(BATCH_TIMEOUT).max(Duration::from_millis(1))
    }

    pub(super) fn room(&self, policy: Policy) -> usize {
        let limit = if policy == Policy::Open { WINDOW_MAX } else { self.window.limit() };
        limit.saturating_sub(self.in_flight)
    }

    /// Stays away for a while; gives until when.
    pub(super) fn pause(&mut self, now: Duration, asked: Duration, policy: Policy, dice: &mut Dice) -> Duration {
        let asked = if matches!(policy, Policy::Deaf | Policy::InStep) { Duration::ZERO } else { asked };
        let random = if policy == Policy::InStep { 1.0 } else { dice.next() };
        self.pauses += 1;
        self.pause_until = self.pause_until.max(now + self.pacing.wait(asked, random));
        self.pause_until
    }

    pub(super) fn succeeded(&mut self) {
        self.pacing.reset();
    }

    /// Its connection is gone; the next one begins with one batch.
    pub(super) fn disconnect(&mut self) {
        (self.connected, self.in_flight, self.window) = (false, 0, Window::default());
        self.link += 1;
    }
}
