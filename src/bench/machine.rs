//! What the machine does: written bytes, memory, and how long its disk takes to make a write durable.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
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

/// Appends `bytes` to a file and makes it durable, `times` over.
///
/// # Errors
/// As the file system says.
pub(super) fn sync_latency(directory: &Path, bytes: usize, times: usize) -> io::Result<Latencies> {
    let path = directory.join("plain");
    let mut file = append_to(&path)?;
    let (mut latencies, block) = (Latencies::default(), vec![0xA5; bytes]);
    for _ in 0..times {
        latencies.time(|| file.write_all(&block).and_then(|()| file.sync_data()))?;
    }
    std::fs::remove_file(path)?;
    Ok(latencies)
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

/// Anonymous resident memory of this process, KiB.
pub(super) fn anonymous_kib() -> Option<u64> {
    number_after("/proc/self/status", "RssAnon:")
}

fn number_after(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
