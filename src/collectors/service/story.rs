//! What is known of a service, and which events a new state of it makes. Pure.
//!
//! systemd joins quick changes into one signal, so a state is not read as one step: its times and its invocation tell
//! what has happened since the last one, also what nobody saw.

use serde::{Deserialize, Serialize};

use super::unit::{Phase, UnitState};
use crate::{
    collectors::finding::Finding,
    event::Level,
    schema::events::{ServiceStatusPayload, service_status_payload::ServiceStatusOperation as Operation},
};

/// Component of the events.
pub(super) const COMPONENT: &str = "service";

/// Result of a service that was to be started too often, where its last run did not fail.
const START_LIMIT_HIT: &str = "start-limit-hit";

/// What has been told of a service. Also what survives a restart of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) condition: Condition,
    /// Of the run that was told of last.
    invocation: String,
    /// When it last became active, microseconds of this boot.
    started: i64,
    /// When it last became inactive or failed, microseconds of this boot.
    ended: i64,
}

/// The state that the events so far have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    Running,
    #[default]
    Stopped,
    Failed,
}

/// One operation of a change, before it is put into words.
type Step = (Level, Operation);

impl Known {
    /// What a state amounts to, by itself.
    pub(super) fn of(unit: &UnitState) -> Known {
        let condition = match unit.phase() {
            Phase::Running => Condition::Running,
            Phase::Failed => Condition::Failed,
            Phase::Ended | Phase::Changing => Condition::Stopped,
        };
        Known { condition, invocation: unit.invocation.clone(), started: unit.active_enter, ended: unit.inactive_enter }
    }
}

/// What has happened to a known service.
pub(super) fn observe(name: &str, known: &Known, unit: &UnitState) -> (Known, Vec<Finding>) {
    let phase = unit.phase();
    // A job that is not done may stop a service only to start it again: that is told as one event when it is up.
    if phase == Phase::Changing || (phase == Phase::Ended && unit.job != 0) {
        return (known.clone(), Vec::new());
    }
    let (told, mut steps) = unseen_start(known, unit);
    steps.extend(last_step(known, told, unit));
    let mut findings: Vec<_> = steps.into_iter().map(|step| finding(name, step, known, unit)).collect();
    if told == Condition::Failed && phase == Phase::Ended && findings.is_empty() {
        findings.push(reset(name, unit));
    }
    (Known::of(unit), findings)
}

/// At first sight: only what is bad.
pub(super) fn first_sight(name: &str, unit: &UnitState) -> (Known, Vec<Finding>) {
    let failed = unit.phase() == Phase::Failed;
    let step = failed.then(|| failure(&Known::default(), unit));
    (Known::of(unit), step.into_iter().map(|step| finding(name, step, &Known::default(), unit)).collect())
}

/// A service that was not loaded, or not followed, when the agent last ran.
pub(super) fn appeared(name: &str, unit: &UnitState) -> (Known, Vec<Finding>) {
    // Its times may be of long ago: only the state counts.
    let known = Known { started: unit.active_enter, ended: unit.inactive_enter, ..Known::default() };
    match unit.phase() {
        Phase::Running => observe(name, &known, unit),
        _ => first_sight(name, unit),
    }
}

/// After the machine was booted: clocks and invocations of the last boot say nothing any more, and that services were
/// started is the boot's story, not theirs. `booted` is false while systemd still starts services.
pub(super) fn after_boot(name: &str, known: &Known, unit: &UnitState, booted: bool) -> (Known, Vec<Finding>) {
    let step = match (known.condition, unit.phase()) {
        // Whether it will be started in this boot or not, its failure is of the last one.
        (Condition::Failed, Phase::Ended) => return (Known::of(unit), vec![reset(name, unit)]),
        (_, Phase::Failed) => Some(failure(&Known::default(), unit)),
        (Condition::Running, Phase::Ended) if booted => Some((Level::Info, Operation::Stopped)),
        (Condition::Stopped | Condition::Failed, Phase::Running) => Some((Level::Info, Operation::Started)),
        _ => None,
    };
    let before = Known::default();
    (Known::of(unit), step.into_iter().map(|step| finding(name, step, &before, unit)).collect())
}

/// A service that is no longer loaded, and was `known` when it was. `seen` is false when a boot lies between.
pub(super) fn vanished(name: &str, known: &Known, unit: &UnitState, seen: bool) -> Option<Finding> {
    match known.condition {
        Condition::Running if seen => Some(finding(name, (Level::Info, Operation::Stopped), known, unit)),
        Condition::Failed => Some(reset(name, unit)),
        Condition::Running | Condition::Stopped => None,
    }
}

/// A failure that is over without a run: somebody has acknowledged it, or it went with its unit. Nothing has run, so no
/// exit is told.
fn reset(name: &str, unit: &UnitState) -> Finding {
    let payload = ServiceStatusPayload {
        service_name: name.into(),
        status: status(unit),
        operation: Operation::Stopped.into(),
        ..Default::default()
    };
    Finding::new(Level::Info, payload, COMPONENT, "reset")
}

