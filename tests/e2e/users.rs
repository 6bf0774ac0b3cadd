//! Local users and groups, changed by the machine's own tools.

use serde_json::Value;

use crate::appliance::Appliance;

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
