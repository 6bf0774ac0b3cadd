//! The health of disks as a domain, by `smartctl`, where the agent may open them (`smart.conf`). One disk is asked a minute,
//! each at most every half hour, and none that sleeps is woken. What smartd finds comes through its hook, too.

mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use self::report::{Answer, Health, Report, SelfTest};
use super::disks::{Disk, Disks};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::command::Program,
    schema::events::{
        StorageDiskPayload, StorageDiskProbePayload, storage_disk_payload::StorageDiskOperation as Operation,
        storage_disk_probe_payload::StorageDiskProbeOperation as ProbeOperation,
    },
    telemetry::ErrorChain,
};

const SMARTCTL: &[&str] = &["/usr/sbin/smartctl", "/sbin/smartctl", "/usr/local/sbin/smartctl"];
/// A disk is left asleep; what it is, health, attributes, tests.
const ARGUMENTS: [&str; 8] = ["-n", "standby", "-j", "-i", "-H", "-A", "-l", "selftest"];
/// A disk that mends itself takes its time.
const TIMEOUT: Duration = Duration::from_secs(30);
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// A turn, with one disk.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often the same disk is asked.
const DISK_INTERVAL: Duration = Duration::from_secs(30 * 60);
const COMPONENT: &str = "smart";
/// What it is blind to, before the name.
const DISK: &str = "health of disk ";
/// What is not seen where disks may not be opened.
const HEALTH: &str = "health of disks (SMART)";

/// By what makes a disk the same one; with the name that it has.
type Known = BTreeMap<String, (String, Report)>;

/// The look at them.
pub(super) struct Smart {
    disks: watch::Receiver<Arc<Disks>>,
    smartctl: Option<Program>,
    /// When each was asked.
    asked: BTreeMap<String, Instant>,
}

impl Smart {
    pub(super) fn new(disks: watch::Receiver<Arc<Disks>>) -> Smart {
        Smart { disks, smartctl: None, asked: BTreeMap::new() }
    }

    /// The one whose turn it is.
    fn next(&mut self, disks: &Disks, now: Instant) -> Option<(String, Disk)> {
        self.asked.retain(|key, _| disks.contains_key(key));
        let asked = |key: &String| self.asked.get(key).copied();
        let (key, disk) = disks.iter().filter(|(_, disk)| disk.has_smart()).min_by_key(|(key, _)| asked(key))?;
        let is_due = asked(key).is_none_or(|asked| now.saturating_duration_since(asked) >= DISK_INTERVAL);
        is_due.then(|| (key.clone(), disk.clone()))
    }

    async fn ask(&mut self, context: &Context, disk: &Disk) -> Result<Option<Report>, CollectError> {
        let Some(smartctl) = &mut self.smartctl else { return Ok(None) };
        let path = format!("/dev/{}", disk.name);
        let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([path.as_str()]).collect();
        let answer = match smartctl.run_whatever_its_status(&arguments).await {
            Ok(output) => report::parse(&output).ok_or_else(|| "smartctl gives no JSON".to_owned()),
            Err(error) => Err(ErrorChain(&error).to_string()),
        };
        context.note(&format!("{DISK}{path}"), answer.as_ref().err().cloned()).await?;
        Ok(match answer {
            Ok(Answer::Report(report)) => Some(*report),
            Ok(Answer::None(why)) => {
                tracing::debug!(path, why, "the disk tells no health");
                None
            }
            Ok(Answer::Sleeps) | Err(_) => None,
        })
    }
}

impl Domain for Smart {
    const NAME: &'static str = "health of disks";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if self.smartctl.is_none() {
            self.smartctl = Program::find(&context.host, SMARTCTL, TIMEOUT, OUTPUT_BYTES_MAX);
        }
        if self.smartctl.is_none() {
            return Err(CollectError::Absent("no smartctl here (smartmontools)".to_owned()));
        }
        let disks = self.disks.borrow().clone();
        let mut known = before.cloned().unwrap_or_default();
        known.retain(|key, _| disks.contains_key(key));
        for gone in context.sight.blind_to(DISK) {
            if !disks.values().any(|disk| gone == format!("/dev/{}", disk.name)) {
                context.sees(&format!("{DISK}{gone}")).await?;
            }
        }
        let now = Instant::now();
        if let Some((key, disk)) = self.next(&disks, now) {
            let path = context.host.path(&format!("/dev/{}", disk.name));
            if let Err(error) =
                tokio::task::spawn_blocking(move || File::open(path)).await.unwrap_or_else(|error| Err(error.into()))
            {
                let why = format!("no disk may be opened ({error}); smart.conf allows it: docs/systemd.md");
                context.sight.is_not_meant_to_see(HEALTH, &why);
                return Err(CollectError::Absent(format!("{HEALTH}: {why}")));
            }
            context.sight.is_not_meant_to_see(HEALTH, "");
            self.asked.insert(key.clone(), now);
            let report = self.ask(context, &disk).await?;
            known.extend(report.map(|report| (key, (disk.name, report))));
        }
        Ok(Some(known))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        diff(&Known::new(), known)
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// What is worse than it was, or well again. A disk that is gone is told by who follows the disks.
fn diff(before: &Known, after: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    let well = Report::default();
    for (key, (name, report)) in after {
        let was = before.get(key).map_or(&well, |(_, was)| was);
        let is_worse =
            report.health > Health::Well && report.faults >= was.faults.saturating_mul(2) && report.faults > was.faults;
        if report.health != was.health || is_worse {
            findings.push(health(name, report));
        }
        if report.self_test != was.self_test {
            findings.push(self_test(name, report.self_test));
        }
    }
    findings
}

fn health(name: &str, report: &Report) -> Finding {
    let (level, health) = match report.health {
        Health::Well => (Level::Info, "well"),
        Health::Warning => (Level::Warn, "warning"),
        Health::Failing => (Level::Error, "failing"),
        Health::Failed => (Level::Critical, "failed"),
    };
    let path = format!("/dev/{name}");
    let payload = StorageDiskPayload {
        device_id: path.clone(),
        device_path: path,
        model: report.model.clone(),
        serial: report.serial.clone(),
        health: health.to_owned(),
        health_reason: report.reasons.join(", "),
        temperature: report.temperature,
        power_on_hours: report.power_on_hours,
        operation: Operation::HealthChanged.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, health)
}

fn self_test(name: &str, result: SelfTest) -> Finding {
    let (level, operation, said, error) = match result {
        SelfTest::Passed => (Level::Info, ProbeOperation::Completed, "passed", ""),
        SelfTest::Failed => (Level::Error, ProbeOperation::Failed, "", "the last one found an error"),
    };
    let path = format!("/dev/{name}");
    let payload = StorageDiskProbePayload {
        device_id: path.clone(),
        device_path: path,
        probe_type: "self-test".to_owned(),
        result: said.to_owned(),
        error_message: error.to_owned(),
        operation: operation.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, "self-test")
}
