//! The drop-ins for what needs a privilege, installed as `docs/systemd.md` says: the agent starts with each, and has what it
//! gives and no more.

use crate::{
    appliance::{Appliance, PATIENCE},
    container::source,
};

/// Of capabilities(7), as the bits of `/proc/PID/status`.
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_RAWIO: u64 = 1 << 17;
const SYS_ADMIN: u64 = 1 << 21;
const SYSLOG: u64 = 1 << 34;

/// Each with its capabilities, and the files that it opens.
const GIVEN: &[(&str, u64, &[&str])] = &[
    ("locked-accounts", DAC_READ_SEARCH, &["/etc/shadow", "/root/.ssh/authorized_keys"]),
    ("locked-accounts-debian", 0, &["/etc/shadow"]),
    ("smart", SYS_RAWIO | SYS_ADMIN, &["/dev/sda"]),
    ("kernel-log", SYSLOG, &["/dev/kmsg"]),
    ("journal", 0, &[]),
    ("lvm", SYS_ADMIN, &["/dev/sda"]),
    ("fanotify", DAC_READ_SEARCH | SYS_ADMIN, &["/etc/shadow", "/root/.ssh/authorized_keys"]),
];

/// Run by the unit, as the agent's user. There is no such disk here: that the kernel looks for it is all that can be had.
const TRY: &str = r#"
for file in /etc/shadow /root/.ssh/authorized_keys /dev/sda /dev/kmsg; do
    why=$( { exec 3< $file; } 2>&1 ) && why=opened
    case "$why" in opened | *"No such device or address") echo $file ;; esac
done > /var/lib/rodent/tried
"#;

const DIRECTORY: &str = "/etc/systemd/system/rodent.service.d";

#[test]
fn the_agent_starts_with_each_drop_in_and_has_what_it_gives_and_no_more() {
    let appliance =
        Appliance::install("drop-ins", &["--capability=CAP_SYSLOG,CAP_SYS_RAWIO", "--bind=/dev/kmsg:/dev/kmsg"]);
    appliance.run("mknod -m 660 /dev/sda b 8 0 && chgrp disk /dev/sda && mkdir -p -m 700 /root/.ssh");
    appliance.write("/root/.ssh/authorized_keys", "");
    appliance.write("/usr/local/lib/try.sh", TRY);
    for (name, capabilities, opened) in GIVEN {
        appliance.run(&format!("rm -rf {DIRECTORY}"));
        appliance.install(&format!("systemd/drop-ins/{name}.conf"), &format!("{DIRECTORY}/{name}.conf"));
        appliance.write(&format!("{DIRECTORY}/try.conf"), "[Service]\nExecStartPre=/bin/sh /usr/local/lib/try.sh\n");
        appliance.run("systemctl daemon-reload && systemctl restart rodent");
        assert_eq!(appliance.run("systemctl is-active rodent"), "active\n", "{name}");
        let status = appliance.run("cat /proc/$(systemctl show -P MainPID rodent)/status");
        for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t{capabilities:016x}\n")), "{name}, {set}:\n{status}");
        }
        let tried = appliance.run("cat /var/lib/rodent/tried");
        assert_eq!(tried.lines().collect::<Vec<_>>(), *opened, "{name}");
    }
    // Where the kernel's messages are not to be had, the agent runs without.
    appliance.run(&format!("rm -rf {DIRECTORY} && umount --lazy /dev/kmsg && rm /dev/kmsg"));
    appliance.install("systemd/drop-ins/kernel-log.conf", &format!("{DIRECTORY}/kernel-log.conf"));
    appliance.run("systemctl daemon-reload && systemctl restart rodent && systemctl is-active rodent");
}

#[test]
fn the_log_moves_to_another_state_directory_with_all_that_is_in_it() {
    let appliance = Appliance::install("state-directory", &[]);
    appliance.run("systemctl start rodent && rodent emit storage.pool.degraded pool_name=before");
    appliance.run("echo 'state_directory: /tank/rodent' >> /etc/rodent/rodent.yml");
    appliance.install("systemd/drop-ins/state-directory.conf", &format!("{DIRECTORY}/state-directory.conf"));
    appliance.run("systemctl daemon-reload && ! systemctl restart rodent 2> /dev/null");
    // While it starts once more, it has not ended.
    for said in
        ["its surroundings could not be made: status 226", "install -d -o rodent -g rodent -m 0750 /tank/rodent"]
    {
        appliance.wait(said, PATIENCE, |machine| {
            String::from_utf8_lossy(&machine.attempt("rodent doctor").stdout).contains(said).then_some(())
        });
    }

    let steps = std::fs::read_to_string(source("systemd/drop-ins/state-directory.conf")).expect("a text");
    let steps = steps.lines().filter_map(|line| line.strip_prefix("#     "));
    let steps: Vec<_> = steps.filter(|step| !step.starts_with("cp state-directory.conf")).collect();
    assert!(steps.len() >= 5, "{steps:?}");
    appliance.run(&format!("set -e\n{}", steps.join("\n")));
    appliance.run("systemctl start rodent-controller");
    appliance.wait_for_event("what was taken before", |event| event["payload"]["pool_name"] == "before");
    let found = appliance.run("rodent doctor");
    assert!(found.contains("/tank/rodent belongs to rodent, mode 750") && !found.contains("fail"), "{found}");
    appliance.run("systemctl stop rodent && rm -rf /var/lib/rodent");
    appliance.wait("the log is whole", PATIENCE, |machine| {
        machine.run("rodent log check").contains("all is well").then_some(())
    });
}
