//! Local users and groups, changed by the machine's own tools; and what users may do to the agent.

use serde_json::Value;

use crate::appliance::{Appliance, PATIENCE};

#[test]
fn users_and_groups_are_told_as_they_come_change_and_go() {
    let appliance = Appliance::start("users", &[]);
    // What the unit alone may not see.
    appliance.install("systemd/drop-ins/locked-accounts.conf", "/etc/systemd/system/rodent.service.d/accounts.conf");
    appliance.run("systemctl daemon-reload && systemctl restart rodent");
    appliance.wait_for_event("the restart", |event| event["kind"] == "system.startup.service_restart");
    for step in [
        "useradd --no-user-group -p '$6$salt$hash' alice",
        "usermod -L alice",
        "usermod -U alice",
        "groupadd backup-operators",
        "gpasswd -a alice backup-operators",
        "gpasswd -d alice backup-operators",
        "groupdel backup-operators",
        "userdel alice",
    ] {
        appliance.run(&format!("{step} && sleep 1"));
    }

    let users = appliance.kinds(4, |event| event["payload"]["username"] == "alice" && is_of(event, "system.user."));
    let expected = ["created", "locked", "unlocked", "deleted"];
    assert_eq!(users, expected.map(|operation| format!("system.user.{operation}")));
    let groups = appliance.kinds(4, |event| event["payload"]["group_name"] == "backup-operators");
    assert_eq!(
        groups,
        [
            "identity.group.created",
            "identity.group.member_added",
            "identity.group.member_removed",
            "identity.group.deleted"
        ]
    );
}

fn is_of(event: &Value, kind: &str) -> bool {
    event["kind"].as_str().is_some_and(|name| name.starts_with(kind))
}

/// A command as `user` gives it.
fn as_user(user: &str, command: &str) -> String {
    format!("timeout 20 setpriv --reuid={user} --regid={user} --init-groups {command}")
}

#[test]
fn a_user_who_takes_all_that_the_socket_gives_keeps_neither_root_nor_another_user_out() {
    let appliance = Appliance::start("socket", &[]);
    appliance.run("useradd -G rodent mallory && useradd -G rodent carol");
    let pid = appliance.main_process("rodent");
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells it");
        resident.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    };
    let before = memory();
    // Every connection and every reader that he gets, and as many events as the agent takes.
    let flood = "for i in 1 2 3 4; do yes '{\"kind\": \"storage.pool.created\", \"payload\": {\"pool_name\": \"flood\"}}' | \
        head -n 50000 | rodent emit --json - >/dev/null 2>&1 & done; sleep 1; \
        for i in $(seq 120); do rodent events -f >/dev/null 2>>/tmp/refused & done; wait";
    appliance.write("/tmp/flood", flood);
    appliance.run(
        "touch /tmp/refused && chmod 666 /tmp/refused && systemd-run -q --unit=flood -p User=mallory sh /tmp/flood",
    );
    appliance.wait("he is told that there are no more places for him", PATIENCE, |machine| {
        let refused = machine.run("cat /tmp/refused");
        (!refused.is_empty()).then_some(refused)
    });
    for _ in 0..5 {
        for command in ["rodent status", "rodent emit storage.pool.created pool_name=of-root", "rodent reload"] {
            appliance.run(&format!("timeout 20 {command}"));
        }
        appliance.run(&as_user("carol", "rodent emit storage.pool.created pool_name=of-carol"));
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes more are held");
    appliance.run("systemctl stop flood");
    for (name, uid) in [("of-root", "0"), ("of-carol", appliance.run("id -u carol").trim())] {
        let found = appliance.run(&format!("rodent events -n 1 -o jsonl pool_name={name}"));
        let event: Value =
            serde_json::from_str(found.trim()).unwrap_or_else(|error| panic!("{name}: {error}: {found}"));
        assert_eq!(event["origin"]["uid"], uid, "{found}");
    }
}
