//! The agent: puts the rooms together, keeps their tasks running and ends them in order.
//!
//! Takes a [`Loaded`] configuration, gives a running agent. Started in the order in which events flow back to front, so that whoever
//! emits finds everything behind it ready: log, uplink, socket, collectors. Ended front to back: collectors, socket,
//! what is remembered, uplink (with what is left of [`GRACE`]), log. A controller that is away or not configured does
//! not keep the agent from being ready.

mod collecting;
pub mod config;
mod config_change;
mod control;
mod delivering;
mod exposition;
mod log_look;
mod log_trouble;
mod mirror;
mod node;
mod privacy;
pub mod probe;
mod registration;
mod signals;
mod spool_intake;
mod status;
mod steering;
mod supervisor;
mod system_info;
mod systemd;
mod watchdog;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{
    collecting::Collectors,
    config::{Config, Loaded, Source},
    config_change::Tidings,
    control::Desk,
    delivering::Delivering,
    exposition::Exposition,
    log_look::LogLook,
    status::StatusParts,
    steering::{InForceView, Parts, Steering},
    supervisor::Supervisor,
    watchdog::Watchdog,
};
pub use self::{
    exposition::families,
    privacy::keep_memory_private,
    signals::{reload_signal, stop_signal},
};
use crate::{
    dead_letters::DeadLetters,
    event_log::{self, ClockState, EventLog},
    health::Pulse,
    host::{
        self, Host,
        clock::{Clock, Synchronisation},
    },
    local_api::{self, LocalApi, Rooms},
    pipeline::{Emitter, Gate, Memory, MemoryKeeper},
    schema::local::SOCKET,
    sinks::uplink::{UPLINK, UplinkState},
    spool::Spool,
    telemetry::{ErrorChain, logging::LogLevel, message},
};

/// Kinds that the agent itself emits, and its log.
const OWN: [(&str, &[&str]); 2] = [
    (
        "agent",
        &[
            "system.config_changed.updated",
            "system.host.dead_letters_purged",
            "system.host.event_log_*",
            "system.registration",
        ],
    ),
    ("event_log", &["system.loss"]),
];

/// Who emits, in alphabetical order within collectors and the agent, and patterns of the kinds.
pub fn emitters() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    OWN.into_iter().chain(crate::collectors::ALL.iter().map(|spec| (spec.name, spec.emits)))
}

/// How long delivery may go on after the agent was told to stop. What is not delivered by then stays in the log.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long the collectors may take out of it to say their last words.
const COLLECTORS_GRACE: Duration = Duration::from_secs(1);

/// How long all other tasks may take to end after that.
const TASKS_GRACE: Duration = Duration::from_millis(500);

/// From the order to stop until the log is closed, unless a disk is waited for: all in all the agent is gone after five
/// seconds.
const STOP_MAX: Duration = Duration::from_millis(4_200);

/// Between two looks whether the log is closed.
const CLOSE_LOOK: Duration = Duration::from_millis(100);

/// How long a start is waited for that is told to stop.
const START_GRACE: Duration = Duration::from_secs(1);

/// How often the kernel is asked whether the wall clock is in step.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// Looks in a row that find the clock out of step before it is told: after a boot it takes some time.
const CLOCK_LOOKS_MAX: u32 = 10;

/// How often the line that systemd shows is looked at; it is sent only when it has changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// Where in the state directory the certificate is kept that the controller issues.
const IDENTITY: &str = "identity";

/// How a running agent gets other settings.
pub struct Reloads {
    /// Where its configuration is read from.
    pub source: Source,
    /// What turns its own log's level.
    pub log_level: LogLevel,
    /// Has it read the configuration again.
    pub signal: Signal,
}

