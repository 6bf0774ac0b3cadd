//! What changed between two looks at the pools, as events.

use super::{
    scan::{Scan, Step, Work},
    status::{Disk, Pool, Pools},
    vdev::{Class, Trim},
};
use crate::{
    collectors::storage::{
        capacity::{Fill, Thresholds},
        finding::{About, Finding, bytes, listed},
    },
    event::Level,
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

    /// Carries over what one look alone does not tell: how full the pool was, and which errors were told of.
    pub(super) fn follow(&mut self, before: Option<&Pool>, thresholds: &Thresholds) {
        let (fill, told) = before.map_or((Fill::Normal, 0), |before| (before.fill, before.errors_told));
        self.fill = self.used_percent().map_or(fill, |percent| thresholds.next(fill, percent));
        let errors = self.errors();
        // A dying disk counts on for days: the next word is due when there are twice as many.
        let is_news = told == 0 || errors >= told.saturating_mul(2);
        self.errors_told = if is_news { errors } else { told.min(errors) };
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
pub(super) fn faults(pools: &Pools) -> Vec<Finding> {
    pools.iter().flat_map(|(name, pool)| PoolView { name, pool }.faults()).collect()
}

/// What changed, pool by pool.
pub(super) fn diff(before: &Pools, after: &Pools) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, pool) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        // Exported or destroyed: what is no longer there does not say which.
        findings.push(PoolView { name, pool }.finding(Level::Info, Operation::Exported, "gone"));
    }
    for (name, pool) in after {
        let view = PoolView { name, pool };
        match before.get(name) {
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
        // As compared with a pool of the same disks in perfect health.
        let mut healthy = self.pool.clone();
        healthy.state = "ONLINE".into();
        for disk in healthy.disks.values_mut().filter(|disk| disk.level() != Level::Info) {
            disk.state = "ONLINE".into();
        }
        (healthy.errors_told, healthy.data_errors, healthy.fill) = (0, Some(0), Fill::Normal);
        self.changes(&healthy, &mut findings);
        findings
    }

    fn changes(&self, before: &Pool, findings: &mut Vec<Finding>) {
        findings.extend(self.condition_change(before));
        self.disk_changes(before, findings);
        findings.extend(self.error_change(before));
        findings.extend(self.scan_change(before));
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
        Some(self.finding(level, operation, &action).with("state", &self.pool.state).with("status", &self.pool.status))
    }

    fn disk_changes(&self, before: &Pool, findings: &mut Vec<Finding>) {
        for (device, disk) in before.disks.iter().filter(|(device, _)| !self.pool.disks.contains_key(*device)) {
            findings.push(self.disk_finding(Level::Info, device, disk, DiskOperation::RemovedFromPool, "removed"));
        }
        for (device, disk) in &self.pool.disks {
            match before.disks.get(device) {
                None => {
                    findings.push(self.disk_finding(disk.level(), device, disk, DiskOperation::AddedToPool, "added"));
                }
                Some(before) if before.state != disk.state => {
                    let finding = self.disk_finding(
                        disk.level(),
                        device,
                        disk,
                        DiskOperation::StateChanged,
                        &format!("{} to {}", before.state, disk.state),
                    );
                    findings.push(finding);
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
            (Level::Error, Operation::Errors, "errors counted")
        } else if !pool.has_errors() && before.has_errors() {
            (Level::Info, Operation::ErrorsCleared, "errors cleared")
        } else {
            return None;
        };
        let counted = pool.disks.iter().filter(|(_, disk)| disk.errors.total() > 0).map(|(device, disk)| {
            let errors = disk.errors;
            format!("{device}: {} read, {} write, {} checksum", errors.read, errors.write, errors.checksum)
        });
        let disks = listed(counted.collect::<Vec<_>>().into_iter()).join("; ");
        let lost = if lost > 0 { lost.to_string() } else { String::new() };
        Some(self.finding(level, operation, action).with("disks", disks).with("data_errors", lost))
    }

    fn scan_change(&self, before: &Pool) -> Option<Finding> {
        let scan = self.pool.scan.as_ref()?;
        let step = scan.since(before.scan.as_ref())?;
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
        let finding = self.finding(scan.level(), operation, action).with("date", &scan.date);
        Some(if step == Step::Completed { scan.describe(finding) } else { finding })
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
            findings
                .push(self.finding(Level::Info, Operation::Expanded, "expanded").with("from_bytes", was.to_string()));
        }
        if self.pool.fill != before.fill {
            let percent = self.pool.used_percent().map(|percent| format!("{percent:.1}")).unwrap_or_default();
            let fill = self.pool.fill;
            findings.push(self.finding(fill.level(), Operation::Capacity, fill.name()).with("used_percent", percent));
        }
        findings
    }

    fn finding(&self, level: Level, operation: Operation, action: &str) -> Finding {
        let payload = StoragePoolPayload {
            pool_name: self.name.to_owned(),
            devices: listed(self.pool.disks.keys().cloned().collect::<Vec<_>>().into_iter()),
            raid_type: self.pool.layout.clone(),
            size_bytes: bytes(self.pool.size_bytes.unwrap_or_default()),
            used_bytes: bytes(self.pool.used_bytes.unwrap_or_default()),
            operation: operation.into(),
        };
        Finding::new(level, About::Pool(payload), COMPONENT, action)
    }

    fn disk_finding(&self, level: Level, device: &str, disk: &Disk, operation: DiskOperation, action: &str) -> Finding {
        let is_path = device.starts_with('/');
        let payload = StorageDiskPayload {
            device_id: device.rsplit('/').next().unwrap_or_default().to_owned(),
            device_path: if is_path { device.to_owned() } else { String::new() },
            state: disk.state.clone(),
            health_reason: disk.note.clone(),
            pool_name: self.name.to_owned(),
            operation: operation.into(),
            ..StorageDiskPayload::default()
        };
        Finding::new(level, About::Disk(payload), COMPONENT, action)
    }
}

impl Pool {
    fn has_errors(&self) -> bool {
        self.errors_told > 0 || self.data_errors.is_some_and(|lost| lost > 0)
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

    fn describe(&self, finding: Finding) -> Finding {
        finding.with("duration", &self.duration).with("amount", &self.amount).with("errors", self.errors.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::storage::{
        capacity::DEFAULT,
        finding::lines,
        zfs::status::{add_sizes, parse_status},
    };

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../../tests/fixtures/zfs/zpool-status", $name, ".txt"))
        };
    }

    /// What is told when the pools look like this one after the other, from the second on.
    fn told(looks: &[&str]) -> Vec<Vec<String>> {
        let mut before: Option<Pools> = None;
        let mut told = Vec::new();
        for look in looks {
            let mut after = parse_status(look);
            for (name, pool) in &mut after {
                pool.follow(before.as_ref().and_then(|before| before.get(name)), &DEFAULT);
            }
            told.push(lines(&before.as_ref().map_or_else(|| faults(&after), |before| diff(before, &after))));
            before = Some(after);
        }
        told
    }

    #[test]
    fn a_scrub_is_told_when_it_starts_and_when_it_has_ended() {
        let told = told(&[fixture!(".healthy"), fixture!(".scrub-in-progress"), fixture!(".scrub-done")]);
        assert_eq!(told[0], Vec::<String>::new());
        assert_eq!(told[1], ["info storage.pool.scrub_started tank"]);
        assert_eq!(told[2], ["info storage.pool.scrub_completed tank"]);
    }

    #[test]
    fn a_scrub_that_is_paused_resumed_and_cancelled_is_told_each_time() {
        let told = told(&[
            fixture!(".scrub-in-progress"),
            fixture!(".scrub-paused"),
            fixture!(".scrub-in-progress"),
            fixture!(".scrub-canceled"),
        ]);
        assert_eq!(told[0], Vec::<String>::new());
        assert_eq!(told[1], ["info storage.pool.scrub_paused tank"]);
        assert_eq!(told[2], ["info storage.pool.scrub_started tank"]);
        assert_eq!(told[3], ["info storage.pool.scrub_cancelled tank"]);
    }

    #[test]
    fn a_disk_taken_offline_and_back_is_a_degraded_pool_and_a_resilver() {
        let told = told(&[
            fixture!(".scrub-done"),
            fixture!(".degraded-offline"),
            fixture!(".resilver-in-progress"),
            fixture!(".resilver-online"),
        ]);
        assert_eq!(told[1], ["error storage.pool.degraded tank", "warn storage.disk.state_changed vdc"]);
        assert_eq!(
            told[2],
            [
                "info storage.pool.online tank",
                "info storage.disk.state_changed vdc",
                "info storage.pool.resilver_started tank"
            ]
        );
        assert_eq!(told[3], ["info storage.pool.resilver_completed tank"]);
    }

    #[test]
    fn a_disk_that_is_replaced_leaves_the_pool_when_the_resilver_has_ended() {
        let told = told(&[fixture!(".healthy"), fixture!(".replacing-in-progress"), fixture!(".replaced")]);
        assert_eq!(told[1], ["info storage.disk.added_to_pool vdd", "info storage.pool.resilver_started tank"]);
        assert_eq!(told[2], ["info storage.disk.removed_from_pool vdc", "info storage.pool.resilver_completed tank"]);
    }

    #[test]
    fn a_faulted_disk_degrades_a_pool_that_still_calls_itself_online() {
        let told = told(&[fixture!(".repaired"), fixture!("-p.disk-faulted"), fixture!(".repaired")]);
        assert_eq!(
            told[1],
            [
                "error storage.pool.degraded pool1",
                "error storage.disk.state_changed zc",
                "error storage.pool.errors pool1"
            ]
        );
        assert_eq!(
            told[2],
            [
                "info storage.pool.online pool1",
                "info storage.disk.state_changed zc",
                "info storage.pool.errors_cleared pool1"
            ]
        );
    }

    #[test]
    fn at_first_sight_faults_are_told_and_health_is_not() {
        assert_eq!(
            told(&[fixture!("-p.disk-faulted")])[0],
            [
                "error storage.pool.degraded pool1",
                "error storage.disk.state_changed zc",
                "error storage.pool.errors pool1"
            ]
        );
        assert_eq!(told(&[fixture!("-v.data-loss")])[0], ["critical storage.pool.errors lossy"]);
        assert_eq!(told(&[fixture!(".scrub-in-progress")])[0], Vec::<String>::new());
    }

    #[test]
    fn errors_that_were_repaired_are_told_once_and_their_clearing_too() {
        let healthy = fixture!(".after-clear");
        let told = told(&[healthy, fixture!("-v.checksum-repaired"), fixture!("-v.checksum-repaired"), healthy]);
        assert_eq!(told[1], ["error storage.pool.errors tank", "info storage.pool.scrub_completed tank"]);
        assert_eq!(told[2], Vec::<String>::new());
        assert_eq!(told[3][0], "info storage.pool.errors_cleared tank");
    }

    #[test]
    fn errors_that_go_on_are_told_again_when_they_have_doubled() {
        let faulted = |count: &str| fixture!("-p.disk-faulted").replace("200", count);
        let looks = [faulted("10"), faulted("15"), faulted("22"), faulted("23"), faulted("46")];
        let told = told(&looks.each_ref().map(String::as_str));
        let telling: Vec<_> = told.iter().map(|told| told.iter().any(|line| line.contains("errors"))).collect();
        // 13, 18, 25, 26, 49 errors.
        assert_eq!(telling, [true, false, false, true, false]);
    }

    #[test]
    fn a_trim_is_told_at_its_start_and_end() {
        let done = fixture!("-t.trim");
        let running = done.replace("100% trimmed, completed at", "40% trimmed, started at");
        let before = done.replace("(100% trimmed, completed at Fri Nov 20 23:02:57 2026)", "(untrimmed)");
        let told = told(&[&before, &running, &running, done, done]);
        assert_eq!(told[1], ["info storage.pool.trim_started tank"]);
        assert_eq!(told[2], Vec::<String>::new());
        assert_eq!(told[3], ["info storage.pool.trim_completed tank"]);
        assert_eq!(told[4], Vec::<String>::new());
    }

    #[test]
    fn a_disk_is_named_shortly_and_its_path_is_told_in_full() {
        let told = told(&[fixture!("-LP.healthy"), fixture!("-P.replacing-in-progress")]);
        assert_eq!(told[1][0], "info storage.disk.added_to_pool vdd1");
        let after = parse_status(fixture!("-P.replacing-in-progress"));
        let findings = diff(&parse_status(fixture!("-LP.healthy")), &after);
        let About::Disk(payload) = &findings[0].about else { panic!() };
        assert_eq!((payload.device_path.as_str(), payload.pool_name.as_str()), ("/dev/vdd1", "tank"));
    }

    #[test]
    fn a_second_scrub_that_has_ended_since_is_told_by_its_date() {
        let done = fixture!(".scrub-done");
        let later = done.replace("Nov 20 23:00:38", "Nov 27 23:00:38");
        assert_eq!(told(&[done, &later])[1], ["info storage.pool.scrub_completed tank"]);
    }

    #[test]
    fn a_broken_cache_is_a_broken_disk_and_no_degraded_pool() {
        let with_cache = |state: &str| {
            let cache = format!("\tcache\n\t  vde       {state}     0     0     0\n\nerrors: No");
            fixture!(".healthy").replace("\nerrors: No", &cache)
        };
        let told = told(&[&with_cache("ONLINE"), &with_cache("FAULTED")]);
        assert_eq!(told[1], ["error storage.disk.state_changed vde"]);
    }

    #[test]
    fn pools_that_come_and_go_are_told_with_what_is_wrong_with_them() {
        let told = told(&["no pools available\n", fixture!("-v.data-loss"), "no pools available\n"]);
        assert_eq!(told[1], ["info storage.pool.imported lossy", "critical storage.pool.errors lossy"]);
        assert_eq!(told[2], ["info storage.pool.exported lossy"]);
    }

    #[test]
    fn suspended_and_faulted_pools_are_critical() {
        let state = |state: &str| fixture!(".healthy").replacen("ONLINE", state, 1);
        let told = told(&[fixture!(".healthy"), &state("SUSPENDED"), &state("UNAVAIL"), fixture!(".healthy")]);
        assert_eq!(told[1], ["critical storage.pool.suspended tank"]);
        assert_eq!(told[2], ["critical storage.pool.faulted tank"]);
        assert_eq!(told[3], ["info storage.pool.online tank"]);
    }

    #[test]
    fn a_pool_that_grows_or_fills_up_is_told() {
        let look = |list: &str, before: Option<&Pool>| {
            let mut pools = parse_status(fixture!(".healthy"));
            add_sizes(&mut pools, list);
            pools.values_mut().for_each(|pool| pool.follow(before, &DEFAULT));
            pools
        };
        let small = look("tank\t1000\t500\n", None);
        let full = look("tank\t1000\t920\n", small.get("tank"));
        assert_eq!(lines(&diff(&small, &full)), ["error storage.pool.capacity tank"]);
        let unknown = look("", full.get("tank"));
        assert_eq!(lines(&diff(&full, &unknown)), Vec::<String>::new());
        let grown = look("tank\t2000\t920\n", unknown.get("tank"));
        assert_eq!(
            lines(&diff(&unknown, &grown)),
            ["info storage.pool.expanded tank", "info storage.pool.capacity tank"]
        );
    }

    proptest! {
        #[test]
        fn no_pools_differ_from_themselves(index in 0usize..6, cut in 0usize..900) {
            let text = [
                fixture!(".healthy"), fixture!("-p.disk-faulted"), fixture!("-v.data-loss"), fixture!("-t.trim"),
                fixture!(".scrub-paused"), fixture!(".replacing-in-progress"),
            ][index];
            let text: String = text.chars().take(cut).collect();
            let mut pools = parse_status(&text);
            pools.values_mut().for_each(|pool| pool.follow(None, &DEFAULT));
            let mut again = pools.clone();
            for (name, pool) in &mut again {
                pool.follow(pools.get(name), &DEFAULT);
            }
            prop_assert_eq!(diff(&pools, &again), vec![]);
        }
    }
}
