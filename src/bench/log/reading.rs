//! What it takes to find stored events: all of them, those that a filter takes, the one among them that somebody looks for;
//! beside a plain file of the same events that is read and looked through for the same text.

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use memchr::memmem;
use prost::Message as _;

use super::{BenchError, LogPlan, median, plain::PlainFile, stream};
use crate::{
    bench::sample::{self, Pool},
    event::{Filter, Head},
    event_log::{Draft, EventLog, Lane, LogError, Read, Sieve},
};

/// What is looked for, and how it is told.
const LOOKS: [(&str, &str); 6] = [
    ("all", ""),
    ("level>=error, none", "level>=error"),
    ("a kind, none", "network.dns"),
    ("one, by metadata", "meta.host=the-one"),
    ("one, by a field", "pool_name=the-one"),
    ("a tenth, by kind", "network.interface"),
];

/// The most that is read at a time.
const READ_EVENTS: usize = 8_192;
const READ_BYTES: usize = 1024 * 1024;

/// Bytes of a plain file between two commits.
const COMMIT_BYTES: usize = 256 * 1024;

/// Measures and prints.
///
/// # Errors
/// When the directory cannot be written or the log refuses.
pub(super) async fn run(directory: &Path, plan: &LogPlan, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let mut pool = Pool::new();
    let log = EventLog::open(sample::log_settings(&directory.join("reading")))?;
    let half = plan.events / 2;
    fill(&log, &mut pool, half).await?;
    put(&log, &[the_one()]).await?;
    fill(&log, &mut pool, plan.events - half).await?;
    let mut file = PlainFile::create(directory)?;
    file.stream(&pool, plan.events, COMMIT_BYTES)?;

    writeln!(out, "{} stored events of {} bytes; {} rounds", plan.events, pool.mean(), plan.rounds)?;
    writeln!(out, "{:<24} {:>10} {:>14} {:>10}", "what", "seconds", "events/s", "found")?;
    let mut row = |what: &str, times: Vec<f64>, found: u64| {
        let seconds = median(times);
        writeln!(out, "{what:<24} {seconds:>10.3} {:>14.0} {found:>10}", plan.events as f64 / seconds.max(1e-9))
    };
    for (what, filter) in LOOKS {
        let words: &[&str] = if filter.is_empty() { &[] } else { &[filter] };
        let filter = Filter::parse(words).map_err(|error| BenchError::Job(error.to_string()))?;
        let rounds = (0..plan.rounds).map(|_| look(&log, &filter)).collect::<Result<Vec<_>, _>>()?;
        let found = rounds.last().map_or(0, |(_, found)| *found);
        row(what, rounds.iter().map(|(time, _)| time.as_secs_f64()).collect(), found)?;
    }
    let plain = || -> Result<(f64, u64), BenchError> {
        let started = Instant::now();
        let bytes = fs::read(file.path())?;
        let found = memmem::find_iter(&bytes, "the-one").count();
        Ok((started.elapsed().as_secs_f64(), found as u64))
    };
    let rounds = (0..plan.rounds).map(|_| plain()).collect::<Result<Vec<_>, _>>()?;
    row("a plain file, a text", rounds.iter().map(|(time, _)| *time).collect(), 0)?;
    log.close();
    Ok(())
}

/// Reads all that the filter takes, as `rodent events` does. Gives how long that took, and how many there were.
fn look(log: &EventLog, filter: &Filter) -> Result<(Duration, u64), BenchError> {
    let (started, mut found) = (Instant::now(), 0);
    let sieve = Sieve::of(filter, (i64::MIN, i64::MAX));
    let mut reader = log.reader(Lane::Routine, 1);
    loop {
        match reader.read_where(&sieve, READ_EVENTS, READ_BYTES)? {
            Read::Run(run) if filter.is_empty() => found += run.events().count() as u64,
            Read::Run(run) => {
                let is_taken = |event: &[u8]| Head::read(event).is_ok_and(|head| filter.takes(&head, event));
                found += run.events().filter(|stored| is_taken(&stored.event)).count() as u64;
            }
            Read::Gap(gap) => return Err(BenchError::Gone(gap)),
            Read::End => return Ok((started.elapsed(), found)),
        }
    }
}

/// Appends so many events with all that the log notes of them.
pub(in crate::bench) async fn fill(log: &EventLog, pool: &mut Pool, count: u64) -> Result<(), LogError> {
    stream::append_new_as(noted, log, pool, count).await.map(drop)
}

/// The same of these.
pub(in crate::bench) async fn put(log: &EventLog, events: &[Vec<u8>]) -> Result<(), LogError> {
    log.append(Lane::Routine, &noted(events)).await.map(drop)
}

/// Events with all that the log notes of them.
fn noted(events: &[Vec<u8>]) -> Vec<Draft<'_>> {
    let draft = |event| {
        let head = Head::read(event).ok()?;
        let (level, category) = (head.level.to_wire().into(), head.category);
        Some(Draft { event, level, category, timestamp: head.timestamp, kind: Some(head.kind_mark()) })
    };
    events.iter().filter_map(|event| draft(event)).collect()
}

fn the_one() -> Vec<u8> {
    sample::the_one("the-one").encode_to_vec()
}
