//! What is wrong now, as people and scripts ask for it: a real agent, its commands, and kills in between.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

fn emit(site: &Site, words: &[&str]) {
    let emitted = site.rodent(&[&["emit"], words].concat());
    assert_eq!(emitted.code, Some(0), "{emitted:?}");
}

/// Waits until everything is folded that is in the log.
fn settle(site: &Site) -> Value {
    wait("it is folded", PATIENCE, || {
        let states: Value = serde_json::from_str(&site.rodent(&["state", "-o", "json"]).out).ok()?;
        (states["folding"]["behind_events"] == 0).then_some(states)
    })
}

/// `tank error`, …, of what is wrong, in the order of the names.
fn wrong(site: &Site) -> Vec<String> {
    settle(site);
    let states: Value = serde_json::from_str(&site.rodent(&["problems", "-o", "json"]).out).expect("JSON");
    let line = |state: &Value| {
        let known = if state["acknowledgement"].is_null() { "" } else { " known" };
        let [subject, level] = [&state["subject"], &state["changes"][0]["level"]].map(|it| it.as_str().expect("text"));
        format!("{subject} {level}{known}")
    };
    let mut lines: Vec<_> = states["subjects"].as_array().expect("a list").iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn what_is_wrong_is_told_until_it_ends_and_is_known_when_somebody_says_so() {
    let mut site = Site::start("");
    let well = site.rodent(&["problems"]);
    assert_eq!((well.code, well.out.as_str()), (Some(0), "Nothing is wrong.\n"));
    assert_eq!(site.status()["verdict"], "ok");

    emit(&site, &["storage.pool.degraded", "pool_name=tank", "reason=sdc is missing"]);
    emit(&site, &["usage.threshold.approached", "threshold_name=capacity:/srv"]);
    assert_eq!(wrong(&site), ["capacity:/srv warn", "tank error"]);
    let told = site.rodent(&["problems"]);
    assert_eq!(told.code, Some(1));
    let at = |text: &str| told.out.find(text).unwrap_or_else(|| panic!("{text}: {}", told.out));
    assert!(at("Pool tank is degraded: sdc is missing") < at("capacity:/srv"), "the worst first: {}", told.out);
    assert!(at("zpool replace") > 0, "and what to do");
    let status = site.status();
    assert_eq!((&status["verdict"], &status["problems"]["error"]), (&"error".into(), &1.into()));
    assert!(site.rodent(&["status"]).out.contains("Pool tank is degraded: sdc is missing (for "));

    let nothing = site.rodent(&["ack", "tnak", "--note", "typed in haste"]);
    assert!(nothing.code == Some(65) && nothing.err.contains("did you mean \"tank\""), "{nothing:?}");
    assert_eq!(site.rodent(&["ack", "tank", "--note", " "]).code, Some(65));
    let known = site.rodent(&["ack", "tank", "--note", "the disk is ordered"]);
    assert_eq!((known.code, known.err.as_str()), (Some(0), ""), "{known:?}");
    assert_eq!(wrong(&site), ["capacity:/srv warn", "tank error known"]);
    assert!(site.rodent(&["problems"]).out.contains(": the disk is ordered"));
    assert!(!site.rodent(&["problems", "--new"]).out.contains("tank"));
    assert_eq!(site.status()["verdict"], "warning");
    let event = site.rodent(&["events", "system.problem.acknowledged"]).out;
    assert!(event.contains("Problem of tank is known (pool health)"), "{event}");

    site.signal(Signal::SIGKILL);
    site.start_again();
    assert_eq!(wrong(&site), ["capacity:/srv warn", "tank error known"]);
    emit(&site, &["storage.pool.faulted", "pool_name=tank"]);
    assert_eq!(wrong(&site), ["capacity:/srv warn", "tank critical"]);
    site.restart();
    assert_eq!(wrong(&site), ["capacity:/srv warn", "tank critical"]);
    emit(&site, &["storage.pool.online", "pool_name=tank"]);
    emit(&site, &["usage.threshold.cleared", "threshold_name=capacity:/srv"]);
    assert_eq!((wrong(&site).len(), site.rodent(&["problems"]).code), (0, Some(0)));
    assert_eq!(site.status()["verdict"], "ok");

    let story = site.rodent(&["state", "tank"]).out;
    for told in ["tank: pool health, ok", "Pool tank is online again", "critical", "Folded until urgent"] {
        assert!(story.contains(told), "{told}: {story}");
    }
    let unknown = site.rodent(&["state", "tnak"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("did you mean \"tank\"?"), "{unknown:?}");
    emit(&site, &["storage.pool.exported", "pool_name=tank"]);
    settle(&site);
    let all = site.rodent(&["state"]).out;
    assert_eq!(all.matches("Pool tank is gone").count(), 1, "of five states that end with it: {all}");
}

/// Whatever was answered as durable is folded after a kill, and what the checkpoint holds is never ahead of the log.
#[test]
fn a_kill_at_any_moment_leaves_the_states_of_the_events_that_are_durable() {
    let mut site = Site::start("");
    for round in 0..6u64 {
        let before: Vec<String> = wrong(&site);
        for number in 0..8 {
            let pool = format!("pool_name=p{}", (round + number) % 5);
            let kind = if (round * 3 + number) % 2 == 0 { "storage.pool.degraded" } else { "storage.pool.online" };
            emit(&site, &[kind, &pool]);
        }
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(round * 7));
        }
        site.signal(Signal::SIGKILL);
        if round == 3 {
            // Whoever removes it loses nothing.
            let _ = std::fs::remove_file(site.path("state/states"));
        }
        site.start_again();
        wait("the agent answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
        let after = wrong(&site);
        let mut expected = std::collections::BTreeMap::new();
        for line in site.rodent(&["events", "storage.pool", "-n", "1000", "-o", "jsonl"]).out.lines() {
            let event: Value = serde_json::from_str(line).expect("an event");
            let name = event["payload"]["pool_name"].as_str().expect("a name").to_owned();
            expected.insert(name, event["kind"] == "storage.pool.degraded");
        }
        let expected: Vec<_> =
            expected.into_iter().filter(|(_, is_wrong)| *is_wrong).map(|(name, _)| format!("{name} error")).collect();
        assert_eq!(after, expected, "round {round}, before it {before:?}");
    }
}
