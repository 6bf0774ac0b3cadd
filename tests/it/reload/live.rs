//! Each key that changes while the agent runs, by what it brings about.

use serde_json::{Value, json};

use crate::site::{Controller, PATIENCE, Site};
use crate::{
    control::toggle::{Connect, Toggle},
    control::{acknowledgement, update},
    process::wait,
};

/// Accepted events that are not on the disk.
fn waiting(status: &Value) -> u64 {
    status["log"]["lanes"][1]["waiting_events"].as_u64().expect("a number")
}

fn toggled(toggle: &Toggle, site: &Site, events: &str) -> String {
    site.write("token", "t0ken");
    let address = &toggle.address;
    format!("controller: {{address: '{address}', token_file: HERE/token, tls: off, may: all}}\nevents: {{{events}}}")
}

#[test]
fn levels_categories_and_the_profile_say_at_once_what_is_kept() {
    let site = Site::start("");
    assert!(site.takes("info"));
    site.reload("events: {categories: [storage]}");
    assert!(!site.takes("info"));
    site.reload("events: {profile: minimal}");
    assert!(!site.takes("info") && site.takes("error"));
    assert_eq!(site.status()["profile"], "minimal");
    site.reload("");
    assert!(site.takes("info"));
}

#[test]
fn what_waits_in_memory_goes_to_the_disk_by_the_new_bounds() {
    let long = "flush_interval: 10m, flush_threshold: 5000, buffer_size: 5000";
    let site = Site::start("");
    site.reload(&format!("events: {{{long}}}"));
    site.put(0, 5);
    assert_eq!(waiting(&site.status()), 5);
    site.reload("events: {flush_interval: 10m, flush_threshold: 5, buffer_size: 5000}");
    site.until("the threshold is reached", |status| waiting(status) == 0);
    site.reload(&format!("events: {{{long}}}"));
    site.put(5, 5);
    assert_eq!(waiting(&site.status()), 5, "an interval may become longer, too");
    site.reload("events: {flush_interval: 10ms}");
    site.until("the interval has passed", |status| waiting(status) == 0);
}

#[test]
fn how_much_the_log_may_keep_changes_while_it_is_open() {
    let site = Site::start("");
    site.reload("events: {max_disk: 128MiB, urgent_share: 40%, history: 8MiB, max_age: 1h}");
    let log = &site.status()["log"];
    assert_eq!((&log["disk_bytes_max"], &log["urgent_share"]), (&json!(128 << 20), &json!(40)));
}

#[test]
fn the_level_of_the_agents_own_log_changes_both_ways() {
    let site = Site::start("log: {level: error}");
    site.reload("log: {level: info}");
    // The first line that the new level lets through.
    site.says("was read again");
    site.reload("log: {level: error}");
    let lines = site.log().lines().count();
    site.reload("log: {level: error}\nevents: {batch_size: 3}");
    assert_eq!(site.log().lines().count(), lines, "{}", site.log());
}

