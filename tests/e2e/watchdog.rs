//! Who is stuck is noticed and started anew; who waits is left alone.

use std::time::Duration;

use rodent::telemetry::message;

use crate::{appliance::Appliance, disk::Disk, held::Held};

/// From the fault until the next agent is there: what the issue of the watchdog promises.
const RESTART_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_part_that_is_stuck_is_noticed_and_the_agent_started_anew_and_nothing_is_lost() {
    let appliance = Appliance::start("stuck", &[]);
    // Names of threads, as they begin.
    let rounds = [("event log", "event-log"), ("runtime", "tokio")];
    for (round, (part, threads)) in (1..).zip(rounds) {
        appliance.run(&format!("rodent emit usage.resource.increased resource_type=kept --meta round={round}"));
        let held = Held::threads(appliance.main_process("rodent"), |name| {
            name.starts_with(threads) && !name.ends_with("flush")
        });
        // Something to do, and nobody to do it.
        appliance.attempt("timeout 1 rodent emit storage.pool.degraded pool_name=tank");
        appliance.wait(&format!("{part}: a new agent"), RESTART_MAX, |machine| {
            held.bury();
            restarts(machine).filter(|restarts| *restarts == round)
        });
        drop(held);
        let id = message::AGENT_STUCK.id;
        let told = appliance.run(&format!("journalctl --sync; journalctl MESSAGE_ID={id} -o json"));
        assert!(told.contains(part) || (round == 2 && told.contains("delivery")), "{part}: {told}");
        appliance.wait("it is ready", RESTART_MAX, |machine| {
            machine.attempt("rodent status").status.success().then_some(())
        });
    }
    // This time all of it stands still, and only systemd can see that.
    appliance.run("systemctl kill --signal=STOP rodent");
    appliance.wait("systemd's watchdog", RESTART_MAX, |machine| restarts(machine).filter(|restarts| *restarts == 3));
    for round in ["1", "2"] {
        appliance.wait_for_event("what was acknowledged", |event| event["metadata"]["round"] == round);
    }
    appliance.run("rodent-controller gaps --node nas-1");
}

#[test]
fn a_disk_that_hangs_and_a_controller_that_is_silent_are_waited_for() {
    let disk = Disk::ext4("slow", &[]);
    let appliance = Appliance::install("slow", &[&format!("--bind={}", disk.device)]);
    appliance.run(&format!("mkdir -p /var/lib/rodent && mount {} /var/lib/rodent", disk.device));
    appliance
        .run("systemctl start rodent-controller rodent && rodent emit usage.resource.increased resource_type=before");
    appliance.run("systemctl kill --signal=STOP rodent-controller && fsfreeze --freeze /var/lib/rodent");
    let emitted = appliance.attempt("timeout 2 rodent emit storage.pool.degraded pool_name=tank --meta n=waits");
    // Longer than anything that is stuck would live.
    let after = appliance.attempt("sleep 28; systemctl show -P NRestarts rodent; timeout 5 rodent status");
    appliance.run("fsfreeze --unfreeze /var/lib/rodent && systemctl kill --signal=CONT rodent-controller");
    assert!(!emitted.status.success(), "nothing is durable while the disk hangs");
    let after = String::from_utf8_lossy(&after.stdout);
    assert!(after.starts_with("0\n") && after.lines().count() > 3, "{after}");
    appliance.wait_for_event("what was waiting", |event| event["metadata"]["n"] == "waits");
    assert_eq!(restarts(&appliance), Some(0));
}

fn restarts(machine: &crate::container::Container) -> Option<u32> {
    machine.run("systemctl show -P NRestarts rodent").trim().parse().ok()
}
