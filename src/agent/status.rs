//! Answers `rodent status`: asks each room for its part. Has the rooms that say nothing by themselves judged, so that what
//! stands in the registry is as new as the rest.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    collecting::Collecting,
    config::Profile,
    delivering::Consumers,
    log_conditions,
    log_look::LogLook,
    states_desk::{StatesDesk, condition_status},
    steering::InForceView,
    supervisor::Supervisor,
};
use crate::{
    consumers::programs::Programs,
    dead_letters::{DeadLetters, LetterCount},
    event_log::{CursorState, EventLog, Lane, LaneState, LogState},
    health::{BEAT, ConditionLevel, Registry, round, verdict},
    host::clock::{Clock, Synchronisation},
    local_api::{StatusSource, Usage},
    pipeline::Emitter,
    schema::local::{
        ConsumerStatus, CursorStatus, DeadLetterStatus, LaneStatus, LogStatus, LossStatus, StateLevel, StatusResponse,
        SubjectState,
    },
    service_manager,
    sinks::uplink::{UPLINK, UplinkState},
    telemetry::{journal, message},
};

/// How often the line that systemd shows is looked at; it is sent only when it has changed.
const LINE_INTERVAL: Duration = BEAT;

/// Problems of the machine that a status names; the others it counts.
const PROBLEMS_SHOWN: usize = 20;

/// Between two looks at the log's disk for the conditions, when nobody asks.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The log, as a part that something may be wrong with.
const LOG: &str = "log";

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
    pub(super) consumers: Consumers,
    pub(super) programs: Programs,
    pub(super) collecting: Collecting,
    pub(super) dead_letters: DeadLetters,
    pub(super) in_force: InForceView,
    pub(super) socket: Usage,
    pub(super) supervisor: Supervisor,
    pub(super) registry: Registry,
    pub(super) states: Arc<StatesDesk>,
}

impl StatusParts {
    /// For the socket.
    pub(super) fn source(self: Arc<Self>) -> StatusSource {
        Arc::new(move || self.status())
    }

    /// One line for the service manager: the worst that does not work, else how it stands with the controller.
    fn line(&self) -> String {
        let standing = self.registry.standing();
        let worst = standing.first().filter(|condition| condition.level == ConditionLevel::Error);
        if let Some(condition) = worst {
            return sentence(&condition.text);
        }
        let (_, worst) = self.states.problems(1);
        let wrong = worst.first().filter(|problem| problem.acknowledgement.is_none());
        let wrong = wrong.filter(|problem| problem.level() >= StateLevel::Error);
        if let Some(problem) = wrong.and_then(|problem| problem.changes.first()) {
            return sentence(&problem.text);
        }
        let uplink = self.uplink.status();
        // Asked every few seconds: the disk is not to be looked at for it.
        let waiting: u64 = self.log.cursors().iter().map(|cursor| cursor.lag_events).sum();
        match uplink.state.as_str() {
            "off" => format!("No controller configured; keeping {waiting} events"),
            state => format!("Controller {}: {state}; {waiting} events to deliver", uplink.controller),
        }
    }

    /// Why no events are taken, as of now and not as of the last look at what stands.
    pub(super) fn refuses(&self) -> Option<String> {
        log_conditions::judge_now(&self.registry.part(LOG), &self.log);
        let standing = self.registry.standing().into_iter();
        standing.filter(|it| it.part == LOG && it.message == message::LOG_REFUSES).map(|it| it.text).next()
    }

    /// What is known without a look at the disk.
    fn judge_now(&self) {
        let part = |name: &str| self.registry.part(name);
        log_conditions::judge_now(&part(LOG), &self.log);
        log_conditions::judge_letters(&part("dead_letters"), &self.dead_letters.counts());
        let now = self.clock.unix_milliseconds();
        self.consumers.judge(now);
        self.uplink.judge_credentials(&part(UPLINK), now);
    }

    fn status(&self) -> StatusResponse {
        let log = log_status(self.log_look.status());
        log_conditions::judge(&self.registry.part(LOG), &log, self.uplink.status().state != "off");
        self.with(log)
    }

