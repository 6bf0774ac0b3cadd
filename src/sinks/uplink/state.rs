//! How the uplink is doing, for `rodent status` and for whoever wants to know when the node is registered.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Claims, failure::Reason, link::Link};
use crate::{
    event_log::Lane,
    schema::local::{UplinkLaneStatus, UplinkStatus},
};

/// Shared between the uplink and those who ask. Cheap to copy.
#[derive(Clone)]
pub struct UplinkState {
    inner: Arc<Inner>,
}

struct Inner {
    status: Mutex<Status>,
    registration: watch::Sender<Option<Registration>>,
}

struct Status {
    status: UplinkStatus,
    next_attempt: Option<Instant>,
    rate: Rate,
}

impl Status {
    fn lane(&mut self, lane: Lane) -> Option<&mut UplinkLaneStatus> {
        self.status.lanes.iter_mut().find(|its| its.lane == lane.name())
    }
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

/// The controller took the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What the token says.
    pub claims: Claims,
    /// The name that the controller gave.
    pub domain: String,
    /// When the certificate that it issued expires, RFC 3339; empty where it issued none.
    pub expires_on: String,
    /// `host:port`.
    pub controller: String,
}

/// States of the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connected,
    Waiting,
    Held,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Connected => "connected",
            Phase::Waiting => "waiting",
            Phase::Held => "held",
        }
    }
}

/// The state that an uplink begins in.
fn state_of(controller: &str) -> &'static str {
    if controller.is_empty() { "off" } else { "connecting" }
}

impl UplinkState {
    /// Of an uplink to `controller`; empty when none is configured.
    pub fn new(controller: &str) -> UplinkState {
        let lane = |lane: Lane| UplinkLaneStatus { lane: lane.name().to_owned(), ..UplinkLaneStatus::default() };
        let status = UplinkStatus {
            state: state_of(controller).to_owned(),
            controller: controller.to_owned(),
            lanes: Lane::ALL.map(lane).into(),
            failed_attempts_by_reason: Reason::ALL.map(|reason| (reason.name().to_owned(), 0)).into(),
            ..UplinkStatus::default()
        };
        UplinkState {
            inner: Arc::new(Inner {
                status: Mutex::new(Status { status, next_attempt: None, rate: Rate::new() }),
                registration: watch::Sender::new(None),
            }),
        }
    }

    /// Another uplink begins, to `controller`; empty for none. What was delivered so far still counts.
    pub fn begin(&self, controller: &str) {
        let mut status = self.lock();
        status.next_attempt = None;
        let status = &mut status.status;
        state_of(controller).clone_into(&mut status.state);
        controller.clone_into(&mut status.controller);
        (status.state_since, status.connected_since) = (0, 0);
        (status.in_flight_batches, status.window, status.dialect) = (0, 0, 0);
        status.last_error.clear();
        status.compression.clear();
        (status.token_expires_at, status.certificate_expires_at) = (0, 0);
        status.lanes.iter_mut().for_each(|lane| lane.in_flight_batches = 0);
        self.inner.registration.send_replace(None);
    }

    /// The state now.
    pub fn status(&self) -> UplinkStatus {
        let status = self.lock();
        let wait = status.next_attempt.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        UplinkStatus {
            next_attempt_milliseconds: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            events_per_second: status.rate.at(Instant::now()),
            ..status.status.clone()
        }
    }

    /// Tells each registration.
    pub fn registrations(&self) -> watch::Receiver<Option<Registration>> {
        self.inner.registration.subscribe()
    }

    pub(super) fn registered(&self, registration: Registration) {
        self.inner.registration.send_replace(Some(registration));
    }

    /// Notes that the controller took the node for the first time; false when something has been said of it before.
    pub(super) fn first_connected(&self, now: i64) -> bool {
        let connecting = self.lock().status.state == "connecting";
        connecting && self.enter(Phase::Connected, now)
    }

    /// Enters a phase; gives whether it is another one than before.
    pub(super) fn enter(&self, phase: Phase, now: i64) -> bool {
        let mut status = self.lock();
        if phase == Phase::Connected {
            status.next_attempt = None;
            status.status.last_error.clear();
        }
        if status.status.state == phase.name() {
            return false;
        }
        status.status.state = phase.name().to_owned();
        status.status.state_since = now;
        status.status.connected_since = if phase == Phase::Connected { now } else { 0 };
        true
    }

    /// A batch has arrived.
    pub(super) fn delivered(&self, lane: Lane, events: u64, bytes: u64, now: i64) {
        let mut status = self.lock();
        status.status.last_success = now;
        status.status.delivered_batches += 1;
        status.status.delivered_events += events;
        status.status.delivered_bytes += bytes;
        status.rate.add(events, Instant::now());
        let Some(lane) = status.lane(lane) else { return };
        lane.last_acknowledgement = now;
        lane.delivered_batches += 1;
        lane.delivered_events += events;
        lane.delivered_bytes += bytes;
    }

