//! Answers `rodent status`: asks each room for its part.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    collecting::Collecting, config::Profile, log_look::LogLook, steering::InForceView, supervisor::Supervisor, systemd,
};
use crate::{
    dead_letters::DeadLetters,
    event_log::{CursorState, EventLog, Lane, LaneState, LogState},
    host::clock::{Clock, Synchronisation},
    local_api::{StatusSource, Usage},
    pipeline::Emitter,
    schema::local::{CursorStatus, LaneStatus, LogStatus, LossStatus, StatusResponse},
    sinks::uplink::UplinkState,
    telemetry::journal,
};

/// How often the line that systemd shows is looked at; it is sent only when it has changed.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Whom to ask, and what hardly changes.
pub(super) struct StatusParts {
    pub(super) started_at: i64,
    pub(super) node_id: String,
    pub(super) state_directory: String,
    pub(super) profile: watch::Receiver<Profile>,
    pub(super) clock: Clock,
    pub(super) log: EventLog,
    pub(super) log_look: LogLook,
    pub(super) emitter: Emitter,
    pub(super) uplink: UplinkState,
    pub(super) collecting: Collecting,
    pub(super) dead_letters: DeadLetters,
    pub(super) in_force: InForceView,
    pub(super) socket: Usage,
    pub(super) supervisor: Supervisor,
}

impl StatusParts {
    /// For the socket.
    pub(super) fn source(self: Arc<Self>) -> StatusSource {
        Arc::new(move || self.status())
    }

    /// One line for the service manager.
    pub(super) fn line(&self) -> String {
        if let Some(reason) = self.log.degraded() {
            return format!("Events are not durable: {reason}");
        }
        let uplink = self.uplink.status();
        // Asked every few seconds: the disk is not to be looked at for it.
        let waiting: u64 = self.log.cursors().iter().map(|cursor| cursor.lag_events).sum();
        match uplink.state.as_str() {
            "off" => format!("No controller configured; keeping {waiting} events"),
            state => format!("Controller {}: {state}; {waiting} events to deliver", uplink.controller),
        }
    }

    fn status(&self) -> StatusResponse {
        self.with(self.log_look.status())
    }

    /// How the agent is; waits for the disk no longer than this.
    pub(super) fn status_within(&self, look_time_max: Duration) -> StatusResponse {
        self.with(self.log_look.status_within(look_time_max))
    }

    fn with(&self, log: LogState) -> StatusResponse {
        // Once the controller has named the node, that name counts.
        let named =
            self.uplink.registrations().borrow().as_ref().and_then(|registration| registration.claims.rid.clone());
        StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: named.unwrap_or_else(|| self.node_id.clone()),
            started_at: self.started_at,
            state_directory: self.state_directory.clone(),
            profile: self.profile.borrow().name().to_owned(),
            log: Some(log_status(log)),
            uplink: Some(self.uplink.status()),
            collectors: self.collecting.status(),
            pipeline: Some(self.emitter.counts().status()),
            boot_id: self.clock.boot_id().to_string(),
            clock_state: match self.clock.synchronisation() {
                Synchronisation::Synchronised => "synchronised",
                Synchronisation::Unsynchronised => "unsynchronised",
            }
            .to_owned(),
            dead_letters: self.dead_letters.count(),
            configuration: Some(self.in_force.status()),
            socket: Some(self.socket.status()),
            journal_lines_missing: journal::missing_lines(),
        }
    }
}

/// Tells the service manager how the agent is, until `shutdown`.
pub(super) async fn tell_systemd(parts: Arc<StatusParts>, shutdown: CancellationToken) {
    let mut told = String::new();
    loop {
        let line = parts.line();
        if line != told {
            systemd::status(&line);
            told = line;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LINE_INTERVAL) => {}
        }
    }
}

/// The state of the log, as the socket tells it.
fn log_status(log: LogState) -> LogStatus {
    let cursor = |cursor: CursorState| CursorStatus {
        name: cursor.name,
        lane: cursor.lane.name().to_owned(),
        next_sequence: cursor.next_sequence,
        lag_events: cursor.lag_events,
        oldest_time: cursor.oldest_time,
    };
    LogStatus {
        log_epoch: log.epoch.to_string(),
        lanes: Lane::ALL.into_iter().zip(log.lanes).map(|(lane, its)| lane_status(lane, its)).collect(),
        cursors: log.cursors.into_iter().map(cursor).collect(),
        disk_bytes: log.disk_bytes,
        disk_bytes_max: log.disk_bytes_max,
        degraded: log.degraded,
        urgent_share: log.urgent_share.into(),
        ballast_bytes: log.ballast_bytes,
        quarantined_bytes: log.quarantined_bytes,
    }
}

fn lane_status(lane: Lane, its: LaneState) -> LaneStatus {
    let losses = its.losses.into_iter();
    LaneStatus {
        lane: lane.name().to_owned(),
        stored_events: its.stored_events,
        stored_bytes: its.stored_bytes,
        generations: its.generations,
        first_sequence: its.first_sequence,
        next_sequence: its.next_sequence,
        durable_sequence: its.durable_sequence,
        waiting_events: its.waiting_events,
        waiting_bytes: its.waiting_bytes,
        waiting_milliseconds: u64::try_from(its.waiting.as_millis()).unwrap_or(u64::MAX),
        oldest_time: its.oldest_time,
        lost_events: its.lost_events,
        disk_bytes: its.disk_bytes,
        losses: losses
            .map(|loss| LossStatus { cause: loss.cause.name().to_owned(), records: loss.records, events: loss.events })
            .collect(),
    }
}
