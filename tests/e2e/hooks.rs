//! Hooks as the daemons' own programs call them: `smartd-runner` and `mdadm --monitor` out of their Debian packages, and
//! ZED's rule of which zedlet runs for which class, with what they find after `rodent hooks enable`.

use serde_json::Value;

use crate::{appliance::Appliance, foreign_package::unpacked};

/// A machine with the hooks of the package and the programs of the daemons.
fn appliance(test: &str) -> Appliance {
    let bind = |package: &str| format!("--bind-ro={}:/mnt/{package}", unpacked(package).display());
    let binds = ["smartmontools", "mdadm"].map(bind);
    let appliance = Appliance::start(test, &binds.each_ref().map(String::as_str));
    for daemon in ["zed", "smartd", "mdadm"] {
        appliance.install(&format!("packaging/hooks/{daemon}"), &format!("/usr/lib/rodent/hooks/{daemon}"));
    }
    appliance.run("chmod 755 /usr/lib/rodent/hooks/*");
    appliance.run("cp -a /mnt/smartmontools/etc/. /etc && cp -a /mnt/smartmontools/usr/share/smartmontools /usr/share");
    appliance.run(
        "cp /mnt/smartmontools/usr/sbin/smartd /mnt/mdadm/sbin/mdadm /usr/sbin && mkdir -p /etc/mdadm /etc/zfs/zed.d",
    );
    appliance
}

fn told_by<'a>(daemon: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["metadata"]["component"] == daemon
}

#[test]
fn what_smartd_mdadm_and_zed_call_reaches_the_controller_and_disabling_leaves_no_trace() {
    let appliance = appliance("hooks");
    let snapshot = "find /etc/zfs /etc/smartmontools /etc/mdadm -printf '%p %y %l %m\\n' | sort";
    let before = appliance.run(snapshot);
    appliance.run("rodent hooks enable zed smartd mdadm");

    // As smartd does: through the script that Debian's smartd.conf names, with the message on standard input. Its own
    // program for mail fails, for there is no mail here, and must not keep ours from running.
    appliance.attempt(
        "export SMARTD_DEVICE=/dev/sda SMARTD_FAILTYPE=Health SMARTD_DEVICESTRING='/dev/sda [SAT]' SMARTD_PREVCNT=0 \
         SMARTD_MESSAGE='Device: /dev/sda [SAT], FAILED SMART self-check. BACK UP DATA NOW!'; \
         echo body | /usr/share/smartmontools/smartd-runner -s subject root",
    );
    let event = appliance.wait_for_event("the warning of smartd", told_by("smartd"));
    assert_eq!((&event["kind"], &event["level"]), (&"storage.disk.health_changed".into(), &"critical".into()));

    // A real mdadm, which finds its program in the directory for settings: of an array that is configured and not there.
    appliance.write("/etc/mdadm/mdadm.conf", "ARRAY /dev/md0 UUID=3aaa0122:29827cfa:5331ad66:ca767371\n");
    appliance.attempt("mdadm --monitor --scan --oneshot");
    let event = appliance.wait_for_event("the report of mdadm", told_by("mdadm"));
    assert_eq!((&event["kind"], &event["payload"]["pool_name"]), (&"storage.pool.removed".into(), &"md0".into()));

    // As ZED does: every file that begins with the class, by itself, with nothing but the zevent in the environment.
    let zevent = include_str!("../fixtures/zed/history_event.snapshot").replace('\'', "");
    let assignments: Vec<_> = zevent.lines().map(|line| format!("'{line}'")).collect();
    appliance.run(&format!(
        "for zedlet in /etc/zfs/zed.d/history_event-*; do env -i {} \"$zedlet\"; done",
        assignments.join(" ")
    ));
    let event = appliance.wait_for_event("the zevent", told_by("zed"));
    assert_eq!(
        (&event["kind"], &event["payload"]["snapshot_name"]),
        (&"storage.snapshot.created".into(), &"tank/data@s1".into())
    );

    let list = appliance.run("rodent hooks");
    let last =
        ["storage.snapshot.created tank/data@s1", "storage.disk.health_changed /dev/sda", "storage.pool.removed md0"];
    assert_eq!(list.matches("enabled").count(), 3, "{list}");
    assert!(last.iter().all(|event| list.contains(event)), "{list}");

    appliance.run("rm /etc/mdadm/mdadm.conf");
    appliance.run("rodent hooks disable --all");
    assert_eq!(appliance.run(snapshot), before);
}

#[test]
fn what_happens_while_the_service_is_stopped_is_taken_in_by_the_sandboxed_agent() {
    let appliance = appliance("hooks-away");
    appliance.wait("the spool", crate::appliance::PATIENCE, |machine| {
        machine.attempt("test -d /var/lib/rodent/spool").status.success().then_some(())
    });
    assert_eq!(appliance.run("stat -c '%U %a' /var/lib/rodent/spool"), "rodent 700\n");
    appliance.run("systemctl stop rodent");
    appliance.run("env -i /usr/lib/rodent/hooks/mdadm SparesMissing /dev/md0");
    appliance.run("env -i /usr/lib/rodent/hooks/mdadm DeviceDisappeared /dev/md0");
    assert_eq!(appliance.run("stat -c '%U %a' /var/lib/rodent/spool/*.event"), "root 644\n".repeat(2));
    appliance.run("systemctl start rodent");
    assert_eq!(appliance.kinds(2, told_by("mdadm")), ["storage.pool.spares_missing", "storage.pool.removed"]);
    appliance.wait("the spool is empty", crate::appliance::PATIENCE, |machine| {
        machine.run("ls /var/lib/rodent/spool").is_empty().then_some(())
    });
    let event = appliance.wait_for_event("the report", told_by("mdadm"));
    assert_eq!(event["origin"]["uid"], "0", "{event}");

    // With nobody to take it and no room to leave it, the loss is named where an administrator looks.
    appliance.run("systemctl stop rodent && rmdir /var/lib/rodent/spool");
    let output = appliance.attempt("env -i /usr/lib/rodent/hooks/mdadm SparesMissing /dev/md0");
    assert_eq!(output.status.code(), Some(69));
    let journal = appliance.run("journalctl --sync; journalctl -t rodent-hook -o cat --no-pager");
    assert!(journal.contains("storage.pool.spares_missing md0 is lost"), "{journal}");
}
