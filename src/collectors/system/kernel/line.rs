//! What a line of the kernel's messages tells, of those that matter here.

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A read or write of a block device has failed: its name, and how.
    IoError { device: String, how: String },
    /// A process was killed, for memory ran out.
    OomKill { process: String, detail: String },
    /// The kernel has hit an error of its own, or hangs somewhere.
    Oops(String),
    /// XFS has shut down the file system on a device, after an error that it cannot get over: nothing is read or written any more.
    XfsDown(String),
    /// XFS mounts one.
    XfsMounts(String),
}

/// As much of a line as is told, characters.
const CHARS_MAX: usize = 200;

/// What a line tells; most tell nothing.
pub(super) fn of(text: &str) -> Option<Line> {
    io_error(text).or_else(|| oom_kill(text)).or_else(|| xfs(text)).or_else(|| oops(text))
}

/// `critical medium error, dev sdb, sector 2000 op 0x0:(READ) flags 0x800 phys_seg 1 prio class 2`, in old kernels with
/// `blk_update_request: ` before it, or `Buffer I/O error on dev dm-0, logical block 0, async page read`.
fn io_error(text: &str) -> Option<Line> {
    /// Those that are a fault; `operation not supported` is none.
    const FAULTS: [&str; 8] = [
        "I/O",
        "critical medium",
        "critical target",
        "critical space allocation",
        "timeout",
        "recoverable transport",
        "protection",
        "device offline",
    ];
    let text = text.split_once(": ").filter(|(from, _)| is_reporter(from)).map_or(text, |(_, rest)| rest);
    let (device, how) = if let Some(rest) = text.strip_prefix("Buffer I/O error on dev ") {
        rest.split_once(", ")?
    } else {
        let (kind, rest) = text.split_once(" error, dev ")?;
        if !FAULTS.contains(&kind) {
            return None;
        }
        let (device, rest) = rest.split_once(", ")?;
        // A device that cannot forget blocks loses nothing by it.
        if rest.contains(":(DISCARD)") {
            return None;
        }
        (device, rest.split(" flags").next().unwrap_or_default())
    };
    // A drive without a medium says that whenever somebody looks.
    let is_drive = ["fd", "sr"].iter().any(|kind| {
        device.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    (is_name(device) && !is_drive).then(|| Line::IoError { device: device.to_owned(), how: short(how) })
}

fn is_name(device: &str) -> bool {
    !device.is_empty() && device.chars().all(|c| c.is_ascii_alphanumeric() || "-_!.".contains(c))
}

/// `XFS (dm-0): Metadata I/O Error (0x4) detected at xfs_trans_read_buf_map+… (fs/xfs/xfs_trans_buf.c:296).  Shutting down
/// filesystem.`, and `XFS (dm-0): Mounting V5 Filesystem 1f6f…`
fn xfs(text: &str) -> Option<Line> {
    let (device, said) = text.strip_prefix("XFS (")?.split_once("): ").filter(|(device, _)| is_name(device))?;
    if said.contains("Shutting down filesystem") {
        Some(Line::XfsDown(device.to_owned()))
    } else {
        said.starts_with("Mounting V").then(|| Line::XfsMounts(device.to_owned()))
    }
}

fn is_reporter(from: &str) -> bool {
    matches!(from, "blk_update_request" | "print_req_error" | "end_request")
}

/// `Out of memory: Killed process 4711 (stress ng) total-vm:5000kB, anon-rss:4000kB, … UID:1000 pgtables:…`, or with
/// `Memory cgroup out of memory: ` before it.
fn oom_kill(text: &str) -> Option<Line> {
    let (why, rest) = text.split_once("Killed process ").or_else(|| text.split_once("Kill process "))?;
    if !why.to_ascii_lowercase().contains("out of memory") {
        return None;
    }
    let (number, rest) = rest.split_once(" (")?;
    let number: u32 = number.parse().ok()?;
    // The name may have parentheses of its own.
    let (process, rest) = rest.rsplit_once(')')?;
    let resident = rest.split([' ', ',']).find_map(|word| word.strip_prefix("anon-rss:")?.strip_suffix("kB"));
    let mut detail = format!("process {number}");
    if let Some(kib) = resident.and_then(|kib| kib.parse::<u64>().ok()) {
        detail.push_str(&format!(" held {} MiB", kib / 1024));
    }
    if why.contains("cgroup") {
        detail.push_str(", the limit of its control group");
    }
    Some(Line::OomKill { process: short(process), detail })
}

/// Its first line; what follows is for developers.
fn oops(text: &str) -> Option<Line> {
    const BEGINNINGS: [&str; 9] = [
        "BUG: ",
        "watchdog: BUG: ",
        "Oops: ",
        "Internal error: Oops",
        "kernel BUG at ",
        "general protection fault",
        "Unable to handle kernel ",
        "Kernel panic - ",
        "mce: [Hardware Error]: Machine check events logged",
    ];
    let hangs = text.starts_with("INFO: task ") && text.contains(" blocked for more than ");
    (hangs || BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))).then(|| Line::Oops(short(text)))
}

