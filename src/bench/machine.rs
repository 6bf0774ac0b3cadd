//! What the machine tells: bytes written, memory, blocks on the disk; and rows of durations.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// A row of durations, for percentiles.
#[derive(Default)]
pub(super) struct Latencies {
    samples: Vec<Duration>,
}

impl Latencies {
    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.samples.push(started.elapsed());
        result
    }

    pub(super) fn push(&mut self, sample: Duration) {
        self.samples.push(sample);
    }

    /// The sample that `percent` of all do not exceed, in milliseconds.
    pub(super) fn milliseconds(&mut self, percent: f64) -> f64 {
        self.samples.sort_unstable();
        let last = self.samples.len().saturating_sub(1);
        let index = ((last as f64) * percent / 100.0).round() as usize;
        self.samples.get(index.min(last)).map_or(0.0, |sample| sample.as_secs_f64() * 1000.0)
    }
}

/// What this process has had of the CPUs.
///
/// # Errors
/// As the kernel says.
pub(super) fn cpu_time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration =
        |time: TimeVal| Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0));
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

/// A file to append to.
///
/// # Errors
/// As the file system says.
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Bytes that this process has caused to be written to storage. `None` where the kernel does not count them.
pub(super) fn written_bytes() -> Option<u64> {
    number_after("/proc/self/io", "write_bytes:")
}

/// What a process has had of the CPUs, in hundredths of a second as the kernel counts; nothing when it is gone.
pub(super) fn cpu_time_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name stands in parentheses, and may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|number| number.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Anonymous resident memory of this process, KiB.
pub(super) fn anonymous_kib() -> Option<u64> {
    number_after("/proc/self/status", "RssAnon:")
}

/// Resident memory of a process and how much of it is anonymous, KiB.
pub(super) fn memory_of(process: u32) -> Option<(u64, u64)> {
    let status = format!("/proc/{process}/status");
    Some((number_after(&status, "VmRSS:")?, number_after(&status, "RssAnon:")?))
}

/// The highest anonymous memory of this process from now on, looked at by a thread of its own.
pub(super) struct Peak {
    watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

struct Watched {
    kib: AtomicU64,
    ended: AtomicBool,
}

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

impl Peak {
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn watch() -> io::Result<Peak> {
        let watched = Arc::new(Watched { kib: AtomicU64::new(0), ended: AtomicBool::new(false) });
        let watching = Arc::clone(&watched);
        let thread = thread::Builder::new().name("memory".to_owned()).spawn(move || {
            while !watching.ended.load(Ordering::Relaxed) {
                watching.look();
                thread::sleep(LOOK);
            }
        })?;
        Ok(Peak { watched, thread: Some(thread) })
    }

    /// The highest since the last time, KiB.
    pub(super) fn take(&self) -> u64 {
        self.watched.look();
        self.watched.kib.swap(0, Ordering::Relaxed)
    }
}

impl Watched {
    fn look(&self) {
        self.kib.fetch_max(anonymous_kib().unwrap_or(0), Ordering::Relaxed);
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.watched.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could fail.
            let _ = thread.join();
        }
    }
}

/// Bytes written so far, by anyone, to the device that holds `path`. `None` where there is no such device or no count.
pub(super) fn device_written_bytes(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

/// What a file, or a directory with everything in it, takes on the disk, by its blocks. What goes meanwhile does not count.
pub(super) fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    metadata.blocks() * 512 + entries(path).iter().map(|entry| disk_bytes(entry)).sum::<u64>()
}

/// The regular files of a directory and those below it. What goes meanwhile is left out.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let (files, others): (Vec<_>, Vec<_>) = entries(directory).into_iter().partition(|path| path.is_file());
    files.into_iter().chain(others.iter().flat_map(|other| self::files(other))).collect()
}

/// What a directory holds; nothing when it is none.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn number_after(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
