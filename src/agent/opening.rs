//! Opens what lies in the state directory, before any part of the agent runs: the event log, the dead letters, what was
//! remembered. Blocking work has a thread of its own; only a log that cannot be opened keeps the agent from starting.

use std::sync::Arc;

use anyhow::Context as _;

use super::{config::Config, node, pausing::Paused, states::States};
use crate::{
    dead_letters::DeadLetters,
    event_log::{self, EventLog},
    files,
    health::Conditions,
    host::{self, Host, clock::Clock},
    pipeline::{Emitter, Memory},
    telemetry::ErrorChain,
};

/// Opens the log and finds out who this node is.
pub(super) async fn open(config: &Config, host: &Host, clock: &Clock) -> anyhow::Result<(EventLog, String)> {
    let settings = log_settings(config, clock);
    let (host, state_directory) = (host.clone(), config.state_directory.clone());
    let opened = tokio::task::spawn_blocking(move || {
        files::refuse_others(&state_directory).context("use the state directory as root")?;
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
pub(super) async fn open_dead_letters(config: &Config) -> DeadLetters {
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

/// Which sinks a person has paused.
pub(super) async fn open_paused(config: &Config) -> anyhow::Result<Paused> {
    let directory = config.state_directory.clone();
    tokio::task::spawn_blocking(move || Paused::read(&directory)).await.context("look which sinks are paused")
}

/// Before anything is emitted: what was urgent when the agent last ran may end now.
pub(super) async fn remember_urgent_states(emitter: &Emitter, memory: Memory) {
    let emitter = emitter.clone();
    // What cannot be read is not remembered: then an end travels as its level says.
    let _ = tokio::task::spawn_blocking(move || emitter.remember_in(memory)).await;
}

/// What is known of the machine's things. A file and one event of each lane are read, whatever the log holds.
pub(super) async fn open_states(
    log: &EventLog,
    config: &Config,
    conditions: Conditions,
    now: &Arc<dyn Fn() -> i64 + Send + Sync>,
) -> anyhow::Result<States> {
    let (log, directory, now) = (log.clone(), config.state_directory.clone(), Arc::clone(now));
    let opened = tokio::task::spawn_blocking(move || States::open(&log, &directory, conditions, now));
    opened.await.context("begin with the states")
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