    /// A batch goes over the wire.
    pub(super) fn sent(&self, lane: Lane, bytes: u64) {
        let mut status = self.lock();
        status.status.sent_batches += 1;
        status.status.sent_bytes += bytes;
        let Some(lane) = status.lane(lane) else { return };
        lane.sent_batches += 1;
        lane.sent_bytes += bytes;
    }

    /// An attempt has failed: to send a batch of a lane, or before that.
    pub(super) fn attempt_failed(&self, lane: Option<Lane>, reason: Reason) {
        let mut status = self.lock();
        if let Some(count) = status.status.failed_attempts_by_reason.get_mut(reason.name()) {
            *count += 1;
        }
        if let Some(lane) = lane.and_then(|lane| status.lane(lane)) {
            lane.failed_attempts += 1;
        }
    }

    /// An event of a lane is refused for good, and has become a dead letter.
    pub(super) fn buried(&self, lane: Lane) {
        if let Some(lane) = self.lock().lane(lane) {
            lane.refused_events += 1;
        }
    }

    /// Until when what the node proves itself with is good, Unix milliseconds.
    pub(super) fn proved(&self, token: Option<i64>, certificate: Option<i64>) {
        let status = &mut self.lock().status;
        status.token_expires_at = token.unwrap_or_default();
        status.certificate_expires_at = certificate.unwrap_or_default();
    }

    /// What is on its way, in all and of each lane, and how.
    pub(super) fn flows(&self, in_flight: usize, of_lane: impl Fn(Lane) -> usize, link: Option<&Link>) {
        let mut status = self.lock();
        for lane in Lane::ALL {
            if let Some(its) = status.lane(lane) {
                its.in_flight_batches = u32::try_from(of_lane(lane)).unwrap_or(u32::MAX);
            }
        }
        let status = &mut status.status;
        status.in_flight_batches = u32::try_from(in_flight).unwrap_or(u32::MAX);
        status.window = link.map_or(0, |link| u32::try_from(link.window.limit()).unwrap_or(u32::MAX));
        let Some(link) = link else { return };
        status.dialect = link.dialect;
        link.compression.name().unwrap_or("none").clone_into(&mut status.compression);
    }

    /// Batches arrive, but something is still refused.
    pub(super) fn still_held(&self, reason: &str, now: i64) {
        self.enter(Phase::Held, now);
        reason.clone_into(&mut self.lock().status.last_error);
    }

    pub(super) fn failed(&self, error: &str, next_attempt: Duration, now: i64) {
        let mut status = self.lock();
        status.status.failed_attempts += 1;
        status.status.last_failure = now;
        error.clone_into(&mut status.status.last_error);
        status.next_attempt = Some(Instant::now() + next_attempt);
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.inner.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_of_a_lane_is_its_own_and_every_reason_is_told_from_the_start() {
        let state = UplinkState::new("c:1");
        let reasons = state.status().failed_attempts_by_reason;
        assert_eq!((reasons.len(), reasons.values().sum::<u64>()), (Reason::ALL.len(), 0));
        state.sent(Lane::Urgent, 70);
        state.sent(Lane::Routine, 500);
        state.attempt_failed(Some(Lane::Routine), Reason::Timeout);
        state.sent(Lane::Routine, 500);
        state.delivered(Lane::Routine, 100, 500, 1_000);
        state.buried(Lane::Urgent);
        state.attempt_failed(None, Reason::Unreachable);
        state.proved(Some(7), None);
        state.lock().status.window = 4;
        state.flows(0, |_| 0, None);
        let status = state.status();
        let expected = |lane: &str| UplinkLaneStatus { lane: lane.to_owned(), ..UplinkLaneStatus::default() };
        let urgent = UplinkLaneStatus { sent_batches: 1, sent_bytes: 70, refused_events: 1, ..expected("urgent") };
        let routine = UplinkLaneStatus {
            delivered_events: 100,
            delivered_batches: 1,
            delivered_bytes: 500,
            sent_batches: 2,
            sent_bytes: 1000,
            failed_attempts: 1,
            last_acknowledgement: 1_000,
            ..expected("routine")
        };
        assert_eq!(status.lanes, [urgent, routine]);
        assert_eq!((status.sent_batches, status.sent_bytes), (3, 1070));
        assert_eq!(status.window, 0, "nothing may be on its way without a connection");
        let reasons = &status.failed_attempts_by_reason;
        assert_eq!((reasons["timeout"], reasons["unreachable"], reasons["busy"]), (1, 1, 0));
        assert_eq!((status.token_expires_at, status.certificate_expires_at), (7, 0));
    }
}
