//! Signals of a real systemd in, events out.

use proptest::prelude::*;

use super::*;
use crate::{
    collectors::service::unit::tests::{signals, unit_of_show},
    host::systemd_bus::Properties,
};

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/systemd/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Every event that a series of signals makes, from the state that the first of them tells.
fn tell(signals: Vec<(Properties, bool)>) -> Vec<Finding> {
    let (mut unit, mut known, mut told) = (UnitState::default(), None, Vec::new());
    for (properties, complete) in signals {
        unit.update(&properties);
        if !complete {
            continue;
        }
        let (next, findings) = match &known {
            None => first_sight("t.service", &unit),
            Some(known) => observe("t.service", known, &unit),
        };
        known = Some(next);
        told.extend(findings);
    }
    told
}

fn steps(findings: &[Finding]) -> Vec<(Level, Operation)> {
    findings.iter().map(|finding| (finding.level, payload(finding).operation())).collect()
}

fn payload(finding: &Finding) -> ServiceStatusPayload {
    finding.payload()
}

#[test]
fn a_restart_by_hand_is_one_event_with_the_new_process() {
    let told = tell(signals(&fixture("restart.jsonl")));
    assert_eq!(steps(&told), [(Level::Info, Operation::Restarted)]);
    assert_eq!((payload(&told[0]).pid, payload(&told[0]).status.as_str()), (86, "active/running"));
    assert_eq!(told[0].metadata.get("action").map(String::as_str), Some("restarted"));
}

#[test]
fn every_round_of_a_crash_loop_is_a_failure_and_a_restart_until_systemd_gives_up() {
    let told = tell(signals(&fixture("crash-loop.jsonl")));
    let mut expected = vec![(Level::Info, Operation::Started), (Level::Error, Operation::Failed)];
    for _ in 0..4 {
        expected.extend([(Level::Warn, Operation::Restarted), (Level::Error, Operation::Failed)]);
    }
    expected.push((Level::Error, Operation::GaveUp));
    assert_eq!(steps(&told), expected);
    let last = told.last().expect("it was told");
    let sentence =
        "Service t.service is not started again: systemd has given up: exit-code, exited with 1, automatic restarts: 5";
    assert_eq!(last.sentence(), sentence);
    let failures: Vec<_> = told.iter().filter(|finding| payload(finding).operation() == Operation::Failed).collect();
    assert!(failures.iter().all(|failed| payload(failed).result == "exit-code" && payload(failed).exit_code == 1));
    let sentence = "Service t.service has failed: exit-code, exited with 1, automatic restarts: 4";
    assert_eq!(failures[4].sentence(), sentence);
}

#[test]
fn a_service_that_ends_well_too_often_is_given_up_and_so_is_one_that_was_before_anybody_looked() {
    let ended = UnitState {
        active: "inactive".into(),
        result: "success".into(),
        invocation: "a".into(),
        inactive_enter: 7,
        ..UnitState::default()
    };
    let limit =
        UnitState { active: "failed".into(), result: START_LIMIT_HIT.into(), inactive_enter: 8, ..ended.clone() };
    let gave_up = [(Level::Error, Operation::GaveUp)];
    assert_eq!(steps(&observe("a", &Known::of(&ended), &limit).1), gave_up);
    assert_eq!(steps(&first_sight("a", &limit).1), gave_up);
    assert_eq!(steps(&after_boot("a", &Known::default(), &limit, true).1), gave_up);
    // Each failure of another run, and one by hand, is a failure.
    let failed = UnitState { result: "exit-code".into(), restarts: 1, ..limit.clone() };
    let again = UnitState { invocation: "b".into(), inactive_enter: 9, active_enter: 9, ..failed.clone() };
    let (_, told) = observe("a", &Known::of(&failed), &again);
    assert_eq!(steps(&told).last(), Some(&(Level::Error, Operation::Failed)));
    assert_eq!(steps(&first_sight("a", &failed).1), [(Level::Error, Operation::Failed)]);
}

#[test]
fn what_systemd_joins_into_one_signal_is_told_all_the_same() {
    let every: Vec<_> = signals(&fixture("crash-loop.jsonl"));
    let all = steps(&tell(every.clone()));
    // Only what follows each failure is seen: the running in between has been joined with it.
    let (mut unit, mut last) = (UnitState::default(), Properties::new());
    let joined = every.into_iter().filter_map(|(properties, complete)| {
        last.extend(properties);
        unit.update(&last);
        let seen = complete && unit.phase() != Phase::Running && unit.active != "activating";
        seen.then(|| (std::mem::take(&mut last), true))
    });
    // The first signal is the first sight: nothing has happened before it.
    assert_eq!(steps(&tell(joined.collect())), all);
}

#[test]
fn a_service_that_always_comes_back_stops_and_restarts() {
    let told = tell(signals(&fixture("restart-always.jsonl")));
    let rounds = [(Level::Info, Operation::Stopped), (Level::Info, Operation::Restarted)];
    let mut expected = vec![(Level::Info, Operation::Started)];
    expected.extend(rounds);
    expected.push((Level::Info, Operation::Stopped));
    assert_eq!(steps(&told)[..4], expected);
}

#[test]
fn a_oneshot_that_ends_well_is_one_quiet_event() {
    let told = tell(signals(&fixture("oneshot.jsonl")));
    assert_eq!(steps(&told), [(Level::Debug, Operation::Stopped)]);
}

#[test]
fn a_oneshot_that_fails_is_a_failure() {
    let told = tell(signals(&fixture("oneshot-fails.jsonl")));
    assert_eq!(steps(&told), [(Level::Error, Operation::Failed)]);
    let failed = payload(&told[0]);
    assert_eq!((failed.exit_code, failed.result.as_str(), failed.exit.as_str()), (1, "exit-code", "exited"));
}

