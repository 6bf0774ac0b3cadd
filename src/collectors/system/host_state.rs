//! The machine itself: its name, whether something keeps its clock, whether it waits for a reboot; and the clock's
//! steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::collectors::finding::Finding;
use crate::{
    event::Level,
    host::{
        Host,
        clock::{Clock, Synchronisation},
    },
    schema::events::system_host_payload::SystemHostOperation as Operation,
};

/// A time service needs a while after the boot: until then an unkept clock is no news.
const SYNCHRONISATION_GRACE: Duration = Duration::from_secs(600);
/// A wall clock that moves further against the boot clock between two looks has been set, not disciplined.
pub(super) const STEP_MILLISECONDS: u64 = 2000;
/// What packages leave behind when they want a reboot.
const REBOOT_REQUIRED: &[&str] = &["/run/reboot-required", "/var/run/reboot-required"];

/// What is compared from look to look, and remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HostState {
    /// Empty when it cannot be read.
    pub(super) hostname: String,
    /// None shortly after the boot.
    pub(super) synchronised: Option<bool>,
    pub(super) reboot_required: bool,
}

impl HostState {
    /// Reads it from the machine.
    pub(super) fn look(host: &Host) -> HostState {
        let clock = Clock::of(host);
        let synchronised = clock.synchronisation() == Synchronisation::Synchronised;
        HostState {
            hostname: host.hostname().unwrap_or_default(),
            synchronised: (synchronised || clock.since_boot() > SYNCHRONISATION_GRACE).then_some(synchronised),
            reboot_required: REBOOT_REQUIRED.iter().any(|path| host.path(path).exists()),
        }
    }

    /// Keeps what an earlier look knew and this one does not.
    pub(super) fn follow(&mut self, before: &HostState) {
        if self.hostname.is_empty() {
            self.hostname.clone_from(&before.hostname);
        }
        self.synchronised = self.synchronised.or(before.synchronised);
    }

    /// What changed; without an earlier look, what is wrong.
    pub(super) fn changes(&self, before: Option<&HostState>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(earlier) = before.map(|before| &before.hostname).filter(|earlier| !earlier.is_empty())
            && *earlier != self.hostname
        {
            let detail = format!("{earlier} is now {}", self.hostname);
            findings.push(Finding::host(
                Level::Info,
                Operation::HostnameChanged,
                &self.hostname,
                detail,
                "host",
                "renamed",
            ));
        }
        let was_synchronised = before.and_then(|before| before.synchronised);
        match (was_synchronised, self.synchronised) {
            (Some(true) | None, Some(false)) => findings.push(unsynchronised()),
            (Some(false), Some(true)) => findings.push(synchronised()),
            _ => {}
        }
        if self.reboot_required && !before.is_some_and(|before| before.reboot_required) {
            let detail = "installed updates take effect after a reboot".to_owned();
            findings.push(Finding::host(
                Level::Warn,
                Operation::RebootRequired,
                &self.hostname,
                detail,
                "host",
                "reboot required",
            ));
        }
        findings
    }
}

fn unsynchronised() -> Finding {
    let detail = "no time service keeps the wall clock in step: times of events may be wrong".to_owned();
    Finding::host(Level::Warn, Operation::ClockUnsynchronised, "wall clock", detail, "clock", "unsynchronised")
}

fn synchronised() -> Finding {
    let detail = "the wall clock is kept in step".to_owned();
    Finding::host(Level::Info, Operation::ClockSynchronised, "wall clock", detail, "clock", "synchronised")
}

/// Wall clock less boot clock, milliseconds: constant while nobody sets the clock.
pub(super) fn clock_offset(clock: &Clock) -> i64 {
    let since_boot = i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX);
    clock.unix_milliseconds().saturating_sub(since_boot)
}

/// Whether the clock was set between two offsets.
pub(super) fn clock_step(before: i64, after: i64) -> Option<Finding> {
    let step = after.saturating_sub(before);
    if step.unsigned_abs() <= STEP_MILLISECONDS {
        return None;
    }
    let direction = if step > 0 { "forward" } else { "back" };
    let (seconds, rest) = (step.unsigned_abs() / 1000, step.unsigned_abs() % 1000);
    let detail = format!("the wall clock was set {direction} by {seconds}.{rest:03} s");
    let finding = Finding::host(Level::Warn, Operation::ClockStepped, "wall clock", detail, "clock", "stepped");
    Some(finding.with("step_milliseconds", step.to_string()))
}

/// A sign of life.
pub(super) fn heartbeat(hostname: &str, since_boot: Duration) -> Finding {
    let seconds = since_boot.as_secs();
    let detail = format!("up {}", humantime::format_duration(Duration::from_secs(seconds)));
    Finding::host(Level::Info, Operation::Heartbeat, hostname, detail, "agent", "heartbeat")
        .with("uptime_seconds", seconds.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{collectors::finding::lines, schema::events::SystemHostPayload};

    fn state(hostname: &str, synchronised: Option<bool>, reboot_required: bool) -> HostState {
        HostState { hostname: hostname.into(), synchronised, reboot_required }
    }

    #[test]
    fn at_first_sight_only_what_is_wrong_is_told() {
        assert_eq!(state("nas", Some(true), false).changes(None), []);
        assert_eq!(state("nas", None, false).changes(None), []);
        assert_eq!(
            lines(&state("nas", Some(false), true).changes(None)),
            ["warn system.host.clock_unsynchronised wall clock", "warn system.host.reboot_required nas"]
        );
    }

    #[test]
    fn a_new_name_and_a_lost_and_found_time_service_are_told() {
        let before = state("nas", Some(true), true);
        let lost = state("vault", Some(false), true);
        let found = state("vault", Some(true), false);
        assert_eq!(
            lines(&lost.changes(Some(&before))),
            ["info system.host.hostname_changed vault", "warn system.host.clock_unsynchronised wall clock"]
        );
        assert_eq!(lines(&found.changes(Some(&lost))), ["info system.host.clock_synchronised wall clock"]);
    }

    #[test]
    fn what_a_look_does_not_tell_stays_as_it_was_known() {
        let before = state("nas", Some(false), false);
        let mut after = state("", None, false);
        after.follow(&before);
        assert_eq!(after, before);
    }

    #[test]
    fn a_clock_that_is_set_is_told_and_one_that_is_disciplined_is_not() {
        assert_eq!(clock_step(10_000, 12_000), None);
        assert_eq!(clock_step(12_000, 10_000), None);
        let forward: SystemHostPayload = clock_step(10_000, 12_001).expect("a step").payload();
        assert_eq!(forward.detail, "the wall clock was set forward by 2.001 s");
        let back: SystemHostPayload = clock_step(0, -3_600_000).expect("a step").payload();
        assert_eq!(back.detail, "the wall clock was set back by 3600.000 s");
    }

    #[test]
    fn a_heartbeat_tells_the_uptime() {
        let finding = heartbeat("nas", Duration::from_millis(93_784_500));
        let payload: SystemHostPayload = finding.payload();
        assert_eq!((payload.subject.as_str(), payload.detail.as_str()), ("nas", "up 1day 2h 3m 4s"));
        assert_eq!(finding.metadata["uptime_seconds"], "93784");
    }

    proptest! {
        #[test]
        fn no_state_differs_from_itself(name in ".{0,3}", synchronised: Option<bool>, reboot_required: bool, offset: i64) {
            let state = state(&name, synchronised, reboot_required);
            // Unknown is not told again and again either.
            prop_assert_eq!(state.changes(Some(&state)), vec![]);
            prop_assert_eq!(clock_step(offset, offset), None);
        }
    }
}
