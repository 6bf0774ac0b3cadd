//! How long a commit takes: of one urgent event, and of groups, each by turns with the same bytes into a plain file.

use std::{io::Write, path::Path, time::Duration};

use super::{BenchError, GROUPS, LogPlan, plain::PlainFile, throughput::stored_bytes};
use crate::{
    bench::{
        machine::Latencies,
        sample::{self, Pool},
    },
    event_log::{EventLog, Lane},
};

/// Between two single events: rarer than what the log would gather into a group.
const PAUSE: Duration = Duration::from_millis(60);

/// Single events with which the size of a frame is found.
const WARM_UP: usize = 10;

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) async fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let log = EventLog::open(sample::log_settings(&directory.join("latency")))?;
    let mut file = PlainFile::create(directory)?;
    let pool = Pool::new();
    writeln!(out, "time of a commit, milliseconds; {} of each, by turns", plan.commits)?;
    writeln!(out, "{:<32} {:>15} {:>15} {:>13}", "", "event log", "file", "log / file")?;
    writeln!(
        out,
        "{:<32} {:>7} {:>7} {:>7} {:>7} {:>13}",
        "append, then fdatasync or commit", "p50", "p99", "p50", "p99", "ratio of p50"
    )?;
    let (bytes, of_log, of_file) = single(&log, &mut file, &pool, plan.commits).await?;
    row(out, &format!("one urgent event ({bytes} bytes)"), of_log, of_file)?;
    for group in GROUPS {
        let (of_log, of_file) = groups(&log, &mut file, &pool, plan.commits, group).await?;
        row(out, &format!("{} KiB of events", group / 1024), of_log, of_file)?;
    }
    log.close();
    Ok(())
}

/// One urgent event and its commit, by turns with the same bytes into the file; gives the bytes, log, file.
async fn single(
    log: &EventLog,
    file: &mut PlainFile,
    pool: &Pool,
    commits: u32,
) -> Result<(usize, Latencies, Latencies), BenchError> {
    let before = stored_bytes(log);
    for event in pool.portions(WARM_UP as u64).flatten() {
        commit(log, Lane::Urgent, &[std::slice::from_ref(event)]).await?;
    }
    let frame = vec![0xA5; usize::try_from(stored_bytes(log) - before).unwrap_or(usize::MAX) / WARM_UP];
    let (mut of_log, mut of_file) = (Latencies::default(), Latencies::default());
    for event in pool.portions(u64::from(commits)).flatten() {
        tokio::time::sleep(PAUSE / 2).await;
        of_file.time(|| {
            file.push(&frame);
            file.commit()
        })?;
        tokio::time::sleep(PAUSE / 2).await;
        of_log.push(commit(log, Lane::Urgent, &[std::slice::from_ref(event)]).await?);
    }
    Ok((frame.len(), of_log, of_file))
}

/// Groups of `bytes` of events, by turns; gives log, file.
async fn groups(
    log: &EventLog,
    file: &mut PlainFile,
    pool: &Pool,
    commits: u32,
    bytes: usize,
) -> Result<(Latencies, Latencies), BenchError> {
    let portions: Vec<_> = pool.portions((bytes / pool.mean().max(1)) as u64).collect();
    let (mut of_log, mut of_file) = (Latencies::default(), Latencies::default());
    for _ in 0..commits {
        of_file.time(|| {
            for event in portions.iter().copied().flatten() {
                file.push(event);
            }
            file.commit()
        })?;
        of_log.push(commit(log, Lane::Routine, &portions).await?);
    }
    Ok((of_log, of_file))
}

/// Appends events and commits them; gives how long that took.
async fn commit(log: &EventLog, lane: Lane, portions: &[&[Vec<u8>]]) -> Result<Duration, BenchError> {
    let started = std::time::Instant::now();
    let mut next = log.next_sequence(lane);
    for some in portions {
        next = log.append(lane, &sample::drafts(some)).await?;
    }
    log.commit(lane, next).await?;
    Ok(started.elapsed())
}

fn row(out: &mut dyn Write, what: &str, mut log: Latencies, mut file: Latencies) -> Result<(), BenchError> {
    let [log_p50, file_p50] = [&mut log, &mut file].map(|row| row.milliseconds(50.0));
    let [log_p99, file_p99] = [&mut log, &mut file].map(|row| row.milliseconds(99.0));
    let ratio = log_p50 / file_p50.max(1e-6);
    writeln!(out, "{what:<32} {log_p50:>7.3} {log_p99:>7.3} {file_p50:>7.3} {file_p99:>7.3} {ratio:>13.2}")?;
    out.flush()?;
    Ok(())
}
