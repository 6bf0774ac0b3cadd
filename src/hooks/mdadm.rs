//! What `mdadm --monitor` reports, as events. It says the event, the array and sometimes a device; whether the array is
//! whole, what it is made of and what a rebuild is for stand in small files of the kernel.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{Daemon, Words, event, note};
use crate::{
    event::Level,
    schema::events::{
        Event, StorageDiskPayload, StoragePoolPayload, SystemHostPayload,
        storage_disk_payload::StorageDiskOperation as DiskOperation,
        storage_pool_payload::StoragePoolOperation as PoolOperation, system_host_payload::SystemHostOperation,
    },
};

/// The files of an array hold one word or number.
const FILE_BYTES_MAX: u64 = 64;

/// What a report tells; some are two: a disk that failed and an array that is less than whole for it.
pub(super) fn events(words: &Words, root: &Path) -> Result<Vec<Event>, String> {
    let (report, device, other) = (words.argument(0), words.argument(1), words.argument(2));
    if report.is_empty() || device.is_empty() {
        return Err("an event and an md device are wanted as arguments".to_owned());
    }
    let array = Array::of(root, device);
    Ok(match report {
        // Percents of a rebuild: its beginning and its end are told.
        rebuild if rebuild.strip_prefix("Rebuild").is_some_and(is_percent) => Vec::new(),
        "RebuildStarted" => {
            vec![array.rebuild("sync_action", PoolOperation::ScrubStarted, PoolOperation::ResilverStarted)]
        }
        "RebuildFinished" => {
            vec![array.rebuild("last_sync_action", PoolOperation::ScrubCompleted, PoolOperation::ResilverCompleted)]
        }
        "Fail" => [
            Some(array.disk(other, Level::Error, DiskOperation::StateChanged, "FAULTED", report)),
            array.missing_disks().filter(|missing| *missing > 0).map(|missing| array.degraded(missing, report)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        "FailSpare" => vec![array.disk(other, Level::Error, DiskOperation::StateChanged, "FAULTED", report)],
        "SpareActive" => {
            let disk = array.disk(other, Level::Info, DiskOperation::StateChanged, "ONLINE", report);
            [Some(disk), array.whole_again(report)].into_iter().flatten().collect()
        }
        "MoveSpare" => vec![array.spare_moved(other)],
        "DegradedArray" => vec![array.degraded(array.missing_disks().unwrap_or_default(), report)],
        "NewArray" => vec![array.pool(Level::Info, PoolOperation::Imported, report)],
        // A stripe or a concatenation is there, and mdadm has nothing to watch of it.
        "DeviceDisappeared" if other == "Wrong-Level" => Vec::new(),
        // mdadm misses what its configuration calls otherwise, every day; the kernel has it.
        "DeviceDisappeared" if array.is_there() => Vec::new(),
        "DeviceDisappeared" => vec![array.pool(Level::Critical, PoolOperation::Removed, report)],
        "SparesMissing" => vec![array.pool(Level::Warn, PoolOperation::SparesMissing, report)],
        "TestMessage" => vec![test(device)],
        // One that mdadm has learnt since. What it is and whether it ends is not known: it begins no state.
        unknown => {
            let payload =
                StoragePoolPayload { reason: unknown.to_owned(), ..array.payload(PoolOperation::Unspecified) };
            vec![event(Daemon::Mdadm, Level::Warn, payload, unknown)]
        }
    })
}

fn is_percent(rest: &str) -> bool {
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// `--test`: somebody wants to see that it arrives.
fn test(device: &str) -> Event {
    let payload = SystemHostPayload {
        subject: "mdadm".to_owned(),
        detail: format!("mdadm has tried out its hook for {device}"),
        operation: SystemHostOperation::HookTested.into(),
        ..Default::default()
    };
    event(Daemon::Mdadm, Level::Info, payload, "TestMessage")
}

struct Array {
    /// `md0`, or what stands behind `/dev/` otherwise.
    name: String,
    /// Where the kernel tells of it, if it does.
    directory: Option<PathBuf>,
}

impl Array {
    fn of(root: &Path, device: &str) -> Array {
        let name = device.strip_prefix("/dev/").unwrap_or(device).to_owned();
        let kernel_name = if name.contains('/') {
            // `/dev/md/data` is a link to `../md127`.
            let target = std::fs::read_link(root.join("dev").join(&name)).ok();
            target.and_then(|target| Some(target.file_name()?.to_str()?.to_owned()))
        } else {
            Some(name.clone())
        };
        let is_plain =
            |name: &String| name.starts_with("md") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let directory = kernel_name.filter(is_plain).map(|name| root.join("sys/block").join(name).join("md"));
        Array { name, directory }
    }

    /// A word that the kernel has of it.
    fn word(&self, file: &str) -> Option<String> {
        let mut word = String::new();
        let file = File::open(self.directory.as_ref()?.join(file)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut word).ok()?;
        Some(word.trim().to_owned())
    }

    /// Whether the kernel runs it.
    fn is_there(&self) -> bool {
        self.word("array_state").is_some_and(|state| !matches!(state.as_str(), "clear" | "inactive" | ""))
    }

    fn missing_disks(&self) -> Option<u32> {
        self.word("degraded")?.parse().ok()
    }

    fn pool(&self, level: Level, operation: PoolOperation, report: &str) -> Event {
        event(Daemon::Mdadm, level, self.payload(operation), report)
    }

    fn payload(&self, operation: PoolOperation) -> StoragePoolPayload {
        StoragePoolPayload {
            pool_name: self.name.clone(),
            raid_type: self.word("level").map_or_else(|| "md".to_owned(), |level| format!("md-{level}")),
            operation: operation.into(),
            ..Default::default()
        }
    }

    /// A check or repair is a scrub; everything else makes disks whole.
    fn rebuild(&self, file: &str, scrub: PoolOperation, resilver: PoolOperation) -> Event {
        let action = self.word(file).unwrap_or_default();
        let is_scrub = matches!(action.as_str(), "check" | "repair");
        let mut payload = self.payload(if is_scrub { scrub } else { resilver });
        if scrub == PoolOperation::ScrubCompleted && is_scrub {
            payload.mismatches = self.word("mismatch_cnt").and_then(|count| count.parse().ok()).unwrap_or_default();
        }
        let level = if payload.mismatches > 0 { Level::Warn } else { Level::Info };
        let mut event = event(Daemon::Mdadm, level, payload, "rebuild");
        note(&mut event.metadata, "sync_action", &action);
        event
    }

    fn degraded(&self, missing_devices: u32, report: &str) -> Event {
        let payload = StoragePoolPayload { missing_devices, ..self.payload(PoolOperation::Degraded) };
        event(Daemon::Mdadm, Level::Error, payload, report)
    }

    fn whole_again(&self, report: &str) -> Option<Event> {
        (self.missing_disks()? == 0).then(|| self.pool(Level::Info, PoolOperation::Online, report))
    }

    fn disk(&self, device: &str, level: Level, operation: DiskOperation, state: &str, report: &str) -> Event {
        event(Daemon::Mdadm, level, self.disk_payload(device, operation, state), report)
    }

    fn disk_payload(&self, device: &str, operation: DiskOperation, state: &str) -> StorageDiskPayload {
        StorageDiskPayload {
            device_id: device.to_owned(),
            device_path: device.to_owned(),
            state: state.to_owned(),
            pool_name: self.name.clone(),
            operation: operation.into(),
            ..Default::default()
        }
    }

    /// Which disk it is, mdadm does not say: only from which array.
    fn spare_moved(&self, from: &str) -> Event {
        let payload = StorageDiskPayload {
            previous_pool: from.strip_prefix("/dev/").unwrap_or(from).to_owned(),
            ..self.disk_payload("", DiskOperation::AddedToPool, "SPARE")
        };
        event(Daemon::Mdadm, Level::Info, payload, "MoveSpare")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::hooks::{lines, sentences};

    fn told(root: &Path, arguments: &[&str]) -> Vec<String> {
        let words = Words::new([], arguments.iter().map(Into::into));
        lines(&events(&words, root).expect("a report"))
    }

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let md = root.path().join("sys/block/md127/md");
        fs::create_dir_all(&md).expect("make directories");
        fs::create_dir_all(root.path().join("dev/md")).expect("make directories");
        std::os::unix::fs::symlink("../md127", root.path().join("dev/md/data")).expect("make a link");
        for (file, word) in files {
            fs::write(md.join(file), format!("{word}\n")).expect("write a file");
        }
        root
    }

    #[test]
    fn each_report_has_its_kind_and_level() {
        let root = machine(&[]);
        for (arguments, lines) in [
            (&["NewArray", "/dev/md0"][..], &["info storage.pool.imported md0"][..]),
            (&["DegradedArray", "/dev/md0"], &["error storage.pool.degraded md0"]),
            (&["DeviceDisappeared", "/dev/md0"], &["critical storage.pool.removed md0"]),
            (&["DeviceDisappeared", "/dev/md0", "Wrong-Level"], &[]),
            (&["Fail", "/dev/md0", "/dev/loop2"], &["error storage.disk.state_changed /dev/loop2"]),
            (&["FailSpare", "/dev/md0", "/dev/loop2"], &["error storage.disk.state_changed /dev/loop2"]),
            (&["SpareActive", "/dev/md0", "/dev/loop3"], &["info storage.disk.state_changed /dev/loop3"]),
            (&["MoveSpare", "/dev/md0", "/dev/md1"], &["info storage.disk.added_to_pool"]),
            (&["RebuildStarted", "/dev/md0"], &["info storage.pool.resilver_started md0"]),
            (&["Rebuild96", "/dev/md0"], &[]),
            (&["RebuildFinished", "/dev/md0"], &["info storage.pool.resilver_completed md0"]),
            (&["SparesMissing", "/dev/md0"], &["warn storage.pool.spares_missing md0"]),
            (&["TestMessage", "/dev/md0"], &["info system.host.hook_tested mdadm"]),
            (&["SomethingNew", "/dev/md0"], &["warn storage.pool md0"]),
        ] {
            assert_eq!(told(root.path(), arguments), lines, "{arguments:?}");
        }
    }

    #[test]
    fn an_array_that_the_kernel_runs_has_not_disappeared_whatever_its_configuration_calls_it() {
        for (state, lines) in [
            ("clean", &[][..]),
            ("active", &[]),
            ("read-auto", &[]),
            ("inactive", &["critical storage.pool.removed md127"]),
            ("clear", &["critical storage.pool.removed md127"]),
        ] {
            let root = machine(&[("array_state", state)]);
            assert_eq!(told(root.path(), &["DeviceDisappeared", "/dev/md127"]), lines, "{state}");
        }
    }

    #[test]
    fn a_disk_that_fails_makes_the_array_degraded_and_its_successor_makes_it_whole() {
        let root = machine(&[("degraded", "1"), ("level", "raid1")]);
        let failed = told(root.path(), &["Fail", "/dev/md/data", "/dev/loop2"]);
        assert_eq!(failed, ["error storage.disk.state_changed /dev/loop2", "error storage.pool.degraded md/data"]);
        let root = machine(&[("degraded", "0"), ("level", "raid1")]);
        let active = told(root.path(), &["SpareActive", "/dev/md/data", "/dev/loop3"]);
        assert_eq!(active, ["info storage.disk.state_changed /dev/loop3", "info storage.pool.online md/data"]);
    }

    #[test]
    fn a_check_is_a_scrub_and_not_a_rebuild() {
        let root = machine(&[("sync_action", "check"), ("last_sync_action", "check"), ("mismatch_cnt", "8")]);
        assert_eq!(told(root.path(), &["RebuildStarted", "/dev/md127"]), ["info storage.pool.scrub_started md127"]);
        let words = Words::new([], ["RebuildFinished", "/dev/md127"].map(Into::into));
        let finished = events(&words, root.path()).expect("a report");
        assert_eq!(lines(&finished), ["warn storage.pool.scrub_completed md127"]);
        assert_eq!(sentences(&finished), ["Pool md127 was scrubbed, mismatches: 8"]);
    }

    #[test]
    fn every_report_is_a_sentence() {
        let root = machine(&[("degraded", "1"), ("level", "raid1"), ("mismatch_cnt", "0")]);
        for (arguments, sentence) in [
            (&["NewArray", "/dev/md/data"][..], "Pool md/data was imported: md-raid1"),
            (&["DegradedArray", "/dev/md/data"], "Pool md/data is degraded, 1 of its disks missing"),
            (&["DegradedArray", "/dev/md0"], "Pool md0 is degraded"),
            (&["DeviceDisappeared", "/dev/md/data"], "Pool md/data has disappeared: md-raid1"),
            (&["FailSpare", "/dev/md0", "/dev/sdd"], "Disk /dev/sdd is FAULTED in pool md0"),
            (&["SpareActive", "/dev/md0", "/dev/sdd"], "Disk /dev/sdd is ONLINE in pool md0"),
            (&["MoveSpare", "/dev/md0", "/dev/md1"], "Disk was added to pool md0, state SPARE, moved from md1"),
            (&["RebuildStarted", "/dev/md0"], "Pool md0 is being rebuilt"),
            (&["RebuildFinished", "/dev/md0"], "Pool md0 was rebuilt"),
            (&["SparesMissing", "/dev/md/data"], "Pool md/data is short of spares: md-raid1"),
            (&["TestMessage", "/dev/md0"], "Hook of mdadm works: mdadm has tried out its hook for /dev/md0"),
            (&["SomethingNew", "/dev/md0"], "Pool md0 reports an event: SomethingNew"),
        ] {
            let words = Words::new([], arguments.iter().map(Into::into));
            assert_eq!(sentences(&events(&words, root.path()).expect("a report")), [sentence], "{arguments:?}");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_followed() {
        let root = machine(&[("degraded", "1")]);
        fs::create_dir(root.path().join("sys/md")).expect("make a directory");
        fs::write(root.path().join("sys/md/degraded"), "1").expect("write a file");
        for device in ["/dev/../sys/block/md127", "/dev/md/../../etc", ".."] {
            let told = told(root.path(), &["Fail", device, "/dev/loop2"]);
            assert_eq!(told, ["error storage.disk.state_changed /dev/loop2"]);
        }
    }

    #[test]
    fn a_call_without_an_array_is_an_error() {
        assert!(events(&Words::new([], ["Fail".into()]), Path::new("/")).is_err());
    }
}