/// A start that was over before it could be seen; and the condition after it.
fn unseen_start(known: &Known, unit: &UnitState) -> (Condition, Vec<Step>) {
    if unit.phase() == Phase::Running || unit.active_enter <= known.started {
        return (known.condition, Vec::new());
    }
    (Condition::Running, vec![start(known.condition, unit)])
}

/// From what has been told to the state that there is.
fn last_step(known: &Known, told: Condition, unit: &UnitState) -> Option<Step> {
    let ran = unit.inactive_enter != known.ended && unit.inactive_enter != 0;
    match (told, unit.phase()) {
        (Condition::Running, Phase::Running) => {
            let same = unit.invocation == known.invocation || unit.invocation.is_empty();
            (!same).then(|| start(told, unit))
        }
        (condition, Phase::Running) => Some(start(condition, unit)),
        (Condition::Failed, Phase::Failed) if !ran => None,
        (_, Phase::Failed) => Some(failure(known, unit)),
        (Condition::Running, Phase::Ended) => Some((Level::Info, Operation::Stopped)),
        (Condition::Stopped, Phase::Ended) => ran.then_some((Level::Debug, Operation::Stopped)),
        // It ran again and ended well. Without a run someone has acknowledged the failure: see `reset`.
        (Condition::Failed, Phase::Ended) => ran.then_some((Level::Info, Operation::Stopped)),
        (_, Phase::Changing) => None,
    }
}

/// A failure, or systemd's word that it leaves the service alone from now on. Of a crash loop the result stays that of the last
/// run: what shows it is another failure of the same run after a restart that was due.
fn failure(known: &Known, unit: &UnitState) -> Step {
    let is_same_run = known.condition == Condition::Failed && known.invocation == unit.invocation;
    let was_due = unit.restarts > 0 && !unit.invocation.is_empty() && unit.active == "failed";
    match unit.result == START_LIMIT_HIT || (is_same_run && was_due) {
        true => (Level::Error, Operation::GaveUp),
        false => (Level::Error, Operation::Failed),
    }
}

fn start(before: Condition, unit: &UnitState) -> Step {
    match before {
        Condition::Running => (Level::Info, Operation::Restarted),
        Condition::Failed if unit.restarts > 0 => (Level::Warn, Operation::Restarted),
        // It ended by itself, and systemd has started it again.
        Condition::Stopped if unit.restarts > 0 => (Level::Info, Operation::Restarted),
        Condition::Failed | Condition::Stopped => (Level::Info, Operation::Started),
    }
}

fn finding(name: &str, (level, operation): Step, known: &Known, unit: &UnitState) -> Finding {
    let ended = matches!(operation, Operation::Stopped | Operation::Failed | Operation::GaveUp);
    let action = operation.as_str_name().trim_start_matches("SERVICE_STATUS_OPERATION_").to_lowercase();
    let (uptime_seconds, exit_code, result, exit) = if ended {
        (uptime_seconds(known, unit), bounded(unit.exit_status), unit.result.clone(), exit_of(unit).unwrap_or_default())
    } else {
        Default::default()
    };
    let payload = ServiceStatusPayload {
        service_name: name.into(),
        status: status(unit),
        pid: bounded(if unit.main_pid == 0 { unit.last_pid } else { unit.main_pid }),
        uptime_seconds,
        operation: operation.into(),
        exit_code,
        result,
        restarts: u32::try_from(unit.restarts.max(0)).unwrap_or(u32::MAX),
        exit: exit.into(),
    };
    Finding::new(level, payload, COMPONENT, &action)
}

fn status(unit: &UnitState) -> String {
    if unit.active.is_empty() { "unloaded".into() } else { format!("{}/{}", unit.active, unit.sub) }
}

/// What the exit code counts: an exit status, or a signal.
fn exit_of(unit: &UnitState) -> Option<&'static str> {
    match bounded(unit.exit_code) {
        libc::CLD_EXITED => Some("exited"),
        libc::CLD_KILLED => Some("killed"),
        libc::CLD_DUMPED => Some("dumped"),
        _ => None,
    }
}

/// How long the run that has ended was up; of one that never was up, how long it ran.
fn uptime_seconds(known: &Known, unit: &UnitState) -> i64 {
    let was_up = known.condition == Condition::Running || unit.active_enter > known.started;
    let (from, to) = match was_up {
        true if unit.active_exit >= unit.active_enter => (unit.active_enter, unit.active_exit),
        true => (unit.active_enter, unit.inactive_enter),
        false => (unit.inactive_exit, unit.inactive_enter),
    };
    to.saturating_sub(from).max(0) / 1_000_000
}

fn bounded(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
