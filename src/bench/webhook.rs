//! What webhooks give: from the log of an agent in a process of its own to a receiver in this one, over the loopback.
//!
//! The receiver answers 200 at once to whatever is posted, and counts. The agent's CPU is its own, as the kernel counts it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use memchr::memmem;

use super::{
    machine::{self, Latencies},
    sample,
};
use crate::{
    client::{Client, ClientError, Durability},
    event::{Level, Metadata, json::from_pairs},
    lock::{lock, whole},
    schema::events::Event,
};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct WebhookPlan {
    /// The agent that is measured; none for this program.
    pub program: Option<PathBuf>,
    /// Events of a round.
    pub events: u64,
    /// How often each is measured; the median is shown.
    pub rounds: u32,
    /// Urgent events that are given one at a time.
    pub emits: u32,
    /// How long agents stand idle.
    pub idle: Duration,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum WebhookBenchError {
    /// The agent does not take events.
    #[error("give events to the agent")]
    Client(#[from] ClientError),
    /// The agent or the receiver cannot be started, or the figures not be printed.
    #[error("measure")]
    Io(#[from] io::Error),
    /// Something did not come.
    #[error("{what} did not come within {} s", PATIENCE.as_secs())]
    Late {
        /// What was waited for.
        what: &'static str,
    },
}

/// How long is waited for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// Events of a request to the agent.
const REQUEST_EVENTS: usize = 500;

/// Idle sinks, beside none.
const IDLE: usize = 10;

/// What stands once in each event of a list of CloudEvents.
const EVENT_OF_LIST: &[u8] = b"\"specversion\"";

/// A request's head may be as long; a longer one is none of the agent's.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// Starts agents in `directory`, has them deliver, and prints.
///
/// # Errors
/// When an agent does not work here.
pub async fn run(directory: &Path, plan: &WebhookPlan, out: &mut (dyn Write + Send)) -> Result<(), WebhookBenchError> {
    writeln!(out, "{} events a round; median of {}", plan.events, plan.rounds)?;
    writeln!(out, "{:<32} {:>10} {:>12} {:>14}", "the agent alone", "seconds", "events/s", "CPU ms/event")?;
    for (name, format) in [("lists of 100", "cloudevents-batch"), ("one a request", "standard")] {
        let mut rounds = Vec::new();
        for round in 0..plan.rounds {
            rounds.push(deliver(&directory.join(format!("{format}-{round}")), format, plan).await?);
        }
        rounds.sort();
        let Some((took, cpu)) = rounds.get(rounds.len() / 2) else { continue };
        let rate = plan.events as f64 / took.as_secs_f64().max(1e-9);
        let cpu = cpu.as_secs_f64() * 1e3 / plan.events as f64;
        writeln!(out, "{name:<32} {:>10.3} {rate:>12.0} {cpu:>14.4}", took.as_secs_f64())?;
        out.flush()?;
    }
    urgent(&directory.join("urgent"), plan, out).await?;
    idle(directory, plan, out).await
}

/// Time from the first to the last of a full log's events, and CPU of the agent since its start.
async fn deliver(
    directory: &Path,
    format: &str,
    plan: &WebhookPlan,
) -> Result<(Duration, Duration), WebhookBenchError> {
    let receiver = Receiver::start()?;
    let mut agent = Agent::start(directory, plan, "{}").await?;
    for first in (0..plan.events).step_by(REQUEST_EVENTS) {
        let events = sample::encoded(first, plan.events.min(first + REQUEST_EVENTS as u64));
        let events = events.into_iter().map(Bytes::from).collect();
        agent.client.emit_encoded(events, Durability::Committed).await?;
    }
    agent.end()?;
    let sink = format!("{{{}}}", receiver.sink("hook", format, "'*'"));
    let agent = Agent::start(directory, plan, &sink).await?;
    let took = receiver.wait_for(plan.events)?;
    // What its start took is in it.
    Ok((took, machine::cpu_time_of(agent.process())))
}

/// From the emit of an urgent event until it is posted.
async fn urgent(directory: &Path, plan: &WebhookPlan, out: &mut (dyn Write + Send)) -> Result<(), WebhookBenchError> {
    let receiver = Receiver::start()?;
    let sink = format!("{{{}}}", receiver.sink("hook", "standard", "storage.pool.degraded"));
    let agent = Agent::start(directory, plan, &sink).await?;
    let mut latencies = Latencies::default();
    for number in 1..=u64::from(plan.emits) {
        let event = degraded()?;
        let begun = Instant::now();
        agent.client.emit(&[event], Durability::Committed).await?;
        receiver.wait_for(number)?;
        latencies.push(begun.elapsed());
    }
    let [median, most] = [50.0, 99.0].map(|percent| latencies.milliseconds(percent));
    writeln!(out, "an urgent event, from emit to webhook: p50 {median:.3} ms, p99 {most:.3} ms")?;
    Ok(out.flush()?)
}

/// What an agent holds with idle sinks, beside one with none. All have delivered something.
async fn idle(directory: &Path, plan: &WebhookPlan, out: &mut (dyn Write + Send)) -> Result<(), WebhookBenchError> {
    let receiver = Receiver::start()?;
    let mut before = (0, 0);
    for count in [0, IDLE] {
        let sinks = (0..count).map(|number| receiver.sink(&format!("s{number}"), "standard", "storage.pool.degraded"));
        let sinks = format!("{{{}}}", sinks.collect::<Vec<_>>().join(", "));
        let agent = Agent::start(&directory.join(format!("idle-{count}")), plan, &sinks).await?;
        agent.client.emit(&[degraded()?], Durability::Committed).await?;
        receiver.wait_for(count as u64)?;
        tokio::time::sleep(plan.idle).await;
        let held = machine::memory_of(agent.process()).unwrap_or_default();
        let (resident, anonymous) = held;
        writeln!(out, "{count} idle sinks: {resident} KiB resident, {anonymous} KiB of them anonymous")?;
        if count > 0 {
            let more = (resident.saturating_sub(before.0), anonymous.saturating_sub(before.1));
            writeln!(out, "more for {count} of them: {} KiB resident, {} KiB anonymous", more.0, more.1)?;
        }
        before = held;
    }
    Ok(out.flush()?)
}

fn degraded() -> io::Result<Event> {
    let fields = [("pool_name".to_owned(), "tank".to_owned())];
    from_pairs("storage.pool.degraded", Some(Level::Error), &fields, Metadata::new()).map_err(io::Error::other)
}

/// An agent in a process of its own; ends with this.
struct Agent {
    child: Child,
    client: Client,
}

impl Agent {
    async fn start(directory: &Path, plan: &WebhookPlan, sinks: &str) -> Result<Agent, WebhookBenchError> {
        fs::create_dir_all(directory)?;
        let (config, socket) = (directory.join("rodent.yml"), directory.join("rodent.sock"));
        let off = "{access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: off}";
        let here = directory.display();
        let text =
            format!("state_directory: {here}/state\nsocket: {here}/rodent.sock\ncollectors: {off}\nsinks: {sinks}\n");
        fs::write(&config, text)?;
        let program = plan.program.clone().map_or_else(std::env::current_exe, Ok)?;
        let mut command = Command::new(program);
        command.arg("agent").arg("--config").arg(&config).env_remove("NOTIFY_SOCKET");
        let log = machine::append_to(&directory.join("agent.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn()?;
        let begun = Instant::now();
        // Ends the child on every way out.
        let mut starting = Started(Some(child));
        loop {
            if let Ok(client) = Client::connect(&socket).await
                && client.status().await.is_ok()
                && let Some(child) = starting.0.take()
            {
                return Ok(Agent { child, client });
            }
            if begun.elapsed() > PATIENCE {
                return Err(WebhookBenchError::Late { what: "the agent" });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn process(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

/// A child that is not known to work yet.
struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Err: it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Counts what it is sent; its threads end with the process.
struct Receiver {
    address: SocketAddr,
    taken: Arc<(Mutex<Taken>, Condvar)>,
}

/// What has come.
#[derive(Default)]
struct Taken {
    events: u64,
    /// Since when.
    since: Option<Instant>,
}

impl Receiver {
    fn start() -> io::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, taken) = (listener.local_addr()?, Arc::<(Mutex<Taken>, Condvar)>::default());
        let receiver = Receiver { address, taken: Arc::clone(&taken) };
        thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&taken);
                // Err: whoever is not answered comes again. The end of a connection is no fault.
                let _ = thread::Builder::new().spawn(move || _ = serve(stream, &taken));
            }
        })?;
        Ok(receiver)
    }

    fn sink(&self, name: &str, format: &str, filter: &str) -> String {
        let url = format!("http://{}/in", self.address);
        format!("{name}: {{type: webhook, url: '{url}', format: {format}, filter: [{filter}]}}")
    }

    /// Waits until so many events have come, in all; gives how long that took from the first on.
    fn wait_for(&self, events: u64) -> Result<Duration, WebhookBenchError> {
        let (taken, changed) = &*self.taken;
        let waited = changed.wait_timeout_while(lock(taken), PATIENCE, |taken| taken.events < events);
        match whole(waited) {
            (_, waited) if waited.timed_out() => Err(WebhookBenchError::Late { what: "what the webhook is sent" }),
            (taken, _) => Ok(taken.since.map_or(Duration::ZERO, |since| since.elapsed())),
        }
    }
}

fn serve(mut stream: TcpStream, (taken, changed): &(Mutex<Taken>, Condvar)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, list) = (BufReader::new(stream.try_clone()?), memmem::Finder::new(EVENT_OF_LIST));
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let (mut length, mut is_list, mut left) = (0, false, HEAD_BYTES_MAX);
        loop {
            line.clear();
            let read = reader.by_ref().take(left).read_line(&mut line)?;
            if read == 0 {
                return Ok(());
            }
            left -= read as u64;
            let head = line.trim_end().to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            if let Some(value) = head.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            is_list |= head.contains("cloudevents-batch");
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let events = if is_list { list.find_iter(&body).count() as u64 } else { 1 };
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        let mut taken = lock(taken);
        taken.since.get_or_insert_with(Instant::now);
        taken.events += events;
        changed.notify_all();
    }
}
