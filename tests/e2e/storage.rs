//! A real file system: mounted, filled, emptied, unmounted.

use crate::{appliance::Appliance, disk::Disk};

#[test]
fn a_file_system_is_told_when_it_is_mounted_fills_up_and_goes() {
    let disk = Disk::ext4("storage", &[]);
    let appliance = Appliance::start("storage", &[&format!("--bind={}", disk.device)]);
    appliance.run(&format!("mkdir /srv/tank && mount {} /srv/tank", disk.device));
    let mounted = appliance.wait_for_event("the mount", |event| event["kind"] == "storage.dataset.mounted");
    assert_eq!(mounted["payload"]["mountpoint"], "/srv/tank", "{mounted}");

    appliance.run("head -c 52M /dev/zero > /srv/tank/data");
    // The machine's own file systems may be full as well.
    let is_tank = |event: &serde_json::Value| event.to_string().contains("/srv/tank");
    let is_full = |event: &serde_json::Value| event["kind"] == "usage.threshold.exceeded" && is_tank(event);
    let exceeded = appliance.wait_for_event("a full file system", is_full);
    assert_eq!(exceeded["level"], "error", "{exceeded}");
    appliance.run("rm /srv/tank/data");
    let has_room = |event: &serde_json::Value| event["kind"] == "usage.threshold.cleared" && is_tank(event);
    appliance.wait_for_event("room again", has_room);

    // A start sees the mount again, and within the unit's own view of the file systems.
    appliance.run("systemctl restart rodent");
    appliance.run("umount /srv/tank");
    let kinds = appliance.kinds(2, |event| event["payload"]["mountpoint"] == "/srv/tank");
    assert_eq!(kinds, ["storage.dataset.mounted", "storage.dataset.unmounted"]);
}
