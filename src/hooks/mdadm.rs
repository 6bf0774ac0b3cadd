//! What `mdadm --monitor` reports, as events: that an array which it is to watch is not there, or short of spares, which stands
//! in its configuration alone. What happens to an array that runs, also that somebody stops it, stands in the kernel's table: the
//! storage collector tells of that, and one incident is one event.

use std::{
    fs::File,
    io::Read as _,
    os::unix::process::parent_id,
    path::{Path, PathBuf},
};

use super::{Daemon, Words, event};
use crate::{
    event::Level,
    schema::events::{
        Event, StoragePoolPayload, SystemHostPayload, storage_pool_payload::StoragePoolOperation as PoolOperation,
        system_host_payload::SystemHostOperation,
    },
};

/// The files of an array hold one word or number; those of a process a line.
const FILE_BYTES_MAX: u64 = 512;

/// A monitor begins with what it is to watch and does not find: for so long, seconds, what it misses was not there. What it misses
/// later it has seen before.
const BEGINNING_SECONDS: u64 = 60;
/// Programs between the monitor and this one: a shell, and what somebody has written to run several hooks.
const GENERATIONS_MAX: usize = 8;
/// In which the kernel counts when a process began.
const TICKS_PER_SECOND: u64 = 100;

/// What a report tells; none where the storage collector sees it. `is_alone`: whether it is switched off.
pub(super) fn events(words: &Words, root: &Path, is_alone: impl Fn() -> bool) -> Result<Vec<Event>, String> {
    let (report, device, other) = (words.argument(0), words.argument(1), words.argument(2));
    if report.is_empty() || device.is_empty() {
        return Err("an event and an md device are wanted as arguments".to_owned());
    }
    let array = Array::of(root, device);
    let event = match report {
        "Fail" | "FailSpare" | "SpareActive" | "MoveSpare" | "DegradedArray" | "NewArray" => {
            is_alone().then(|| array.alone(report)).flatten()
        }
        // Its beginning, its end, and percents of it.
        rebuild if rebuild.starts_with("Rebuild") => is_alone().then(|| array.alone(report)).flatten(),
        // A stripe or a concatenation is there, and mdadm has nothing to watch of it.
        "DeviceDisappeared" if other == "Wrong-Level" => None,
        // mdadm misses what its configuration calls otherwise, every day; the kernel has it.
        "DeviceDisappeared" if array.is_there() => None,
        // It was there: somebody has stopped it, and the collector has seen that, too.
        "DeviceDisappeared" if has_watched_for_long(root) => None,
        "DeviceDisappeared" => Some(array.pool(Level::Critical, PoolOperation::Removed, report)),
        "SparesMissing" => Some(array.pool(Level::Warn, PoolOperation::SparesMissing, report)),
        "TestMessage" => Some(test(device)),
        // One that mdadm has learnt since. What it is and whether it ends is not known: it begins no state.
        unknown => {
            let payload =
                StoragePoolPayload { reason: unknown.to_owned(), ..array.payload(PoolOperation::Unspecified) };
            Some(event(Daemon::Mdadm, Level::Warn, payload, unknown))
        }
    };
    Ok(event.into_iter().collect())
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

/// Whether the monitor that runs this looks for more than the first time. One that is not found has begun just now, so that an array is
/// told twice rather than never.
fn has_watched_for_long(root: &Path) -> bool {
    monitor_seconds(root).is_some_and(|seconds| seconds > BEGINNING_SECONDS)
}

/// How long the monitor has run.
fn monitor_seconds(root: &Path) -> Option<u64> {
    let mut process = parent_id();
    for _ in 0..GENERATIONS_MAX {
        let line = read(&root.join(format!("proc/{process}/stat")))?;
        // `650 (mdadm) S 1 …`: what is in parentheses is any text, the rest are numbers.
        let (name, numbers) = line.split_once('(')?.1.rsplit_once(") ")?;
        let mut numbers = numbers.split(' ').skip(1);
        process = numbers.next()?.parse().ok()?;
        if name == "mdadm" {
            let began: u64 = numbers.nth(17)?.parse().ok()?;
            let uptime: u64 = read(&root.join("proc/uptime"))?.split('.').next()?.parse().ok()?;
            return uptime.checked_sub(began / TICKS_PER_SECOND);
        }
    }
    None
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

struct Array {
    /// The kernel's, as the collector has it: `md0`. Where that is not known, what stands behind `/dev/`: the collector tells that
    /// such a one has come, too.
    name: String,
    /// Where the kernel tells of it, if it does.
    directory: Option<PathBuf>,
}

impl Array {
    fn of(root: &Path, device: &str) -> Array {
        let name = device.strip_prefix("/dev/").unwrap_or(device).to_owned();
        let kernel_name = if name.contains('/') {
            // `/dev/md/data` is a link to `../md127`. `/dev/md/0` is `md0`, also where it is not there.
            let target = std::fs::read_link(root.join("dev").join(&name)).ok();
            let linked = target.and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
            linked.or_else(|| {
                let number: u32 = name.strip_prefix("md/")?.parse().ok()?;
                Some(format!("md{number}"))
            })
        } else {
            Some(name.clone())
        };
        let is_plain =
            |name: &String| name.starts_with("md") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let kernel_name = kernel_name.filter(is_plain);
        let directory = kernel_name.as_ref().map(|name| root.join("sys/block").join(name).join("md"));
        Array { name: kernel_name.unwrap_or(name), directory }
    }

    /// A word that the kernel has of it.
    fn word(&self, file: &str) -> Option<String> {
        Some(read(&self.directory.as_ref()?.join(file))?.trim().to_owned())
    }

    /// Whether the kernel runs it.
    fn is_there(&self) -> bool {
        self.word("array_state").is_some_and(|state| !matches!(state.as_str(), "clear" | "inactive" | ""))
    }

    /// What somebody has to know of an array that runs, where no collector looks: whether it is whole, and what a check has found.
    fn alone(&self, report: &str) -> Option<Event> {
        let number = |file: &str| self.word(file).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        let (level, payload) = match report {
            "Fail" | "DegradedArray" => (Level::Error, self.payload(PoolOperation::Degraded)),
            "SpareActive" if number("degraded") == 0 => (Level::Info, self.payload(PoolOperation::Online)),
            "RebuildFinished" if self.word("last_sync_action").as_deref() == Some("check") => {
                let mismatches = number("mismatch_cnt");
                let level = if mismatches > 0 { Level::Warn } else { Level::Info };
                (level, StoragePoolPayload { mismatches, ..self.payload(PoolOperation::ScrubCompleted) })
            }
            _ => return None,
        };
        Some(event(Daemon::Mdadm, level, payload, report))
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
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::hooks::{lines, sentences};

    fn told(root: &Path, arguments: &[&str]) -> Vec<String> {
        let words = Words::new([], arguments.iter().map(Into::into));
        lines(&events(&words, root, || false).expect("a report"))
    }

    #[test]
    fn where_no_collector_looks_the_hook_tells_whether_an_array_is_whole_and_what_a_check_has_found() {
        let told = |files: &[(&str, &str)], report: &str| {
            let words = Words::new([], [report, "/dev/md127"].map(Into::into));
            lines(&events(&words, machine(files).path(), || true).expect("a report"))
        };
        let check = |count| [("last_sync_action", "check"), ("mismatch_cnt", count), ("degraded", "0")];
        assert_eq!(told(&[], "Fail"), ["error storage.pool.degraded md127"]);
        assert_eq!(told(&[("degraded", "1")], "SpareActive"), [""; 0]);
        assert_eq!(told(&[("degraded", "0")], "SpareActive"), ["info storage.pool.online md127"]);
        assert_eq!(told(&check("128"), "RebuildFinished"), ["warn storage.pool.scrub_completed md127"]);
        assert_eq!(told(&check("0"), "RebuildFinished"), ["info storage.pool.scrub_completed md127"]);
        assert_eq!(told(&[("last_sync_action", "recover")], "RebuildFinished"), [""; 0]);
        assert_eq!(told(&[], "Rebuild40"), [""; 0]);
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
    fn a_report_has_its_kind_and_level_unless_the_collector_tells_of_it() {
        let root = machine(&[]);
        for (arguments, lines) in [
            (&["DeviceDisappeared", "/dev/md0"][..], &["critical storage.pool.removed md0"][..]),
            (&["DeviceDisappeared", "/dev/md0", "Wrong-Level"], &[]),
            (&["NewArray", "/dev/md0"], &[]),
            (&["DegradedArray", "/dev/md0"], &[]),
            (&["Fail", "/dev/md0", "/dev/loop2"], &[]),
            (&["FailSpare", "/dev/md0", "/dev/loop2"], &[]),
            (&["SpareActive", "/dev/md0", "/dev/loop3"], &[]),
            (&["MoveSpare", "/dev/md0", "/dev/md1"], &[]),
            (&["RebuildStarted", "/dev/md0"], &[]),
            (&["Rebuild96", "/dev/md0"], &[]),
            (&["RebuildFinished", "/dev/md0"], &[]),
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
    fn an_array_has_the_kernels_name_whatever_its_configuration_calls_it_where_that_is_known() {
        let root = machine(&[]);
        for (device, name) in [
            ("/dev/md0", "md0"),
            ("/dev/md/data", "md127"),
            ("/dev/md/0", "md0"),
            ("/dev/md/backup", "md/backup"),
            ("/dev/md/nas:0", "md/nas:0"),
            ("/dev/md/../../etc", "md/../../etc"),
        ] {
            let missed = format!("critical storage.pool.removed {name}");
            assert_eq!(told(root.path(), &["DeviceDisappeared", device]), [missed], "{device}");
        }
    }

    #[test]
    fn an_array_that_was_there_when_the_monitor_began_has_been_stopped_and_the_collector_tells_of_that() {
        let root = machine(&[]);
        let process = |number: u32, line: String| {
            fs::create_dir_all(root.path().join(format!("proc/{number}"))).expect("make directories");
            fs::write(root.path().join(format!("proc/{number}/stat")), line).expect("write a file");
        };
        let began = |ticks: u64, name: &str| {
            let rest = "0 0 0 -1 4194560 95 0 0 0 0 0 0 0 20 0 1 0";
            process(parent_id(), format!("{} (a (shell) b) S 4000000 {rest} 9000 2048 1\n", parent_id()));
            process(4_000_000, format!("4000000 ({name}) S 1 {rest} {ticks} 2048 1\n"));
        };
        fs::create_dir_all(root.path().join("proc")).expect("make a directory");
        fs::write(root.path().join("proc/uptime"), "100.25 190.00\n").expect("write a file");
        let missed = ["critical storage.pool.removed md0"];
        for (ticks, name, lines) in [
            (3_900, "mdadm", &[][..]),
            (4_000, "mdadm", &missed),
            (9_900, "mdadm", &missed),
            (10_100, "mdadm", &missed),
            (3_900, "cron", &missed),
        ] {
            began(ticks, name);
            assert_eq!(told(root.path(), &["DeviceDisappeared", "/dev/md0"]), lines, "{name} {ticks}");
        }
        process(4_000_000, "4000000 (mdadm) S 1 0".to_owned());
        assert_eq!(told(root.path(), &["DeviceDisappeared", "/dev/md0"]), missed, "a line that is cut");
    }

    #[test]
    fn every_report_is_a_sentence() {
        let root = machine(&[("level", "raid1")]);
        for (arguments, sentence) in [
            (&["DeviceDisappeared", "/dev/md/data"][..], "Pool md127 has disappeared: md-raid1"),
            (&["SparesMissing", "/dev/md/data"], "Pool md127 is short of spares: md-raid1"),
            (&["TestMessage", "/dev/md0"], "Hook of mdadm works: mdadm has tried out its hook for /dev/md0"),
            (&["SomethingNew", "/dev/md0"], "Pool md0 reports an event: SomethingNew"),
        ] {
            let words = Words::new([], arguments.iter().map(Into::into));
            assert_eq!(
                sentences(&events(&words, root.path(), || false).expect("a report")),
                [sentence],
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_followed() {
        let root = machine(&[("array_state", "clean")]);
        fs::create_dir(root.path().join("sys/md")).expect("make a directory");
        fs::write(root.path().join("sys/md/array_state"), "clean").expect("write a file");
        assert_eq!(told(root.path(), &["DeviceDisappeared", "/dev/md/data"]), [""; 0]);
        for device in ["/dev/../sys/block/md127", "/dev/md/../../etc", ".."] {
            assert_eq!(told(root.path(), &["DeviceDisappeared", device]).len(), 1);
        }
    }

    #[test]
    fn a_call_without_an_array_is_an_error() {
        assert!(events(&Words::new([], ["Fail".into()]), Path::new("/"), || false).is_err());
    }
}
