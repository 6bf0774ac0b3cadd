//! The machine itself: its name, whether something keeps its clock, whether it waits for a reboot; and the clock's
//! steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::{
        Host,
        clock::{Clock, Synchronisation},
    },
    schema::events::{SystemHostPayload, system_host_payload::SystemHostOperation as Operation},
};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// A time service needs a while after the boot: until then an unkept clock is no news.
const SYNCHRONISATION_GRACE: Duration = Duration::from_secs(600);
/// A wall clock that moves further against the boot clock between two looks has been set, not disciplined.
const STEP_MILLISECONDS: u64 = 2000;
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
    /// Wall clock less boot clock, milliseconds: constant while nobody sets the clock. Of this run only.
    #[serde(skip)]
    pub(super) clock_offset: Option<i64>,
}

/// The look at it, in turn: nothing tells when it changes.
pub(super) struct HostWatch;

impl Domain for HostWatch {
    const NAME: &'static str = "host";
    type Known = HostState;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&HostState>) -> Result<Option<HostState>, CollectError> {
        let mut state = context.look("look at the host", |host| Ok(HostState::look(host))).await?;
        before.into_iter().for_each(|before| state.follow(before));
        Ok(Some(state))
    }

    fn first_sight(&self, known: &HostState) -> Vec<Finding> {
        known.changes(None)
    }

    fn diff(&self, before: &HostState, after: &HostState) -> Vec<Finding> {
        after.changes(Some(before))
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

impl HostState {
    /// Reads it from the machine.
    pub(super) fn look(host: &Host) -> HostState {
        let clock = Clock::of(host);
        HostState {
            hostname: host.hostname().unwrap_or_default(),
            synchronised: synchronised(clock.synchronisation(), clock.since_boot()),
            reboot_required: REBOOT_REQUIRED.iter().any(|path| host.path(path).exists()),
            clock_offset: Some(clock_offset(&clock)),
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
            let payload = SystemHostPayload {
                subject: self.hostname.clone(),
                previous_value: earlier.clone(),
                operation: Operation::HostnameChanged.into(),
                ..Default::default()
            };
            findings.push(Finding::new(Level::Info, payload, "host", "renamed"));
        }
        let was_synchronised = before.and_then(|before| before.synchronised);
        match (was_synchronised, self.synchronised) {
            (Some(true) | None, Some(false)) => findings.push(out_of_step()),
            (Some(false), Some(true)) => findings.push(in_step()),
            _ => {}
        }
        // Under the name by which it was told it ends, too.
        let required = before.filter(|before| before.reboot_required).map(|before| &before.hostname);
        let goes_on = self.reboot_required && required == Some(&self.hostname);
        if let Some(subject) = required.filter(|_| !goes_on) {
            let operation = Operation::RebootNotRequired;
            let finding = Finding::host(Level::Info, operation, subject, String::new(), "host", "reboot not required");
            findings.push(finding);
        }
        if self.reboot_required && !goes_on {
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
        let offsets = before.and_then(|before| before.clock_offset).zip(self.clock_offset);
        findings.extend(offsets.and_then(|(before, after)| clock_step(before, after)));
        findings
    }
}

/// Whether something keeps the clock, as far as that is known and settled.
fn synchronised(state: Synchronisation, since_boot: Duration) -> Option<bool> {
    match state {
        Synchronisation::Synchronised => Some(true),
        Synchronisation::Unsynchronised => (since_boot > SYNCHRONISATION_GRACE).then_some(false),
        Synchronisation::Unknown => None,
    }
}

fn out_of_step() -> Finding {
    let detail = "no time service keeps the wall clock in step: times of events may be wrong".to_owned();
    Finding::host(Level::Warn, Operation::ClockUnsynchronised, "wall clock", detail, "clock", "unsynchronised")
}

fn in_step() -> Finding {
    let detail = "the wall clock is kept in step".to_owned();
    Finding::host(Level::Info, Operation::ClockSynchronised, "wall clock", detail, "clock", "synchronised")
}

fn clock_offset(clock: &Clock) -> i64 {
    let since_boot = i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX);
    clock.unix_milliseconds().saturating_sub(since_boot)
}

/// Whether the clock was set between two offsets.
fn clock_step(before: i64, after: i64) -> Option<Finding> {
    let step = after.saturating_sub(before);
    if step.unsigned_abs() <= STEP_MILLISECONDS {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a step of centuries may be told to the second")]
    let step_seconds = step as f64 / 1000.0;
    let payload = SystemHostPayload {
        subject: "wall clock".into(),
        step_seconds,
        operation: Operation::ClockStepped.into(),
        ..Default::default()
    };
    Some(Finding::new(Level::Warn, payload, "clock", "stepped"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::{lines, sentences};

    fn state(hostname: &str, synchronised: Option<bool>, reboot_required: bool) -> HostState {
        HostState { hostname: hostname.into(), synchronised, reboot_required, clock_offset: None }
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
            [
                "info system.host.hostname_changed vault",
                "warn system.host.clock_unsynchronised wall clock",
                "info system.host.reboot_not_required nas",
                "warn system.host.reboot_required vault"
            ],
            "what was told of the old name ends with it"
        );
        assert_eq!(
            lines(&found.changes(Some(&lost))),
            ["info system.host.clock_synchronised wall clock", "info system.host.reboot_not_required vault"]
        );
        assert_eq!(
            sentences(&lost.changes(Some(&before)))[..2],
            ["Node vault has a new name, it was nas", "Clock is not synchronised: times of events may be wrong"]
        );
        assert_eq!(
            sentences(&found.changes(Some(&lost))),
            ["Clock is synchronised again", "Node vault needs no reboot any more"]
        );
    }

    #[test]
    fn the_unit_lets_the_agent_see_a_new_name_of_the_machine() {
        let unit = include_str!("../../../systemd/rodent.service");
        let gives_a_name_of_its_own =
            |line: &str| line.starts_with("ProtectHostname=") || line.starts_with("PrivateUTS");
        assert!(!unit.lines().any(gives_a_name_of_its_own), "a look would find the name of the start for ever");
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("proc/sys/kernel/hostname");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let look = |name: &str| {
            std::fs::write(&file, name).unwrap();
            HostState { clock_offset: None, synchronised: None, ..HostState::look(&Host::at(root.path())) }
        };
        let before = look("nas\n");
        assert_eq!(lines(&look("vault\n").changes(Some(&before))), ["info system.host.hostname_changed vault"]);
    }

    #[test]
    fn the_unit_lets_the_agent_ask_whether_the_clock_is_in_step_and_an_agent_that_may_not_says_nothing_of_it() {
        let unit = include_str!("../../../systemd/rodent.service");
        assert!(!unit.contains("\nProtectClock="), "it forbids the question together with the answer");
        let filters: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
        assert_eq!(
            filters.last(),
            Some(&"adjtimex clock_adjtime clock_adjtime64"),
            "after what forbids them: {filters:?}"
        );
        assert!(unit.contains("\nCapabilityBoundingSet=\n"), "without a capability they only read");
        let (early, late) = (Duration::from_secs(60), Duration::from_secs(601));
        assert_eq!(synchronised(Synchronisation::Unknown, late), None);
        assert_eq!(synchronised(Synchronisation::Unsynchronised, early), None);
        assert_eq!(synchronised(Synchronisation::Unsynchronised, late), Some(false));
        assert_eq!(synchronised(Synchronisation::Synchronised, early), Some(true));
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
        let read = |before, after| clock_step(before, after).expect("a step").sentence();
        assert_eq!(read(10_000, 12_001), "Clock was set by 2 seconds");
        assert_eq!(read(0, -3_600_000), "Clock was set by -3,600 seconds");
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
