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
/// The longest name of a process, bytes.
const NAME_BYTES_MAX: usize = 15;

/// What a line tells; most tell nothing.
pub(super) fn of(text: &str) -> Option<Line> {
    if begins_with_a_process(text) {
        return None;
    }
    io_error(text).or_else(|| oom_kill(text)).or_else(|| xfs(text)).or_else(|| oops(text))
}

/// `NAME[4711]: segfault at 0 ip …`, `NAME[4711] bad frame in …`, `NAME (4711): attempted to duplicate …`, `NAME: page allocation
/// failure: …`: what the kernel says of a user's process may begin with its name, and anybody may call his `BUG: `.
fn begins_with_a_process(text: &str) -> bool {
    /// What stands behind a name without a number.
    const SAID: [&str; 4] = [
        ": page allocation failure: ",
        ": vmalloc error: ",
        ": vmalloc: allocation failure",
        " uses obsolete (PF_INET,SOCK_PACKET)",
    ];
    let is_name_before = |at: usize| {
        // Bytes that are no plain text are given as `\x1b`; and a blank may follow.
        let escaped = text.get(..at).map_or(0, |name| name.matches("\\x").count());
        at.saturating_sub(3 * escaped) <= NAME_BYTES_MAX + 1
    };
    let is_number_at = |at: usize| {
        let rest = text.get(at + 1..).and_then(|rest| rest.split_once([']', ')']));
        rest.is_some_and(|(number, said)| {
            let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            is_number && (said.starts_with(' ') || said.starts_with(": "))
        })
    };
    text.match_indices(['[', '(']).any(|(at, _)| is_name_before(at) && is_number_at(at))
        || SAID.iter().any(|said| text.find(said).is_some_and(is_name_before))
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
    // At the beginning: what comes later may be the name of a process, as in `traps: NAME[4711] trap …`.
    if !["Out of memory", "Memory cgroup out of memory"].iter().any(|beginning| why.starts_with(beginning)) {
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

    #[test]
    fn whoever_calls_his_process_like_an_error_of_the_kernel_makes_none() {
        let behind = [
            "[123]: segfault at 0 ip 0000000000401136 sp 00007ffd error 6 in a[401000+1000] likely on CPU 1 (core 1, socket 0)",
            "[123] bad frame in rt_sigreturn frame:00007ffd ip:401136 sp:7ffd orax:ffffffffffffffff in a[401000+1000]",
            "[123] vsyscall read attempt denied -- look up the vsyscall kernel parameter ip:ffffffffff600000 cs:33",
            "[123]: unhandled exception: DABT (lower EL), ESR 0x0000000092000046, level 2 translation fault in a[400000+1000]",
            " (123): attempted to duplicate a private mapping with mremap.  This is not supported.",
            ": page allocation failure: order:9, mode:0xdc0(GFP_KERNEL|__GFP_ZERO), nodemask=(null),cpuset=/,mems_allowed=0",
            ": vmalloc error: size 8796093022208, exceeds total pages, mode:0xdc0(GFP_KERNEL|__GFP_ZERO)",
            " uses obsolete (PF_INET,SOCK_PACKET)",
        ];
        // What the files are called that stand further behind is for them to choose as well.
        let and = ["", " in Killed process 1 (init)", " Shutting down filesystem", " blocked for more than "];
        let names = [
            "BUG: x",
            "BUG: [1]x",
            "BUG: \\x1b\\x1b\\x1b\\x1b\\x1b\\x1b\\x1b\\x1b\\x1b\\x1b",
            "watchdog: BUG: ",
            "kernel BUG at ",
        ];
        let names = names.into_iter().chain(["Kernel panic - ", "Out of memory: ", "XFS (sda): x", "INFO: task x"]);
        for name in names {
            for (behind, and) in behind.iter().flat_map(|behind| and.map(|and| (behind, and))) {
                let line = format!("{name}{behind}{and}");
                assert_eq!(of(&line), None, "{line}");
            }
        }
        let traps = "traps: Out of memory: [123] trap divide error ip:401136 sp:7ffd error:0 in Killed process 1 (init)[401000+1000]";
        assert_eq!(of(traps), None);
        // What the kernel says of itself has no number so early.
        for oops in [
            "BUG: unable to handle page fault for address: ffffb1a3c0f5d000",
            "BUG: Bad page state in process x[123]: y  pfn:10a5c4",
            "BUG: soft lockup - CPU#1 stuck for 26s! [z_wr_iss:812]",
            "general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] PREEMPT SMP NOPTI",
            "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
        ] {
            assert!(matches!(of(oops), Some(Line::Oops(_))), "{oops}");
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
