//! What the controller counts, and how Prometheus reads it: the text format, written here in a few lines. Every room
//! of the controller adds to it; `http` shows it.
//!
//! What holds: labels come from closed sets, so that the page does not grow with nodes or with what they send.

mod page;
mod process;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tonic::Code;

pub(super) use page::Page;

/// A number that only grows.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of a [`Histogram`], milliseconds: from a store in memory to a call that runs out.
const BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

/// How long things take.
#[derive(Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let bucket = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(bucket) = bucket.and_then(|bucket| self.buckets.get(bucket)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The methods that calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Register,
    SendEvents,
    Connect,
    /// One that there is not.
    Unknown,
}

impl Method {
    const ALL: [Method; 4] = [Method::Register, Method::SendEvents, Method::Connect, Method::Unknown];

    /// By the path of a request.
    pub(super) fn of(path: &str) -> Method {
        match path {
            "/rodent.RodentService/Register" => Method::Register,
            "/rodent.RodentService/SendEvents" => Method::SendEvents,
            "/rodent.RodentService/Connect" => Method::Connect,
            _ => Method::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Register => "Register",
            Method::SendEvents => "SendEvents",
            Method::Connect => "Connect",
            Method::Unknown => "unknown",
        }
    }
}

/// Why a call was refused that may be made again later; the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A limit of the node, by its place in [`REFUSALS`].
    Limit(super::limits::Limit),
    /// The store does not keep up.
    Store,
    /// There is no room for more requests.
    Room,
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Refusal::Limit(limit) => limit.name(),
            Refusal::Store => "store",
            Refusal::Room => "room",
        }
    }
}

/// The names of all refusals.
const REFUSALS: [&str; 8] = ["requests", "events", "bytes", "calls", "connections", "nodes", "store", "room"];

/// gRPC has so many codes.
const CODES: usize = 17;

/// Everything that is counted.
#[derive(Default)]
pub(super) struct Metrics {
    calls: [[Counter; CODES]; Method::ALL.len()],
    call_time: [Histogram; Method::ALL.len()],
    refused: [Counter; REFUSALS.len()],
    /// Bytes of requests of SendEvents as they came.
    pub(super) received_bytes: Counter,
    /// Bytes of their events, decompressed.
    pub(super) event_bytes: Counter,
    /// Events that were new.
    pub(super) events_stored: Counter,
    /// Events that were there already.
    pub(super) events_repeated: Counter,
    /// Batches that would have put two events in one place.
    pub(super) forks: Counter,
    /// What the store took for a batch.
    pub(super) store_time: Histogram,
    /// Batches that the store could not take.
    pub(super) store_failures: Counter,
    pub(super) connections_accepted: Counter,
    pub(super) connections_refused: Counter,
    pub(super) handshakes_failed: Counter,
    /// Files that were read again, and those that could not be used.
    pub(super) files_renewed: Counter,
    pub(super) files_failed: Counter,
}

/// What is not counted but is so now.
pub(super) struct Now {
    pub(super) connections: usize,
    pub(super) nodes: usize,
    pub(super) waiting: usize,
    pub(super) waiting_age: Duration,
    pub(super) held_bytes: usize,
    pub(super) ready: bool,
    pub(super) certificate_ends_at: Option<i64>,
}

impl Metrics {
    /// Notes an answer.
    pub(super) fn answered(&self, method: Method, code: Code, took: Duration) {
        let place = Method::ALL.iter().position(|one| *one == method).unwrap_or(0);
        if let Some(counter) = self.calls.get(place).and_then(|codes| codes.get(code as usize)) {
            counter.add(1);
        }
        if let Some(time) = self.call_time.get(place) {
            time.observe(took);
        }
    }

    /// Notes that a caller was told to come later.
    pub(super) fn refused(&self, refusal: Refusal) {
        let place = REFUSALS.iter().position(|name| *name == refusal.name());
        if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
            counter.add(1);
        }
    }

    /// The page that Prometheus reads.
    pub(super) fn page(&self, now: &Now) -> String {
        let mut page = Page::default();
        self.write_calls(&mut page);
        self.write_events(&mut page);
        self.write_connections(&mut page, now);
        page.gauge("ready", "1 when the controller takes batches.", f64::from(u8::from(now.ready)));
        page.counter(
            "files_renewed_total",
            "Changed files of keys and certificates that are in use.",
            &self.files_renewed,
        );
        page.counter(
            "files_failed_total",
            "Changed files of keys and certificates that cannot be used.",
            &self.files_failed,
        );
        if let Some(end) = now.certificate_ends_at {
            let help = "When the controller's certificate ends, Unix time.";
            page.gauge("tls_certificate_end_timestamp_seconds", help, end as f64);
        }
        page.family("build_info", "gauge", "The version that runs.");
        page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        process::write(&mut page);
        page.text()
    }

    fn write_calls(&self, page: &mut Page) {
        page.family("calls_total", "counter", "Calls that were answered, by gRPC code.");
        for (method, codes) in Method::ALL.iter().zip(&self.calls) {
            for (code, counter) in codes.iter().enumerate().filter(|(_, counter)| counter.value() > 0) {
                let code = page::code_name(code);
                page.sample("calls_total", &[("method", method.name()), ("code", code)], counter.value() as f64);
            }
        }
        page.family("call_seconds", "histogram", "How long calls took until they were answered.");
        for (method, time) in Method::ALL.iter().zip(&self.call_time) {
            page.histogram("call_seconds", Some(("method", method.name())), time);
        }
        page.family("calls_refused_total", "counter", "Calls that were told to come later, by what had been reached.");
        for (name, counter) in REFUSALS.iter().zip(&self.refused) {
            page.sample("calls_refused_total", &[("limit", name)], counter.value() as f64);
        }
    }

    fn write_events(&self, page: &mut Page) {
        page.counter("events_stored_total", "Events that were stored.", &self.events_stored);
        page.counter("events_repeated_total", "Events that had been stored before.", &self.events_repeated);
        page.counter("forks_total", "Batches with another event where one is stored.", &self.forks);
        page.counter("received_bytes_total", "Bytes of batches as they came.", &self.received_bytes);
        page.counter("event_bytes_total", "Bytes of events, decompressed.", &self.event_bytes);
        page.family("store_seconds", "histogram", "How long the store took for a batch.");
        page.histogram("store_seconds", None, &self.store_time);
        page.counter("store_failures_total", "Batches that the store could not take.", &self.store_failures);
    }

    fn write_connections(&self, page: &mut Page, now: &Now) {
        page.gauge("waiting_batches", "Batches that wait for the store.", now.waiting as f64);
        let help = "For how long the oldest of them has been waiting.";
        page.gauge("waiting_seconds", help, now.waiting_age.as_secs_f64());
        page.gauge("held_bytes", "Bytes of requests that are held in memory.", now.held_bytes as f64);
        page.gauge("connections", "Connections that are open.", now.connections as f64);
        page.counter("connections_total", "Connections that were accepted.", &self.connections_accepted);
        page.counter("connections_refused_total", "Connections beyond the bound.", &self.connections_refused);
        page.counter("tls_handshakes_failed_total", "TLS handshakes that failed.", &self.handshakes_failed);
        page.gauge("limited_nodes", "Nodes whose limits are kept in mind.", now.nodes as f64);
    }
}

#[cfg(test)]
mod tests;
