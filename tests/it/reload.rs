//! A configuration that is read again: refused whole or applied whole, told to whoever has to know, and nothing lost. The
//! programs as built.

mod live;
mod streams;

use std::{os::unix::net::UnixDatagram, thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    copied::copy_program,
    process::wait,
    site::{PATIENCE, Site},
};

#[test]
fn a_wrong_configuration_is_refused_with_its_places_and_the_old_one_stays_in_force() {
    let site = Site::start("events: {levels: [error]}");
    site.configure("events:\n  levels: [info, loud]\n  batch_sise: 3\nlog: {level: debug}");
    let answer = site.rodent(&["reload"]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(78), ""));
    let lines: Vec<_> = answer.err.lines().collect();
    let file = site.path("rodent.yml").display().to_string();
    assert!(lines[0].starts_with(&format!("{file}:2:18: events.levels: loud: expected ")), "{lines:?}");
    let near = "events.batch_sise: unknown key; did you mean `batch_size`?";
    assert_eq!(lines[1], format!("{file}:3:3: {near}"));
    assert_eq!(lines[2..], ["rodent: the configuration is refused; what was in force goes on"]);
    let check = site.rodent(&["config", "check", &file]);
    assert_eq!(check.err.lines().collect::<Vec<_>>(), lines[..2], "as the check tells it");

    assert!(!site.takes("info") && site.takes("error"), "nothing of it is in force");
    let configuration = &site.status()["configuration"];
    assert!(configuration["refused_at"].as_i64() > Some(0), "{configuration}");
    assert_eq!(configuration["refusal"], lines[0]);
    site.says("the configuration is refused");
    site.says(":2:18: events.levels");

    let told = site.reload("events: {levels: [info]}");
    assert_eq!(
        told.split_whitespace().collect::<Vec<_>>(),
        ["KEY", "BEFORE", "NOW", "events.levels", "[error]", "[info]"]
    );
    assert!(site.takes("info") && !site.takes("error"));
    assert_eq!(site.status()["configuration"]["refusal"], "");
}

#[test]
fn what_only_a_restart_changes_is_named_until_then_and_the_rest_is_applied() {
    let mut site = Site::start("events: {levels: [error]}");
    let elsewhere = "events: {levels: [warn]}\nstate_directory: HERE/elsewhere\nsocket: HERE/other.sock";
    let told = site.reload(elsewhere);
    let here = site.path("").display().to_string();
    let told = told.replace(&here, "/");
    for line in ["events.levels [error] [warn]", "state_directory /state /elsewhere", "socket /rodent.sock /other.sock"]
    {
        let found = told.lines().any(|own| own.split_whitespace().collect::<Vec<_>>().join(" ") == line);
        assert!(found, "{line}:\n{told}");
    }
    assert!(told.contains("Only a restart puts these in force (systemctl restart rodent):"), "{told}");
    assert!(site.takes("warn"), "the rest is in force");
    let status = site.status();
    assert_eq!(status["configuration"]["needs_restart"], json!(["state_directory", "socket"]));
    let waits = status["conditions"].as_array().expect("a list").iter().find(|it| it["id"] == "restart_needed");
    let waits = waits.unwrap_or_else(|| panic!("{status:#}"));
    assert_eq!((&waits["part"], &waits["level"]), (&json!("configuration"), &json!("warning")));
    assert!(waits["text"].as_str().is_some_and(|text| text.ends_with("puts in force: state_directory, socket")));
    assert_eq!(status["state_directory"], site.path("state").display().to_string());
    // Once more: nothing is new, and what waits waits.
    let told = site.reload(elsewhere);
    assert!(told.starts_with("nothing has changed\n\nOnly a restart"), "{told}");
    site.says("some of it waits for a restart");
    site.restart();
    wait("it is elsewhere", PATIENCE, || site.path("elsewhere/log").exists().then_some(()));
    wait("it listens there", PATIENCE, || site.path("other.sock").exists().then_some(()));
}

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let site = Site::start("events: {levels: [error]}");
    site.configure("events: {levels: [info]}");
    let told = site.rodent(&["reload", "--dry-run", "-o", "json"]);
    let told: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(told["applied"], json!([{"key": "events.levels", "before": "[error]", "after": "[info]"}]));
    assert_eq!(told["files"], json!([site.path("rodent.yml")]));
    assert!(!site.takes("info"));
    site.configure("evnets: {}");
    assert_eq!(site.rodent(&["reload", "--dry-run"]).code, Some(78));
    assert_eq!(site.status()["configuration"]["refusal"], "", "nobody wanted it in force");
}

