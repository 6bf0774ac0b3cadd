//! The parts of a running agent that take other settings.

use tokio::sync::watch;

use super::difference::Difference;
use crate::{
    agent::{
        collecting::Collectors,
        config::{Config, EventSettings, MetricsSettings, Profile, SinkSettings},
        delivering::Delivering,
    },
    consumers::{Threshold, programs::Absence},
    event_log::{EventLog, Room},
    local_api::Scopes,
    pipeline::{Emitter, Gate},
    sinks::BeatSettings,
    telemetry::logging::LogLevel,
};

/// What can be turned. Nothing here can fail: what can be wrong with settings is found before.
pub(in crate::agent) struct Parts {
    pub(in crate::agent) emitter: Emitter,
    pub(in crate::agent) log: EventLog,
    pub(in crate::agent) threshold: watch::Sender<Threshold>,
    pub(in crate::agent) profile: watch::Sender<Profile>,
    /// What the controller may do here.
    pub(in crate::agent) may: watch::Sender<Vec<String>>,
    pub(in crate::agent) log_level: Option<LogLevel>,
    pub(in crate::agent) metrics: watch::Sender<MetricsSettings>,
    pub(in crate::agent) beat: watch::Sender<Option<BeatSettings>>,
    pub(in crate::agent) collectors: Collectors,
    pub(in crate::agent) delivering: Delivering,
    /// How long programs may stay away, and what users may read.
    pub(in crate::agent) absence: watch::Sender<Absence>,
    pub(in crate::agent) scopes: watch::Sender<Scopes>,
}

impl Parts {
    /// Goes by `config` from now on. What is the same as before is left alone.
    pub(super) async fn turn(&mut self, before: &Config, config: &Config, difference: &Difference) {
        if let Some(level) = self.log_level.as_ref().filter(|_| difference.touches("log")) {
            level.set(config.log_level);
        }
        self.metrics.send_replace(config.metrics);
        self.emitter.set_counters(&config.counters);
        self.beat.send_if_modified(|beat| std::mem::replace(beat, config.beat.clone()) != config.beat);
        self.log.set_room(room(&config.events));
        self.turn_events(&config.events);
        let is_changed = |name: &str| difference.touches(&format!("collectors.{name}"));
        let changed: Vec<_> =
            config.collectors.iter().filter(|collector| is_changed(collector.spec.name)).cloned().collect();
        if !changed.is_empty() {
            self.collectors.turn(&changed).await;
        }
        let is_as_before = |sink: &SinkSettings| !sink.names().any(|name| difference.touches(&format!("sinks.{name}")));
        self.delivering.turn(&config.sinks, is_as_before).await;
        self.may.send_replace(config.may());
        self.absence.send_replace(config.consumers.absence);
        self.scopes.send_replace(config.consumers.scopes.clone());
        if before.controller != config.controller {
            self.delivering.replace(config.controller.as_ref()).await;
        }
    }

    /// Keeps events, and sends them, as these say: all but how much the log may keep.
    fn turn_events(&self, events: &EventSettings) {
        self.emitter.set_gate(gate(events));
        self.turn_times(events);
    }

    /// The same as a controller says, never below the floor of what the files keep.
    pub(super) fn turn_events_remotely(&self, events: &EventSettings, of_files: &EventSettings) {
        self.emitter.set_gate(gate(events).over_floor_of(gate(of_files)));
        self.turn_times(events);
    }

    /// How long events wait in memory and for a batch.
    fn turn_times(&self, events: &EventSettings) {
        self.log.set_memory(events.buffer_size, events.flush_threshold, events.flush_interval);
        self.threshold.send_replace(threshold(events));
        self.profile.send_replace(events.profile);
    }
}

fn gate(events: &EventSettings) -> Gate {
    Gate::new(&events.levels, &events.categories)
}

/// When a batch is due.
pub(in crate::agent) fn threshold(events: &EventSettings) -> Threshold {
    Threshold { batch_size: events.batch_size, batch_timeout: events.batch_timeout }
}

/// How much the log may keep, and for how long.
fn room(events: &EventSettings) -> Room {
    Room {
        disk_bytes_max: events.max_disk,
        history_bytes: events.history,
        age_max: events.max_age,
        urgent_share: events.urgent_share,
        flush_interval: events.flush_interval,
    }
}
