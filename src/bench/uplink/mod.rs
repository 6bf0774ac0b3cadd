//! How fast events travel from the log to a controller over the loopback; both ends share this machine, each is a process of
//! its own.

mod discard;
pub mod peer;

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use self::peer::Process;
pub use self::{discard::PeerTlsFiles, peer::Peer};
use super::{
    machine::{cpu_time, disk_bytes},
    sample,
};
use crate::{
    consumers::{Delivery, Threshold},
    event_log::{Cursor, EventLog, Lane, LogError},
    schema::wire::SystemInfo,
    settings::Secret,
    sinks::uplink::{self, Surroundings, Tls, TokenSource, Uplink, UplinkState},
};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct UplinkPlan {
    /// Events to deliver.
    pub events: u64,
    /// Events a batch.
    pub batch_size: usize,
    /// How often each is measured; the median is shown.
    pub rounds: u32,
    /// Measure TLS, too, with these.
    pub tls: Option<PeerTlsFiles>,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum UplinkBenchError {
    /// The log does not work here.
    #[error("fill the event log")]
    Log(#[from] LogError),
    /// The figures cannot be printed, or a process not started.
    #[error("measure")]
    Io(#[from] io::Error),
    /// The controller does not work here.
    #[error("run a controller")]
    Controller(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What one drain gave.
#[derive(Clone, Copy)]
struct Drained {
    elapsed: Duration,
    /// CPU time of this process.
    cpu: Duration,
    /// CPU time of the other end.
    peers_cpu: Duration,
    bytes: u64,
    /// The longest that an urgent event took that was raised meanwhile, until it was acknowledged.
    urgent: Duration,
}

/// How often an urgent event is raised while everything else drains.
const URGENT_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is looked at whether it has arrived.
const LOOK: Duration = Duration::from_millis(1);

/// Fills a log in `directory`, then drains it into one controller after the other, and prints.
///
/// # Errors
/// When the log or a controller does not work here.
pub async fn run(directory: &Path, plan: UplinkPlan, out: &mut (dyn Write + Send)) -> Result<(), UplinkBenchError> {
    let log = EventLog::open(sample::log_settings(directory))?;
    let bytes = fill(&log, plan.events).await?;
    let each = bytes / plan.events.max(1);
    writeln!(out, "{} events of {each} bytes, batches of {}, median of {}", plan.events, plan.batch_size, plan.rounds)?;
    let columns = ("events/s", "CPU s/M", "peer's", "sent/byte", "urgent, max");
    writeln!(out, "{:<31} {:>9} {:>8} {:>7} {:>9} {:>11}", "", columns.0, columns.1, columns.2, columns.3, columns.4)?;
    let mut peers = vec![("counts and discards", Peer::Discard { tls: None })];
    peers.extend(plan.tls.clone().map(|tls| ("counts and discards, TLS", Peer::Discard { tls: Some(tls) })));
    peers.push(("controller in memory", Peer::Memory));
    #[cfg(feature = "sqlite")]
    peers.push(("controller with SQLite, durable", Peer::Sqlite(directory.join("events.db"))));
    for (name, peer) in peers {
        let mut rounds = Vec::new();
        for round in 0..plan.rounds {
            let peer = match &peer {
                // Events that are there already would only be dropped.
                Peer::Sqlite(path) => Peer::Sqlite(path.with_extension(format!("{round}.db"))),
                other => other.clone(),
            };
            rounds.push(drain(&log, &format!("{name} {round}"), &peer, &plan).await?);
        }
        rounds.sort_by_key(|drained| drained.elapsed);
        let Some(drained) = rounds.get(rounds.len() / 2) else { continue };
        let rate = plan.events as f64 / drained.elapsed.as_secs_f64();
        let a_million = |cpu: Duration| cpu.as_secs_f64() / plan.events as f64 * 1e6;
        let (cpu, peers_cpu) = (a_million(drained.cpu), a_million(drained.peers_cpu));
        let sent = drained.bytes as f64 / bytes.max(1) as f64;
        let urgent = rounds.iter().map(|drained| drained.urgent).max().unwrap_or_default().as_secs_f64() * 1e3;
        writeln!(out, "{name:<31} {rate:>9.0} {cpu:>8.2} {peers_cpu:>7.2} {sent:>9.3} {urgent:>8.1} ms")?;
        if let Peer::Sqlite(path) = &peer {
            // With its write-ahead log, which may hold the newest of it.
            let disk: u64 = ["0.db", "0.db-wal"].map(|end| disk_bytes(&path.with_extension(end))).iter().sum();
            let stored = disk as f64 / plan.events as f64;
            writeln!(out, "bytes of its database an event of {each}: {stored:.0}")?;
        }
        out.flush()?;
    }
    log.close();
    Ok(())
}

/// Appends events durably; gives their bytes.
async fn fill(log: &EventLog, events: u64) -> Result<u64, LogError> {
    let (mut bytes, mut next) = (0, 1);
    for from in (0..events).step_by(1000) {
        let some = sample::encoded(from, events.min(from + 1000));
        bytes += some.iter().map(|event| event.len() as u64).sum::<u64>();
        next = log.append(Lane::Routine, &sample::drafts(&some)).await?;
    }
    log.commit(Lane::Routine, next).await?;
    Ok(bytes)
}

/// Delivers everything that is stored.
async fn drain(log: &EventLog, name: &str, peer: &Peer, plan: &UplinkPlan) -> Result<Drained, UplinkBenchError> {
    let process = Process::start(peer)?;
    let tls = match peer {
        Peer::Discard { tls: Some(tls) } => {
            Tls::On { ca_file: Some(tls.cert.clone()), cert_file: None, key_file: None, server_name: None }
        }
        _ => Tls::Off,
    };
    let cursor = log.cursor(name).ok_or_else(|| LogError::Closed("too many cursors".to_owned()))?;
    let state = UplinkState::new(name);
    let uplink = Uplink::new(
        uplink::UplinkSettings {
            address: format!("localhost:{}", process.greeting.port),
            token: TokenSource::Inline(Secret::new(process.greeting.token.clone())),
            tls,
            node_id: "bench".to_owned(),
        },
        Surroundings { now: Arc::new(|| 0), system_info: Arc::new(SystemInfo::default) },
        state.clone(),
    );
    let threshold = Threshold { batch_size: plan.batch_size, batch_timeout: Duration::from_secs(1) };
    let uplink = uplink.driver(Delivery::new(log, &cursor, threshold));
    let drain_and_end = CancellationToken::new();
    // With nothing more to come the uplink delivers what is there and ends.
    drain_and_end.cancel();
    let (started, cpu, peers_cpu) = (Instant::now(), cpu_time()?, process.cpu_time());
    let mut urgent = Duration::ZERO;
    tokio::select! {
        () = uplink.run(drain_and_end, CancellationToken::new()) => {}
        raised = raise_urgent(log, &cursor, &mut urgent) => raised?,
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_time()?.saturating_sub(cpu));
    let peers_cpu = process.cpu_time().saturating_sub(peers_cpu);
    let status = state.status();
    if cursor.next(Lane::Routine) != log.next_sequence(Lane::Routine) {
        return Err(controller_error(io::Error::other(format!(
            "only {} arrived: {}",
            status.delivered_events, status.last_error
        ))));
    }
    Ok(Drained { elapsed, cpu, peers_cpu, bytes: status.delivered_bytes, urgent })
}

/// Raises urgent events, one after the other, and notes the longest time that one took. Ends only when the log does.
async fn raise_urgent(log: &EventLog, cursor: &Cursor, longest: &mut Duration) -> Result<(), LogError> {
    let event = sample::encoded(0, 1);
    loop {
        tokio::time::sleep(URGENT_INTERVAL).await;
        let raised = Instant::now();
        let next = log.append(Lane::Urgent, &sample::drafts(&event)).await?;
        while cursor.next(Lane::Urgent) < next {
            tokio::time::sleep(LOOK).await;
        }
        *longest = (*longest).max(raised.elapsed());
    }
}

fn controller_error(error: impl std::error::Error + Send + Sync + 'static) -> UplinkBenchError {
    UplinkBenchError::Controller(Box::new(error))
}
