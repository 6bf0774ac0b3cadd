//! What the event log gives and takes on this machine: one file a part, one table a part, and in each the machine's own
//! figure from the same run.
//!
//! What is compared is taken by turns, so that a disk that changes its pace changes it for both. Where memory or the
//! time of a start is measured, the log is in a child process of its own, see `job`.
//!
//! A group commit of a size is what the log hands to the disk between two flushes. Its events are compressed, so it
//! holds more of them than a plain file's write of this size; the tables show both ways of being fair.

mod generations;
mod job;
mod latency;
mod memory;
mod opening;
mod plain;
mod reading;
mod space;
mod stream;
mod throughput;

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

pub use self::job::answer;
pub(super) use self::reading::{fill, put};
use crate::event_log::{Gap, LogError};

/// One table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchPart {
    /// Durable events a second at three sizes of group commit
    Throughput,
    /// Time of a commit: of one urgent event, and of groups
    Latency,
    /// Bytes written and on the disk, and what is left after draining
    Space,
    /// Anonymous memory: idle, writing and draining, by stored events
    Memory,
    /// Time to open after a kill, by stored events
    Open,
    /// Time to read stored events: all, by filters, one among them
    Read,
    /// Generation sizes, with each way of the allocator
    Generations,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct LogPlan {
    /// Events of one round.
    pub events: u64,
    /// Rounds; what is shown is the median.
    pub rounds: u32,
    /// Commits of each size for the latency figures.
    pub commits: u32,
    /// Stored events with which memory and opening are measured.
    pub stored: Vec<u64>,
    /// How long after draining the disk is looked at.
    pub wait: Duration,
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
    /// The log has lost what was just put into it.
    #[error("read back what was written: {0:?} is gone")]
    Gone(Gap),
    /// The log takes no cursor.
    #[error("register a cursor: there are too many")]
    Cursor,
    /// Another process of this program did not do its part.
    #[error("measure in another process: {0}")]
    Job(String),
}

/// The sizes of group commits that are measured, bytes.
const GROUPS: [usize; 3] = [64 * 1024, 256 * 1024, 512 * 1024];

/// Measures in `directory`, which must exist and be on the disk in question, and prints as it goes.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub async fn run(
    directory: &Path,
    parts: &[BenchPart],
    plan: &LogPlan,
    out: &mut (dyn Write + Send),
) -> Result<(), BenchError> {
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        match part {
            BenchPart::Throughput => throughput::run(directory, plan, out).await?,
            BenchPart::Latency => latency::run(directory, plan, out).await?,
            BenchPart::Space => space::run(directory, plan, out).await?,
            BenchPart::Memory => memory::run(directory, plan, out)?,
            BenchPart::Open => opening::run(directory, plan, out)?,
            BenchPart::Read => reading::run(directory, plan, out).await?,
            BenchPart::Generations => generations::run(directory, plan, out)?,
        }
        out.flush()?;
    }
    Ok(())
}

/// The middle one; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