#[test]
fn a_watchdog_that_bites_says_so_and_how_long_the_service_was_up() {
    let told = tell(signals(&fixture("watchdog.jsonl")));
    assert_eq!(steps(&told), [(Level::Info, Operation::Started), (Level::Error, Operation::Failed)]);
    let failed = payload(&told[1]);
    assert_eq!((failed.result.as_str(), failed.exit_code, failed.uptime_seconds), ("watchdog", 6, 1));
    assert!(failed.pid > 0);
    let sentence = "Service t.service has failed: watchdog, killed with 6, after 1s";
    assert_eq!(told[1].sentence(), sentence);
}

#[test]
fn a_running_service_is_no_event_at_first_sight_and_a_failed_one_is() {
    let unit = unit_of_show(&fixture("systemctl-show.txt"));
    assert_eq!(unit.phase(), Phase::Running);
    let (known, findings) = first_sight("agentd.service", &unit);
    assert_eq!((known.condition, findings), (Condition::Running, Vec::new()));
    let failed = UnitState { active: "failed".into(), ..unit };
    assert_eq!(steps(&first_sight("agentd.service", &failed).1), [(Level::Error, Operation::Failed)]);
}

#[test]
fn a_service_that_was_restarted_while_nobody_looked_has_another_invocation() {
    let unit = unit_of_show(&fixture("systemctl-show.txt"));
    let other = UnitState { invocation: "0".repeat(32), ..unit.clone() };
    assert_eq!(steps(&observe("a", &Known::of(&unit), &other).1), [(Level::Info, Operation::Restarted)]);
}

#[test]
fn after_a_boot_only_what_is_other_than_before_is_told() {
    let running = unit_of_show(&fixture("systemctl-show.txt"));
    let ended = UnitState { active: "inactive".into(), ..running.clone() };
    let (up, down) = (Known::of(&running), Known::of(&ended));
    let other = UnitState { invocation: "0".repeat(32), ..running };
    assert_eq!(after_boot("a", &up, &other, true).1, Vec::new());
    assert_eq!(steps(&after_boot("a", &down, &other, true).1), [(Level::Info, Operation::Started)]);
    assert_eq!(steps(&after_boot("a", &up, &ended, true).1), [(Level::Info, Operation::Stopped)]);
    // It may only not have been started yet.
    assert_eq!(after_boot("a", &up, &ended, false).1, Vec::new());
    // But it does not fail any more.
    let failed = Known::of(&UnitState { active: "failed".into(), ..UnitState::default() });
    assert_eq!(steps(&after_boot("a", &failed, &ended, false).1), [(Level::Info, Operation::Stopped)]);
}

#[test]
fn a_failure_that_is_acknowledged_or_goes_with_its_unit_is_over() {
    let failed = UnitState {
        active: "failed".into(),
        inactive_enter: 7,
        exit_code: libc::CLD_EXITED.into(),
        exit_status: 1,
        ..UnitState::default()
    };
    let reset = UnitState { active: "inactive".into(), sub: "dead".into(), ..failed.clone() };
    let (known, findings) = observe("a", &Known::of(&failed), &reset);
    assert_eq!((known.condition, steps(&findings)), (Condition::Stopped, vec![(Level::Info, Operation::Stopped)]));
    assert_eq!(findings[0].sentence(), "Service a has stopped");
    assert_eq!(findings[0].metadata["action"], "reset");
    assert_eq!(vanished("a", &known, &reset, true), None, "that was told");
    for seen in [true, false] {
        let gone: Vec<_> = vanished("a", &Known::of(&failed), &UnitState::default(), seen).into_iter().collect();
        assert_eq!(steps(&gone), [(Level::Info, Operation::Stopped)]);
    }
    let running = Known { condition: Condition::Running, ..Known::default() };
    assert_eq!(vanished("a", &running, &UnitState::default(), false), None, "the boot has stopped it");
}

prop_compose! {
    fn any_unit()(
        active in prop::sample::select(vec!["active", "inactive", "failed", "activating", "deactivating", "?"]),
        sub in prop::sample::select(vec!["running", "dead", "auto-restart", "start"]),
        result in prop::sample::select(vec!["success", "signal"]),
        restarts in 0_i64..3, job in 0_i64..2, invocation in "[ab]{0,1}", times in prop::array::uniform4(any::<i64>()),
    ) -> UnitState {
        let [active_enter, active_exit, inactive_enter, inactive_exit] = times;
        UnitState {
            active: active.into(), sub: sub.into(), result: result.into(), restarts, job, invocation,
            active_enter, active_exit, inactive_enter, inactive_exit, ..UnitState::default()
        }
    }
}

proptest! {
    #[test]
    fn a_state_seen_twice_makes_no_event_the_second_time(before in any_unit(), unit in any_unit()) {
        let (known, _) = observe("a", &Known::of(&before), &unit);
        let (again, findings) = observe("a", &known, &unit);
        prop_assert_eq!((again, findings), (known, Vec::new()));
    }

    #[test]
    fn events_and_condition_agree(before in any_unit(), unit in any_unit()) {
        let known = Known::of(&before);
        let (next, findings) = observe("a", &known, &unit);
        if let Some(last) = findings.last() {
            let told = match payload(last).operation() {
                Operation::Started | Operation::Restarted => Condition::Running,
                Operation::Failed | Operation::GaveUp => Condition::Failed,
                _ => Condition::Stopped,
            };
            prop_assert_eq!(next.condition, told);
        }
    }

    #[test]
    fn what_is_remembered_comes_back_the_same(unit in any_unit()) {
        let known = Known::of(&unit);
        let json = serde_json::to_string(&known).unwrap();
        prop_assert_eq!(serde_json::from_str::<Known>(&json).unwrap(), known);
    }
}