#[test]
fn a_change_is_an_event_with_its_keys_that_no_level_leaves_out() {
    let site = Site::start("events: {levels: [error]}");
    site.reload("events: {levels: [critical], batch_size: 7}\nlog: {level: warn}");
    // In the log's memory already, and on the disk a moment later.
    let told = wait("both sections are told", PATIENCE, || {
        let told = site.rodent(&["events", "-o", "jsonl", "system.config_changed.updated"]).out;
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        (told.len() >= 2).then_some(told)
    });
    let of = |section: &str| {
        let event = told.iter().find(|event| event["payload"]["config_section"] == section).expect("an event");
        assert_eq!(event["metadata"]["action"], "reload");
        event["payload"]["changed_keys"].clone()
    };
    assert_eq!(of("events"), json!(["events.batch_size", "events.levels"]));
    assert_eq!(of("log"), json!(["log.level"]));
    assert_eq!(told.len(), 2);
    assert_eq!(site.reload("events: {levels: [critical], batch_size: 7}\nlog: {level: warn}"), "nothing has changed\n");
}

#[test]
fn a_hangup_reads_it_again_too_and_what_is_wrong_then_stands_in_the_log() {
    let site = Site::start("events: {levels: [error]}");
    site.configure("events: {levels: [info]}");
    site.signal(Signal::SIGHUP);
    wait("it is in force", PATIENCE, || site.log().contains("was read again and is in force").then_some(()));
    assert!(site.takes("info"));
    site.configure("events: {levels: [quiet]}");
    site.signal(Signal::SIGHUP);
    wait("it is refused", PATIENCE, || site.log().contains("the configuration is refused").then_some(()));
    site.says("rodent.yml:1:19: events.levels: quiet: expected");
    assert!(site.takes("info"));
}

#[test]
fn reloads_at_once_come_one_after_the_other_and_all_are_answered() {
    let site = Site::start("events: {levels: [error]}");
    thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(|| site.rodent(&["reload"]))).collect();
        for answer in asking {
            let answer = answer.join().expect("no panic");
            assert_eq!((answer.code, answer.out.as_str()), (Some(0), "nothing has changed\n"), "{answer:?}");
        }
    });
    wait("each is told", PATIENCE, || (site.log().matches("was read again").count() == 6).then_some(()));
}

#[test]
fn without_an_agent_nobody_can_reload() {
    let mut site = Site::start("");
    site.stop();
    let answer = site.rodent(&["reload"]);
    assert_eq!(answer.code, Some(69));
    assert!(answer.err.starts_with("rodent: no agent answers on "), "{}", answer.err);
}

#[test]
fn the_service_manager_is_told_of_the_beginning_and_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let hear = || {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let next = |wanted: &str| loop {
        let heard = hear();
        if heard.lines().any(|line| line.starts_with(wanted)) {
            return heard;
        }
    };
    let site = Site::start_with("", |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    next("READY=1");
    for wrong in [false, true] {
        site.configure(if wrong { "evnets: {}" } else { "" });
        let answer = site.rodent(&["reload"]);
        assert_eq!(answer.code, Some(if wrong { 78 } else { 0 }));
        let reloading = next("RELOADING=1");
        let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("its time");
        assert!(since.parse::<u64>().is_ok_and(|since| since > 0), "{reloading}");
        // Answered only after it was told: it waits there already.
        manager.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
        next("READY=1");
        manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
        process::Command,
    };

    use super::*;

    #[test]
    fn who_does_not_own_the_agent_cannot_have_it_read_again() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let site = Site::start("");
        let program = site.path("rodent");
        copy_program(&program);
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
        let mut command = Command::new(program);
        command.uid(65_534).gid(65_534).arg("--socket").arg(site.path("rodent.sock")).arg("reload");
        assert_eq!(command.output().expect("started").status.code(), Some(77));
        assert!(!site.log().contains("read again"));
    }
}
