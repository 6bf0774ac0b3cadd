//! What the way out gives: from the log through the socket into a program that is attached to a consumer of its own. Program
//! and agent share one process.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use prost::Message as _;

use super::{
    ingest::{IngestBenchError, with_agent},
    log::fill,
    machine::{self, Latencies},
    sample::{self, Pool},
};
use crate::{
    client::{Attach, Bound, Client, Consumed, Consumption, Durability, Encoding, Start, start},
    event_log::EventLog,
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct ConsumePlan {
    /// Stored events.
    pub events: u64,
    /// How often each is measured; the median is shown.
    pub rounds: u32,
    /// Events that are given one at a time, and timed until a program has them.
    pub emits: u32,
    /// How long programs stand idle.
    pub idle: Duration,
}

/// Events between two commits.
const COMMIT_EVERY: usize = 1_000;

/// One of so many events is what somebody looks for.
const RARE: u64 = 10_000;

/// Programs that stand idle.
const IDLE: u32 = 32;

const WINDOW: u32 = 50_000;

/// Fills a log in `directory`, consumes it through its socket, and prints.
///
/// # Errors
/// When the log or the socket does not work here.
pub async fn run(directory: &Path, plan: ConsumePlan, out: &mut (dyn Write + Send)) -> Result<(), IngestBenchError> {
    with_agent(directory, async |client, log| {
        let mut pool = Pool::new();
        let rare = sample::the_one("the-one").encode_to_vec();
        for at in (0..plan.events).step_by(RARE as usize) {
            super::log::put(log, std::slice::from_ref(&rare)).await.map_err(io::Error::other)?;
            fill(log, &mut pool, (plan.events - at).min(RARE).saturating_sub(1)).await.map_err(io::Error::other)?;
        }
        writeln!(out, "{} stored events of {} bytes; median of {}", plan.events, pool.mean(), plan.rounds)?;
        writeln!(out, "{:<32} {:>10} {:>12} {:>14}", "a commit each 1,000", "seconds", "events/s", "CPU s/million")?;
        let plain = || Attach { bound: Some(Bound::Window(WINDOW)), ..Attach::default() };
        for (name, attach) in [
            ("events", plain()),
            ("frames", Attach { encoding: Encoding::Frames.into(), ..plain() }),
            ("events, 4 workers", Attach { workers: 4, ..plain() }),
            ("a filter, 1 in 10,000", Attach { filter: vec!["pool_name=the-one".to_owned()], ..plain() }),
        ] {
            row(client, log, name, &attach, plan, out).await?;
        }
        one_at_a_time(client, plan.emits, out).await?;
        idle(&directory.join("socket"), plan.idle, out).await
    })
    .await
}

async fn row(
    client: &Client,
    log: &EventLog,
    name: &str,
    attach: &Attach,
    plan: ConsumePlan,
    out: &mut (dyn Write + Send),
) -> Result<(), IngestBenchError> {
    let mut rounds = Vec::new();
    for round in 0..plan.rounds {
        let attach = Attach { consumer: format!("bench-{round}"), ..attach.clone() };
        let (begun, cpu) = (Instant::now(), machine::cpu_time()?);
        take_all(client.consume(attach).await?).await?;
        rounds.push((begun.elapsed(), machine::cpu_time()?.saturating_sub(cpu)));
        log.remove_consumer(&format!("program.bench-{round}"));
    }
    rounds.sort();
    let Some((took, cpu)) = rounds.get(rounds.len() / 2) else { return Ok(()) };
    let rate = plan.events as f64 / took.as_secs_f64().max(1e-9);
    let cpu = cpu.as_secs_f64() / plan.events as f64 * 1e6;
    writeln!(out, "{name:<32} {:>10.3} {rate:>12.0} {cpu:>14.2}", took.as_secs_f64())?;
    Ok(out.flush()?)
}

/// Takes and commits until it has caught up.
async fn take_all(mut consumption: Consumption) -> Result<(), IngestBenchError> {
    let mut since_commit = BTreeMap::new();
    while let Some(consumed) = consumption.next().await? {
        match consumed {
            Consumed::Run(run) => {
                let Some(last) = run.last() else { continue };
                let count = since_commit.entry(last.worker).or_insert(0);
                *count += run.len();
                if *count >= COMMIT_EVERY {
                    consumption.commit_event(last).await?;
                    *count = 0;
                }
            }
            Consumed::Gap(_) => {}
            Consumed::CaughtUp => break,
        }
    }
    Ok(consumption.finish().await?)
}

fn from_now(consumer: String) -> Attach {
    let newest = start::Start::Place(start::Place::Newest.into());
    Attach { consumer, from: Some(Start { start: Some(newest) }), ..Attach::default() }
}

/// An event from its request until a program that waits has it.
async fn one_at_a_time(client: &Client, emits: u32, out: &mut (dyn Write + Send)) -> Result<(), IngestBenchError> {
    let mut latencies = Latencies::default();
    let mut consumption = client.consume(from_now("tail".to_owned())).await?;
    for event in sample::encoded(0, u64::from(emits)) {
        let begun = Instant::now();
        client.emit_encoded(vec![event.into()], Durability::Committed).await?;
        while let Some(consumed) = consumption.next().await? {
            if let Consumed::Run(run) = consumed {
                latencies.push(begun.elapsed());
                if let Some(last) = run.last() {
                    consumption.commit_event(last).await?;
                }
                break;
            }
        }
    }
    consumption.finish().await?;
    let [median, most] = [50.0, 99.0].map(|percent| latencies.milliseconds(percent));
    writeln!(out, "from emit to program: p50 {median:.3} ms, p99 {most:.3} ms")?;
    Ok(out.flush()?)
}

/// Memory and wake-ups of programs that wait, each with a connection of its own, beside none.
async fn idle(socket: &Path, time: Duration, out: &mut (dyn Write + Send)) -> Result<(), IngestBenchError> {
    let mut programs = Vec::new();
    let mut before = (0, 0);
    for count in [0, IDLE] {
        for number in 0..count {
            let consumer = format!("idle-{number}");
            let mut consumption = Client::connect(socket).await?.consume(from_now(consumer)).await?;
            // Caught up.
            consumption.next().await?;
            programs.push(consumption);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (memory, wakes) = (machine::anonymous_kib().unwrap_or_default(), wakes()?);
        tokio::time::sleep(time).await;
        let now = (memory, self::wakes()? - wakes);
        writeln!(out, "{count} idle programs: {} KiB, {} wake-ups in {} s", now.0, now.1, time.as_secs())?;
        if count > 0 {
            let more = now.0.saturating_sub(before.0);
            writeln!(out, "more for {count} of them, both ends: {more} KiB")?;
        }
        before = now;
    }
    Ok(out.flush()?)
}

/// Times that the process's threads went to sleep by themselves.
fn wakes() -> io::Result<i64> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.voluntary_context_switches())
}