fn short(text: &str) -> String {
    text.chars().take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::kernel_log;

    const MEDIUM_ERROR: &str = include_str!("../../../../tests/fixtures/kernel/kmsg.scsi-medium-error");
    const BUFFER_ERRORS: &str = include_str!("../../../../tests/fixtures/kernel/kmsg.xfs-dm-error");
    const LINES: &str = include_str!("../../../../tests/fixtures/kernel/lines");

    fn told(log: &str) -> Vec<String> {
        let records = log.lines().filter_map(|line| kernel_log::parse(line.as_bytes()));
        records.filter_map(|record| of(&record.text)).map(|line| format!("{line:?}")).collect()
    }

    #[test]
    fn of_all_that_a_broken_disk_makes_the_kernel_say_the_errors_are_taken() {
        let expected = [r#"IoError { device: "sdb", how: "sector 2000 op 0x0:(READ)" }"#];
        assert_eq!(told(MEDIUM_ERROR), expected);
        let buffers = told(BUFFER_ERRORS);
        assert_eq!((buffers.len(), buffers[0].as_str()), (9, r#"XfsMounts("dm-0")"#));
        assert_eq!(buffers[1], r#"IoError { device: "dm-0", how: "logical block 0, async page read" }"#);
    }

    #[test]
    fn what_matters_is_told_from_what_does_not() {
        for line in LINES.lines().filter(|line| !line.is_empty()) {
            let (expected, text) = line.split_once(" | ").unwrap();
            let kind = match of(text) {
                None => "-".to_owned(),
                Some(Line::IoError { device, .. }) => format!("io {device}"),
                Some(Line::OomKill { process, detail }) => format!("oom {process}: {detail}"),
                Some(Line::Oops(_)) => "oops".to_owned(),
                Some(Line::XfsDown(device)) => format!("xfs down {device}"),
                Some(Line::XfsMounts(device)) => format!("xfs mounts {device}"),
            };
            assert_eq!(kind, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_and_none_is_told_at_length(text in "(I/O error, dev |Killed process |Out of memory: |\\(|\\)|[a-z0-9 ,:]{0,40}|.){0,20}", more in 0usize..300) {
            match of(&format!("{text}{}", "x".repeat(more))) {
                None => {}
                Some(Line::IoError { how, .. }) => prop_assert!(how.chars().count() <= CHARS_MAX),
                Some(Line::OomKill { process, .. }) => prop_assert!(process.chars().count() <= CHARS_MAX),
                Some(Line::Oops(text)) => prop_assert!(text.chars().count() <= CHARS_MAX),
                Some(other) => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn an_error_that_is_cut_names_no_other_disk(at in 0usize..90) {
            let whole = "I/O error, dev sdab, sector 2000 op 0x0:(READ) flags 0x800 phys_seg 1 prio class 2";
            match of(&whole[..at.min(whole.len())]) {
                None => {}
                Some(Line::IoError { device, .. }) => prop_assert_eq!(device, "sdab"),
                Some(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
