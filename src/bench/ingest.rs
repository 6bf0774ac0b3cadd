//! What the way in gives: from a program's request at the socket until the agent has answered that its events are durable.
//! Program and agent share one process, so that the CPU is that of both.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    machine::{self, Latencies},
    sample,
};
use crate::{
    client::{Client, ClientError, Durability},
    consumers::programs::Programs,
    dead_letters::DeadLetters,
    event_log::{EventLog, LogError},
    health::Registry,
    local_api::{self, LocalApi, Rooms, Scopes},
    pipeline::{Emitter, Gate},
    schema::local::{EmitRequest, StateResponse, StatusResponse},
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct IngestPlan {
    /// Events of a round.
    pub events: u64,
    /// How often each is measured; the median is shown.
    pub rounds: u32,
    /// Events that are given one at a time.
    pub emits: u32,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum IngestBenchError {
    /// The log does not work here.
    #[error("open the event log")]
    Log(#[from] LogError),
    /// The socket does not answer.
    #[error("give events to the agent")]
    Client(#[from] ClientError),
    /// A call on it fails.
    #[error("give events to the agent")]
    Call(#[from] Status),
    /// The figures cannot be printed, or the socket not be made.
    #[error("measure")]
    Io(#[from] io::Error),
}

/// Events a request, and requests that are not answered at once.
const STREAMS: [(&str, usize, usize); 2] =
    [("100 a request, 16 under way", 100, 16), ("1 a request, 256 under way", 1, 256)];

/// Opens a log and a socket in `directory`, gives events to it, and prints.
///
/// # Errors
/// When the log or the socket does not work here.
pub async fn run(directory: &Path, plan: IngestPlan, out: &mut (dyn Write + Send)) -> Result<(), IngestBenchError> {
    with_agent(directory, async |client, _| measure(client, directory, plan, out).await).await
}

/// Measures while a log and a socket are open in `directory`.
///
/// # Errors
/// When they do not work here, or what measures says.
pub(super) async fn with_agent(
    directory: &Path,
    measure: impl AsyncFnOnce(&Client, &EventLog) -> Result<(), IngestBenchError>,
) -> Result<(), IngestBenchError> {
    let log = EventLog::open(sample::log_settings(directory))?;
    let socket = directory.join("socket");
    let api = LocalApi::bind(&local_api::SocketSettings { socket: socket.clone(), ..Default::default() })
        .await
        .map_err(io::Error::other)?;
    let rooms = Rooms {
        emitter: Emitter::new(log.clone(), Gate::open(), || sample::AFTER),
        log: log.clone(),
        status: Arc::new(StatusResponse::default),
        programs: Programs::new(log.clone(), Registry::new(|| 1), Arc::new(|| 1)),
        scopes: watch::Sender::new(Scopes::default()).subscribe(),
        dead_letters: DeadLetters::open(&directory.join("dead-letters")).map_err(io::Error::other)?,
        reload: Arc::new(|_| Box::pin(async { Err(Status::unimplemented("nothing to reload")) })),
        settling: Arc::new(|| Box::pin(async {})),
        states: Arc::new(|_| StateResponse::default()),
        acknowledge: Arc::new(|_, _| Box::pin(async { Err(Status::unimplemented("nothing to acknowledge")) })),
        silence: Arc::new(|_, _| Box::pin(async { Err(Status::unimplemented("nothing to silence")) })),
        sink_orders: Arc::new(|_| Box::pin(async { Err(Status::unimplemented("nothing to order")) })),
        sinks: Arc::new(|_| Box::pin(async { Err(Status::unimplemented("nothing to test")) })),
        trouble: Arc::new(|| None),
    };
    let ended = CancellationToken::new();
    let measured = async {
        let client = Client::connect(&socket).await?;
        let measured = measure(&client, &log).await;
        ended.cancel();
        measured
    };
    let (served, measured) = tokio::join!(api.serve(rooms, ended.clone()), measured);
    log.close();
    measured?;
    served.map_err(|error| io::Error::other(error).into())
}

async fn measure(
    client: &Client,
    directory: &Path,
    plan: IngestPlan,
    out: &mut (dyn Write + Send),
) -> Result<(), IngestBenchError> {
    writeln!(out, "{} events through the socket, median of {}", plan.events, plan.rounds)?;
    writeln!(out, "{:<32} {:>12} {:>14}", "durable when answered", "events/s", "CPU s/million")?;
    for (name, each, window) in STREAMS {
        let requests = requests(plan.events, each);
        let mut rounds = Vec::new();
        for _ in 0..plan.rounds {
            let (begun, cpu) = (Instant::now(), machine::cpu_time()?);
            stream(client, &requests, window).await?;
            rounds.push((begun.elapsed(), machine::cpu_time()?.saturating_sub(cpu)));
        }
        rounds.sort();
        let Some((took, cpu)) = rounds.get(rounds.len() / 2) else { continue };
        let rate = plan.events as f64 / took.as_secs_f64();
        writeln!(out, "{name:<32} {rate:>12.0} {:>14.2}", cpu.as_secs_f64() / plan.events as f64 * 1e6)?;
        out.flush()?;
    }
    one_at_a_time(client, directory, plan.emits, out).await
}

fn requests(events: u64, each: usize) -> Vec<EmitRequest> {
    let events: Vec<_> = sample::encoded(0, events).into_iter().map(Bytes::from).collect();
    let request = |events: &[Bytes]| EmitRequest { events: events.to_vec(), durability: Durability::Committed.into() };
    events.chunks(each).map(request).collect()
}

/// Gives all of them, so many unanswered at the most.
async fn stream(client: &Client, requests: &[EmitRequest], window: usize) -> Result<(), IngestBenchError> {
    let (give, given) = mpsc::channel(window);
    let mut answers = client.emit_stream(ReceiverStream::new(given)).await?;
    let mut rest = requests.iter();
    for request in rest.by_ref().take(window) {
        // Err: the stream has ended, which its answers tell.
        let _ = give.send(request.clone()).await;
    }
    for _ in requests {
        answers.message().await?.ok_or_else(|| Status::aborted("the stream has ended early"))?;
        if let Some(request) = rest.next() {
            let _ = give.send(request.clone()).await;
        }
    }
    Ok(())
}

/// One event and its answer, by turns with as many bytes into a plain file and fdatasync.
async fn one_at_a_time(
    client: &Client,
    directory: &Path,
    emits: u32,
    out: &mut (dyn Write + Send),
) -> Result<(), IngestBenchError> {
    let (mut of_agent, mut of_file) = (Latencies::default(), Latencies::default());
    let mut file = machine::append_to(&directory.join("plain"))?;
    let mut cpu = Duration::ZERO;
    for event in sample::encoded(0, u64::from(emits)) {
        of_file.time(|| file.write_all(&event).and_then(|()| file.sync_data()))?;
        let (begun, before) = (Instant::now(), machine::cpu_time()?);
        client.emit_encoded(vec![event.into()], Durability::Committed).await?;
        of_agent.push(begun.elapsed());
        cpu += machine::cpu_time()?.saturating_sub(before);
    }
    let [agent, plain] = [&mut of_agent, &mut of_file].map(|row| row.milliseconds(50.0));
    writeln!(out)?;
    writeln!(
        out,
        "{:<32} {:>8} {:>12} {:>8} {:>12}",
        "one at a time, milliseconds", "p50", "fdatasync", "ratio", "CPU"
    )?;
    let (ratio, each) = (agent / plain.max(1e-6), cpu.as_secs_f64() * 1e3 / f64::from(emits.max(1)));
    writeln!(out, "{:<32} {agent:>8.3} {plain:>12.3} {ratio:>8.2} {each:>12.3}", "an event and its answer")?;
    out.flush()?;
    Ok(())
}
