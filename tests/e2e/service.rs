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

fn is_about(event: &Value, unit: &str) -> bool {
    event["payload"]["service_name"] == unit
}
