//! The text format of Prometheus, version 0.0.4: a HELP and a TYPE line for each family, then its samples. Names get
//! the controller's prefix here.

use std::fmt::Write as _;

use super::{BOUNDS_MS, Counter, Histogram};
use std::sync::atomic::Ordering;

/// What the names of all families begin with.
const PREFIX: &str = "rodent_controller_";

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

/// A page being written. Writing to a String does not fail.
#[derive(Default)]
pub(in crate::controller) struct Page(String);

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
    }

    /// Label values come from closed sets without quotes or line ends.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{PREFIX}{name} {value}"),
            false => writeln!(self.0, "{PREFIX}{name}{{{}}} {value}", labels.join(",")),
        };
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.family(name, "counter", help);
        self.sample(name, &[], counter.value() as f64);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    pub(super) fn histogram(&mut self, name: &str, label: Option<(&str, &str)>, histogram: &Histogram) {
        let count = histogram.count.load(Ordering::Relaxed);
        let bucket = format!("{name}_bucket");
        let mut sum = 0;
        for (bound, bucket_count) in BOUNDS_MS.iter().zip(&histogram.buckets) {
            sum += bucket_count.load(Ordering::Relaxed);
            let bound = (*bound as f64 / 1000.0).to_string();
            let labels: Vec<_> = label.into_iter().chain([("le", bound.as_str())]).collect();
            // Buckets are read after the count: one more may have come in between, and must not exceed it.
            self.sample(&bucket, &labels, sum.min(count) as f64);
        }
        let labels: Vec<_> = label.into_iter().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &labels, count as f64);
        let labels: Vec<_> = label.into_iter().collect();
        let seconds = histogram.micros.load(Ordering::Relaxed) as f64 / 1e6;
        self.sample(&format!("{name}_sum"), &labels, seconds);
        self.sample(&format!("{name}_count"), &labels, count as f64);
    }

    /// A family whose name is everybody's, without our prefix.
    pub(super) fn foreign(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}
