//! A webhook that tells what is wrong and what is well again, and not what happened.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Receiver, answer, hook, sink};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

/// A sink that tells of states.
fn teller(receiver: &Receiver, more: &str) -> String {
    sink(receiver, &format!(", tell: changes{more}")).replace("'sharing.*'", "'level>=warn'")
}

#[test]
fn what_is_wrong_is_told_once_and_that_it_is_well_again_although_the_agent_is_killed() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let mut site = Site::start(&teller(&receiver, "").replace("level>=warn", "level>=error"));
    let told = || {
        receiver
            .taken()
            .iter()
            .map(|it| format!("{} {}", it.json()["type"], it.json()["data"]["subject"]))
            .collect::<Vec<_>>()
    };
    let degraded = |site: &Site, pool: &str| {
        let done = site.rodent(&["emit", "storage.pool.degraded", &format!("pool_name={pool}")]);
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    degraded(&site, "tank");
    wait("it is told", PATIENCE, || (told() == [r#""state.problem" "tank""#]).then_some(()));
    degraded(&site, "tank");
    site.until("the second event is passed", |status| hook(status)["lanes"].to_string().contains("delivered_events"));
    let done = site.rodent(&["emit", "storage.pool.degraded", "pool_name=lake", "-l", "warn"]);
    assert_eq!(done.code, Some(0), "what its filter does not take: {done:?}");
    degraded(&site, "pond");
    wait("the other one is told", PATIENCE, || told().contains(&r#""state.problem" "pond""#.to_owned()).then_some(()));
    // What was told is kept in the write that moves the cursor.
    site.until("kept", |status| {
        let cursors = status["log"]["cursors"].as_array().expect("cursors").clone();
        cursors
            .iter()
            .filter(|cursor| cursor["name"] == "hook")
            .all(|cursor| cursor["waiting_events"].as_u64().unwrap_or(0) == 0)
    });
    site.signal(Signal::SIGKILL);
    site.start_again();
    wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    let ended = site.rodent(&["emit", "storage.pool.online", "pool_name=tank"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait("its end is told", PATIENCE, || told().contains(&r#""state.recovered" "tank""#.to_owned()).then_some(()));
    let is_of_kill = |line: &String| line.starts_with(r#""system.loss.unclean_stop""#);
    wait("so is what the kill may have lost for anybody", PATIENCE, || told().iter().any(is_of_kill).then_some(()));
    let mut ids = BTreeMap::new();
    let is_of_states = |it: &super::Posted| it.json()["type"].to_string().starts_with(r#""state."#);
    for posted in receiver.taken().into_iter().filter(is_of_states) {
        let what = format!("{}", posted.json());
        assert_eq!(*ids.entry(posted.headers["webhook-id"].clone()).or_insert(what.clone()), what);
    }
    assert_eq!(ids.len(), 3, "each is told once, or again under its own identifier: {:?}", told());
}

#[test]
fn who_only_keeps_alerts_is_told_of_all_that_is_wrong_and_of_its_end() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let site = Site::start(&teller(&receiver, ", format: alertmanager"));
    for pool in ["tank", "pond"] {
        site.rodent(&["emit", "storage.pool.degraded", &format!("pool_name={pool}")]);
    }
    let alerts =
        || receiver.taken().iter().flat_map(|it| it.json().as_array().cloned().unwrap_or_default()).collect::<Vec<_>>();
    let of = |pool: &str| alerts().into_iter().filter(|alert| alert["labels"]["subject"] == pool).collect::<Vec<_>>();
    wait("both stand", PATIENCE, || (!of("tank").is_empty() && !of("pond").is_empty()).then_some(()));
    let began = of("tank")[0].clone();
    assert_eq!((&began["labels"]["alertname"], &began["labels"]["severity"]), (&json!("pool health"), &json!("error")));
    site.rodent(&["emit", "storage.pool.online", "pool_name=tank"]);
    let ended = wait("it has ended", PATIENCE, || {
        of("tank").into_iter().find(|alert| alert["endsAt"].as_str() < began["endsAt"].as_str())
    });
    assert_eq!(ended["labels"], began["labels"], "or it would be another alert");
}

#[test]
fn of_what_is_silenced_nothing_is_told_over_a_kill_until_somebody_ends_it() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let mut site = Site::start(&teller(&receiver, ""));
    let told = || {
        let line =
            |it: &super::Posted| format!("{} {}", it.json()["type"], it.json()["data"]["subject"]).replace('"', "");
        receiver.taken().iter().map(line).collect::<Vec<_>>()
    };
    let emit = |site: &Site, kind: &str, pool: &str| {
        let done = site.rodent(&["emit", kind, &format!("pool_name={pool}")]);
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    for pool in ["tank", "pond", "lake"] {
        emit(&site, "storage.pool.created", pool);
        emit(&site, "storage.pool.online", pool);
    }
    let refused = site.rodent(&["silence", "tnak"]);
    assert!(refused.code == Some(65) && refused.err.contains("did you mean \"tank\""), "{refused:?}");
    assert_eq!(site.rodent(&["silence", "tank", "--for", "8days"]).code, Some(65));
    assert_eq!(site.rodent(&["silence", "--end", "tank"]).code, Some(65));
    assert_eq!(site.rodent(&["silence"]).out, "Nothing is silenced.\n");
    let silenced = site.rodent(&["silence", "tank", "--for", "1h", "--note", "new disks"]);
    assert!(silenced.code == Some(0) && silenced.out.contains("new disks"), "{silenced:?}");
    emit(&site, "storage.pool.degraded", "tank");
    emit(&site, "storage.pool.degraded", "pond");
    wait("the other one is told", PATIENCE, || (told() == ["state.problem pond"]).then_some(()));
    assert!(site.rodent(&["problems"]).out.contains("Nobody is told of tank until "));

    site.signal(Signal::SIGKILL);
    site.start_again();
    wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    emit(&site, "storage.pool.degraded", "lake");
    wait("it tells again", PATIENCE, || told().contains(&"state.problem lake".to_owned()).then_some(()));
    let listed = site.rodent(&["silence", "-o", "jsonl"]).out;
    assert!(listed.contains(r#""subject":"tank""#) && listed.contains(r#""note":"new disks""#), "{listed}");
    assert!(!told().iter().any(|line| line.contains("tank")), "{:?}", told());
    assert_eq!(site.rodent(&["silence", "--end", "tank"]).out, "Nothing is silenced.\n");
    wait("what is still wrong is told", PATIENCE, || told().contains(&"state.problem tank".to_owned()).then_some(()));
    let story = site.rodent(&["events", "system.problem"]).out;
    assert!(
        story.contains("Nobody is told of tank for 1h") && story.contains("People are told of tank again"),
        "{story}"
    );
}

#[test]
fn who_may_have_been_told_is_told_of_the_end_and_who_cannot_have_been_is_not() {
    // None hangs up: it may have taken what it was asked.
    let says = Arc::new(Mutex::new(Some("503 Service Unavailable")));
    let (script, asked) = (Arc::clone(&says), Arc::new(AtomicU32::new(0)));
    let counting = Arc::clone(&asked);
    let receiver = Receiver::start(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        // What is no answer ends the connection.
        script.lock().expect("no panic under the lock").map_or_else(|| "none\r\n\r\n".to_owned(), answer)
    });
    let mut site = Site::start(&teller(&receiver, ""));
    let emit = |site: &Site, kind: &str, pool: &str| {
        let done = site.rodent(&["emit", kind, &format!("pool_name={pool}")]);
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    let told = || {
        let line = |it: &super::Posted| format!("{} {}", it.json()["type"], it.json()["data"]["subject"]);
        // Not what the kill may have lost.
        let is_of_states = |line: &String| line.starts_with("state.");
        receiver.taken().iter().map(|it| line(it).replace('"', "")).filter(is_of_states).collect::<Vec<_>>()
    };
    let is_asked = |what: &str| {
        let before = asked.load(Ordering::Relaxed);
        wait(what, PATIENCE, || (asked.load(Ordering::Relaxed) > before).then_some(()));
    };
    emit(&site, "storage.pool.degraded", "tank");
    is_asked("it is asked, and says no");
    site.until("it waits", |status| hook(status)["state"] == "STATE_WAITING");
    emit(&site, "storage.pool.online", "tank");
    site.until("there is nothing to say", |status| hook(status)["state"] == "STATE_CONNECTED");
    let set = |what| *says.lock().expect("no panic under the lock") = what;
    for (pool, is_killed) in [("pond", false), ("lake", true)] {
        set(None);
        emit(&site, "storage.pool.degraded", pool);
        is_asked("it is asked, and hangs up");
        // That it says no to a second one says nothing of the first.
        if is_killed {
            site.signal(Signal::SIGKILL);
            set(Some("503 Service Unavailable"));
            site.start_again();
            wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
        }
        set(Some("503 Service Unavailable"));
        is_asked("it is asked again, and says no");
        emit(&site, "storage.pool.online", pool);
        set(Some("200 OK"));
        let line = format!("state.recovered {pool}");
        wait("the end is told", PATIENCE, || (told().last() == Some(&line)).then_some(()));
    }
    assert_eq!(told(), ["state.recovered pond", "state.recovered lake"], "and nothing of what nobody has heard");
}

#[test]
fn a_silence_that_can_be_none_is_refused_with_what_would_be_one() {
    let site = Site::start("events: {categories: [storage]}");
    site.rodent(&["emit", "storage.pool.online", "pool_name=tank"]);
    let refused = |words: &[&str], code: i32, says: &str| {
        let answer = site.rodent(&[&["silence"], words].concat());
        assert!(answer.code == Some(code) && answer.err.contains(says), "{words:?}: {answer:?}");
    };
    let long = "x".repeat(2000);
    refused(&["tank", "--for", "59s"], 65, "a silence lasts from a minute to 7d");
    refused(&["tank", "--for", "7days 1s"], 65, "`rodent ack`");
    refused(&["tank", "--note", &long], 65, "a note at most");
    refused(&[&format!("{long}*")], 65, "a name has at most 300 bytes");
    refused(&["pond"], 65, "what is yet to come takes a pattern, `pond*`");
    refused(&["--end", "tank"], 65, "there is no silence of `tank`");
    refused(&["--end", "--all"], 65, "there is no silence of all of this machine");
    refused(&["--end"], 64, "say what is over");
    refused(&[""], 64, "a name is not empty");
    // It holds although the category of what says so is left out: what a person does is essential.
    let silenced = site.rodent(&["silence", "tank", "--for", "1min"]);
    assert!(silenced.code == Some(0) && silenced.out.contains("tank"), "{silenced:?}");
    assert_eq!(site.rodent(&["silence", "--end", "tank"]).out, "Nothing is silenced.\n");
    for number in 0..64 {
        let silenced = site.rodent(&["silence", &format!("{number}*"), "--for", "1h"]);
        assert!(silenced.code == Some(0) && silenced.out.contains(&format!("{number}*")), "at once: {silenced:?}");
    }
    refused(&["tank"], 65, "there are 64 silences, the most there may be");
    assert_eq!(site.rodent(&["silence", "7*", "--for", "2h"]).code, Some(0), "one that stands may be longer");
    let ended = site.rodent(&["silence", "--end", "7*", "-o", "jsonl"]);
    assert!(ended.code == Some(0) && ended.out.lines().count() == 63, "{ended:?}");
    let listed = site.rodent(&["silence", "-o", "jsonl"]).out;
    assert!(listed.lines().all(|line| !line.contains(r#""actor":"""#)), "who did it is known: {listed}");
}

#[test]
fn a_silence_ends_by_itself_and_what_is_still_wrong_is_told_then() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let site = Site::start(&teller(&receiver, ""));
    assert_eq!(site.rodent(&["silence", "tank*", "--for", "60s"]).code, Some(0));
    let begun = std::time::Instant::now();
    assert_eq!(site.rodent(&["emit", "storage.pool.degraded", "pool_name=tank"]).code, Some(0));
    wait("it is told", 2 * PATIENCE, || (!receiver.taken().is_empty()).then_some(()));
    assert!(begun.elapsed().as_secs() >= 59, "not before its time: {:?}", begun.elapsed());
    assert_eq!(site.rodent(&["silence"]).out, "Nothing is silenced.\n");
}
