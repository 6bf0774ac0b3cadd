//! What changed between two looks at the pools, as events.

#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    scan::{Scan, Step, Work},
    status::{Disk, Pool, Pools},
    vdev::{Class, Trim},
};
use crate::{
    collectors::{
        finding::{Finding, told_of},
        listing::{bytes, first, listed},
        storage::{
            errors::Errors,
            fullness::{Fill, Thresholds, percentage},
        },
    },
    event::Level,
    order::{Gather as _, Sorted as _},
    schema::events::{
        StorageDiskPayload, StoragePoolPayload, storage_disk_payload::StorageDiskOperation as DiskOperation,
        storage_pool_payload::StoragePoolOperation as Operation,
    },
};

const COMPONENT: &str = "zfs";

/// What a pool is fit for. Its own word is not enough: with a faulted disk in a mirror it still says ONLINE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Online,
    Degraded,
    Faulted,
    Suspended,
}

impl Pool {
    fn condition(&self) -> Condition {
        match self.state.as_str() {
            "ONLINE" if self.disks.values().all(Disk::is_fit_or_dispensable) => Condition::Online,
            "SUSPENDED" => Condition::Suspended,
            "FAULTED" | "UNAVAIL" | "REMOVED" | "OFFLINE" => Condition::Faulted,
            _ => Condition::Degraded,
        }
    }

    /// Whether nothing is known of it but the kernel's word.
    fn is_bare(&self) -> bool {
        self.disks.is_empty()
    }

    /// Whether it was last seen before that boot.
    pub(super) fn is_from_before(&self, boot: &str) -> bool {
        !self.boot.is_empty() && !boot.is_empty() && self.boot != boot
    }

    /// Carries over what one look alone does not tell: how full the pool was, and which errors were told of.
    pub(super) fn follow(&mut self, before: Option<&Pool>, thresholds: &Thresholds) {
        let (fill, told) = before.map_or((Fill::Normal, 0), |before| (before.fill, before.errors_told));
        self.fill = self.used_percent().map_or(fill, |percent| thresholds.next(fill, percent));
        let errors = self.errors();
        self.errors_told = told_of(errors, told);
        // zpool tells of the last one alone, where it tells of one.
        for (work, scan) in before.into_iter().flat_map(|before| &before.scans) {
            self.scans.entry(*work).or_insert_with(|| scan.clone());
        }
        self.data_errors = self.data_errors.or(before.and_then(|before| before.data_errors));
        self.size_bytes = self.size_bytes.or(before.and_then(|before| before.size_bytes));
        self.used_bytes = self.used_bytes.or(before.and_then(|before| before.used_bytes));
    }
}

impl Disk {
    fn is_fit_or_dispensable(&self) -> bool {
        self.level() == Level::Info || matches!(self.class, Class::Cache | Class::Spare)
    }

    /// How much its state matters.
    fn level(&self) -> Level {
        match self.state.as_str() {
            "ONLINE" | "AVAIL" | "INUSE" => Level::Info,
            "FAULTED" | "UNAVAIL" | "REMOVED" => Level::Error,
            _ => Level::Warn,
        }
    }
}

/// What is wrong with the pools at first sight. What is well goes into the inventory.
pub(in crate::collectors::storage) fn faults(pools: &Pools) -> Vec<Finding> {
    pools.iter().flat_map(|(name, pool)| PoolView { name, pool }.faults()).collect()
}

/// What changed, pool by pool, in this boot.
pub(in crate::collectors::storage) fn diff(before: &Pools, after: &Pools, boot: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, pool) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        PoolView { name, pool }.gone(boot, &mut findings);
    }
    for (name, pool) in after {
        let view = PoolView { name, pool };
        match before.get(name) {
            Some(before) if before.is_bare() && !pool.is_bare() => {
                view.changes(&view.healthy(&before.state), &mut findings)
            }
            Some(before) => view.changes(before, &mut findings),
            None => {
                findings.push(view.finding(Level::Info, Operation::Imported, "appeared"));
                findings.extend(view.faults());
            }
        }
    }
    findings
}

struct PoolView<'a> {
    name: &'a str,
    pool: &'a Pool,
}

