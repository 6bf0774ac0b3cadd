//! Durable events a second at three sizes of group commit, beside a plain file with fdatasync.

use std::{io::Write, path::Path};

use super::{BenchError, GROUPS, LogPlan, median, plain::PlainFile, stream};
use crate::{
    bench::{machine::written_bytes, sample, sample::Pool},
    event_log::{EventLog, Settings},
};

/// Measurements of one size.
#[derive(Default)]
struct Size {
    log: Vec<f64>,
    /// Commits of as many bytes as the log hands to the disk.
    file: Vec<f64>,
    /// Commits of as many events.
    file_events: Vec<f64>,
    written_bytes: Option<u64>,
    stored_bytes: u64,
}

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) async fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let mut pool = Pool::new();
    let logs = GROUPS.map(|group| directory.join(format!("group-{group}")));
    let logs = logs.into_iter().zip(GROUPS).map(|(directory, flush_bytes)| {
        let log = EventLog::open(Settings { flush_bytes, ..sample::log_settings(&directory) })?;
        Ok((log, flush_bytes, Size::default()))
    });
    let mut logs = logs.collect::<Result<Vec<_>, BenchError>>()?;
    for (log, _, _) in &logs {
        // What a log does only once, such as making its first generation, is not in the figures.
        stream::append(log, &pool, pool.len()).await?;
    }
    for _ in 0..plan.rounds {
        for (log, group, size) in &mut logs {
            pool.renew();
            round(directory, plan.events, log, *group, &pool, size).await?;
        }
    }
    print(&logs, plan, &pool, out)?;
    for (log, _, _) in logs {
        log.close();
    }
    Ok(())
}

async fn round(
    directory: &Path,
    events: u64,
    log: &EventLog,
    group: usize,
    pool: &Pool,
    size: &mut Size,
) -> Result<(), BenchError> {
    let rate = |elapsed: std::time::Duration| events as f64 / elapsed.as_secs_f64().max(1e-9);
    let (before, stored_before) = (written_bytes(), stored_bytes(log));
    size.log.push(rate(stream::append(log, pool, events).await?));
    let stored = stored_bytes(log) - stored_before;
    size.stored_bytes += stored;
    size.written_bytes =
        written_bytes().zip(before).map(|(after, before)| size.written_bytes.unwrap_or(0) + after - before);
    let events_of_group = group as f64 * pool.bytes_of(events) as f64 / stored.max(1) as f64;
    size.file.push(rate(PlainFile::create(directory)?.stream(pool, events, group)?));
    size.file_events.push(rate(PlainFile::create(directory)?.stream(pool, events, events_of_group as usize)?));
    Ok(())
}

fn print(logs: &[(EventLog, usize, Size)], plan: &LogPlan, pool: &Pool, out: &mut dyn Write) -> Result<(), BenchError> {
    writeln!(out, "durable events/s; {} rounds of {} events, {} bytes each", plan.rounds, plan.events, pool.mean())?;
    writeln!(
        out,
        "{:<10} {:>10} {:>19} {:>21} {:>14}",
        "commits of", "event log", "file, same bytes", "file, same events", ""
    )?;
    writeln!(
        out,
        "{:<10} {:>10} {:>11} {:>7} {:>13} {:>7} {:>14}",
        "", "events/s", "events/s", "ratio", "events/s", "ratio", "written/stored"
    )?;
    for (_, group, size) in logs {
        let ratio = |file: &[f64]| {
            median(size.log.iter().zip(file).map(|(log, file)| log / file.max(1e-9)).collect::<Vec<_>>())
        };
        let amplification = size
            .written_bytes
            .map_or_else(|| "-".to_owned(), |bytes| format!("{:.3}", bytes as f64 / size.stored_bytes.max(1) as f64));
        writeln!(
            out,
            "{:<10} {:>10.0} {:>11.0} {:>7.2} {:>13.0} {:>7.2} {:>14}",
            format!("{} KiB", group / 1024),
            median(size.log.clone()),
            median(size.file.clone()),
            ratio(&size.file),
            median(size.file_events.clone()),
            ratio(&size.file_events),
            amplification
        )?;
    }
    writeln!(out, "one core compressing such events, with no disk: {:.0} events/s", pool.compressed_per_second()?)?;
    Ok(())
}

/// Bytes that the log holds.
pub(super) fn stored_bytes(log: &EventLog) -> u64 {
    log.status().lanes.iter().map(|lane| lane.stored_bytes).sum()
}
