//! A piece of measuring in a process of its own: this program again, with the job on its command line as JSON. It
//! answers with one line of JSON on standard output.

use std::{
    io::{BufRead as _, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{BenchError, stream, throughput::stored_bytes};
use crate::{
    allocator::Allocator,
    bench::{
        machine::{Peak, anonymous_kib},
        sample::{self, Pool},
    },
    event_log::{EventLog, Lane, Settings},
};

/// What a process shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Nothing but be there. Answers [`Idle`].
    Idle,
    /// Put events into a log that somebody wants to read, and close it. Answers [`Filled`].
    Fill { directory: PathBuf, events: u64, tuning: Tuning },
    /// Open, write so many events more and drain everything meanwhile. Answers [`Drained`].
    Drain { directory: PathBuf, events: u64, tuning: Tuning },
    /// Open, answer [`Opened`], and write until killed.
    Hold { directory: PathBuf },
}

/// What differs between two logs that are compared.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tuning {
    /// The log's own when not set.
    pub(super) generation_bytes: Option<u64>,
    pub(super) allocator: Allocator,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Idle {
    pub(super) kib: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Filled {
    pub(super) seconds: f64,
    pub(super) stored_bytes: u64,
    pub(super) kib: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Drained {
    /// With the log open and at rest.
    pub(super) idle_kib: u64,
    /// While it was written and drained.
    pub(super) both_kib: u64,
    /// While it was only drained; 0 when draining ended with writing.
    pub(super) draining_kib: u64,
    pub(super) written_seconds: f64,
    /// Events drained, and in what time.
    pub(super) events: u64,
    pub(super) seconds: f64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Opened {
    pub(super) seconds: f64,
}

/// How long an open log rests before its memory is looked at.
const REST: Duration = Duration::from_secs(1);

/// A process at work on a job. Killed when dropped.
pub(super) struct Child {
    process: std::process::Child,
}

impl Child {
    /// Starts a process and waits for its answer.
    ///
    /// # Errors
    /// When it cannot be started or does not answer; what is wrong it has told on standard error.
    pub(super) fn start<A: DeserializeOwned>(job: &Job) -> Result<(Child, A), BenchError> {
        let job = serde_json::to_string(job).map_err(|error| BenchError::Job(error.to_string()))?;
        let process = Command::new(std::env::current_exe()?)
            .args(["bench", "job", &job])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut child = Child { process };
        let mut answer = String::new();
        if let Some(stdout) = child.process.stdout.take() {
            BufReader::new(stdout).read_line(&mut answer)?;
        }
        let answer = serde_json::from_str(&answer).map_err(|_| BenchError::Job(format!("no answer to {job}")))?;
        Ok((child, answer))
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn kill(mut self) -> Result<(), BenchError> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be gone already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Does a job in a process and waits for its end; gives the answer.
///
/// # Errors
/// As [`Child::start`].
pub(super) fn run<A: DeserializeOwned>(job: &Job) -> Result<A, BenchError> {
    timed(job).map(|(answer, _)| answer)
}

/// As [`run`], with the time until the process has ended.
///
/// # Errors
/// As [`Child::start`].
pub(super) fn timed<A: DeserializeOwned>(job: &Job) -> Result<(A, Duration), BenchError> {
    let started = Instant::now();
    let (mut child, answer) = Child::start(job)?;
    child.process.wait()?;
    Ok((answer, started.elapsed()))
}

/// Does the job that is written in `job`, in this process, and answers on `out`.
///
/// # Errors
/// When this is no job, the log refuses, or nobody takes the answer.
pub async fn answer(job: &str, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    match serde_json::from_str(job).map_err(|error| BenchError::Job(error.to_string()))? {
        Job::Idle => say(out, &Idle { kib: idle() }),
        Job::Fill { directory, events, tuning } => say(out, &fill(&directory, events, tuning).await?),
        Job::Drain { directory, events, tuning } => say(out, &drain(&directory, events, tuning).await?),
        Job::Hold { directory } => hold(&directory, out).await,
    }
}

fn say(out: &mut dyn Write, answer: &impl Serialize) -> Result<(), BenchError> {
    writeln!(out, "{}", serde_json::to_string(answer).map_err(|error| BenchError::Job(error.to_string()))?)?;
    out.flush()?;
    Ok(())
}

/// With the events to write, as every job has them.
fn idle() -> u64 {
    let pool = Pool::new();
    let kib = anonymous_kib().unwrap_or(0);
    drop(pool);
    kib
}

fn open(directory: &Path, tuning: Tuning) -> Result<EventLog, BenchError> {
    if !tuning.allocator.apply() {
        return Err(BenchError::Job("this program's allocator cannot be told".to_owned()));
    }
    let settings = sample::log_settings(directory);
    let generation_bytes = tuning.generation_bytes.unwrap_or(settings.generation_bytes);
    Ok(EventLog::open(Settings { generation_bytes, history_bytes: None, ..settings })?)
}

async fn fill(directory: &Path, events: u64, tuning: Tuning) -> Result<Filled, BenchError> {
    let mut pool = Pool::new();
    let peak = Peak::watch()?;
    let log = open(directory, tuning)?;
    let cursor = stream::consumer(&log)?;
    let elapsed = stream::append_new(&log, &mut pool, events).await?;
    let filled = Filled { seconds: elapsed.as_secs_f64(), stored_bytes: stored_bytes(&log), kib: peak.take() };
    drop(cursor);
    log.close();
    Ok(filled)
}

async fn drain(directory: &Path, events: u64, tuning: Tuning) -> Result<Drained, BenchError> {
    let mut pool = Pool::new();
    let log = open(directory, tuning)?;
    thread::sleep(REST);
    let idle_kib = anonymous_kib().unwrap_or(0);
    let (peak, cursor) = (Peak::watch()?, stream::consumer(&log)?);
    let last = std::sync::Arc::new(AtomicU64::new(u64::MAX));
    let (draining, until) = (log.clone(), std::sync::Arc::clone(&last));
    let drained = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let events = stream::drain(&draining, &cursor, |next| next >= until.load(Ordering::Acquire))?;
        Ok::<_, BenchError>((events, started.elapsed()))
    });
    let written = stream::append_new(&log, &mut pool, events).await?;
    let both_kib = peak.take();
    let only_draining = !drained.is_finished();
    last.store(log.next_sequence(Lane::Routine), Ordering::Release);
    let (events, elapsed) = drained.await.map_err(|error| BenchError::Job(error.to_string()))??;
    let draining_kib = if only_draining { peak.take() } else { 0 };
    log.close();
    Ok(Drained {
        idle_kib,
        both_kib,
        draining_kib,
        written_seconds: written.as_secs_f64(),
        events,
        seconds: elapsed.as_secs_f64(),
    })
}

async fn hold(directory: &Path, out: &mut dyn Write) -> Result<(), BenchError> {
    let mut pool = Pool::new();
    let started = Instant::now();
    let log = open(directory, Tuning::default())?;
    say(out, &Opened { seconds: started.elapsed().as_secs_f64() })?;
    let _cursor = stream::consumer(&log)?;
    loop {
        let pass = pool.len();
        stream::append_new(&log, &mut pool, pass).await?;
    }
}
