//! What `mdadm --monitor` reports, as events: that an array which it is to watch is not there, or short of spares, which stands
//! in its configuration alone. What happens to an array that runs stands in the kernel's table: the storage collector tells of
//! that, and one incident is one event.

use std::{
    fs::File,
    io::Read as _,
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

/// The files of an array hold one word or number.
const FILE_BYTES_MAX: u64 = 64;

/// What a report tells; none where the storage collector sees it.
pub(super) fn events(words: &Words, root: &Path) -> Result<Vec<Event>, String> {
    let (report, device, other) = (words.argument(0), words.argument(1), words.argument(2));
    if report.is_empty() || device.is_empty() {
        return Err("an event and an md device are wanted as arguments".to_owned());
    }
    let array = Array::of(root, device);
    let event = match report {
        "Fail" | "FailSpare" | "SpareActive" | "MoveSpare" | "DegradedArray" | "NewArray" => None,
        // Its beginning, its end, and percents of it.
        rebuild if rebuild.starts_with("Rebuild") => None,
        // A stripe or a concatenation is there, and mdadm has nothing to watch of it.
        "DeviceDisappeared" if other == "Wrong-Level" => None,
        // mdadm misses what its configuration calls otherwise, every day; the kernel has it.
        "DeviceDisappeared" if array.is_there() => None,
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
    fn every_report_is_a_sentence() {
        let root = machine(&[("level", "raid1")]);
        for (arguments, sentence) in [
            (&["DeviceDisappeared", "/dev/md/data"][..], "Pool md/data has disappeared: md-raid1"),
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
        assert!(events(&Words::new([], ["Fail".into()]), Path::new("/")).is_err());
    }
}
