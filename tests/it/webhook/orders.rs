//! What people ask of a sink: pause, resume, replay; and what they see of it.

use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Receiver, answer, hook, sink};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

fn listed(site: &Site) -> Value {
    let listed = site.rodent(&["sinks", "list", "-o", "jsonl"]);
    serde_json::from_str(listed.out.lines().next().expect("a sink")).expect("JSON")
}

#[test]
fn a_sink_that_is_paused_is_sent_nothing_over_a_kill_and_has_everything_when_it_goes_on() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let mut site = Site::start(&sink(&receiver, ""));
    site.put(1, 3);
    wait("they arrive", PATIENCE, || (receiver.numbers() == [1, 2, 3]).then_some(()));
    let unknown = site.rodent(&["sinks", "pause", "hok"]);
    assert!(unknown.code == Some(65) && unknown.err.contains("did you mean \"hook\""), "{unknown:?}");
    assert_eq!(site.rodent(&["sinks", "pause", "hook"]).code, Some(0));
    site.put(4, 3);
    let is_paused = |site: &Site| {
        site.until("it is paused, and said", |status| {
            hook(status)["state"] == "STATE_PAUSED" && status["conditions"].to_string().contains("sink_paused")
        });
        let listed = wait("what is for it is counted", PATIENCE, || {
            Some(listed(site)).filter(|listed| listed["to_go"].as_u64() >= Some(3))
        });
        assert_eq!(listed["state"], "paused");
        assert!(listed["last_error"].as_str().is_some_and(|who| who.starts_with("by ")), "{listed}");
    };
    is_paused(&site);
    site.until("durable", |status| {
        status["log"]["lanes"].as_array().expect("lanes").iter().all(|lane| lane["waiting_events"] == 0)
    });
    site.signal(Signal::SIGKILL);
    site.start_again();
    wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    is_paused(&site);
    site.configure(&sink(&receiver, ", timeout: 7s"));
    assert!(site.rodent(&["reload"]).out.contains("sinks.hook.timeout"));
    is_paused(&site);
    assert!(!receiver.numbers().contains(&4), "{:?}", receiver.numbers());
    assert_eq!(site.rodent(&["sinks", "resume", "hook"]).code, Some(0));
    wait("the rest arrives", PATIENCE, || receiver.numbers().ends_with(&[4, 5, 6]).then_some(()));
    site.until("nothing is wrong with it", |status| !status["conditions"].to_string().contains("sink_paused"));
    let told = site.rodent(&["events", "system.config_changed", "-o", "jsonl"]).out;
    assert!(told.contains(r#""trigger":"pause""#) && told.contains(r#""trigger":"resume""#), "{told}");
}

#[test]
fn a_sink_that_is_paused_is_sent_nothing_for_another_either_until_it_goes_on() {
    let away = Receiver::start(|_| answer("503 Service Unavailable"));
    let other = Receiver::start(|_| answer("200 OK"));
    let fallback = format!(
        ", fallback: {{to: other, after: 1s}}}}\n  other: {{type: webhook, url: 'http://{}/', filter: ['level>=critical']",
        other.address
    );
    let site = Site::start(&sink(&away, &fallback));
    assert_eq!(site.rodent(&["sinks", "pause", "other"]).code, Some(0));
    site.put(1, 2);
    site.until("it fails again and again", |status| hook(status)["failures_in_a_row"].as_u64() >= Some(8));
    assert_eq!(other.numbers(), [0; 0]);
    assert_eq!(site.rodent(&["sinks", "resume", "other"]).code, Some(0));
    wait("the other takes them", PATIENCE, || (other.numbers() == [1, 2]).then_some(()));
}

#[test]
fn while_all_is_well_a_url_is_called_and_when_nobody_answers_that_is_said() {
    let calls = Arc::new(Mutex::new(0));
    let counting = Arc::clone(&calls);
    let says = Arc::new(Mutex::new("204 No Content"));
    let script = Arc::clone(&says);
    let receiver = Receiver::start(move |posted| {
        assert_eq!((posted.path.as_str(), posted.body.as_str()), ("/ping/secret", ""));
        *counting.lock().expect("no panic under the lock") += 1;
        answer(*script.lock().expect("no panic under the lock"))
    });
    let mut site = Site::start(&format!("beat: {{url: 'http://{}/ping/secret', every: 10s}}", receiver.address));
    let count = || *calls.lock().expect("no panic under the lock");
    wait("it is called at once", PATIENCE, || (count() == 1).then_some(()));
    wait("the agent answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    site.until("nothing is said", |status| !status["conditions"].to_string().contains("beat_fails"));
    *says.lock().expect("no panic under the lock") = "404 Not Found";
    site.restart();
    wait("the agent answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    site.until("it is said that nobody is reached", |status| {
        let conditions = status["conditions"].to_string();
        conditions.contains("beat_fails") && conditions.contains("404") && !conditions.contains("secret")
    });
    site.configure("");
    assert!(site.rodent(&["reload"]).out.contains("beat.url"));
    site.until("it is over", |status| !status["conditions"].to_string().contains("beat_fails"));
}

#[test]
fn one_that_is_held_tries_at_once_when_it_is_resumed_and_shows_how_it_does() {
    let says = Arc::new(Mutex::new("401 Unauthorized"));
    let script = Arc::clone(&says);
    let receiver = Receiver::start(move |_| answer(*script.lock().expect("no panic under the lock")));
    let site = Site::start(&sink(&receiver, "").replace("backoff_max: 1s", "backoff_max: 1h"));
    site.put(1, 1);
    site.until("held", |status| hook(status)["state"] == "STATE_HELD");
    let shown = site.rodent(&["sinks", "show", "hook"]).out;
    assert!(shown.contains("held for ") && shown.contains("401") && shown.contains("failed in a row  1"), "{shown}");
    assert!(shown.contains("last taken       not since the agent started"), "{shown}");
    assert!(shown.contains("what to do       mend what it says, then `rodent sinks resume hook`"), "{shown}");
    *says.lock().expect("no panic under the lock") = "200 OK";
    assert_eq!(site.rodent(&["sinks", "resume", "hook"]).code, Some(0));
    wait("it arrives", PATIENCE, || (receiver.numbers() == [1]).then_some(()));
    site.until("connected", |status| hook(status)["state"] == "STATE_CONNECTED");
    let listed = listed(&site);
    assert_eq!(listed["failures_in_a_row"], 0);
    assert!(listed["last_attempt"].as_i64() > Some(0) && listed["last_success"].as_i64() > Some(0), "{listed}");
    assert_eq!(site.rodent(&["sinks", "show", "hok"]).code, Some(65));
}

#[test]
fn what_was_sent_is_sent_again_when_somebody_says_so_and_only_then() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 4);
    wait("they arrive", PATIENCE, || (receiver.numbers() == [1, 2, 3, 4]).then_some(()));
    let asked = site.rodent(&["sinks", "replay", "hook", "--since", "1h"]);
    assert!(asked.code == Some(64) && asked.err.contains("--yes"), "{asked:?}");
    assert_eq!(site.rodent(&["sinks", "replay", "hook", "--since", "whenever", "--yes"]).code, Some(64));
    assert_eq!(receiver.numbers().len(), 4);
    let replayed = site.rodent(&["sinks", "replay", "hook", "--since", "1h", "--yes"]);
    assert!(replayed.code == Some(0) && replayed.out.contains("come to hook once more"), "{replayed:?}");
    wait("they arrive again", PATIENCE, || (receiver.numbers() == [1, 2, 3, 4, 1, 2, 3, 4]).then_some(()));
    let ids: std::collections::BTreeSet<_> =
        receiver.taken().iter().map(|it| it.headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 4, "each under its own identifier");
    site.configure(&sink(&receiver, ", tell: changes").replace("'sharing.*'", "'level>=warn'"));
    site.rodent(&["reload"]);
    let refused = site.rodent(&["sinks", "replay", "hook", "--since", "1h", "--yes"]);
    assert!(refused.code == Some(65) && refused.err.contains("tells how things are"), "{refused:?}");
}

