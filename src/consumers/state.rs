//! How a consumer is doing: written by its driver, read by whoever shows it.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::{Effort, Reason, Wording};
use crate::{
    event_log::Lane,
    lock::lock,
    schema::local::{ConsumerLaneStatus, ConsumerStatus, consumer_status::State},
};

/// Shared between a driver and those who ask. Cheap to copy.
#[derive(Clone)]
pub struct ConsumerState {
    inner: Arc<Mutex<Inner>>,
    wording: Arc<Wording>,
    effort: Arc<Effort>,
}

struct Inner {
    status: ConsumerStatus,
    next_attempt: Option<Instant>,
    rate: Rate,
}

/// Events a second: an average in which what lies back counts less, by half every seven seconds.
struct Rate {
    per_second: f64,
    at: Instant,
}

/// Over how many seconds the rate is averaged.
const RATE_SECONDS: f64 = 10.0;

impl Rate {
    fn new() -> Rate {
        Rate { per_second: 0.0, at: Instant::now() }
    }

    fn add(&mut self, events: u64, now: Instant) {
        self.per_second = self.at(now) + events as f64 / RATE_SECONDS;
        self.at = now;
    }

    fn at(&self, now: Instant) -> f64 {
        self.per_second * (-now.saturating_duration_since(self.at).as_secs_f64() / RATE_SECONDS).exp()
    }
}

/// The state that a consumer begins in.
fn begins_in(target: &str) -> State {
    if target.is_empty() { State::Off } else { State::Connecting }
}

impl Inner {
    fn lane(&mut self, lane: Lane) -> Option<&mut ConsumerLaneStatus> {
        self.status.lanes.iter_mut().find(|its| its.lane == lane.name())
    }
}

impl ConsumerState {
    /// Of a consumer of this name and sink that delivers to `target`; empty when there is nobody to deliver to.
    pub fn new(name: &str, sink: &str, target: &str) -> ConsumerState {
        let lane = |lane: Lane| ConsumerLaneStatus { lane: lane.name().to_owned(), ..ConsumerLaneStatus::default() };
        let status = ConsumerStatus {
            name: name.to_owned(),
            r#type: sink.to_owned(),
            target: target.to_owned(),
            state: begins_in(target).into(),
            lanes: Lane::ALL.map(lane).into(),
            failed_attempts_by_reason: Reason::ALL.map(|reason| (reason.name().to_owned(), 0)).into(),
            ..ConsumerStatus::default()
        };
        let inner = Inner { status, next_attempt: None, rate: Rate::new() };
        ConsumerState {
            inner: Arc::new(Mutex::new(inner)),
            wording: Arc::new(Wording::of_sink(name)),
            effort: Arc::default(),
        }
    }

    /// Of one that is told of in other words than a sink.
    #[must_use]
    pub fn with_wording(self, wording: Wording) -> ConsumerState {
        ConsumerState { wording: Arc::new(wording), ..self }
    }

    /// What its deliveries cost.
    pub fn effort(&self) -> &Arc<Effort> {
        &self.effort
    }

    pub(super) fn wording(&self) -> &Wording {
        &self.wording
    }

    /// From now on it delivers to `target`; empty for nobody. What was delivered so far still counts.
    pub fn begin(&self, target: &str) {
        let mut inner = self.lock();
        inner.next_attempt = None;
        let status = &mut inner.status;
        status.set_state(begins_in(target));
        target.clone_into(&mut status.target);
        (status.state_since, status.connected_since) = (0, 0);
        (status.in_flight_batches, status.window) = (0, 0);
        status.last_error.clear();
        status.lanes.iter_mut().for_each(|lane| lane.in_flight_batches = 0);
    }

    /// Nobody delivers, and everything is kept: somebody wants it so, as `who` says, since then (Unix milliseconds).
    pub fn pause(&self, who: &str, since: i64) {
        self.enter(State::Paused, since);
        who.clone_into(&mut self.lock().status.last_error);
    }

    /// The state now.
    pub fn status(&self) -> ConsumerStatus {
        let inner = self.lock();
        let now = Instant::now();
        let wait = inner.next_attempt.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        ConsumerStatus {
            next_attempt_milliseconds: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            events_per_second: inner.rate.at(now),
            ..inner.status.clone()
        }
    }

    /// The other side is open for what comes; nothing else has been said of it before.
    pub(super) fn first_connected(&self, now: i64) {
        if self.lock().status.state() == State::Connecting {
            self.enter(State::Connected, now);
        }
    }

    /// Enters a state; gives whether it is another one than before.
    pub(super) fn enter(&self, state: State, now: i64) -> bool {
        let mut inner = self.lock();
        if state == State::Connected {
            inner.next_attempt = None;
            inner.status.last_error.clear();
        }
        if inner.status.state() == state {
            return false;
        }
        inner.status.set_state(state);
        inner.status.state_since = now;
        inner.status.connected_since = if state == State::Connected { now } else { 0 };
        true
    }

    /// A batch has arrived.
    pub(super) fn delivered(&self, lane: Lane, events: u64, bytes: u64, now: i64) {
        let mut inner = self.lock();
        if bytes > 0 {
            // Otherwise nothing of it was for the other side.
            inner.status.last_success = now;
            inner.status.failures_in_a_row = 0;
        }
        inner.status.delivered_batches += 1;
        inner.status.delivered_events += events;
        inner.status.delivered_bytes += bytes;
        inner.rate.add(events, Instant::now());
        let Some(lane) = inner.lane(lane) else { return };
        lane.last_acknowledgement = now;
        lane.delivered_batches += 1;
        lane.delivered_events += events;
        lane.delivered_bytes += bytes;
    }

