//! Anonymous memory of a process with a log: idle, writing, draining, both, by how much is stored.
//!
//! Filling and the rest are processes of their own: what one has freed and kept does not show in the other.

use std::{io::Write, path::Path};

use super::{
    BenchError, LogPlan,
    job::{self, Drained, Filled, Idle, Job, Tuning},
    mebibytes,
};

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let idle: Idle = job::run(&Job::Idle)?;
    writeln!(out, "anonymous memory, MiB, at its highest; such a process without a log: {:.1}", mebibytes(idle.kib))?;
    writeln!(out, "{:<12} {:>43} {:>22}", "", "", "events/s")?;
    writeln!(
        out,
        "{:<12} {:>9} {:>6} {:>14} {:>11} {:>11} {:>10}",
        "stored", "filling", "idle", "write + drain", "draining", "written", "drained"
    )?;
    let mut peaks = Vec::new();
    for stored in std::iter::once(0).chain(plan.stored.iter().copied()) {
        let place = directory.join("memory");
        let filled: Filled =
            job::run(&Job::Fill { directory: place.clone(), events: stored, tuning: Tuning::default() })?;
        let drained: Drained =
            job::run(&Job::Drain { directory: place.clone(), events: plan.events, tuning: Tuning::default() })?;
        std::fs::remove_dir_all(place)?;
        writeln!(
            out,
            "{stored:<12} {:>9.1} {:>6.1} {:>14.1} {:>11.1} {:>11.0} {:>10.0}",
            mebibytes(filled.kib),
            mebibytes(drained.idle_kib),
            mebibytes(drained.both_kib),
            mebibytes(drained.draining_kib),
            plan.events as f64 / drained.written_seconds.max(1e-9),
            drained.events as f64 / drained.seconds.max(1e-9)
        )?;
        out.flush()?;
        if stored > 0 {
            peaks.push((stored, drained.both_kib.max(drained.draining_kib)));
        }
    }
    if let [(few, before), .., (many, after)] = peaks[..] {
        let millions = many.abs_diff(few).max(1) as f64 / 1e6;
        writeln!(out, "slope: {:+.2} MiB a million events stored", (mebibytes(after) - mebibytes(before)) / millions)?;
    }
    Ok(())
}