#[test]
fn pauses_are_those_that_are_set_and_the_next_attempt_is_shown() {
    let receiver = Receiver::start(|_| answer("503 Service Unavailable"));
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 1);
    site.until("a second apart at most", |status| hook(status)["failures_in_a_row"].as_u64() >= Some(10));
    site.reload(&sink(&receiver, ", schedule: [10m]"));
    site.until("it waits for minutes, although `backoff_max` is a second", |_| {
        let shown = site.rodent(&["sinks", "show", "hook"]).out;
        let next = shown.lines().find_map(|line| line.strip_prefix("next attempt     in "));
        next.is_some_and(|next| next.contains('m') && !next.contains("ms"))
    });
}

#[test]
fn what_was_taken_of_a_portion_is_not_sent_again_with_the_rest() {
    let is_first = std::sync::atomic::AtomicBool::new(true);
    let receiver = Receiver::start(move |posted| {
        let fails = posted.number() == Some(3) && is_first.swap(false, std::sync::atomic::Ordering::Relaxed);
        answer(if fails { "503 Service Unavailable" } else { "200 OK" })
    });
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 5);
    wait("all arrive", PATIENCE, || receiver.numbers().contains(&5).then_some(()));
    assert_eq!(receiver.numbers(), [1, 2, 3, 4, 5]);
}
