//! Writes the page that Prometheus reads from what was counted.

use super::{Method, Metrics, Now, REFUSALS, families};
use crate::metrics::{Format, Page, write_process};

/// The names of the codes of gRPC, by number.
const CODE_NAMES: [&str; super::CODES] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a code of gRPC.
pub(super) fn code_name(code: usize) -> &'static str {
    CODE_NAMES.get(code).copied().unwrap_or("UNKNOWN")
}

impl Metrics {
    /// The page that Prometheus reads.
    pub(in crate::controller) fn page(&self, now: &Now, format: Format) -> String {
        let mut page = Page::new(format);
        self.write_calls(&mut page);
        self.write_events(&mut page, now);
        self.write_connections(&mut page, now);
        page.one(&families::READY, f64::from(u8::from(now.ready)));
        page.counter(&families::FILES_RENEWED, &self.files_renewed);
        page.counter(&families::FILES_FAILED, &self.files_failed);
        if let Some(end) = now.certificate_ends_at {
            page.one(&families::CERTIFICATE_END, end as f64);
        }
        page.family(&families::BUILD).put(&[env!("CARGO_PKG_VERSION")], 1.0);
        write_process(&mut page);
        page.finish()
    }

    fn write_calls(&self, page: &mut Page) {
        let mut calls = page.family(&families::CALLS);
        for (method, codes) in Method::ALL.iter().zip(&self.calls) {
            for (code, counter) in codes.iter().enumerate().filter(|(_, counter)| counter.value() > 0) {
                calls.put(&[method.name(), code_name(code)], counter.value() as f64);
            }
        }
        let mut seconds = page.family(&families::CALL_SECONDS);
        for (method, time) in Method::ALL.iter().zip(&self.call_time) {
            seconds.histogram(&[method.name()], time);
        }
        let mut refused = page.family(&families::CALLS_REFUSED);
        for (name, counter) in REFUSALS.iter().zip(&self.refused) {
            refused.put(&[name], counter.value() as f64);
        }
    }

    fn write_events(&self, page: &mut Page, now: &Now) {
        page.counter(&families::EVENTS_STORED, &self.events_stored);
        page.counter(&families::EVENTS_REPEATED, &self.events_repeated);
        page.counter(&families::FORKS, &self.forks);
        page.counter(&families::RECEIVED_BYTES, &self.received_bytes);
        page.counter(&families::EVENT_BYTES, &self.event_bytes);
        page.family(&families::STORE_SECONDS).histogram(&[], &self.store_time);
        page.counter(&families::STORE_FAILURES, &self.store_failures);
        page.one(&families::HEARD_NODES, now.nodes.heard as f64);
        page.one(&families::SILENT_NODES, now.nodes.silent as f64);
    }

    fn write_connections(&self, page: &mut Page, now: &Now) {
        page.one(&families::WAITING_BATCHES, now.waiting as f64);
        page.one(&families::WAITING_SECONDS, now.waiting_age.as_secs_f64());
        page.one(&families::HELD_BYTES, now.held_bytes as f64);
        page.one(&families::CONNECTIONS, now.connections as f64);
        page.counter(&families::CONNECTIONS_ACCEPTED, &self.connections_accepted);
        page.counter(&families::CONNECTIONS_REFUSED, &self.connections_refused);
        page.counter(&families::HANDSHAKES_FAILED, &self.handshakes_failed);
        page.one(&families::LIMITED_NODES, now.limited_nodes as f64);
    }
}
