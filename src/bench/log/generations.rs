//! Generation sizes against each other, with each way of the allocator: what memory costs in speed.

use std::{io::Write, path::Path, time::Duration};

use super::{
    BenchError, LogPlan,
    job::{self, Drained, Filled, Job, Tuning},
    mebibytes, median,
    plain::PlainFile,
};
use crate::{allocator::Allocator, bench::sample::Pool};

/// Sizes, bytes: each just under a whole number of the storage's segments.
const SIZES: [u64; 3] = [4020 * 1024, 8080 * 1024, 16160 * 1024];

/// The plain file's commits, bytes: what the log flushes at a time.
const COMMIT_BYTES: usize = 256 * 1024;

/// A line of the table, gathered round by round.
#[derive(Default)]
struct Line {
    tuning: Tuning,
    written: Vec<f64>,
    ratios: Vec<f64>,
    written_both: Vec<f64>,
    drained: Vec<f64>,
    writing_kib: u64,
    both_kib: u64,
}

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let tunings = SIZES
        .into_iter()
        .flat_map(|size| Allocator::ALL.map(|allocator| Tuning { generation_bytes: Some(size), allocator }));
    let mut lines: Vec<_> = tunings.map(|tuning| Line { tuning, ..Line::default() }).collect();
    let (pool, mut file) = (Pool::new(), Vec::new());
    for _ in 0..plan.rounds {
        for line in &mut lines {
            let elapsed = PlainFile::create(directory)?.stream(&pool, plan.events, COMMIT_BYTES)?;
            file.push(per_second(plan.events, elapsed.as_secs_f64()));
            line.round(directory, plan.events, elapsed)?;
        }
    }
    writeln!(
        out,
        "generation sizes; {} rounds of {} events; the plain file: {:.0} events/s",
        plan.rounds,
        plan.events,
        median(file)
    )?;
    writeln!(out, "{:<20} {:>16} {:>20} {:>21}", "", "writing", "with a reader", "anonymous MiB")?;
    writeln!(
        out,
        "{:<10} {:<9} {:>9} {:>6} {:>10} {:>9} {:>10} {:>10}",
        "generation", "allocator", "events/s", "/ file", "written/s", "read/s", "writing", "with both"
    )?;
    for line in &lines {
        line.print(out)?;
    }
    Ok(())
}

impl Line {
    fn round(&mut self, directory: &Path, events: u64, file: Duration) -> Result<(), BenchError> {
        let place = directory.join("generations");
        let filled: Filled = job::run(&Job::Fill { directory: place.clone(), events, tuning: self.tuning })?;
        let drained: Drained = job::run(&Job::Drain { directory: place.clone(), events, tuning: self.tuning })?;
        std::fs::remove_dir_all(place)?;
        self.written.push(per_second(events, filled.seconds));
        self.ratios.push(file.as_secs_f64() / filled.seconds.max(1e-9));
        self.written_both.push(per_second(events, drained.written_seconds));
        self.drained.push(per_second(drained.events, drained.seconds));
        self.writing_kib = self.writing_kib.max(filled.kib);
        self.both_kib = self.both_kib.max(drained.both_kib).max(drained.draining_kib);
        Ok(())
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), BenchError> {
        writeln!(
            out,
            "{:<10} {:<9} {:>9.0} {:>6.2} {:>10.0} {:>9.0} {:>10.1} {:>10.1}",
            format!("{} KiB", self.tuning.generation_bytes.unwrap_or_default() / 1024),
            self.tuning.allocator.name(),
            median(self.written.clone()),
            median(self.ratios.clone()),
            median(self.written_both.clone()),
            median(self.drained.clone()),
            mebibytes(self.writing_kib),
            mebibytes(self.both_kib)
        )?;
        Ok(())
    }
}

fn per_second(events: u64, seconds: f64) -> f64 {
    events as f64 / seconds.max(1e-9)
}
