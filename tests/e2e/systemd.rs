//! Both programs as services of systemd: readiness, status, journal, stop, and what a stop or a crash leaves behind.

use std::time::{Duration, Instant};

use crate::appliance::Appliance;

#[test]
fn both_services_become_ready_say_their_status_and_stop_within_five_seconds() {
    let appliance = Appliance::start("systemd", &[]);
    for unit in ["rodent", "rodent-controller"] {
        assert_eq!(appliance.run(&format!("systemctl is-active {unit}")), "active\n");
        assert_eq!(appliance.run(&format!("systemctl show -P Type {unit}")), "notify\n");
        assert_eq!(appliance.run(&format!("systemctl show -P User {unit}")).trim(), unit);
    }
    let status = appliance.run("systemctl show -P StatusText rodent");
    assert!(status.contains("127.0.0.1:7443"), "the agent tells systemd how it is doing: {status:?}");
    for unit in ["rodent", "rodent-controller"] {
        let start = Instant::now();
        appliance.run(&format!("systemctl stop {unit}"));
        assert!(start.elapsed() < Duration::from_secs(5), "{unit} took {:?} to stop", start.elapsed());
        assert_eq!(appliance.run(&format!("systemctl show -P Result {unit}")), "success\n");
    }
}

#[test]
fn the_journal_has_the_agents_lines_with_fields() {
    let appliance = Appliance::start("journal", &[]);
    let lines = appliance.run("journalctl --sync; journalctl -u rodent -o json --no-pager");
    let entries: Vec<serde_json::Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let with_field = entries
        .iter()
        .find(|entry| entry.as_object().is_some_and(|fields| fields.keys().any(|name| name.starts_with("RODENT_"))));
    let with_field = with_field.unwrap_or_else(|| panic!("no line has a field of ours:\n{lines}"));
    assert_eq!(with_field["SYSLOG_IDENTIFIER"], "rodent", "{with_field}");
}

#[test]
fn a_refused_configuration_stops_the_service_with_78_and_is_not_tried_again() {
    let appliance = Appliance::install("config", &[]);
    appliance.write("/etc/rodent/rodent.yml", "events: {buffer_sise: 10}\n");
    appliance.attempt("systemctl start rodent");
    assert_eq!(appliance.run("systemctl show -P ExecMainStatus rodent"), "78\n");
    assert_eq!(appliance.run("sleep 3; systemctl show -P ActiveState rodent"), "failed\n");
    assert_eq!(appliance.run("systemctl show -P NRestarts rodent"), "0\n");
    let journal = appliance.run("journalctl -u rodent -o cat --no-pager");
    assert!(journal.contains("rodent.yml:1:10") && journal.contains("buffer_sise"), "{journal}");
}

#[test]
fn what_changed_while_the_agent_was_down_is_told_once() {
    let appliance = Appliance::start("restart", &[]);
    appliance.run("systemctl stop rodent && useradd --no-user-group bob && ip link add lan8 type bridge");
    appliance.run("systemctl start rodent && sleep 3 && systemctl restart rodent && sleep 3");
    let users = appliance.kinds(1, |event| event["payload"]["username"] == "bob");
    assert_eq!(users, ["system.user.created"]);
    let links = appliance.kinds(1, |event| event["payload"]["interface_name"] == "lan8");
    assert_eq!(links, ["network.interface.added"]);
}

#[test]
fn a_killed_agent_comes_back_and_tells_of_its_unclean_stop_once() {
    let appliance = Appliance::start("killed", &[]);
    let unclean = |event: &serde_json::Value| event["kind"] == "system.shutdown.emergency";
    appliance.run("systemctl restart rodent");
    appliance.wait_for_event("the restart", |event| event["kind"] == "system.startup.service_restart");
    // What is remembered of a run follows its events.
    appliance.run("sleep 2");
    appliance.run("systemctl kill --signal=KILL rodent");
    appliance.wait("the agent is started again", Duration::from_secs(20), |machine| {
        machine.attempt("rodent status").status.success().then_some(())
    });
    assert_eq!(appliance.kinds(1, unclean), ["system.shutdown.emergency"], "once for the kill, none for the restart");
}

#[test]
fn a_new_name_of_the_machine_is_told_by_the_agent_of_the_unit() {
    let appliance = Appliance::start("hostname", &[]);
    appliance.run("sleep 1 && hostname vault");
    let renamed = appliance.wait_for_event("the new name", |event| event["kind"] == "system.host.hostname_changed");
    assert_eq!(renamed["payload"]["subject"], "vault", "{renamed}");
}
