//! Starts where something that is usually there is not: the agent becomes ready, takes events or clearly refuses them, and says
//! how it is.

use crate::appliance::{Appliance, PATIENCE};

/// What `rodent status` says while the disk takes nothing.
const NOT_DURABLE: &str = "not durable";

/// What is odd, how it is made so, what `rodent status` says then, and how it is undone.
const ODDITIES: &[(&str, &str, &str, &str)] = &[
    ("no network", "ip link set lo down", "127.0.0.1:7443", "ip link set lo up"),
    (
        "no D-Bus",
        "systemctl mask --runtime dbus.socket dbus.service && systemctl stop dbus.socket dbus.service",
        "service",
        "systemctl unmask --runtime dbus.socket dbus.service && systemctl start dbus.socket",
    ),
    (
        "/etc cannot be written",
        "mount --bind /etc /etc && mount -o remount,bind,ro /etc",
        "127.0.0.1:7443",
        "umount /etc",
    ),
    (
        "no journald",
        "systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service",
        "127.0.0.1:7443",
        "systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service",
    ),
    (
        "the journal's own socket is missing",
        "mkdir -p /run/systemd/system/rodent.service.d && \
         printf '[Service]\\nInaccessiblePaths=/run/systemd/journal/socket\\n' > /run/systemd/system/rodent.service.d/odd.conf && \
         systemctl daemon-reload",
        "127.0.0.1:7443",
        "rm /run/systemd/system/rodent.service.d/odd.conf && systemctl daemon-reload",
    ),
    (
        "the disk is full",
        "mount -t tmpfs -o size=256k,mode=750 tmpfs /var/lib/rodent && chown rodent: /var/lib/rodent && \
         ! head -c 1M /dev/zero > /var/lib/rodent/filled",
        NOT_DURABLE,
        "umount /var/lib/rodent",
    ),
    (
        "the log is damaged",
        "for file in $(find /var/lib/rodent/log -type f -size +1k); do \
         printf damaged | dd of=$file bs=1 seek=600 conv=notrunc status=none; done",
        "127.0.0.1:7443",
        "true",
    ),
];

#[test]
fn the_agent_starts_and_takes_events_whatever_is_missing() {
    let appliance = Appliance::start("odd", &[]);
    for (what, make, says, undo) in ODDITIES {
        appliance.run(&format!("systemctl stop rodent && {make}"));
        appliance.run("systemctl start rodent");
        let emitted = appliance
            .attempt(&format!("timeout 20 rodent emit storage.pool.degraded pool_name=tank --meta 'odd={what}'"));
        let refusal = String::from_utf8_lossy(&emitted.stderr).into_owned();
        assert!(emitted.status.success() || !refusal.is_empty(), "{what}: {emitted:?}");
        let mut status = String::new();
        for _ in 0..PATIENCE.as_secs() {
            status = appliance.run("rodent status; sleep 1");
            if status.contains(says) {
                break;
            }
        }
        assert!(status.contains(says), "{what}: {status}");
        assert_eq!(appliance.run("systemctl show -P NRestarts rodent"), "0\n", "{what}");
        appliance.run(&format!("systemctl stop rodent; {undo}"));
        assert_eq!(appliance.run("systemctl show -P Result rodent"), "success\n", "{what}");
        // What a full disk could not take was in memory, and is delivered from there if there was time.
        if emitted.status.success() && *says != NOT_DURABLE {
            appliance.run("systemctl start rodent");
            appliance.wait_for_event(what, |event| event["metadata"]["odd"] == *what);
        }
    }
    // Where there is no systemd its services are absent, and nobody is blind to them.
    let blind = appliance.about(|event| event["kind"] == "system.host.blind_spot" && event["source"] == "service");
    assert_eq!(blind, Vec::<serde_json::Value>::new());
}
