//! What a metric is called, what it means and how it may be told apart: the row of a table that the page, its
//! documentation, alert rules and tests agree on.

/// One metric, in as many series as its labels have values.
#[derive(Debug)]
pub struct Family {
    /// The name in full, as Prometheus shows it: a counter's ends in `_total`, that of a piece of information in `_info`.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: FamilyKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// Kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only grows, and begins anew when the program starts.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// Always 1; what it says stands in its labels.
    Info,
}

impl FamilyKind {
    /// The type in the text format, which has no word for information.
    pub fn name(self) -> &'static str {
        match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge | FamilyKind::Info => "gauge",
            FamilyKind::Histogram => "histogram",
        }
    }
}

impl Family {
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
        Family { name, kind: FamilyKind::Counter, labels, help }
    }

    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
        Family { name, kind: FamilyKind::Gauge, labels, help }
    }

    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
        Family { name, kind: FamilyKind::Histogram, labels, help }
    }

    /// A piece of information.
    pub const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
        Family { name, kind: FamilyKind::Info, labels, help }
    }
}