impl PoolView<'_> {
    fn faults(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.changes(&self.healthy("ONLINE"), &mut findings);
        findings
    }

    /// A pool of the same disks in perfect health, of which that was the word.
    fn healthy(&self, state: &str) -> Pool {
        let mut healthy = self.pool.clone();
        healthy.state = state.to_owned();
        for disk in healthy.disks.values_mut().filter(|disk| disk.level() != Level::Info) {
            disk.state = "ONLINE".into();
        }
        (healthy.errors_told, healthy.data_errors, healthy.fill) = (0, Some(0), Fill::Normal);
        healthy
    }

    /// Exported or destroyed: what is no longer there does not say which. Or it was there before the boot, and did not come back.
    fn gone(&self, boot: &str, findings: &mut Vec<Finding>) {
        findings.push(match self.pool.is_from_before(boot) {
            true => self.finding(Level::Critical, Operation::Removed, "not imported"),
            false => self.finding(Level::Info, Operation::Exported, "gone"),
        });
        // Nobody looks at its disks any more, to tell that those that were not well are so again.
        for (device, disk) in self.pool.disks.iter().filter(|(_, disk)| disk.level() != Level::Info) {
            let payload = self.disk(device, disk, DiskOperation::RemovedFromPool);
            findings.push(self.disk_finding(Level::Info, payload, "gone"));
        }
    }

    fn changes(&self, before: &Pool, findings: &mut Vec<Finding>) {
        let renamed = before.under_the_names_of(self.pool);
        let before = renamed.as_ref().unwrap_or(before);
        findings.extend(self.condition_change(before));
        self.disk_changes(before, findings);
        findings.extend(self.error_change(before));
        let scans = self.pool.scans.iter();
        findings.extend(scans.filter_map(|(work, scan)| self.scan_change(scan, before.scans.get(work))));
        findings.extend(self.trim_change(before));
        findings.extend(self.size_changes(before));
    }

    fn condition_change(&self, before: &Pool) -> Option<Finding> {
        let condition = self.pool.condition();
        let (level, operation) = match condition {
            _ if condition == before.condition() => return None,
            Condition::Online => (Level::Info, Operation::Online),
            Condition::Degraded => (Level::Error, Operation::Degraded),
            Condition::Faulted => (Level::Critical, Operation::Faulted),
            Condition::Suspended => (Level::Critical, Operation::Suspended),
        };
        let action = format!("{:?}", condition).to_lowercase();
        Some(self.finding_of(level, self.with_health(operation), &action))
    }

    fn disk_changes(&self, before: &Pool, findings: &mut Vec<Finding>) {
        for (device, disk) in before.disks.iter().filter(|(device, _)| !self.pool.disks.contains_key(*device)) {
            let payload = self.disk(device, disk, DiskOperation::RemovedFromPool);
            findings.push(self.disk_finding(Level::Info, payload, "removed"));
        }
        for (device, disk) in &self.pool.disks {
            match before.disks.get(device) {
                None => {
                    let payload = self.disk(device, disk, DiskOperation::AddedToPool);
                    findings.push(self.disk_finding(disk.level(), payload, "added"));
                }
                Some(before) if before.state != disk.state => {
                    let payload = self.disk(device, disk, DiskOperation::StateChanged);
                    let payload = StorageDiskPayload { previous_state: before.state.clone(), ..payload };
                    findings.push(self.disk_finding(disk.level(), payload, "state changed"));
                }
                Some(_) => {}
            }
        }
    }

    fn error_change(&self, before: &Pool) -> Option<Finding> {
        let (pool, lost) = (self.pool, self.pool.data_errors.unwrap_or_default());
        let (level, operation, action) = if lost > before.data_errors.unwrap_or_default() {
            (Level::Critical, Operation::Errors, "data lost")
        } else if pool.errors_told > before.errors_told {
            // With data that is lost it stays as grave as that.
            let level = if lost > 0 { Level::Critical } else { Level::Error };
            (level, Operation::Errors, "errors counted")
        } else if !pool.has_errors() && before.has_errors() {
            (Level::Info, Operation::ErrorsCleared, "errors cleared")
        } else {
            return None;
        };
        Some(self.finding_of(level, StoragePoolPayload { data_errors: lost, ..self.with_health(operation) }, action))
    }

    fn scan_change(&self, scan: &Scan, before: Option<&Scan>) -> Option<Finding> {
        let step = scan.since(before)?;
        let (operation, action) = match (scan.work, step) {
            (Work::Scrub, Step::Started) => (Operation::ScrubStarted, "started"),
            (Work::Scrub, Step::Resumed) => (Operation::ScrubStarted, "resumed"),
            (Work::Scrub, Step::Paused) => (Operation::ScrubPaused, "paused"),
            (Work::Scrub, Step::Cancelled) => (Operation::ScrubCancelled, "cancelled"),
            (Work::Scrub, Step::Completed) => (Operation::ScrubCompleted, "completed"),
            (Work::Resilver, Step::Started | Step::Resumed) => (Operation::ResilverStarted, "started"),
            (Work::Resilver, Step::Completed) => (Operation::ResilverCompleted, "completed"),
            // A resilver that ends otherwise starts anew, and that is told.
            (Work::Resilver, Step::Paused | Step::Cancelled) => return None,
        };
        let mut payload = self.payload(operation);
        payload.resumed = step == Step::Resumed;
        if step == Step::Completed {
            payload.duration_seconds = scan.duration_seconds().unwrap_or_default();
            payload.repaired_bytes = scan.amount_bytes().unwrap_or_default();
            payload.unrepaired_errors = scan.errors;
        }
        let finding = self.finding_of(scan.level(), payload, action).with("date", &scan.date);
        // Under the name, too, by which it was told before it had a field.
        Some(if step == Step::Completed { finding.with("errors", scan.errors.to_string()) } else { finding })
    }

    fn trim_change(&self, before: &Pool) -> Option<Finding> {
        let (was, is) = (before.trims(), self.pool.trims());
        let (operation, action) = match (was, is) {
            (false, true) => (Operation::TrimStarted, "started"),
            (_, false) if self.pool.has_trimmed_since(before) => (Operation::TrimCompleted, "completed"),
            _ => return None,
        };
        Some(self.finding(Level::Info, operation, action))
    }

    fn size_changes(&self, before: &Pool) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let (Some(was), Some(is)) = (before.size_bytes, self.pool.size_bytes)
            && is > was
        {
            let payload = StoragePoolPayload { previous_size_bytes: bytes(was), ..self.payload(Operation::Expanded) };
            findings.push(self.finding_of(Level::Info, payload, "expanded"));
        }
        if self.pool.fill != before.fill {
            let used_percent = self.pool.used_percent().map(percentage).unwrap_or_default();
            let fill = self.pool.fill;
            let payload = StoragePoolPayload { used_percent, ..self.payload(Operation::Capacity) };
            findings.push(self.finding_of(fill.level(), payload, fill.name()));
        }
        findings
    }

    fn finding(&self, level: Level, operation: Operation, action: &str) -> Finding {
        self.finding_of(level, self.payload(operation), action)
    }

    fn finding_of(&self, level: Level, payload: StoragePoolPayload, action: &str) -> Finding {
        Finding::new(level, payload, COMPONENT, action)
    }

    fn payload(&self, operation: Operation) -> StoragePoolPayload {
        let (devices, more_devices) = first(self.pool.disks.keys().cloned());
        StoragePoolPayload {
            pool_name: self.name.to_owned(),
            devices,
            more_devices,
            raid_type: self.pool.layout.clone(),
            size_bytes: bytes(self.pool.size_bytes.unwrap_or_default()),
            used_bytes: bytes(self.pool.used_bytes.unwrap_or_default()),
            operation: operation.into(),
            ..Default::default()
        }
    }

    /// With what is wrong, by the pool's own word and by its disks.
    fn with_health(&self, operation: Operation) -> StoragePoolPayload {
        let pool = self.pool;
        let errors: Errors = pool.disks.values().map(|disk| disk.errors).sum();
        StoragePoolPayload {
            state: pool.state.clone(),
            reason: pool.status.trim_end_matches('.').to_owned(),
            faulty_devices: pool.faulty_devices(),
            read_errors: errors.read,
            write_errors: errors.write,
            checksum_errors: errors.checksum,
            ..self.payload(operation)
        }
    }

    fn disk_finding(&self, level: Level, payload: StorageDiskPayload, action: &str) -> Finding {
        Finding::new(level, payload, COMPONENT, action)
    }

    fn disk(&self, device: &str, disk: &Disk, operation: DiskOperation) -> StorageDiskPayload {
        let is_path = device.starts_with('/');
        StorageDiskPayload {
            device_id: short_name(device).to_owned(),
            device_path: if is_path { device.to_owned() } else { String::new() },
            state: disk.state.clone(),
            health_reason: disk.note.clone(),
            read_errors: disk.errors.read,
            write_errors: disk.errors.write,
            checksum_errors: disk.errors.checksum,
            pool_name: self.name.to_owned(),
            operation: operation.into(),
            ..StorageDiskPayload::default()
        }
    }
}