/// Runs the agent until `shutdown`. Without `reloads` its configuration stays what it is.
///
/// # Errors
/// When the log cannot be opened, the socket cannot be bound, or the log's writer ends by itself or is stuck. Threads that
/// wait for the disk may then be left: the process is to end.
pub async fn run(loaded: Loaded, reloads: Option<Reloads>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let agent = tokio::select! {
        started = Agent::start(loaded, reloads) => started?,
        // As after a kill: what was acknowledged is on the disk.
        () = gives_up_starting(&shutdown) => return Ok(()),
    };
    let watchdog = Watchdog::start(agent.log.clone(), &agent.loops).context("start the watchdog")?;
    systemd::ready();
    tracing::info!(message_id = %message::AGENT_READY, version = env!("CARGO_PKG_VERSION"), "the agent is ready");
    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        reason = agent.log.ended() => Some(reason),
    };
    drop(watchdog);
    systemd::stopping();
    agent.stop().await;
    match failed {
        Some(reason) => Err(anyhow::anyhow!(reason).context("keep the event log")),
        None => Ok(()),
    }
}

/// A start that is not done this long after `shutdown` is not waited for.
async fn gives_up_starting(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(START_GRACE).await;
}

/// A running agent.
struct Agent {
    log: EventLog,
    supervisor: Supervisor,
    stop: Stop,
    steering: JoinHandle<Option<Parts>>,
    keeper: JoinHandle<Option<()>>,
    /// What the watchdog looks at.
    loops: [(&'static str, Pulse); 2],
}

/// Ends the parts one after the other.
#[derive(Default)]
struct Stop {
    collectors: CancellationToken,
    socket: CancellationToken,
    keeper: CancellationToken,
    uplink: CancellationToken,
    /// The grace is over.
    abandon: CancellationToken,
}

impl Agent {
    async fn start(Loaded { config, records, .. }: Loaded, reloads: Option<Reloads>) -> anyhow::Result<Agent> {
        let host = Host::at("/");
        let clock = Clock::of(&host);
        let (supervisor, stop) = (Supervisor::default(), Stop::default());
        // Bound first: a second agent is told so before it touches the log.
        let is_of_system = reloads.as_ref().is_some_and(|reloads| reloads.source.is_of_system());
        let known = is_of_system.then(|| SOCKET.into());
        let api = LocalApi::bind(&local_api::Settings { socket: config.socket.clone(), known, ..Default::default() })
            .await
            .context("listen for programs on this machine")?;
        let exposition = Exposition::new(stop.collectors.clone());
        let (metrics, followed) = watch::channel(config.metrics);
        supervisor.start("metrics", exposition::keep(Arc::clone(&exposition), followed, stop.socket.clone()));
        let (log, node_id) = open(&config, &host, &clock).await?;
        let now: Arc<dyn Fn() -> i64 + Send + Sync> = {
            let clock = clock.clone();
            Arc::new(move || clock.unix_milliseconds())
        };
        let emitter = {
            let (gate, now) = (Gate::new(&config.events.levels, &config.events.categories), Arc::clone(&now));
            Emitter::new(log.clone(), gate, move || now())
        };
        let keeper = MemoryKeeper::new(config.state_directory.join("memory"), log.clone());
        remember_urgent_states(&emitter, keeper.memory("urgent_states")).await;
        let dead_letters = open_dead_letters(&config).await;
        let cursor = log.cursor(UPLINK).context("too many cursors in the event log")?;

        let uplink_state = UplinkState::new(config.controller.as_ref().map_or("", |controller| &controller.address));
        let threshold = watch::Sender::new(steering::threshold(&config.events));
        let profile = watch::Sender::new(config.events.profile);
        let (orders, given) = mpsc::channel(control::ORDERS_MAX);
        let with = delivering::Surroundings {
            log: log.clone(),
            cursor,
            threshold: threshold.clone(),
            state: uplink_state.clone(),
            dead_letters: dead_letters.clone(),
            identity: config.state_directory.join(IDENTITY),
            node_id: node_id.clone(),
            now: Arc::clone(&now),
            pulse: Pulse::default(),
            orders,
            supervisor: supervisor.clone(),
            stopping: stop.collectors.clone(),
            shutdown: stop.uplink.clone(),
            abandon: stop.abandon.clone(),
        };
        let loops = [("runtime", Pulse::default()), ("delivery", with.pulse.clone())];
        supervisor.start("pulse", watchdog::beat(loops[0].1.clone(), stop.socket.clone()));
        let delivering = Delivering::start(config.controller.as_ref(), &config.sinks, with);
        supervisor.start(
            "registration",
            registration::report(
                uplink_state.registrations(),
                emitter.for_source("agent"),
                keeper.memory("registration"),
                stop.collectors.clone(),
            ),
        );
        let (tidings, untold) = Tidings::new();
        let own = emitter.for_source("agent");
        supervisor.start("config", config_change::report(records.clone(), untold, own, keeper.memory("config")));
        let with = collecting::Surroundings {
            emitter: emitter.clone(),
            host,
            shutdown: stop.collectors.clone(),
            keeper: keeper.clone(),
            supervisor: supervisor.clone(),
        };
        let collectors = Collectors::start(&config.collectors, with);
        let collecting = collectors.collecting();
        let keeper = supervisor.start("memory", keeper.run(stop.keeper.clone()));
        let in_force = InForceView::new(now());
        let parts = Arc::new(StatusParts {
            started_at: clock.unix_milliseconds(),
            node_id: node_id.clone(),
            state_directory: config.state_directory.display().to_string(),
            profile: profile.subscribe(),
            clock: clock.clone(),
            log: log.clone(),
            log_look: LogLook::new(&log),
            emitter: emitter.clone(),
            uplink: uplink_state,
            consumers: delivering.consumers(),
            collecting,
            dead_letters: dead_letters.clone(),
            in_force: in_force.clone(),
            socket: api.usage(),
        });
        exposition.started(Arc::clone(&parts));
        let spool = Spool::of(&config.state_directory);
        let intake = spool_intake::run(spool, spool_intake::INTERVAL, emitter.clone(), stop.collectors.clone());
        supervisor.start("spool", intake);
        let (changes, asked) = mpsc::channel(steering::WAITING_MAX);
        let desk = Desk { status: Arc::clone(&parts).source(), changes: changes.clone() };
        supervisor.start("orders", desk.run(given, stop.collectors.clone()));
        let (source, log_level, signal) = match reloads {
            Some(Reloads { source, log_level, signal }) => (Some(source), Some(log_level), Some(signal)),
            None => (None, None, None),
        };
        let turned = Parts {
            emitter: emitter.clone(),
            log: log.clone(),
            threshold,
            profile,
            log_level,
            metrics,
            collectors,
            delivering,
        };
        let steering = Steering::new((config, records), source, turned, in_force, tidings, now);
        let steering = supervisor.start("steering", steering.run(asked, signal, stop.collectors.clone()));
        let trouble = {
            let log = log.clone();
            log_trouble::report(
                move || log.degraded(),
                log_trouble::INTERVAL,
                emitter.for_source("agent"),
                stop.collectors.clone(),
            )
        };
        supervisor.start("log trouble", trouble);
        let reload = steering::desk(changes);
        let status = Arc::clone(&parts).source();
        let rooms =
            Rooms { emitter, log: log.clone(), status, dead_letters, reload, trouble: exposition.trouble_source() };
        supervisor.start("socket", serve(api, rooms, stop.socket.clone()));
        supervisor.start("journal", mirror::show(log.clone(), stop.socket.clone()));
        supervisor.start("clock", watch_clock(clock, log.clone(), stop.socket.clone()));
        supervisor.start("status", tell_systemd(parts, stop.socket.clone()));
        Ok(Agent { log, supervisor, stop, steering, keeper, loops })
    }

    /// Ends every task in order; returns when the log is closed.
    async fn stop(self) {
        let told = tokio::time::Instant::now();
        let deadline = told + GRACE;
        self.stop.collectors.cancel();
        let mut delivering = None;
        let ended = tokio::time::timeout(COLLECTORS_GRACE, async {
            if let Ok(Some(parts)) = self.steering.await {
                delivering = Some(parts.delivering);
                parts.collectors.ended().await;
            }
        });
        if ended.await.is_err() {
            tracing::warn!("a collector does not stop; going on without it");
        }
        self.stop.socket.cancel();
        self.stop.keeper.cancel();
        let _ = tokio::time::timeout(TASKS_GRACE, self.keeper).await;
        match delivering {
            Some(delivering) => delivering.finish(deadline).await,
            None => self.stop.abandon.cancel(),
        }
        self.supervisor.finished(TASKS_GRACE).await;
        close(self.log, told + STOP_MAX).await;
    }
}

/// Closes the log on a thread of its own. Waits as long as the disk does, and otherwise until `deadline`: what is not written
/// by then is what a kill would have lost, and the next start records it.
async fn close(log: EventLog, deadline: tokio::time::Instant) {
    let closed = log.clone();
    let mut closing = tokio::task::spawn_blocking(move || closed.close());
    while tokio::time::timeout(CLOSE_LOOK, &mut closing).await.is_err() {
        if tokio::time::Instant::now() >= deadline && log.signs().at_disk.is_none() {
            tracing::warn!("the event log does not close in time; ending without it");
            return;
        }
    }
}

/// Opens the log and finds out who this node is.
async fn open(config: &Config, host: &Host, clock: &Clock) -> anyhow::Result<(EventLog, String)> {
    let settings = log_settings(config, clock);
    let (host, state_directory) = (host.clone(), config.state_directory.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let node_id =
            node::node_id(host.machine_id().as_deref(), &state_directory).context("find out who this node is")?;
        let settings = event_log::Settings { owner: node_id.clone(), ..settings };
        let log = EventLog::open(settings).context("open the event log")?;
        anyhow::Ok((log, node_id))
    });
    opened.await.context("open the event log")?
}

/// Letters that cannot be opened do not keep the agent from running: a lane with an event that is refused waits, and each
/// attempt to add a letter looks again.
async fn open_dead_letters(config: &Config) -> DeadLetters {
    let letters = DeadLetters::at(&config.state_directory.join("dead-letters"));
    let opened = letters.clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || opened.list()).await {
        tracing::error!(
            error = %ErrorChain(&error),
            "the dead letters cannot be opened; an event that the controller refuses holds its lane until they can"
        );
    }
    letters
}