    /// How the agent is; waits for the disk no longer than this, which says nothing about the disk.
    pub(super) fn status_within(&self, look_time_max: Duration) -> StatusResponse {
        self.with(log_status(self.log_look.status_within(look_time_max)))
    }

    /// What is kept for each consumer, also nothing; those that are not configured any more last.
    fn letters(&self, consumers: &[ConsumerStatus]) -> Vec<DeadLetterStatus> {
        let mut counts = self.dead_letters.counts();
        let of = |name: &str| DeadLetterStatus { consumer: name.to_owned(), ..DeadLetterStatus::default() };
        let mut all: Vec<_> = consumers.iter().map(|consumer| of(&consumer.name)).collect();
        for its in &mut all {
            if let Some(at) = counts.iter().position(|count| *count.consumer == *its.consumer) {
                let LetterCount { letters, bytes, .. } = counts.swap_remove(at);
                (its.letters, its.bytes) = (letters, bytes);
            }
        }
        let left = counts.into_iter().map(|LetterCount { consumer, letters, bytes }| DeadLetterStatus {
            letters,
            bytes,
            ..of(&consumer)
        });
        all.into_iter().chain(left).collect()
    }

    fn with(&self, log: LogStatus) -> StatusResponse {
        self.judge_now();
        let consumers: Vec<_> = self.consumers.status().into_iter().chain(self.programs.status()).collect();
        let standing = self.registry.standing();
        let (problems, worst) = self.states.problems(PROBLEMS_SHOWN);
        // Once the controller has named the node, that name counts.
        let named =
            self.uplink.registrations().borrow().as_ref().and_then(|registration| registration.claims.rid.clone());
        StatusResponse {
            dead_letters_by_consumer: self.letters(&consumers),
            consumers,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: named.unwrap_or_else(|| self.node_id.clone()),
            started_at: self.started_at,
            state_directory: self.state_directory.clone(),
            profile: self.profile.borrow().name().to_owned(),
            log: Some(log),
            uplink: Some(self.uplink.status()),
            collectors: self.collecting.status(),
            pipeline: Some(self.emitter.counts().status()),
            boot_id: self.clock.boot_id().to_string(),
            clock_state: match self.clock.synchronisation() {
                Synchronisation::Synchronised => "synchronised",
                Synchronisation::Unsynchronised => "unsynchronised",
                Synchronisation::Unknown => "unknown",
            }
            .to_owned(),
            dead_letters: self.dead_letters.count(),
            configuration: Some(self.in_force.status()),
            socket: Some(self.socket.status()),
            journal_lines_missing: journal::missing_lines(),
            verdict: with_machine(verdict(&standing), &worst).to_owned(),
            problems: Some(problems),
            worst,
            conditions: standing.into_iter().map(condition_status).collect(),
        }
    }
}

/// Has what is known without the disk judged every few seconds, and the rest every minute, so that the journal has it also
/// when nobody asks; and tells the service manager how the agent is. Until `shutdown`.
pub(super) async fn watch_conditions(parts: Arc<StatusParts>, shutdown: CancellationToken) {
    let mut told = String::new();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
            looked = Some(Instant::now());
            let parts = Arc::clone(&parts);
            // Waits for the disk, but not for long.
            let _ = tokio::task::spawn_blocking(move || parts.status()).await;
        } else {
            parts.judge_now();
        }
        let line = parts.line();
        if line != told && service_manager::status(&line) {
            told = line;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round(LINE_INTERVAL) => {}
        }
    }
}

/// The verdict on the agent, and on the machine as far as nobody has said that it is known.
fn with_machine<'a>(agent: &'a str, worst: &[SubjectState]) -> &'a str {
    let unknown = worst.iter().filter(|problem| problem.acknowledgement.is_none());
    match unknown.map(SubjectState::level).max() {
        Some(StateLevel::Error | StateLevel::Critical) => ConditionLevel::Error.name(),
        Some(StateLevel::Warn) if agent != ConditionLevel::Error.name() => ConditionLevel::Warning.name(),
        _ => agent,
    }
}

/// With its first letter as a sentence has it.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
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
