//! Reads what `smartctl -j` says of a disk.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::collectors::finding::told_of;

/// What a disk says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Report {
    pub(super) health: Health,
    /// What it is, each with a count where there is one: `8 sectors cannot be read`.
    pub(super) reasons: Vec<String>,
    /// All counts together: it grows when the disk gets worse.
    pub(super) faults: u64,
    /// As many as have been told.
    #[serde(default)]
    pub(super) told: u64,
    pub(super) self_test: SelfTest,
    #[serde(skip)]
    pub(super) temperature: i32,
    #[serde(skip)]
    pub(super) power_on_hours: u64,
    pub(super) model: String,
    pub(super) serial: String,
}

/// How a disk is, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Health {
    #[default]
    Well,
    Warning,
    Failing,
    Failed,
}

/// How its last self-test has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SelfTest {
    #[default]
    Passed,
    Failed,
}

/// What smartctl has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Report(Box<Report>),
    /// It sleeps, and was left asleep.
    Sleeps,
    /// It has no such thing, or cannot be asked: what smartctl says.
    None(String),
}

/// Reads the JSON; none when it is not that.
pub(super) fn parse(json: &str) -> Option<Answer> {
    let root: Value = serde_json::from_str(json).ok()?;
    let smartctl = root.get("smartctl")?;
    let messages = list(smartctl.get("messages")).filter_map(|message| message.get("string")?.as_str());
    let said = messages.collect::<Vec<_>>().join("; ");
    let asleep = ["STANDBY", "SLEEP", "IDLE_B", "IDLE_C"].iter().any(|mode| said.contains(&format!("in {mode}")));
    if asleep {
        return Some(Answer::Sleeps);
    }
    let Some(passed) = root.pointer("/smart_status/passed").and_then(Value::as_bool) else {
        return Some(Answer::None(if said.is_empty() { "it tells no health".to_owned() } else { said }));
    };
    Some(Answer::Report(Box::new(report(&root, passed))))
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn report(root: &Value, passed: bool) -> Report {
    let number = |pointer: &str| root.pointer(pointer).and_then(Value::as_u64);
    let text = |pointer: &str| root.pointer(pointer).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let mut report = Report {
        temperature: number("/temperature/current").and_then(|degrees| degrees.try_into().ok()).unwrap_or_default(),
        power_on_hours: number("/power_on_time/hours").unwrap_or_default(),
        model: Some(text("/model_name")).filter(|name| !name.is_empty()).unwrap_or_else(|| text("/scsi_model_name")),
        serial: text("/serial_number"),
        ..Report::default()
    };
    if !passed {
        report.is(Health::Failed, "it expects to fail soon", None);
    }
    let attributes = root.pointer("/ata_smart_attributes/table");
    for attribute in list(attributes) {
        ata_attribute(attribute, &mut report);
    }
    report.counts(Health::Warning, "blocks were replaced by spare ones", number("/scsi_grown_defect_list"));
    let nvme = |name: &str| number(&format!("/nvme_smart_health_information_log/{name}"));
    nvme_warnings(nvme("critical_warning").unwrap_or_default(), &mut report);
    report.counts(Health::Failing, "blocks could not be read", nvme("media_errors"));
    match nvme("percentage_used") {
        Some(used @ 100..) => report.is(Health::Failing, &format!("{used} % of its life is used up"), None),
        Some(used @ 90..) => report.is(Health::Warning, &format!("{used} % of its life is used up"), None),
        _ => {}
    }
    report.self_test = self_test(root);
    report
}

impl Report {
    /// It, behind the one before.
    pub(super) fn after(self, before: Option<&Report>) -> Report {
        Report { told: told_of(self.faults, before.map_or(0, |before| before.told)), ..self }
    }

    fn is(&mut self, health: Health, reason: &str, count: Option<u64>) {
        self.health = self.health.max(health);
        self.reasons.push(count.map_or_else(|| reason.to_owned(), |count| format!("{count} {reason}")));
        self.faults = self.faults.saturating_add(count.unwrap_or(1));
    }

    /// Where there are some.
    fn counts(&mut self, health: Health, reason: &str, count: Option<u64>) {
        if let Some(count) = count.filter(|count| *count > 0) {
            self.is(health, reason, Some(count));
        }
    }
}

/// Those whose raw value counts the same thing with every maker.
fn ata_attribute(attribute: &Value, report: &mut Report) {
    let word = |pointer: &str| attribute.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    // The number may hold more than the count; the text begins with it.
    let count = word("/raw/string").split(' ').next().and_then(|count| count.parse().ok());
    match attribute.get("id").and_then(Value::as_u64) {
        Some(5) => report.counts(Health::Warning, "sectors were replaced by spare ones", count),
        Some(197) => report.counts(Health::Failing, "sectors cannot be read", count),
        Some(198) => report.counts(Health::Failing, "sectors could not be read in a check", count),
        _ => {}
    }
    if word("/when_failed") == "now" && attribute.pointer("/flags/prefailure") == Some(&Value::Bool(true)) {
        let name: String = word("/name").chars().take(40).collect();
        report.is(Health::Failing, &format!("{name} is below its threshold"), None);
    }
}

/// Bits of the log of health.
fn nvme_warnings(bits: u64, report: &mut Report) {
    const WARNINGS: [(u64, Health, &str); 5] = [
        (1, Health::Failing, "its spare blocks run out"),
        (2, Health::Warning, "it is too hot or too cold"),
        (4, Health::Failing, "it is no longer reliable"),
        (8, Health::Failed, "it is read-only now"),
        (16, Health::Failing, "its cache would not survive a power cut"),
    ];
    for (bit, health, reason) in WARNINGS {
        if bits & bit != 0 {
            report.is(health, reason, None);
        }
    }
}

/// The newest entry of the log: one that was aborted tells nothing.
fn self_test(root: &Value) -> SelfTest {
    let logs = ["/ata_smart_self_test_log/extended/table", "/ata_smart_self_test_log/standard/table"];
    let entries = logs.iter().flat_map(|log| list(root.pointer(log)).take(1));
    let has_failed =
        entries.filter_map(|entry| entry.pointer("/status/passed")).any(|passed| *passed == Value::Bool(false));
    let nvme = root.pointer("/nvme_self_test_log/table/0/self_test_result/value").and_then(Value::as_u64);
    // 5 is a fatal error, 6 and 7 failed segments.
    if has_failed || matches!(nvme, Some(5..=7)) { SelfTest::Failed } else { SelfTest::Passed }
}
