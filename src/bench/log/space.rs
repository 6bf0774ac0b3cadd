//! What events cost the disk: bytes stored, written and taken, beside a plain file; and what is left after draining.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{BenchError, LogPlan, plain::PlainFile, stream, throughput::stored_bytes};
use crate::{
    bench::{
        machine::{device_written_bytes, disk_bytes, written_bytes},
        sample::{self, Pool},
    },
    event_log::{Cursor, EventLog, Lane, Settings},
};

/// The plain file's commits, bytes.
const COMMIT_BYTES: usize = 256 * 1024;

/// What one of the two has cost; absolute, or more than another time.
#[derive(Clone, Copy)]
struct Cost {
    stored: u64,
    /// By this process.
    written: Option<u64>,
    /// To the device, by everyone.
    device: Option<u64>,
    disk: u64,
}

impl Cost {
    fn now(path: &Path, stored: u64) -> Cost {
        Cost { stored, written: written_bytes(), device: device_written_bytes(path), disk: disk_bytes(path) }
    }

    fn since(self, before: Cost) -> Cost {
        let more = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Cost {
            stored: self.stored - before.stored,
            written: more(self.written, before.written),
            device: more(self.device, before.device),
            disk: self.disk.saturating_sub(before.disk),
        }
    }
}

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) async fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let pool = Pool::new();
    let place = directory.join("space");
    let log = EventLog::open(Settings { history_bytes: None, ..sample::log_settings(&place) })?;
    let cursor = stream::consumer(&log)?;
    stream::append(&log, &pool, pool.len()).await?;

    let before = Cost::now(&place, stored_bytes(&log));
    stream::append(&log, &pool, plan.events).await?;
    let of_log = Cost::now(&place, stored_bytes(&log)).since(before);
    let of_file = plain(directory, &pool, plan.events)?;
    print(out, pool.bytes_of(plan.events), of_log, of_file)?;
    left(&log, cursor, place, plan, out).await?;
    log.close();
    Ok(())
}

fn plain(directory: &Path, pool: &Pool, events: u64) -> Result<Cost, BenchError> {
    let mut file = PlainFile::create(directory)?;
    let before = Cost::now(file.path(), 0);
    file.stream(pool, events, COMMIT_BYTES)?;
    Ok(Cost::now(file.path(), std::fs::metadata(file.path())?.len()).since(before))
}

fn print(out: &mut dyn Write, event_bytes: u64, log: Cost, file: Cost) -> Result<(), BenchError> {
    let per = |bytes: Option<u64>, of: u64| bytes.map(|bytes| bytes as f64 / of.max(1) as f64);
    let mut row = |what: &str, log: Option<f64>, file: Option<f64>| {
        let [log, file] = [log, file].map(|value| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}")));
        writeln!(out, "{what:<50} {log:>12} {file:>12}")
    };
    row("bytes", None, None)?;
    row("stored per event byte", per(Some(log.stored), event_bytes), per(Some(file.stored), event_bytes))?;
    row("written per event byte", per(log.written, event_bytes), per(file.written, event_bytes))?;
    row("written per stored byte", per(log.written, log.stored), per(file.written, file.stored))?;
    row("to the device, by all, per event byte", per(log.device, event_bytes), per(file.device, event_bytes))?;
    row("to the device, by all, per stored byte", per(log.device, log.stored), per(file.device, file.stored))?;
    row("on the disk per event byte", per(Some(log.disk), event_bytes), per(Some(file.disk), event_bytes))?;
    row("on the disk per stored byte", per(Some(log.disk), log.stored), per(Some(file.disk), file.stored))?;
    Ok(())
}

/// Drains without history, waits, and looks at what is left.
async fn left(
    log: &EventLog,
    cursor: Cursor,
    place: PathBuf,
    plan: &LogPlan,
    out: &mut (dyn Write + Send),
) -> Result<(), BenchError> {
    let last = log.next_sequence(Lane::Routine);
    let draining = log.clone();
    let full = disk_bytes(&place);
    tokio::task::spawn_blocking(move || stream::drain(&draining, &cursor, |next| next >= last))
        .await
        .map_err(|error| BenchError::Job(error.to_string()))??;
    out.flush()?;
    tokio::time::sleep(plan.wait).await;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(
        out,
        "MiB on the disk: {:.1} with {} events; {:.1} drained and {} s later",
        mebibytes(full),
        plan.events + Pool::new().len(),
        mebibytes(disk_bytes(&place)),
        plan.wait.as_secs()
    )?;
    writeln!(out, "as the log counts: {:.1}", mebibytes(log.status().disk_bytes))?;
    Ok(())
}