/// Before anything is emitted: what was urgent when the agent last ran may end now.
async fn remember_urgent_states(emitter: &Emitter, memory: Memory) {
    let emitter = emitter.clone();
    // What cannot be read is not remembered: then an end travels as its level says.
    let _ = tokio::task::spawn_blocking(move || emitter.remember_in(memory)).await;
}

fn log_settings(config: &Config, clock: &Clock) -> event_log::Settings {
    let events = &config.events;
    event_log::Settings {
        buffer_size: events.buffer_size,
        flush_threshold: events.flush_threshold,
        flush_interval: events.flush_interval,
        disk_bytes_max: events.max_disk,
        history_bytes: events.history,
        age_max: events.max_age,
        urgent_share: events.urgent_share,
        boot_id: clock.boot_id(),
        since_boot: host::clock::since_boot,
        ..event_log::Settings::new(config.state_directory.join("log"))
    }
}

async fn serve(api: LocalApi, rooms: Rooms, shutdown: CancellationToken) {
    if let Err(error) = api.serve(rooms, shutdown).await {
        tracing::error!(error = %ErrorChain(&error), "programs on this machine are not answered any more");
    }
}

async fn watch_clock(clock: Clock, log: EventLog, shutdown: CancellationToken) {
    let mut out_of_step: u32 = 0;
    loop {
        let synchronisation = clock.synchronisation();
        log.set_clock(match synchronisation {
            Synchronisation::Synchronised => ClockState::Synchronised,
            Synchronisation::Unsynchronised => ClockState::Unsynchronised,
        });
        let before = out_of_step;
        out_of_step = match synchronisation {
            Synchronisation::Synchronised => 0,
            Synchronisation::Unsynchronised => before.saturating_add(1),
        };
        if out_of_step == CLOCK_LOOKS_MAX && before != out_of_step {
            tracing::warn!(message_id = %message::CLOCK_UNSYNCHRONISED, "nothing keeps the clock of this machine in step");
        } else if out_of_step == 0 && before >= CLOCK_LOOKS_MAX {
            tracing::info!(message_id = %message::CLOCK_SYNCHRONISED, "the clock of this machine is in step again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(CLOCK_INTERVAL) => {}
        }
    }
}

async fn tell_systemd(parts: Arc<StatusParts>, shutdown: CancellationToken) {
    let mut told = String::new();
    loop {
        let line = parts.line();
        if line != told {
            systemd::status(&line);
            told = line;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(STATUS_INTERVAL) => {}
        }
    }
}
