//! LVM's volume groups as a domain, where the agent may ask (`lvm.conf`): one program, every five minutes. How full a thin pool
//! is stands nowhere but there.

mod group;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::group::{ARGUMENTS, Group, Groups, Part, Volume};
use super::fullness::{Fill, Thresholds, percentage};
use crate::{
    collectors::{
        CollectError, Context,
        driver::Domain,
        finding::Finding,
        listing::{bytes, counted, listed},
    },
    event::Level,
    host::command::Program,
    schema::events::{
        StoragePoolPayload, UsageThresholdPayload, storage_pool_payload::StoragePoolOperation as Operation,
    },
};

const LVM: &[&str] = &["/usr/sbin/lvm", "/sbin/lvm"];
/// What it asks the kernel by; without it LVM knows nothing of what runs.
const CONTROL: &str = "/dev/mapper/control";
const TIMEOUT: Duration = Duration::from_secs(30);
/// Some thousand volumes.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
const INTERVAL: Duration = Duration::from_secs(300);
const COMPONENT: &str = "lvm";
/// What is not seen where LVM may not be asked.
const GROUPS: &str = "volume groups of LVM";

/// The look at them.
pub(super) struct VolumeGroups {
    thresholds: Thresholds,
    lvm: Option<Program>,
}

impl VolumeGroups {
    pub(super) fn new(thresholds: Thresholds) -> VolumeGroups {
        VolumeGroups { thresholds, lvm: None }
    }
}

impl Domain for VolumeGroups {
    const NAME: &'static str = "volume groups";
    type Known = Groups;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Groups>) -> Result<Option<Groups>, CollectError> {
        let lvm = Program::found(&mut self.lvm, &context.host, LVM, TIMEOUT, OUTPUT_BYTES_MAX);
        let lvm = lvm.ok_or_else(|| CollectError::Absent("no lvm here".to_owned()))?;
        if !context.host.path(CONTROL).exists() {
            let why = format!("no {CONTROL} for the agent; lvm.conf allows it: docs/systemd.md");
            context.sight.is_not_meant_to_see(GROUPS, &why);
            return Err(CollectError::Absent(format!("{GROUPS}: {why}")));
        }
        context.sight.is_not_meant_to_see(GROUPS, "");
        let answer = lvm.run(ARGUMENTS).await.map_err(|error| CollectError::failed("ask lvm", error))?;
        let groups = group::parse(&answer).ok_or("it is no report");
        let mut groups = groups.map_err(|error| CollectError::failed("read the report of lvm", error))?;
        group::follow(&mut groups, before, &self.thresholds);
        Ok(Some(groups))
    }

    fn diff(&self, before: &Groups, after: &Groups) -> Vec<Finding> {
        diff(before, after, &self.thresholds)
    }

    fn inventory(&self, known: &Groups) -> String {
        let names: Vec<_> = known.keys().cloned().collect();
        if names.is_empty() { String::new() } else { counted(names, "volume group") }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// What changed. A group or volume that is gone takes along what was wrong with it.
fn diff(before: &Groups, after: &Groups, thresholds: &Thresholds) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (no_group, no_volume) = (Group::default(), Volume::default());
    let names = before.keys().filter(|name| !after.contains_key(*name)).chain(after.keys());
    for name in names {
        let (was, is) = (before.get(name).unwrap_or(&no_group), after.get(name).unwrap_or(&no_group));
        if !after.contains_key(name) {
            findings.push(Finding::new(Level::Info, pool(name, was, Operation::Exported), COMPONENT, "gone"));
        } else if is.missing > was.missing {
            let payload = StoragePoolPayload { missing_devices: is.missing, ..pool(name, is, Operation::Degraded) };
            findings.push(Finding::new(Level::Error, payload, COMPONENT, "disk missing"));
        } else if is.missing == 0 && was.missing > 0 {
            findings.push(Finding::new(Level::Info, pool(name, is, Operation::Online), COMPONENT, "whole again"));
        }
        let volumes = was.volumes.keys().filter(|volume| !is.volumes.contains_key(*volume)).chain(is.volumes.keys());
        for volume in volumes {
            let (was, is) =
                (was.volumes.get(volume).unwrap_or(&no_volume), is.volumes.get(volume).unwrap_or(&no_volume));
            volume_changes(&format!("{name}/{volume}"), was, is, thresholds, &mut findings);
        }
    }
    findings
}

fn volume_changes(name: &str, was: &Volume, is: &Volume, thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    let payload = |operation: Operation| pool(name, &Group::default(), operation);
    if was.trouble != is.trouble {
        let (level, operation, action) = match is.trouble.as_str() {
            "" => (Level::Info, Operation::Online, "well again"),
            "failed" => (Level::Critical, Operation::Faulted, "failed"),
            _ => (Level::Error, Operation::Degraded, "degraded"),
        };
        let payload = StoragePoolPayload { reason: is.trouble.clone(), ..payload(operation) };
        findings.push(Finding::new(level, payload, COMPONENT, action));
    }
    if was.mismatches != is.mismatches {
        let level = if is.mismatches > 0 { Level::Warn } else { Level::Info };
        let payload = StoragePoolPayload { mismatches: is.mismatches, ..payload(Operation::ScrubCompleted) };
        findings.push(Finding::new(level, payload, COMPONENT, "checked"));
    }
    for part in [Part::Data, Part::Metadata] {
        let fill = |volume: &Volume| volume.fills.get(&part).copied().unwrap_or_default();
        if fill(was) != fill(is) {
            let percent = is.percents.get(&part).map_or(0.0, |percent| percent.value());
            findings.push(filling(name, part, fill(is), percent, thresholds));
        }
    }
}

fn filling(name: &str, part: Part, fill: Fill, percent: f64, thresholds: &Thresholds) -> Finding {
    let (key, words) = match part {
        Part::Data => ("data", "Thin pool"),
        Part::Metadata => ("metadata", "Metadata of thin pool"),
    };
    let payload = UsageThresholdPayload {
        threshold_name: format!("thin {key}:{name}"),
        metric_name: format!("thin_pool.{key}_percent"),
        current_value: percentage(percent),
        threshold_value: percentage(thresholds.of(fill)),
        operation: fill.operation().into(),
        resource: format!("{words} {name}"),
        unit: "% full".to_owned(),
        ..Default::default()
    };
    Finding::new(fill.level(), payload, COMPONENT, fill.name())
}

fn pool(name: &str, group: &Group, operation: Operation) -> StoragePoolPayload {
    StoragePoolPayload {
        pool_name: name.to_owned(),
        raid_type: "lvm".to_owned(),
        devices: listed(group.disks.iter().cloned()),
        size_bytes: bytes(group.size_bytes),
        operation: operation.into(),
        ..Default::default()
    }
}
