//! The kernel's messages as a domain, where they may be read. What was logged while the agent was down is read at its next
//! start, if the kernel still has it. The same again within a look is told once with a count; a disk that goes on failing
//! is told again when there are twice as many errors, and once more when there were none for an hour.

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{task::yield_now, time::sleep};

use super::line::{self, Line};
use crate::{
    collectors::{
        CollectError, Context,
        driver::Domain,
        finding::{Finding, told_of},
        listing::{device_path, source_of},
    },
    event::Level,
    host::{
        Host,
        clock::Clock,
        kernel_log::{KernelLog, KernelRecord, Next},
    },
    schema::events::{
        StorageDatasetPayload, StorageDiskPayload, SystemHostPayload, storage_dataset_payload::StorageDatasetOperation,
        storage_disk_payload::StorageDiskOperation, system_host_payload::SystemHostOperation,
    },
};

/// For what is over: that nothing more comes tells nobody.
const INTERVAL: Duration = Duration::from_secs(60);
/// One fault makes many messages: one look for all that come so close together.
const QUIET: Duration = Duration::from_secs(2);
/// The most messages of one look: more than the kernel's buffer holds.
const RECORDS_MAX: usize = 200_000;
/// After so many, others have their turn.
const RECORDS_IN_A_ROW: usize = 256;
/// How long a disk has no errors before that is told, seconds.
const CALM_SECONDS: u64 = 3600;
/// The most disks that are followed, and the most processes and errors of one look that are told apart.
const DEVICES_MAX: usize = 1024;
const INCIDENTS_MAX: usize = 16;
/// The lines of one error of the kernel come within so many microseconds.
const ONE_OOPS: u64 = 2_000_000;
const COMPONENT: &str = "kernel log";
/// What is not seen where they may not be read.
const MESSAGES: &str = "the kernel's messages (errors of disks)";

/// Where it is, and which disks fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::system) struct Known {
    boot: String,
    /// All messages before this one have been told of.
    next: u64,
    failing: BTreeMap<String, Failing>,
    /// What file systems lie on that XFS has shut down and nobody has mounted anew.
    #[serde(default)]
    down: BTreeSet<String>,
}

/// A disk with errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Failing {
    errors: u64,
    told: u64,
    /// When the last one came, in seconds since the boot in which the machine was awake.
    last: u64,
    #[serde(skip)]
    how: String,
}

/// What happened once and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Incident {
    OomKill { process: String, detail: String },
    Oops { text: String },
}

/// Whether they may be read: then they tell more than what the kernel counts.
pub(in crate::collectors::system) type IsRead = Arc<AtomicBool>;

/// The look at them.
#[derive(Default)]
pub(in crate::collectors::system) struct Log {
    log: Option<KernelLog>,
    is_read: IsRead,
    hostname: String,
    /// Of the last look, with how many there were.
    incidents: Vec<(Incident, u64)>,
    /// When the last line of an error of the kernel came, microseconds.
    last_oops: Option<u64>,
}

/// All messages that are there, of those that tell something, and the number of the one that comes next.
async fn read(log: &mut KernelLog) -> io::Result<(Vec<KernelRecord>, u64)> {
    let (mut records, mut next) = (Vec::new(), 0);
    for count in 1..=RECORDS_MAX {
        if count.is_multiple_of(RECORDS_IN_A_ROW) {
            yield_now().await;
        }
        match log.read()? {
            Next::Record(record) => {
                next = record.sequence.saturating_add(1);
                records.extend(Some(record).filter(|record| line::of(&record.text).is_some()));
            }
            Next::Other => {}
            Next::Lost => tracing::debug!("the kernel has overwritten messages before they were read"),
            Next::End => break,
        }
    }
    Ok((records, next))
}

impl Log {
    pub(in crate::collectors::system) fn new(is_read: IsRead) -> Log {
        Log { is_read, ..Log::default() }
    }

