//! Services of systemd, as the controller hears of them.

use serde_json::Value;

use crate::appliance::Appliance;

#[test]
fn a_service_that_starts_restarts_stops_and_fails_is_told_step_by_step() {
    let appliance = Appliance::start("service", &[]);
    appliance.write("/run/systemd/system/steady.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n");
    appliance.write("/run/systemd/system/broken.service", "[Service]\nExecStart=/bin/sh -c 'sleep 1; exit 3'\n");
    appliance.run("systemctl daemon-reload");

    // The collector is given a moment between the steps: systemd itself joins faster ones.
    for step in ["start steady", "restart steady", "stop steady", "start broken"] {
        appliance.run(&format!("systemctl {step} && sleep 2"));
    }

    let kinds = appliance.kinds(3, |event| is_about(event, "steady.service"));
    assert_eq!(kinds, ["service.status.started", "service.status.restarted", "service.status.stopped"]);
    let kinds = appliance.kinds(2, |event| is_about(event, "broken.service"));
    assert_eq!(kinds, ["service.status.started", "service.status.failed"]);
    let failed = appliance.wait_for_event("the failure", |event| event["kind"] == "service.status.failed");
    assert_eq!(failed["payload"]["exit_code"], 3, "{failed}");
    assert_eq!(failed["level"], "error");
    assert!(failed["payload"]["pid"].as_i64().is_some_and(|pid| pid > 1), "{failed}");
    assert_eq!(failed["payload"]["uptime_seconds"], 1, "{failed}");
}

#[test]
fn every_round_of_a_crash_loop_is_told() {
    let appliance = Appliance::start("crash-loop", &[]);
    let unit = "[Unit]\nStartLimitBurst=3\n[Service]\nExecStart=/bin/false\nRestart=on-failure\nRestartSec=0\n";
    appliance.write("/run/systemd/system/loop.service", unit);
    appliance.run("systemctl daemon-reload && systemctl start loop");

    let kinds = appliance.kinds(7, |event| is_about(event, "loop.service"));
    let expected = ["started", "failed", "restarted", "failed", "restarted", "failed", "gave_up"];
    assert_eq!(kinds, expected.map(|operation| format!("service.status.{operation}")));
    let restarted = appliance.wait_for_event("a restart", |event| event["kind"] == "service.status.restarted");
    assert_eq!((&restarted["level"], &restarted["payload"]["restarts"]), (&"warn".into(), &1.into()));
}

#[test]
fn what_happened_to_services_while_the_agent_was_down_is_told_once() {
    let appliance = Appliance::start("service-down", &[]);
    for name in ["steady", "fresh", "ending"] {
        let path = format!("/run/systemd/system/{name}.service");
        appliance.write(&path, "[Service]\nExecStart=/usr/bin/sleep infinity\n");
    }
    appliance.run("systemctl daemon-reload && systemctl start steady ending && sleep 1 && systemctl stop rodent");
    appliance.run("systemctl restart steady; systemctl start fresh; systemctl kill -s KILL ending");
    appliance.run("systemctl start rodent; sleep 1; systemctl restart rodent");

    for (name, then) in [("steady", "restarted"), ("ending", "failed")] {
        let kinds = appliance.kinds(2, |event| is_about(event, &format!("{name}.service")));
        assert_eq!(kinds, ["service.status.started".to_owned(), format!("service.status.{then}")]);
    }
    let kinds = appliance.kinds(1, |event| is_about(event, "fresh.service"));
    assert_eq!(kinds, ["service.status.started"]);
}

#[test]
fn a_bus_that_is_restarted_and_units_that_are_read_anew_lose_and_invent_nothing() {
    let appliance = Appliance::start("bus", &[]);
    appliance.write("/run/systemd/system/steady.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n");
    appliance.run("systemctl daemon-reload && systemctl start steady && sleep 1");
    appliance.run("systemctl restart dbus && systemctl restart steady");
    appliance.run("sleep 1; systemctl daemon-reload; systemctl daemon-reexec; sleep 3; systemctl stop steady");

    let kinds = appliance.kinds(3, |event| is_about(event, "steady.service"));
    assert_eq!(kinds, ["service.status.started", "service.status.restarted", "service.status.stopped"]);
}

fn is_about(event: &Value, unit: &str) -> bool {
    event["payload"]["service_name"] == unit
}
