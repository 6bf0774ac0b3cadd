//! How long the log takes to open after its process was killed while it wrote, by how much is stored.

use std::{fs::File, io::Write, path::Path, thread, time::Duration};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{
    BenchError, LogPlan,
    job::{self, Child, Filled, Idle, Job, Opened, Tuning},
    median,
};
use crate::bench::machine::files;

/// How long a process writes before it is killed; longer by a step each time, so that it is hit in different places.
const WRITING: Duration = Duration::from_millis(200);
const WRITING_STEP: Duration = Duration::from_millis(37);

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let idle: Vec<_> = (0..plan.rounds).map(|_| job::timed(&Job::Idle)).collect::<Result<_, _>>()?;
    let start = median(idle.into_iter().map(|(_, elapsed): (Idle, Duration)| milliseconds(elapsed)).collect());
    writeln!(out, "time to open, milliseconds; {} kills each; to start the program alone: {start:.1}", plan.rounds)?;
    writeln!(out, "{:<12} {:>8} {:>12} {:>16} {:>25}", "", "", "", "killed", "killed, cache dropped")?;
    writeln!(
        out,
        "{:<12} {:>8} {:>12} {:>8} {:>7} {:>13} {:>11}",
        "stored", "MiB", "closed", "median", "worst", "median", "worst"
    )?;
    for &stored in &plan.stored {
        let place = directory.join("open");
        let filled: Filled =
            job::run(&Job::Fill { directory: place.clone(), events: stored, tuning: Tuning::default() })?;
        let closed = open_and_kill(&place, 0)?;
        let warm: Vec<_> = (0..plan.rounds).map(|n| open_and_kill(&place, n)).collect::<Result<_, _>>()?;
        let cold = (0..plan.rounds).map(|n| forget(&place).and_then(|()| open_and_kill(&place, n)));
        let cold: Vec<_> = cold.collect::<Result<_, _>>()?;
        let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
        writeln!(
            out,
            "{stored:<12} {:>8.0} {closed:>12.1} {:>8.1} {:>7.1} {:>13.1} {:>11.1}",
            filled.stored_bytes as f64 / f64::from(1 << 20),
            median(warm.clone()),
            worst(&warm),
            median(cold.clone()),
            worst(&cold)
        )?;
        out.flush()?;
        std::fs::remove_dir_all(place)?;
    }
    Ok(())
}

/// Opens the log in a process that then writes until it is killed; gives how long opening took.
fn open_and_kill(place: &Path, turn: u32) -> Result<f64, BenchError> {
    let (child, opened): (Child, Opened) = Child::start(&Job::Hold { directory: place.to_owned() })?;
    thread::sleep(WRITING + WRITING_STEP * (turn % 8));
    child.kill()?;
    Ok(opened.seconds * 1000.0)
}

/// Makes the system forget what it holds of the log's files, as after a start of the machine.
fn forget(place: &Path) -> Result<(), BenchError> {
    for path in files(place) {
        let file = File::open(path)?;
        // Only what is on the disk can be forgotten.
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(std::io::Error::from)?;
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