    /// Takes in what is new of these messages.
    fn take(
        &mut self,
        records: &[KernelRecord],
        known: &mut Known,
        disk_of: impl Fn(&str) -> String,
        source_of: impl Fn(&str) -> String,
    ) {
        self.incidents.clear();
        let next = known.next;
        let mut disks: BTreeMap<String, String> = BTreeMap::new();
        for record in records.iter().filter(|record| record.sequence >= next) {
            match line::of(&record.text) {
                Some(Line::IoError { device, how }) => {
                    let (device, count) =
                        (disks.entry(device).or_insert_with_key(|device| disk_of(device)), known.failing.len());
                    if count < DEVICES_MAX || known.failing.contains_key(device) {
                        let failing = known.failing.entry(device.clone()).or_default();
                        failing.errors = failing.errors.saturating_add(1);
                        failing.last = record.microseconds / 1_000_000;
                        failing.how = how;
                    }
                }
                Some(Line::XfsDown(device)) if known.down.len() < DEVICES_MAX => {
                    known.down.insert(source_of(&device));
                }
                Some(Line::XfsDown(_)) => {}
                Some(Line::XfsMounts(device)) => {
                    known.down.remove(&source_of(&device));
                }
                Some(Line::OomKill { process, detail }) => self.happened(Incident::OomKill { process, detail }),
                Some(Line::Oops(text)) => {
                    let is_of_last =
                        self.last_oops.is_some_and(|last| record.microseconds.saturating_sub(last) < ONE_OOPS);
                    if !is_of_last {
                        self.happened(Incident::Oops { text });
                    }
                    self.last_oops = Some(record.microseconds);
                }
                None => continue,
            }
            known.next = record.sequence.saturating_add(1);
        }
    }

    /// The same process again, or one error of the kernel more, is a count.
    fn happened(&mut self, incident: Incident) {
        let is_same = |other: &Incident| match (&incident, other) {
            (Incident::OomKill { process, .. }, Incident::OomKill { process: other, .. }) => process == other,
            (Incident::Oops { .. }, Incident::Oops { .. }) => true,
            _ => false,
        };
        let is_full = self.incidents.len() >= INCIDENTS_MAX;
        match self.incidents.iter_mut().find(|(other, _)| is_same(other)) {
            Some((_, count)) => *count = count.saturating_add(1),
            None if is_full => tracing::warn!(?incident, "more happened at once than is told apart"),
            None => self.incidents.push((incident, 1)),
        }
    }
}

impl Domain for Log {
    const NAME: &'static str = "kernel log";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if !context.host.is_live() {
            return Err(CollectError::Absent("not a running machine".to_owned()));
        }
        // It is put back when it has been read: a broken one is opened anew.
        let mut log = match self.log.take().map_or_else(|| KernelLog::open(&context.host), Ok) {
            Ok(log) => log,
            Err(error) => {
                self.is_read.store(false, Ordering::Relaxed);
                let why = format!("they may not be read ({error}); kernel-log.conf allows it: docs/systemd.md");
                context.sight.is_not_meant_to_see(MESSAGES, &why);
                return Err(CollectError::Absent(format!("{MESSAGES}: {why}")));
            }
        };
        context.sight.is_not_meant_to_see(MESSAGES, "");
        self.hostname = context.host.hostname().unwrap_or_default();
        let (records, next) = read(&mut log).await.map_err(|error| CollectError::failed("read /dev/kmsg", error))?;
        self.log = Some(log);
        self.is_read.store(true, Ordering::Relaxed);
        let clock = Clock::of(&context.host);
        let mut known = Known::begin(before, clock.boot_id().to_string(), next);
        let host = &context.host;
        self.take(&records, &mut known, |device| disk_of(host, device), |device| source_of(host, device));
        known.settle(clock.awake_since_boot().as_secs());
        Ok(Some(known))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for device in before.failing.keys().filter(|device| !after.failing.contains_key(*device)) {
            let payload = disk(device, StorageDiskOperation::IoErrorsCeased);
            findings.push(Finding::new(Level::Info, payload, COMPONENT, "calm"));
        }
        for (device, failing) in &after.failing {
            let told = before.failing.get(device).map_or(0, |before| before.told);
            if failing.told > told {
                let payload = StorageDiskPayload {
                    io_errors: failing.told.saturating_sub(told),
                    health_reason: failing.how.clone(),
                    ..disk(device, StorageDiskOperation::IoErrors)
                };
                findings.push(Finding::new(Level::Error, payload, COMPONENT, "i/o errors"));
            }
        }
        for source in before.down.difference(&after.down) {
            findings.push(xfs(Level::Info, source, StorageDatasetOperation::ErrorsCleared, "mounted anew"));
        }
        for source in after.down.difference(&before.down) {
            findings.push(xfs(Level::Error, source, StorageDatasetOperation::Errors, "shut down"));
        }
        findings.extend(self.incidents.iter().map(|(incident, count)| self.finding(incident, *count)));
        findings
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        let Some(log) = &mut self.log else { return pending().await };
        if let Err(error) = log.changed().await {
            self.log = None;
            return Err(CollectError::failed("wait for /dev/kmsg", error));
        }
        sleep(QUIET).await;
        Ok(())
    }
}

