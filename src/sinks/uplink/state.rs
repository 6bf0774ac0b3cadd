//! What is to be seen of an uplink beyond what is of every consumer: until when its credentials are good, how it speaks with
//! the controller, and that the node is registered.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::{link::Link, token::Claims};
use crate::{
    consumers::{ConsumerState, Wording},
    lock::lock,
    schema::local::UplinkStatus,
    telemetry::message,
};

/// Name of the uplink's cursor, and of its sink.
pub const UPLINK: &str = "uplink";

/// Shared between the uplink and those who ask. Cheap to copy.
#[derive(Clone)]
pub struct UplinkState {
    consumer: ConsumerState,
    inner: Arc<Inner>,
}

struct Inner {
    own: Mutex<Own>,
    registration: watch::Sender<Option<Registration>>,
}

#[derive(Clone, Default)]
struct Own {
    compression: String,
    dialect: u32,
    /// Unix milliseconds; 0 when it does not expire, or is not known yet.
    token_expires_at: i64,
    certificate_expires_at: i64,
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

impl UplinkState {
    /// Of an uplink to `controller`; empty when none is configured.
    pub fn new(controller: &str) -> UplinkState {
        let inner = Inner { own: Mutex::default(), registration: watch::Sender::new(None) };
        let wording = Wording {
            who: "the controller".to_owned(),
            away: message::CONTROLLER_AWAY,
            back: message::CONTROLLER_BACK,
            refuses: message::CONTROLLER_REFUSES,
            credentials: Some(message::CREDENTIALS_REFUSED),
        };
        let consumer = ConsumerState::new(UPLINK, UPLINK, controller).with_wording(wording);
        UplinkState { consumer, inner: Arc::new(inner) }
    }

    /// What is of every consumer.
    pub fn consumer(&self) -> ConsumerState {
        self.consumer.clone()
    }

    /// Another uplink begins, to `controller`; empty for none. What was delivered so far still counts.
    pub fn begin(&self, controller: &str) {
        self.consumer.begin(controller);
        *self.lock() = Own::default();
        self.inner.registration.send_replace(None);
    }

    /// The state now.
    pub fn status(&self) -> UplinkStatus {
        let consumer = self.consumer.status();
        let own = self.lock().clone();
        UplinkStatus {
            state: consumer.state().word().to_owned(),
            controller: consumer.target,
            state_since: consumer.state_since,
            last_success: consumer.last_success,
            last_error: consumer.last_error,
            next_attempt_milliseconds: consumer.next_attempt_milliseconds,
            delivered_events: consumer.delivered_events,
            delivered_batches: consumer.delivered_batches,
            failed_attempts: consumer.failed_attempts,
            delivered_bytes: consumer.delivered_bytes,
            connected_since: consumer.connected_since,
            last_failure: consumer.last_failure,
            in_flight_batches: consumer.in_flight_batches,
            window: consumer.window,
            compression: own.compression,
            dialect: own.dialect,
            events_per_second: consumer.events_per_second,
            lanes: consumer.lanes,
            sent_batches: consumer.sent_batches,
            sent_bytes: consumer.sent_bytes,
            failed_attempts_by_reason: consumer.failed_attempts_by_reason,
            token_expires_at: own.token_expires_at,
            certificate_expires_at: own.certificate_expires_at,
        }
    }

    /// Tells each registration.
    pub fn registrations(&self) -> watch::Receiver<Option<Registration>> {
        self.inner.registration.subscribe()
    }

    /// Gives whether it is the first with this controller.
    pub(super) fn registered(&self, registration: Registration) -> bool {
        self.inner.registration.send_replace(Some(registration)).is_none()
    }

    /// Until when what the node proves itself with is good, Unix milliseconds.
    pub(super) fn proved(&self, token: Option<i64>, certificate: Option<i64>) {
        let mut own = self.lock();
        own.token_expires_at = token.unwrap_or_default();
        own.certificate_expires_at = certificate.unwrap_or_default();
    }

    /// How batches go over a connection.
    pub(super) fn speaks(&self, link: &Link) {
        let mut own = self.lock();
        own.dialect = link.dialect;
        link.compression.name().unwrap_or("none").clone_into(&mut own.compression);
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        lock(&self.inner.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_controller_is_another_connection_with_other_credentials() {
        let state = UplinkState::new("c:1");
        state.proved(Some(7), None);
        assert_eq!((state.status().token_expires_at, state.status().certificate_expires_at), (7, 0));
        state.begin("");
        let UplinkStatus { state, controller, token_expires_at, .. } = state.status();
        assert_eq!((state.as_str(), controller.as_str(), token_expires_at), ("off", "", 0));
    }
}
