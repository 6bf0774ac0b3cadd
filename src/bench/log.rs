//! How fast the event log takes events durably, and what that costs the disk.

use std::{
    io::{self, Write},
    path::Path,
    time::Instant,
};

use super::{
    machine::{Latencies, anonymous_kib, append_to, sync_latency, written_bytes},
    sample,
};
use crate::event_log::{Draft, EventLog, Lane, LogError};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Events for the throughput figures.
    pub events: u64,
    /// Single commits for the latency figures.
    pub commits: usize,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The log does not work here.
    #[error("measure the event log")]
    Log(#[from] LogError),
    /// The file system refuses, or the figures cannot be printed.
    #[error("measure in the directory")]
    Io(#[from] io::Error),
}

/// Events that are appended at a time, as a busy producer does.
const APPEND: usize = 100;

/// What a plain file is given between two fdatasync calls, bytes: what the log flushes at a time.
const COMMIT_BYTES: usize = 256 * 1024;

/// Measures in `directory`, which must exist and be on the disk in question, and prints as it goes.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub async fn run(directory: &Path, plan: Plan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    writeln!(out, "{:<46} {:>12} {:>10} {:>10}", "", "events/s", "p50 ms", "p99 ms")?;
    let mut raw = sync_latency(directory, 4096, plan.commits)?;
    let raw_p50 = raw.milliseconds(50.0);
    row(out, "plain file: append 4 KiB, fdatasync", None, Some((raw_p50, raw.milliseconds(99.0))))?;

    let events = sample::encoded(0, plan.events);
    let event_bytes: u64 = events.iter().map(|event| event.len() as u64).sum();
    let file = plain_file(directory, &events)?;
    row(out, "plain file: events, fdatasync each 256 KiB", Some(file), None)?;

    let before = written_bytes();
    let (throughput, stored, disk) = throughput(directory, &events).await?;
    let written = written_bytes().zip(before).map(|(after, before)| after - before);
    row(out, "event log: flush_interval 1s", Some(throughput), None)?;

    let mut latencies = commits(directory, &events, plan.commits).await?;
    let p50 = latencies.milliseconds(50.0);
    row(
        out,
        "event log: one event, one commit",
        Some(1000.0 / p50.max(1e-6)),
        Some((p50, latencies.milliseconds(99.0))),
    )?;

    writeln!(out)?;
    writeln!(out, "mean event                      {:>8} bytes", event_bytes / plan.events.max(1))?;
    writeln!(out, "log against plain file          {:>8.2} of its events/s", throughput / file)?;
    writeln!(out, "one commit against fdatasync    {:>8.2} times its p50", p50 / raw_p50.max(1e-6))?;
    let per = |bytes: u64| bytes as f64 / event_bytes.max(1) as f64;
    writeln!(out, "stored per event byte           {:>8.3}", per(stored))?;
    writeln!(out, "on the disk per event byte      {:>8.3}", per(disk))?;
    if let Some(written) = written {
        writeln!(out, "written per event byte          {:>8.3}", per(written))?;
        writeln!(out, "written per stored byte         {:>8.3}", written as f64 / stored.max(1) as f64)?;
    }
    if let Some(kib) = anonymous_kib() {
        writeln!(out, "anonymous memory, samples too   {:>8.1} MiB", kib as f64 / 1024.0)?;
    }
    Ok(())
}

fn row(out: &mut dyn Write, what: &str, rate: Option<f64>, latency: Option<(f64, f64)>) -> io::Result<()> {
    let rate = rate.map_or_else(String::new, |rate| format!("{rate:.0}"));
    let (p50, p99) = latency.map_or_else(Default::default, |(p50, p99)| (format!("{p50:.3}"), format!("{p99:.3}")));
    writeln!(out, "{what:<46} {rate:>12} {p50:>10} {p99:>10}")?;
    out.flush()
}

/// Events a second into a plain file, length before each.
fn plain_file(directory: &Path, events: &[Vec<u8>]) -> io::Result<f64> {
    let path = directory.join("plain");
    let mut file = append_to(&path)?;
    let mut pending = Vec::with_capacity(2 * COMMIT_BYTES);
    let started = Instant::now();
    for event in events {
        pending.extend_from_slice(&(event.len() as u32).to_le_bytes());
        pending.extend_from_slice(event);
        if pending.len() >= COMMIT_BYTES {
            file.write_all(&pending)?;
            file.sync_data()?;
            pending.clear();
        }
    }
    file.write_all(&pending)?;
    file.sync_data()?;
    let rate = events.len() as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Events a second until the last one is durable, and what is stored and on the disk then, bytes.
async fn throughput(directory: &Path, events: &[Vec<u8>]) -> Result<(f64, u64, u64), BenchError> {
    let log = EventLog::open(sample::log_settings(directory))?;
    let started = Instant::now();
    let mut next = 1;
    for some in events.chunks(APPEND) {
        next = log.append(Lane::Routine, &drafts(some)).await?;
    }
    log.commit(Lane::Routine, next).await?;
    let rate = events.len() as f64 / started.elapsed().as_secs_f64();
    let status = log.status();
    log.close();
    std::fs::remove_dir_all(directory.join("log"))?;
    Ok((rate, status.lanes.iter().map(|lane| lane.stored_bytes).sum(), status.disk_bytes))
}

async fn commits(directory: &Path, events: &[Vec<u8>], count: usize) -> Result<Latencies, BenchError> {
    let log = EventLog::open(sample::log_settings(directory))?;
    let mut latencies = Latencies::default();
    for event in events.iter().cycle().take(count) {
        let started = Instant::now();
        let next = log.append(Lane::Routine, &drafts(std::slice::from_ref(event))).await?;
        log.commit(Lane::Routine, next).await?;
        latencies.push(started.elapsed());
    }
    log.close();
    std::fs::remove_dir_all(directory.join("log"))?;
    Ok(latencies)
}

fn drafts(events: &[Vec<u8>]) -> Vec<Draft<'_>> {
    events.iter().map(|event| Draft { event, level: 1, category: 2, timestamp: 1_780_000_000_000 }).collect()
}