#[test]
fn collectors_are_turned_on_and_off_and_only_those_whose_settings_changed_begin_again() {
    let only_system = "collectors: {access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: {heartbeat: HEART}}";
    let site = Site::start(&only_system.replace("HEART", "1h"));
    let state = |status: &Value, name: &str| {
        let collectors = status["collectors"].as_array().expect("a list").clone();
        collectors.iter().find(|own| own["name"] == name).expect("a collector")["state"].clone()
    };
    let events = |site: &Site| {
        let events = site.rodent(&["events", "-n", "1000", "-o", "jsonl", "system.*"]).out;
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
        let own = events.filter(|event| event["source"] == "system");
        own.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect::<Vec<_>>()
    };
    site.until("the inventory is told", |_| events(&site).iter().any(|kind| kind == "system.host.inventory"));
    let before = events(&site);
    site.reload(&only_system.replace("HEART", "2h"));
    site.until("it is on again", |status| state(status, "system") == "running");
    site.reload(&only_system.replace("{heartbeat: HEART}", "off"));
    assert_eq!(state(&site.status(), "system"), "off");
    let network = "collectors: {access: off, identity: off, network: on, security: off, service: off, sharing: off, storage: off, system: off}";
    site.reload(network);
    site.until("another is on", |status| state(status, "network") == "running" && state(status, "system") == "off");
    site.reload(&only_system.replace("HEART", "2h"));
    site.until("it is on again", |status| state(status, "system") == "running" && state(status, "network") == "off");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(events(&site), before, "nothing was told that did not happen");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_cut_by_the_new_size_and_sent_by_the_new_time() {
    let toggle = Toggle::start(Connect::Unknown).await;
    let site = Site::start("");
    let arrived = || toggle.events().iter().filter(|kind| *kind == "sharing").count();
    site.reload(&toggled(&toggle, &site, "batch_timeout: 1h"));
    site.put(0, 60);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(arrived(), 0);
    site.reload(&toggled(&toggle, &site, "batch_timeout: 1h, batch_size: 50"));
    // The agent's own events are in it, too, and more of them where the machine is busy.
    wait("a smaller batch is full", PATIENCE, || (arrived() >= 25).then_some(()));
    site.put(60, 1);
    site.reload(&toggled(&toggle, &site, "batch_timeout: 50ms"));
    wait("the time is over", PATIENCE, || (arrived() == 61).then_some(()));
    assert_eq!(toggle.registered(), 1, "the connection was left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_comes_and_goes_without_a_restart() {
    let toggle = Toggle::start(Connect::Unknown).await;
    let site = Site::start("");
    assert_eq!(site.status()["uplink"]["state"], "off");
    site.put(0, 10);
    site.reload(&toggled(&toggle, &site, "batch_timeout: 50ms"));
    let arrived = || toggle.events().iter().filter(|kind| *kind == "sharing").count();
    wait("what was kept arrives", PATIENCE, || (arrived() == 10).then_some(()));
    assert_eq!(site.status()["uplink"]["controller"], toggle.address);
    site.reload("");
    let uplink = &site.status()["uplink"];
    assert_eq!((&uplink["state"], &uplink["controller"]), (&json!("off"), &json!("")));
    site.put(10, 10);
    site.reload(&toggled(&toggle, &site, "batch_timeout: 50ms"));
    wait("what was kept arrives", PATIENCE, || (arrived() == 20).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_and_other_patience_make_a_new_connection() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let site = Site::start("");
    let with = |rest: &str| format!("controller: {{address: '{}', tls: off, {rest}}}", toggle.address);
    std::fs::set_permissions(site.path("rodent.yml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("set");
    let (first, second) = (with("jwt: first"), with("jwt: second"));
    let patient = with("jwt: second, keepalive: 5m");
    site.reload(&first);
    // One that is let go is opened again on the same connection.
    let before = toggle.stream().await;
    assert_eq!(before.token, "Bearer first");
    let told = site.reload(&second);
    assert!(told.contains("controller.jwt") && !told.contains("second"), "{told}");
    let between = toggle.stream().await;
    assert_eq!(between.token, "Bearer second");
    site.reload(&patient);
    let _after = toggle.stream().await;
    assert_eq!(toggle.registered(), 3);
    assert!(!site.log().contains("Bearer") && !site.log().contains("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_has_set_ends_with_the_next_reload() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let site = Site::start("");
    let file = toggled(&toggle, &site, "batch_timeout: 50ms");
    site.reload(&file);
    let mut stream = toggle.stream().await;
    let ack = acknowledgement(stream.ask(update("events", r#"{"levels": ["error"], "batch_size": 9}"#)).await);
    assert!(!ack.success, "a knob of the machine: {ack:?}");
    let ack = acknowledgement(stream.ask(update("events", r#"{"levels": ["error"]}"#)).await);
    assert!(ack.success && !site.takes("info"));
    let status = site.status();
    assert_eq!(status["configuration"]["set_by_controller"], json!(["events.levels"]));
    let ids = |status: &serde_json::Value| {
        let standing = status["conditions"].as_array().expect("a list").iter();
        standing.map(|it| format!("{} {}", it["level"], it["id"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(ids(&status), ["warning settings_of_controller"], "events are left out, and somebody should know");
    // What is wrong changes nothing, not even that.
    site.configure("evnets: {}");
    assert_eq!(site.rodent(&["reload"]).code, Some(78));
    assert!(!site.takes("info"));
    assert!(ids(&site.status()).contains(&"warning configuration_refused".to_owned()));
    let told = site.reload(&file);
    let told: Vec<_> = told.split_whitespace().collect();
    assert_eq!(told, ["KEY", "BEFORE", "NOW", "events.levels", "[error]", "all"]);
    assert!(site.takes("info"));
    let status = site.status();
    assert_eq!((&status["configuration"]["set_by_controller"], ids(&status).len()), (&json!([]), 0));
    // The next update stands on what the file says now.
    site.reload(&toggled(&toggle, &site, "batch_timeout: 50ms, categories: [storage]"));
    let ack = acknowledgement(stream.ask(update("events", r#"{"levels": ["info"]}"#)).await);
    assert!(ack.success && !site.takes("info"), "{ack:?}");
    assert_eq!(toggle.registered(), 1);
}

#[test]
fn a_controller_that_was_refused_is_reached_with_the_right_token() {
    let site = Site::start("");
    let (one, other) = (Controller::start(&site, "one"), Controller::start(&site, "other"));
    // The token of another.
    let wrong = one.part().replace("one.token", "other.token");
    site.reload(&wrong);
    site.put(0, 10);
    site.until("it is refused", |status| status["uplink"]["state"] == "held");
    site.reload(&format!("{}events: {{batch_timeout: 50ms}}", one.part()));
    site.until("it is taken", |status| status["uplink"]["delivered_events"].as_u64() >= Some(10));
    assert_eq!((one.numbers().len(), other.numbers().len()), (10, 0));
}
