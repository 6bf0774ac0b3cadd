//! The table of the controller's metrics: what `/metrics` shows, `docs/metrics.md` explains and alert rules may name.

use crate::metrics::{Family, PROCESS};

macro_rules! families {
    ($($name:ident = $family:expr;)*) => {
        $(pub(super) static $name: Family = $family;)*

        /// The controller's own, in the order of the page.
        static OWN: &[&Family] = &[$(&$name),*];
    };
}

families! {
    CALLS = Family::counter("rodent_controller_calls_total", &["method", "code"], "Calls that were answered, by gRPC code.");
    CALL_SECONDS = Family::histogram("rodent_controller_call_seconds", &["method"], "How long calls took until they were answered.");
    CALLS_REFUSED = Family::counter("rodent_controller_calls_refused_total", &["limit"], "Calls that were told to come later, by what had been reached.");
    EVENTS_STORED = Family::counter("rodent_controller_events_stored_total", &[], "Events that were stored.");
    EVENTS_REPEATED = Family::counter("rodent_controller_events_repeated_total", &[], "Events that had been stored before.");
    FORKS = Family::counter("rodent_controller_forks_total", &[], "Batches with another event where one is stored.");
    RECEIVED_BYTES = Family::counter("rodent_controller_received_bytes_total", &[], "Bytes of batches as they came.");
    EVENT_BYTES = Family::counter("rodent_controller_event_bytes_total", &[], "Bytes of events, decompressed.");
    STORE_SECONDS = Family::histogram("rodent_controller_store_seconds", &[], "How long the store took for a batch.");
    STORE_FAILURES = Family::counter("rodent_controller_store_failures_total", &[], "Batches that the store could not take.");
    HEARD_NODES = Family::gauge("rodent_controller_heard_nodes", &[], "Nodes that called this controller since it started, within the last week.");
    SILENT_NODES = Family::gauge("rodent_controller_silent_nodes", &[], "Those of them that have missed three heartbeats, of 15 minutes each.");
    WAITING_BATCHES = Family::gauge("rodent_controller_waiting_batches", &[], "Batches that wait for the store.");
    WAITING_SECONDS = Family::gauge("rodent_controller_waiting_seconds", &[], "For how long the oldest of them has been waiting.");
    HELD_BYTES = Family::gauge("rodent_controller_held_bytes", &[], "Bytes of requests that are held in memory.");
    CONNECTIONS = Family::gauge("rodent_controller_connections", &[], "Connections that are open.");
    CONNECTIONS_ACCEPTED = Family::counter("rodent_controller_connections_total", &[], "Connections that were accepted.");
    CONNECTIONS_REFUSED = Family::counter("rodent_controller_connections_refused_total", &[], "Connections that found no place, or lost it before a token was shown.");
    HANDSHAKES_FAILED = Family::counter("rodent_controller_tls_handshakes_failed_total", &[], "TLS handshakes that failed.");
    LIMITED_NODES = Family::gauge("rodent_controller_limited_nodes", &[], "Nodes whose limits are kept in mind.");
    READY = Family::gauge("rodent_controller_ready", &[], "1 when the controller takes batches.");
    FILES_RENEWED = Family::counter("rodent_controller_files_renewed_total", &[], "Changed files of keys and certificates that are in use.");
    FILES_FAILED = Family::counter("rodent_controller_files_failed_total", &[], "Changed files of keys and certificates that cannot be used.");
    CERTIFICATE_END = Family::gauge("rodent_controller_tls_certificate_end_timestamp_seconds", &[], "When the controller's certificate ends, Unix time.");
    BUILD = Family::info("rodent_controller_build_info", &["version"], "The version that runs.");
}

/// Every metric of the controller.
pub fn families() -> impl Iterator<Item = &'static Family> {
    OWN.iter().copied().chain(PROCESS)
}