    /// A message that belongs to no batch, or is one of many of it, is sent; or `is_taken`.
    pub fn posts(&self, is_taken: bool, now: i64) {
        let mut inner = self.lock();
        inner.status.last_attempt = now;
        if is_taken {
            inner.status.last_success = now;
            inner.status.failures_in_a_row = 0;
        }
    }

    /// What was to be done without an event was done. Gives whether the other side takes again what it did not take before; one
    /// that was sent nothing proves nothing.
    pub(super) fn recovers(&self, now: i64) -> bool {
        let is_back = {
            let status = &self.lock().status;
            status.state() == State::Waiting && status.failures_in_a_row == 0
        };
        is_back && self.enter(State::Connected, now)
    }

    /// Whether nothing was taken since an attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.lock().status.failures_in_a_row > 0
    }

    /// A batch is on its way.
    pub(super) fn sent(&self, lane: Lane, bytes: u64, now: i64) {
        let mut inner = self.lock();
        if bytes > 0 {
            inner.status.last_attempt = now;
        }
        inner.status.sent_batches += 1;
        inner.status.sent_bytes += bytes;
        let Some(lane) = inner.lane(lane) else { return };
        lane.sent_batches += 1;
        lane.sent_bytes += bytes;
    }

    /// An attempt has failed: to deliver a batch of a lane, or before that.
    pub(super) fn attempt_failed(&self, lane: Option<Lane>, reason: Reason) {
        let mut inner = self.lock();
        inner.status.failures_in_a_row += 1;
        if let Some(count) = inner.status.failed_attempts_by_reason.get_mut(reason.name()) {
            *count += 1;
        }
        if let Some(lane) = lane.and_then(|lane| inner.lane(lane)) {
            lane.failed_attempts += 1;
        }
    }

    /// An event of a lane is refused for good, and has become a dead letter.
    pub(super) fn refused(&self, lane: Lane) {
        if let Some(lane) = self.lock().lane(lane) {
            lane.refused_events += 1;
        }
    }

    /// What is on its way, in all and of each lane, and how much of a lane may be.
    pub(super) fn flows(&self, in_flight: usize, of_lane: impl Fn(Lane) -> usize, window: usize) {
        let count = |batches| u32::try_from(batches).unwrap_or(u32::MAX);
        let mut inner = self.lock();
        for lane in Lane::ALL {
            if let Some(its) = inner.lane(lane) {
                its.in_flight_batches = count(of_lane(lane));
            }
        }
        (inner.status.in_flight_batches, inner.status.window) = (count(in_flight), count(window));
    }

    /// Batches arrive, but something is still refused.
    pub(super) fn still_held(&self, reason: &str, now: i64) {
        self.enter(State::Held, now);
        reason.clone_into(&mut self.lock().status.last_error);
    }

    /// Nothing was delivered; the next attempt comes after a while.
    pub(super) fn failed(&self, error: &str, next_attempt: Duration, now: i64) {
        let mut inner = self.lock();
        inner.status.failed_attempts += 1;
        inner.status.last_failure = now;
        error.clone_into(&mut inner.status.last_error);
        inner.next_attempt = Some(Instant::now() + next_attempt);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_of_a_lane_is_its_own_and_every_reason_is_told_from_the_start() {
        let state = ConsumerState::new("phone", "webhook", "c:1");
        let reasons = state.status().failed_attempts_by_reason;
        assert_eq!((reasons.len(), reasons.values().sum::<u64>()), (Reason::ALL.len(), 0));
        state.sent(Lane::Urgent, 70, 400);
        state.sent(Lane::Routine, 500, 500);
        state.attempt_failed(Some(Lane::Routine), Reason::Timeout);
        state.sent(Lane::Routine, 500, 600);
        assert_eq!((state.status().failures_in_a_row, state.status().last_success), (1, 0));
        state.delivered(Lane::Routine, 100, 500, 1_000);
        state.delivered(Lane::Routine, 0, 0, 2_000);
        let status = state.status();
        assert_eq!((status.failures_in_a_row, status.last_success, status.last_attempt), (0, 1_000, 600));
        state.refused(Lane::Urgent);
        state.attempt_failed(None, Reason::Unreachable);
        state.flows(0, |_| 0, 4);
        assert_eq!(state.status().window, 4);
        state.flows(0, |_| 0, 0);
        let status = state.status();
        let expected = |lane: &str| ConsumerLaneStatus { lane: lane.to_owned(), ..ConsumerLaneStatus::default() };
        let urgent = ConsumerLaneStatus { sent_batches: 1, sent_bytes: 70, refused_events: 1, ..expected("urgent") };
        let routine = ConsumerLaneStatus {
            delivered_events: 100,
            delivered_batches: 2,
            delivered_bytes: 500,
            sent_batches: 2,
            sent_bytes: 1000,
            failed_attempts: 1,
            last_acknowledgement: 2_000,
            ..expected("routine")
        };
        assert_eq!(status.lanes, [urgent, routine]);
        assert_eq!((status.sent_batches, status.sent_bytes), (3, 1070));
        assert_eq!(status.window, 0, "nothing may be on its way without a connection");
        let reasons = &status.failed_attempts_by_reason;
        assert_eq!((reasons["timeout"], reasons["unreachable"], reasons["busy"]), (1, 1, 0));
    }
}