impl Known {
    /// What is known before the messages are taken in, of which the next to come is this one. At the very first sight what
    /// happened before Rodent was there is no news.
    fn begin(before: Option<&Known>, boot: String, next: u64) -> Known {
        match before {
            None => Known { boot, next, ..Known::default() },
            Some(before) if before.boot == boot => before.clone(),
            Some(before) => {
                let failing = before.failing.iter().map(|(disk, it)| (disk.clone(), Failing { last: 0, ..it.clone() }));
                Known { boot, next: 0, failing: failing.gather(), down: before.down.clone() }
            }
        }
    }

    /// Which errors are worth telling now, and of which disks none came for long.
    fn settle(&mut self, now: u64) {
        self.failing.retain(|_, failing| failing.told == 0 || now.saturating_sub(failing.last) < CALM_SECONDS);
        for failing in self.failing.values_mut() {
            failing.told = told_of(failing.errors, failing.told);
        }
    }
}

impl Log {
    fn finding(&self, incident: &Incident, count: u64) -> Finding {
        let (operation, subject, detail, action) = match incident {
            Incident::OomKill { process, detail } => (SystemHostOperation::OomKill, process, detail, "oom kill"),
            Incident::Oops { text } => (SystemHostOperation::KernelOops, &self.hostname, text, "oops"),
        };
        let more = if count > 1 { format!("; {count} times") } else { String::new() };
        let payload = SystemHostPayload {
            subject: subject.clone(),
            detail: format!("{detail}{more}"),
            count: if count > 1 { count } else { 0 },
            operation: operation.into(),
            ..Default::default()
        };
        Finding::new(Level::Error, payload, COMPONENT, action)
    }
}

fn disk(device: &str, operation: StorageDiskOperation) -> StorageDiskPayload {
    let path = device_path(device);
    StorageDiskPayload { device_id: path.clone(), device_path: path, operation: operation.into(), ..Default::default() }
}

fn xfs(level: Level, source: &str, operation: StorageDatasetOperation, action: &str) -> Finding {
    let payload = StorageDatasetPayload {
        dataset_name: source.to_owned(),
        r#type: "xfs".to_owned(),
        operation: operation.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, action)
}

