use proptest::prelude::*;

use super::*;
use crate::collectors::finding::{lines, sentences};

/// Of a daily timer, as `busctl get-property` has it: waiting until 2026-11-22T00:00:00Z, last run a day before.
const LAST: i64 = 1_795_219_200;
const DAY: i64 = 24 * 3600;
const SECOND: i64 = 1_000_000;

fn properties(active: &str, sub: &str, last: i64, next: i64) -> Properties {
    let text = |text: &str| Value::Text(text.to_owned());
    Properties::from([
        ("ActiveState".to_owned(), text(active)),
        ("SubState".to_owned(), text(sub)),
        ("Unit".to_owned(), text("backup.service")),
        ("Result".to_owned(), text(if active == "failed" { "resources" } else { "success" })),
        ("LastTriggerUSec".to_owned(), Value::Number(last * SECOND)),
        ("NextElapseUSecRealtime".to_owned(), Value::Number(next.saturating_mul(SECOND))),
        ("NextElapseUSecMonotonic".to_owned(), Value::Number(NEVER)),
        ("AccuracyUSec".to_owned(), Value::Number(60 * SECOND)),
    ])
}

fn at(seconds: i64) -> Now {
    Now { unix: seconds * SECOND, monotonic: 1000 * SECOND }
}

/// What these looks tell, one after another.
fn told(looks: &[(Properties, i64)]) -> Vec<Vec<String>> {
    let timers = Timers::new(Patterns::new(Vec::new()));
    let mut before = None::<Known>;
    let mut told = Vec::new();
    for (properties, now) in looks {
        let timer = judge(before.as_ref().and_then(|known| known.get("backup.timer")), properties, at(*now)).unwrap();
        let after = Known::from([("backup.timer".to_owned(), timer)]);
        let findings = before.as_ref().map_or_else(|| timers.first_sight(&after), |before| timers.diff(before, &after));
        told.push(sentences(&findings));
        // What is remembered.
        before = serde_json::from_value(serde_json::to_value(after).unwrap()).unwrap();
    }
    told
}

#[test]
fn a_job_that_still_runs_when_the_next_was_to_begin_and_a_time_that_passes_are_overdue_until_it_is_on_time_again() {
    let waits = |last: i64| properties("active", "waiting", last, last + DAY);
    let runs = |last: i64| properties("active", "running", last, last);
    let looks = [
        (waits(LAST), LAST + 100),
        (waits(LAST), LAST + DAY + 60),
        (runs(LAST + DAY), LAST + DAY + 100),
        (runs(LAST + DAY), LAST + 2 * DAY + 3000),
        (runs(LAST + DAY), LAST + 2 * DAY + 4000),
        (runs(LAST + DAY), LAST + 3 * DAY),
        (waits(LAST + 3 * DAY), LAST + 3 * DAY + 100),
        (waits(LAST + 3 * DAY), LAST + 4 * DAY + 4000),
    ];
    let told = told(&looks);
    let expected = [
        "Timer backup.timer is overdue: backup.service was to start on 2026-11-23T00:00:00Z, last started 2026-11-22T00:00:00Z, it still runs",
        "Timer backup.timer is on time again, last started 2026-11-24T00:00:00Z, due on 2026-11-25T00:00:00Z",
        "Timer backup.timer is overdue: backup.service was to start on 2026-11-25T00:00:00Z, last started 2026-11-24T00:00:00Z",
    ];
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 0, 1, 1], "{told:?}");
    assert_eq!(told.concat(), expected);
}

#[test]
fn a_timer_that_fails_is_an_error_one_that_is_stopped_is_told_and_one_of_a_moment_is_not_followed() {
    let (waiting, failed) =
        (properties("active", "waiting", LAST, LAST + DAY), properties("failed", "failed", LAST, NEVER));
    let stopped = properties("inactive", "dead", LAST, NEVER);
    let looks = [(failed.clone(), LAST), (waiting.clone(), LAST), (stopped, LAST), (waiting, LAST)];
    let expected = [
        "Timer backup.timer has failed: resources, backup.service is not started by it any more, last started 2026-11-21T00:00:00Z",
        "Timer backup.timer is on time again, last started 2026-11-21T00:00:00Z, due on 2026-11-22T00:00:00Z",
        "Timer backup.timer was stopped: backup.service is not started by it any more, last started 2026-11-21T00:00:00Z",
        "Timer backup.timer is on time again, last started 2026-11-21T00:00:00Z, due on 2026-11-22T00:00:00Z",
    ];
    assert_eq!(told(&looks).concat(), expected);
    let timers = Timers::new(Patterns::new(Vec::new()));
    let known = Known::from([("backup.timer".to_owned(), judge(None, &failed, at(LAST)).unwrap())]);
    assert_eq!(lines(&timers.first_sight(&known)), ["error service.timer.failed"]);
    assert_eq!(lines(&timers.diff(&known, &Known::new())), ["info service.timer.stopped"], "its problem is over");
    let mut transient = failed;
    transient.insert("Transient".to_owned(), Value::Number(1));
    assert_eq!(judge(None, &transient, at(LAST)), None);
}

#[test]
fn a_timer_by_the_clock_of_the_boot_is_due_by_the_wall_and_one_that_starts_nothing_more_is_never_overdue() {
    let mut by_boot = properties("active", "waiting", LAST, 0);
    by_boot.insert("NextElapseUSecMonotonic".to_owned(), Value::Number(1600 * SECOND));
    let timer = judge(None, &by_boot, at(LAST)).unwrap();
    assert_eq!((timer.told.due, timer.span, timer.is), (LAST + 600, 600, Condition::OnTime));
    let elapsed = properties("active", "elapsed", LAST, NEVER);
    assert_eq!(judge(None, &elapsed, at(LAST + 1000 * DAY)).unwrap().is, Condition::OnTime);
    let service = properties("active", "running", LAST, 0);
    assert_eq!(judge(None, &service, at(LAST + 1000 * DAY)).unwrap().is, Condition::OnTime, "its job is to go on");
}

#[test]
fn a_timer_is_overdue_when_a_tenth_of_its_time_and_its_accuracy_are_over_and_one_that_comes_stopped_is_no_news() {
    let hourly = properties("active", "waiting", LAST, LAST + 3600);
    let after = |seconds: i64| judge(None, &hourly, at(LAST + 3600 + seconds)).unwrap().is;
    assert_eq!((after(360 + 60), after(360 + 61)), (Condition::OnTime, Condition::Overdue));
    let timers = Timers::new(Patterns::new(Vec::new()));
    let stopped = judge(None, &properties("inactive", "dead", LAST, NEVER), at(LAST)).unwrap();
    assert_eq!(timers.diff(&Known::new(), &Known::from([("a.timer".to_owned(), stopped)])), vec![]);
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic_and_nobody_is_overdue_before_the_time(
        last: i64, next: i64, boot: i64, now in 0_i64..4_000_000_000, sub in prop_oneof![Just("waiting"), Just("running")],
    ) {
        let mut properties = properties("active", sub, 0, 0);
        for (name, number) in [("LastTriggerUSec", last), ("NextElapseUSecRealtime", next), ("NextElapseUSecMonotonic", boot)] {
            properties.insert(name.to_owned(), Value::Number(number));
        }
        let before = Timer { span: next, ..Timer::default() };
        let timer = judge(Some(&before), &properties, at(now)).unwrap();
        prop_assert!(timer.is == Condition::OnTime || timer.told.due < now);
    }
}
