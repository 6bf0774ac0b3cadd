//! Nothing is lost while the configuration is read again and events stream through.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::site::{Controller, Site};

const RELOADS: u64 = 50;
/// Events of one call, and how many calls follow each other at least.
const PIECE: u64 = 200;

/// How many stored events the controller has yet to take.
fn lag(status: &serde_json::Value) -> u64 {
    let cursors = status["log"]["cursors"].as_array().cloned().unwrap_or_default();
    cursors.iter().map(|cursor| cursor["lag_events"].as_u64().unwrap_or_default()).sum()
}

/// Puts events until `done`; gives how many.
fn stream(site: &Site, done: &AtomicBool) -> u64 {
    let mut number = 0;
    while !done.load(Ordering::SeqCst) {
        site.put(number, PIECE);
        number += PIECE;
    }
    number
}

#[test]
fn fifty_reloads_cost_no_event_and_bring_none_twice() {
    let site = Site::start("");
    let controller = Controller::start(&site, "one");
    let done = AtomicBool::new(false);
    let events = thread::scope(|scope| {
        let streaming = scope.spawn(|| stream(&site, &done));
        for round in 0..RELOADS {
            // Everything that can change does, and every fifth time the uplink begins anew.
            let (batch, buffer) = (50 + round, 5000 + round);
            let keepalive = 30 + round / 5;
            let interval = if round % 2 == 0 { "100ms" } else { "1s" };
            let collectors = if round % 7 == 0 { "on" } else { "off" };
            let part = controller.part().replace("tls: off", &format!("tls: off, keepalive: {keepalive}s"));
            let history = 8 + round;
            let told = site.reload(&format!(
                "{part}events: {{batch_size: {batch}, buffer_size: {buffer}, flush_threshold: 4000, \
                 flush_interval: {interval}, batch_timeout: 100ms, history: {history}MiB}}\n\
                 collectors: {{access: off, identity: off, network: {collectors}, security: off, service: off, sharing: off, storage: off, system: off}}"
            ));
            assert!(told.contains("events.batch_size"), "{told}");
        }
        done.store(true, Ordering::SeqCst);
        streaming.join().expect("no panic")
    });
    assert!(events >= PIECE, "{events}");
    site.until("everything is delivered", |status| {
        lag(status) == 0 && status["log"]["lanes"][1]["waiting_events"] == 0
    });
    let numbers = controller.numbers();
    assert_eq!(numbers, (0..events).collect::<Vec<_>>());
    assert_eq!(controller.gaps(), Some(0), "nothing is missing");
    assert_eq!(site.status()["log"]["lanes"][1]["lost_events"], 0);
}

#[test]
fn another_address_moves_delivery_to_another_controller_and_nothing_falls_between() {
    let site = Site::start("");
    let (one, other) = (Controller::start(&site, "one"), Controller::start(&site, "other"));
    let done = AtomicBool::new(false);
    let rest = "events: {batch_size: 50, batch_timeout: 50ms, flush_interval: 50ms}";
    site.reload(&format!("{}{rest}", one.part()));
    let events = thread::scope(|scope| {
        let streaming = scope.spawn(|| stream(&site, &done));
        for to in [&other, &one, &other, &one, &other] {
            let before = site.status()["uplink"]["delivered_events"].as_u64();
            site.until("events flow", |status| status["uplink"]["delivered_events"].as_u64() > before);
            site.reload(&format!("{}{rest}", to.part()));
        }
        done.store(true, Ordering::SeqCst);
        streaming.join().expect("no panic")
    });
    site.until("everything is delivered", |status| {
        lag(status) == 0 && status["log"]["lanes"][1]["waiting_events"] == 0
    });
    let (one, other) = (one.numbers(), other.numbers());
    assert!(!one.is_empty() && !other.is_empty(), "{} and {}", one.len(), other.len());
    let all: BTreeSet<u64> = one.iter().chain(&other).copied().collect();
    assert_eq!(all, (0..events).collect(), "each is at one of them");
    // What was on its way was answered before the other was asked.
    assert_eq!(one.len() + other.len(), all.len(), "none came twice");
}