/// The disk that a partition is on.
fn disk_of(host: &Host, device: &str) -> String {
    let place = host.path(&format!("/sys/class/block/{device}"));
    if !place.join("partition").exists() {
        return device.to_owned();
    }
    let parent =
        fs::canonicalize(place).ok().and_then(|way| Some(way.parent()?.file_name()?.to_string_lossy().into_owned()));
    parent.unwrap_or_else(|| device.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::sentences;

    /// Messages one after the other, from that sequence on, a second between them.
    fn records(first: u64, texts: &[&str]) -> Vec<KernelRecord> {
        let of = |(at, text): (u64, &&str)| KernelRecord {
            sequence: first + at,
            microseconds: (first + at) * 1_000_000,
            text: (*text).to_owned(),
        };
        (0..).zip(texts).map(of).collect()
    }

    /// What is told of these messages at that second.
    fn look(log: &mut Log, known: &mut Known, records: &[KernelRecord], now: u64) -> String {
        let before = known.clone();
        log.hostname = "nas".into();
        let disk_of = |device: &str| device.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        log.take(records, known, disk_of, device_path);
        known.settle(now);
        sentences(&log.diff(&before, known)).join("; ")
    }

    #[test]
    fn a_disk_that_fails_is_told_once_again_when_errors_double_and_when_it_is_calm() {
        let (mut log, mut known) = (Log::default(), Known::default());
        let error = "I/O error, dev sdb1, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2";
        let mut at =
            |first: u64, count: usize, now: u64| look(&mut log, &mut known, &records(first, &vec![error; count]), now);
        let told = [
            at(100, 3, 200),
            at(103, 2, 300),
            at(105, 1, 400),
            at(105, 1, 500),
            at(106, 0, 3600),
            at(106, 0, 105 + CALM_SECONDS),
            at(9000, 1, 9001),
        ];
        let expected = [
            "Disk /dev/sdb fails to read or write, errors: 3: sector 8 op 0x0:(READ)",
            "",
            "Disk /dev/sdb fails to read or write, errors: 3: sector 8 op 0x0:(READ)",
            "",
            "",
            "Disk /dev/sdb has had no read or write errors for an hour",
            "Disk /dev/sdb fails to read or write, errors: 1: sector 8 op 0x0:(READ)",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_killed_and_what_the_kernel_breaks_on_is_told_and_the_same_again_is_a_count() {
        let (mut log, mut known) = (Log::default(), Known::default());
        let kill = "Out of memory: Killed process 7 (smbd) total-vm:9kB, anon-rss:2048kB, file-rss:0kB, UID:0";
        let texts =
            [kill, kill, "BUG: kernel NULL pointer dereference, address: 8", "Oops: 0000 [#1] SMP", "usb 1: x", kill];
        let told = look(&mut log, &mut known, &records(1, &texts), 10);
        let expected = "Process smbd was killed, memory ran out: process 7 held 2 MiB; 3 times; \
                        Kernel of nas has hit an error: BUG: kernel NULL pointer dereference, address: 8";
        assert_eq!(told, expected);
        assert_eq!(look(&mut log, &mut known, &records(1, &texts), 11), "", "what was told is told no more");
    }

    #[test]
    fn a_process_that_is_called_like_an_error_hides_none_that_comes_with_it() {
        let (mut log, mut known) = (Log::default(), Known::default());
        let texts =
            ["BUG: x[123]: segfault at 0 ip 0 sp 0 error 6", "BUG: kernel NULL pointer dereference, address: 8"];
        let told = look(&mut log, &mut known, &records(1, &texts), 10);
        assert_eq!(told, "Kernel of nas has hit an error: BUG: kernel NULL pointer dereference, address: 8");
    }

    #[test]
    fn what_the_kernel_said_before_the_installation_is_never_told_and_what_it_said_before_a_start_is() {
        let mut told = Vec::new();
        let (old, new) = (records(1, &["BUG: before", "usb 1: x"]), records(3, &["BUG: after"]));
        let all = [old.clone(), new].concat();
        let mut known = None::<Known>;
        // Each start reads the messages from the first one on.
        for (boot, messages) in [("a", &old), ("a", &old), ("a", &all), ("a", &all), ("b", &old)] {
            let mut next = Known::begin(known.as_ref(), boot.to_owned(), messages.len() as u64 + 1);
            told.push(look(&mut Log::default(), &mut next, messages, 10));
            // What is remembered.
            known = serde_json::from_value(serde_json::to_value(next).unwrap()).unwrap();
        }
        let oops = |text: &str| format!("Kernel of nas has hit an error: BUG: {text}");
        assert_eq!(told, [String::new(), String::new(), oops("after"), String::new(), oops("before")]);
    }

    #[test]
    fn a_file_system_that_xfs_shuts_down_is_told_once_and_when_it_is_mounted_anew_also_after_a_boot() {
        let (mut log, mut known) = (Log::default(), Known::default());
        let mounts = "XFS (sdb1): Mounting V5 Filesystem c1dd5855-d4bb-40d4-a1ac-cdb8d832d6c4";
        let down = "XFS (sdb1): Log I/O Error (0x6) detected at xfs_fs_goingdown+0x63/0xb0 (fs/xfs/xfs_fsops.c:475).  Shutting \
                    down filesystem.";
        let told = look(&mut log, &mut known, &records(1, &[mounts, down, down]), 10);
        assert_eq!(told, "File system /dev/sdb1 has found errors in itself, xfs");
        assert_eq!(look(&mut log, &mut known, &records(4, &[down]), 11), "");
        let mut booted = Known::begin(Some(&known), "b".to_owned(), 2);
        assert_eq!(
            look(&mut log, &mut booted, &records(1, &[mounts]), 12),
            "File system /dev/sdb1 has no errors any more, xfs"
        );
    }

    #[test]
    fn a_partition_is_told_as_its_disk() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("sys/devices/x/block/sdb/sdb1");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("partition"), "1").unwrap();
        fs::create_dir_all(root.path().join("sys/class/block")).unwrap();
        std::os::unix::fs::symlink(&place, root.path().join("sys/class/block/sdb1")).unwrap();
        let host = Host::at(root.path());
        assert_eq!((disk_of(&host, "sdb1"), disk_of(&host, "dm-0")), ("sdb".to_owned(), "dm-0".to_owned()));
    }

    proptest! {
        #[test]
        fn ten_thousand_errors_are_told_in_few_words(counts in proptest::collection::vec(1usize..2000, 1..8)) {
            let (mut log, mut known, mut first, mut told) = (Log::default(), Known::default(), 1, 0);
            for count in counts {
                let kill = "Out of memory: Killed process 7 (smbd) total-vm:9kB";
                let texts = ["I/O error, dev sdb, sector 8 op 0x0:(READ)", kill, "BUG: x"].repeat(count);
                let before = known.clone();
                log.take(&records(first, &texts), &mut known, str::to_owned, str::to_owned);
                known.settle(first);
                told += log.diff(&before, &known).len();
                first += texts.len() as u64;
            }
            prop_assert!(told <= 24, "{told}");
        }
    }
}
