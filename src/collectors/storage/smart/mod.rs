//! The health of disks as a domain, by `smartctl`, where the agent may open them (`smart.conf`). One disk is asked a minute,
//! each at most every half hour, and none that sleeps is woken. What smartd finds comes through its hook, too.

mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use self::report::{Answer, Health, Report, SelfTest};
use super::disks::{Disk, Disks};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::device_path},
    event::Level,
    host::{Host, command::Program},
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
}

/// What the disk says; else why nothing is known of it.
async fn ask(smartctl: &mut Program, path: &str) -> Result<Option<Report>, String> {
    let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([path]).collect();
    let output = smartctl.run_whatever_its_status(&arguments).await.map_err(|error| ErrorChain(&error).to_string())?;
    Ok(match report::parse(&output).ok_or("smartctl gives no JSON")? {
        Answer::Report(report) => Some(*report),
        Answer::None(why) => {
            tracing::debug!(path, why, "the disk tells no health");
            None
        }
        Answer::Sleeps => None,
    })
}

/// What keeps a disk from being opened.
struct Closed {
    why: io::Error,
    /// No other may be opened either: their nodes are missing, or denied.
    are_all: bool,
}

fn open(host: &Host, name: &str, disks: &Disks) -> Result<(), Closed> {
    // One without a medium can be opened so, too.
    let open = |name: &str| {
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(host.path(&device_path(name))).map(drop)
    };
    let is_denied =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
    open(name).map_err(|why| {
        let mut all = disks.values().filter(|disk| disk.has_smart());
        let are_all = is_denied(&why) && all.all(|disk| open(&disk.name).is_err_and(|why| is_denied(&why)));
        Closed { why, are_all }
    })
}

impl Domain for Smart {
    const NAME: &'static str = "health of disks";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let disks = self.disks.borrow().clone();
        let mut known = before.cloned().unwrap_or_default();
        for (key, disk) in disks.iter().filter(|(key, _)| before.is_none_or(|before| !before.contains_key(*key))) {
            let is_same = |other: &String, name: &String| *name == disk.name && disk.may_be(other);
            let other = known.iter().find(|(other, (name, _))| is_same(other, name)).map(|(other, _)| other.clone());
            if let Some(moved) = other.and_then(|other| known.remove(&other)) {
                known.insert(key.clone(), moved);
            }
        }
        known.retain(|key, _| disks.contains_key(key));
        // A boot deals the names anew.
        for (key, (name, _)) in &mut known {
            disks.get(key).into_iter().for_each(|disk| name.clone_from(&disk.name));
        }
        context.sees_gone(DISK, |path| disks.values().any(|disk| device_path(&disk.name) == path)).await?;
        let now = Instant::now();
        let next = self.next(&disks, now);
        let smartctl = Program::found(&mut self.smartctl, &context.host, SMARTCTL, TIMEOUT, OUTPUT_BYTES_MAX);
        let smartctl = smartctl.ok_or_else(|| CollectError::Absent("no smartctl here (smartmontools)".to_owned()))?;
        let Some((key, Disk { name, .. })) = next else { return Ok(Some(known)) };
        let opened = {
            let name = name.clone();
            context.look("open a disk", move |host| Ok(open(host, &name, &disks))).await?
        };
        let path = device_path(&name);
        let report = match opened {
            Err(Closed { why, are_all: true }) => {
                let why = format!("no disk may be opened ({why}); smart.conf allows it: docs/systemd.md");
                context.sight.is_not_meant_to_see(HEALTH, &why);
                return Err(CollectError::Absent(format!("{HEALTH}: {why}")));
            }
            Err(Closed { why, .. }) => Err(format!("it cannot be opened ({why})")),
            Ok(()) => ask(smartctl, &path).await,
        };
        context.sight.is_not_meant_to_see(HEALTH, "");
        self.asked.insert(key.clone(), now);
        context.note(&format!("{DISK}{path}"), report.as_ref().err().cloned()).await?;
        if let Ok(Some(report)) = report {
            let report = report.after(known.get(&key).map(|(_, was)| was));
            known.insert(key, (name, report));
        }
        Ok(Some(known))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// What is worse than it was, or well again, and what is not well under another name. A disk that is gone is told by who follows the
/// disks.
fn diff(before: &Known, after: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    let well = Report::default();
    for (key, (name, report)) in after {
        let under_other_key = || {
            let path = device_path(name);
            let is_it = |old: &String, its: &String| its == name && (*old == path || *key == path);
            before.iter().find(|(old, (its, _))| !after.contains_key(*old) && is_it(old, its)).map(|(_, was)| was)
        };
        let (old, was) = before.get(key).or_else(under_other_key).map_or((name, &well), |(old, was)| (old, was));
        let is_renamed = old != name;
        if is_renamed {
            left_behind(old, was, after, &mut findings);
        }
        if report.health != was.health || report.told > was.told || (is_renamed && report.health != Health::Well) {
            findings.push(health(name, report));
        }
        if report.self_test != was.self_test || (is_renamed && report.self_test == SelfTest::Failed) {
            findings.push(self_test(name, report.self_test));
        }
    }
    findings
}

/// What was wrong is so no more under the name that the disk had, unless it is with the one that has it now.
fn left_behind(old: &str, was: &Report, after: &Known, findings: &mut Vec<Finding>) {
    let none = Report::default();
    let now = after.values().find(|(name, _)| name == old).map_or(&none, |(_, report)| report);
    if was.health != Health::Well && now.health == Health::Well {
        findings.push(health(old, now));
    }
    if was.self_test == SelfTest::Failed && now.self_test == SelfTest::Passed {
        findings.push(self_test(old, SelfTest::Passed));
    }
}

fn health(name: &str, report: &Report) -> Finding {
    let (level, health) = match report.health {
        Health::Well => (Level::Info, "well"),
        Health::Warning => (Level::Warn, "warning"),
        Health::Failing => (Level::Error, "failing"),
        Health::Failed => (Level::Critical, "failed"),
    };
    let path = device_path(name);
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
    let path = device_path(name);
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