/// Whether it is a name that the kernel deals anew at each boot, `/dev/sda1`; or the number that stands for one.
fn is_dealt_anew(device: &str) -> bool {
    match device.strip_prefix("/dev/") {
        Some(name) => !name.contains('/'),
        None => device.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// `ata-WDC_WD40EFRX-1-part1` of `/dev/disk/by-id/…`.
fn short_name(device: &str) -> &str {
    device.rsplit('/').next().unwrap_or_default()
}

impl Pool {
    /// The same disks under the names that they have now, where only names have moved: the kernel deals its letters anew at each
    /// boot. Each stands in the row that it had, and none has been rebuilt, as one that took another's place would have been.
    fn under_the_names_of(&self, now: &Pool) -> Option<Pool> {
        let by_row = |pool: &Pool| -> BTreeMap<usize, (String, Class)> {
            pool.disks.iter().map(|(device, disk)| (disk.row, (device.clone(), disk.class))).gather()
        };
        let (were, are) = (by_row(self), by_row(now));
        let same_tree = were.len() == self.disks.len()
            && self.layout == now.layout
            && were.iter().map(|(row, (_, class))| (row, class)).eq(are.iter().map(|(row, (_, class))| (row, class)))
            && self.scans.get(&Work::Resilver) == now.scans.get(&Work::Resilver);
        let mut moved = were.values().zip(are.values()).filter(|((was, _), (is, _))| was != is).peekable();
        if !same_tree || moved.peek().is_none() {
            return None;
        }
        if !moved.all(|((was, _), (is, _))| is_dealt_anew(was) && is_dealt_anew(is)) {
            return None;
        }
        let name = |disk: &Disk| are.get(&disk.row).map(|(device, _)| device.clone());
        let disks = self.disks.values().filter_map(|disk| Some((name(disk)?, disk.clone()))).gather();
        Some(Pool { disks, ..self.clone() })
    }

    fn has_errors(&self) -> bool {
        self.errors_told > 0 || self.data_errors.is_some_and(|lost| lost > 0)
    }

    /// Disks that are not well or have counted errors, the worst first: `sdc FAULTED (3 read, 200 write errors)`.
    fn faulty_devices(&self) -> Vec<String> {
        let is_faulty = |disk: &Disk| disk.level() != Level::Info || disk.errors.total() > 0;
        let mut faulty: Vec<_> = self.disks.iter().filter(|(_, disk)| is_faulty(disk)).collect();
        faulty.order_by_key(|(_, disk)| (Reverse(disk.level()), Reverse(disk.errors.total())));
        let words = faulty.into_iter().map(|(device, disk)| {
            let mut words = short_name(device).to_owned();
            if disk.level() != Level::Info {
                words.push_str(&format!(" {}", disk.state));
            }
            words + &disk.errors.words()
        });
        listed(words.collect::<Vec<_>>().into_iter())
    }

    fn trims(&self) -> bool {
        self.disks.values().any(|disk| disk.trim == Trim::Running)
    }

    fn has_trimmed_since(&self, before: &Pool) -> bool {
        self.disks.iter().any(|(device, disk)| {
            matches!(disk.trim, Trim::Completed(_))
                && before.disks.get(device).is_some_and(|before| before.trim != disk.trim)
        })
    }
}

impl Scan {
    fn level(&self) -> Level {
        if self.errors > 0 { Level::Error } else { Level::Info }
    }
}
