//! The agent: puts the rooms together, keeps their parts running and ends them in order.
//!
//! Takes a [`Loaded`] configuration, gives a running agent. `wiring` lists the parts: started in the order in which events
//! flow back to front, so that whoever emits finds everything behind it ready. `Supervisor` keeps them running; a part that
//! ends for good ends the agent. Ended front to back, by `Phase`, and then the log. A controller that is away or not
//! configured does not keep the agent from being ready.

mod absence_watch;
mod clock_watch;
mod collecting;
pub mod config;
mod config_change;
mod control;
mod delivering;
mod exposition;
mod log_conditions;
mod log_look;
mod log_trouble;
mod mirror;
mod node;
mod opening;
mod pausing;
mod privacy;
pub mod probe;
mod registration;
mod signals;
mod silencing;
mod spool_intake;
mod states;
mod states_desk;
mod status;
mod steering;
mod supervisor;
mod system_info;
mod watchdog;
mod wiring;

#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::Context as _;
use tokio::{signal::unix::Signal, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    config::{Loaded, Source},
    supervisor::{Phase, Supervisor},
    watchdog::Watchdog,
};
pub use self::{
    exposition::families,
    privacy::keep_memory_private,
    signals::{reload_signal, stop_signal},
};
use crate::{
    event_log::EventLog,
    health::Pulse,
    service_manager,
    telemetry::{logging::LogLevel, message},
};

/// Kinds that the agent itself emits, and its log.
const OWN: [(&str, &[&str]); 2] = [
    (
        "agent",
        &[
            "system.config_changed.updated",
            "system.host.consumer_*",
            "system.host.dead_letters_purged",
            "system.host.event_log_*",
            "system.problem.acknowledged",
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

/// How long the sources of events may take out of it to say their last words.
const SOURCES_GRACE: Duration = Duration::from_secs(1);

/// How long what is remembered may take to be written, and whatever is left at the end.
const PARTS_GRACE: Duration = Duration::from_millis(500);

/// From the order to stop until the log is closed, unless a disk is waited for: all in all the agent is gone after five
/// seconds.
const STOP_MAX: Duration = Duration::from_millis(4_200);

/// Between two looks whether the log is closed.
const CLOSE_LOOK: Duration = Duration::from_millis(100);

/// How long a start is waited for that is told to stop.
const START_GRACE: Duration = Duration::from_secs(1);

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
/// When the log cannot be opened, the socket cannot be bound, the log's writer ends by itself or is stuck, or a part of the
/// agent has ended for good. Threads that wait for the disk may then be left: the process is to end.
pub async fn run(loaded: Loaded, reloads: Option<Reloads>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let agent = tokio::select! {
        started = Agent::start(loaded, reloads) => started?,
        // As after a kill: what was acknowledged is on the disk.
        () = gives_up_starting(&shutdown) => return Ok(()),
    };
    agent.go_on(shutdown).await
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
    /// Has the uplink leave what it cannot deliver in time.
    abandon: CancellationToken,
    /// What the watchdog looks at.
    loops: [(&'static str, Pulse); 2],
}

impl Agent {
    /// Until `shutdown`, or until nothing but a new process helps.
    async fn go_on(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let watchdog = Watchdog::start(self.log.clone(), &self.loops).context("start the watchdog")?;
        service_manager::ready();
        tracing::info!(message_id = %message::AGENT_READY, version = env!("CARGO_PKG_VERSION"), "the agent is ready");
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            reason = self.log.ended() => Err(anyhow::anyhow!(reason).context("keep the event log")),
            reason = self.supervisor.failed() => Err(anyhow::anyhow!(reason)),
        };
        drop(watchdog);
        service_manager::stopping();
        self.stop().await;
        ended
    }

    /// Ends the parts, phase by phase; returns when the log is closed.
    async fn stop(self) {
        let told = Instant::now();
        if !self.supervisor.stop(Phase::Sources, told + SOURCES_GRACE).await {
            tracing::warn!("a source of events does not stop; going on without it");
        }
        // Nobody behind them has to wait until they are gone.
        self.supervisor.stop(Phase::Doors, Instant::now()).await;
        self.supervisor.stop(Phase::Memory, Instant::now() + PARTS_GRACE).await;
        if !self.supervisor.stop(Phase::Delivery, told + GRACE).await {
            self.abandon.cancel();
        }
        let last = Instant::now() + PARTS_GRACE;
        for phase in Phase::ALL {
            self.supervisor.stop(phase, last).await;
        }
        close(self.log, told + STOP_MAX).await;
    }
}

/// Closes the log on a thread of its own. Waits as long as the disk does, and otherwise until `deadline`: what is not written
/// by then is what a kill would have lost, and the next start records it.
async fn close(log: EventLog, deadline: Instant) {
    let closed = log.clone();
    let mut closing = tokio::task::spawn_blocking(move || closed.close());
    while tokio::time::timeout(CLOSE_LOOK, &mut closing).await.is_err() {
        if Instant::now() >= deadline && log.signs().at_disk.is_none() {
            tracing::warn!("the event log does not close in time; ending without it");
            return;
        }
    }
}
