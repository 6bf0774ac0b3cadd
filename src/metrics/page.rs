//! A page of metrics, in the text format of Prometheus 0.0.4 or in OpenMetrics 1.0: a few lines for each [`Family`], then
//! its samples.
//!
//! The formats differ in three things: OpenMetrics calls a counter and a piece of information without their endings where
//! it introduces them, names their unit, and ends with `# EOF`. Buckets are written alike in both, so that a series goes
//! on when a Prometheus begins to ask for the other.

use std::{borrow::Cow, fmt::Write as _};

use super::{Counter, Family, FamilyKind, Format, Histogram};

/// Units that names end in, as OpenMetrics wants them named.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// A page being written. Writing to a `String` does not fail.
pub struct Page {
    text: String,
    format: Format,
}

/// Takes the samples of one family.
pub struct Samples<'p> {
    text: &'p mut String,
    name: &'p str,
    labels: Cow<'p, [&'p str]>,
}

impl Page {
    /// With nothing on it.
    pub fn new(format: Format) -> Page {
        Page { text: String::new(), format }
    }

    /// Introduces a family, whose samples follow. Once for each.
    pub fn family(&mut self, family: &'static Family) -> Samples<'_> {
        self.introduce(family.name, family.kind, family.help);
        Samples { text: &mut self.text, name: family.name, labels: Cow::Borrowed(family.labels) }
    }

    /// Introduces a counter that is in no table. `help` is without quotes and backslashes.
    pub fn counted<'p>(&'p mut self, name: &'p str, labels: Vec<&'p str>, help: &str) -> Samples<'p> {
        self.introduce(name, FamilyKind::Counter, help);
        Samples { text: &mut self.text, name, labels: Cow::Owned(labels) }
    }

    fn introduce(&mut self, name: &str, kind: FamilyKind, help: &str) {
        let (name, kind) = match self.format {
            Format::Text => (name, kind.name()),
            Format::OpenMetrics => in_open_metrics(name, kind),
        };
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit_of(name)) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {help}");
    }

    /// A family without labels.
    pub fn one(&mut self, family: &'static Family, value: f64) {
        self.family(family).put(&[], value);
    }

    /// The counter of a family without labels.
    pub fn counter(&mut self, family: &'static Family, counter: &Counter) {
        self.one(family, counter.value() as f64);
    }

    /// The page.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// A sample; the values of the labels in the order of the family's labels.
    pub fn put(&mut self, labels: &[&str], value: f64) {
        self.write("", labels, None, value);
    }

    /// All samples of a histogram.
    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let reading = histogram.read();
        for (bound, count) in &reading.buckets {
            self.write("_bucket", labels, Some(&format!("{bound:?}")), *count as f64);
        }
        self.write("_bucket", labels, Some("+Inf"), reading.count as f64);
        self.write("_sum", labels, None, reading.seconds);
        self.write("_count", labels, None, reading.count as f64);
    }

    fn write(&mut self, ending: &str, labels: &[&str], bound: Option<&str>, value: f64) {
        debug_assert_eq!(labels.len(), self.labels.len(), "{}", self.name);
        let _ = write!(self.text, "{}{ending}", self.name);
        let labels = self.labels.iter().copied().zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{separator}{name}=\"");
            self.text.extend(value.chars().flat_map(escaped));
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = match value {
            f64::INFINITY => writeln!(self.text, " +Inf"),
            f64::NEG_INFINITY => writeln!(self.text, " -Inf"),
            value => writeln!(self.text, " {value}"),
        };
    }
}

/// What stands for a character of a label's value.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let (first, second) = match character {
        '\\' => ('\\', Some('\\')),
        '"' => ('\\', Some('"')),
        '\n' => ('\\', Some('n')),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

fn in_open_metrics(name: &str, kind: FamilyKind) -> (&str, &'static str) {
    match kind {
        FamilyKind::Counter => (name.trim_end_matches("_total"), "counter"),
        FamilyKind::Info => (name.trim_end_matches("_info"), "info"),
        kind => (name, kind.name()),
    }
}

fn unit_of(name: &str) -> Option<&'static str> {
    UNITS.into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    static SENT: Family = Family::counter("x_sent_bytes_total", &["lane"], "Bytes that were sent.");
    static READY: Family = Family::gauge("x_ready", &[], "Whether it is ready.");
    static BUILD: Family = Family::info("x_build_info", &["version"], "The version.");
    static TIME: Family = Family::histogram("x_call_seconds", &["method"], "How long calls take.");

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        let mut sent = page.family(&SENT);
        sent.put(&["urgent"], 1.0);
        sent.put(&["a\"b\\c\nd"], f64::INFINITY);
        page.one(&READY, 1.0);
        page.family(&BUILD).put(&["1.2"], 1.0);
        page.finish()
    }

    #[test]
    fn the_text_format_calls_a_family_as_its_samples() {
        assert_eq!(
            page(Format::Text),
            "# TYPE x_sent_bytes_total counter\n\
             # HELP x_sent_bytes_total Bytes that were sent.\n\
             x_sent_bytes_total{lane=\"urgent\"} 1\n\
             x_sent_bytes_total{lane=\"a\\\"b\\\\c\\nd\"} +Inf\n\
             # TYPE x_ready gauge\n\
             # HELP x_ready Whether it is ready.\n\
             x_ready 1\n\
             # TYPE x_build_info gauge\n\
             # HELP x_build_info The version.\n\
             x_build_info{version=\"1.2\"} 1\n"
        );
    }

    #[test]
    fn open_metrics_calls_it_without_the_ending_and_ends() {
        assert_eq!(
            page(Format::OpenMetrics),
            "# TYPE x_sent_bytes counter\n\
             # UNIT x_sent_bytes bytes\n\
             # HELP x_sent_bytes Bytes that were sent.\n\
             x_sent_bytes_total{lane=\"urgent\"} 1\n\
             x_sent_bytes_total{lane=\"a\\\"b\\\\c\\nd\"} +Inf\n\
             # TYPE x_ready gauge\n\
             # HELP x_ready Whether it is ready.\n\
             x_ready 1\n\
             # TYPE x_build info\n\
             # HELP x_build The version.\n\
             x_build_info{version=\"1.2\"} 1\n\
             # EOF\n"
        );
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound_and_beyond_all() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(60));
        let mut page = Page::new(Format::Text);
        page.family(&TIME).histogram(&["Register"], &histogram);
        let page = page.finish();
        for line in [
            "x_call_seconds_bucket{method=\"Register\",le=\"0.002\"} 0",
            "x_call_seconds_bucket{method=\"Register\",le=\"0.005\"} 1",
            "x_call_seconds_bucket{method=\"Register\",le=\"1.0\"} 1",
            "x_call_seconds_bucket{method=\"Register\",le=\"+Inf\"} 2",
            "x_call_seconds_sum{method=\"Register\"} 60.003",
            "x_call_seconds_count{method=\"Register\"} 2",
        ] {
            assert!(page.lines().any(|one| one == line), "{line}\n{page}");
        }
    }
}
