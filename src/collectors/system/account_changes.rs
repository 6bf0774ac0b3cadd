//! What changed among the accounts, as events.

use std::collections::BTreeSet;

use super::accounts::{Accounts, Group, Password, User};
use crate::{
    collectors::{finding::Finding, listing::first},
    event::Level,
    schema::events::{
        IdentityGroupPayload, SystemUserPayload, identity_group_payload::IdentityGroupOperation as GroupOperation,
        system_user_payload::SystemUserOperation as UserOperation,
    },
};

const COMPONENT: &str = "accounts";

/// Groups whose members are as good as root, by the names that distributions give them: a new member is a warning. Not `adm`
/// and `systemd-journal`, which may read logs and change nothing.
const PRIVILEGED_GROUPS: &[&str] = &[
    // May do what root may, by sudo or polkit.
    "root",
    "sudo",
    "wheel",
    "admin",
    // May start a container or a machine that has all of this one's files.
    "docker",
    "incus-admin",
    "libvirt",
    "lxd",
    // May read and write every disk, the memory, the hashes of passwords.
    "disk",
    "kmem",
    "shadow",
];

/// What has changed. Renaming is a deletion and a creation: that is how the files have it.
pub(super) fn diff(before: &Accounts, after: &Accounts) -> Vec<Finding> {
    let mut findings = Vec::new();
    user_changes(before, after, &mut findings);
    group_changes(before, after, &mut findings);
    findings
}

/// What there is, at first sight.
pub(super) fn inventory(accounts: &Accounts) -> String {
    let usable = accounts.users.values().filter(|user| user.password == Password::Usable).count();
    let knows = accounts.users.values().any(|user| user.password != Password::Unknown);
    let mut detail = format!("{} users, {} groups", accounts.users.len(), accounts.groups.len());
    if knows {
        detail.push_str(&format!(", {usable} with a password"));
    }
    detail
}

fn user_changes(before: &Accounts, after: &Accounts, findings: &mut Vec<Finding>) {
    for (name, user) in before.users.iter().filter(|(name, _)| !after.users.contains_key(*name)) {
        findings.push(user_finding(user_payload(before, name, user, UserOperation::Deleted), "deleted"));
    }
    for (name, user) in &after.users {
        match before.users.get(name) {
            None => {
                // A second name for root is how a way back in is left.
                let reason = reason(user.uid == 0, privileged_group(after, user), user.password == Password::Empty);
                let payload = user_payload(after, name, user, UserOperation::Created);
                findings.push(user_finding(SystemUserPayload { reason, ..payload }, "created"));
            }
            Some(earlier) => one_user_changes(after, name, earlier, user, findings),
        }
    }
}

fn one_user_changes(accounts: &Accounts, name: &str, before: &User, after: &User, findings: &mut Vec<Finding>) {
    let changed = changed_fields(before, after);
    if !changed.is_empty() {
        let is_opened = after.password == Password::Empty && before.password != Password::Empty;
        let is_root_now = after.uid == 0 && before.uid != 0;
        let group_now = privileged_group(accounts, after).filter(|_| after.gid != before.gid);
        let payload = SystemUserPayload {
            changed: changed.into_iter().map(str::to_owned).collect(),
            reason: reason(is_root_now, group_now, is_opened),
            ..user_payload(accounts, name, after, UserOperation::Modified)
        };
        findings.push(user_finding(payload, "modified"));
    }
    let could = matches!(before.password, Password::Usable | Password::Empty);
    let can = matches!(after.password, Password::Usable | Password::Empty);
    if could && after.password == Password::Locked {
        findings.push(user_finding(user_payload(accounts, name, after, UserOperation::Locked), "locked"));
    }
    if before.password == Password::Locked && can {
        findings.push(user_finding(user_payload(accounts, name, after, UserOperation::Unlocked), "unlocked"));
    }
}

/// Why an account is unusual; empty for one that is not.
fn reason(is_root: bool, group: Option<&str>, needs_no_password: bool) -> String {
    let rights = match group {
        _ if is_root => Some("has the rights of root".to_owned()),
        Some(group) => Some(format!("has the rights of the group {group}")),
        None => None,
    };
    let reasons: Vec<_> = rights.into_iter().chain(needs_no_password.then(|| "needs no password".to_owned())).collect();
    if reasons.is_empty() { String::new() } else { format!("it {}", reasons.join(" and ")) }
}

/// The user's own group where that is one of [`PRIVILEGED_GROUPS`]: its line in the file does not name the user.
fn privileged_group<'a>(accounts: &'a Accounts, user: &User) -> Option<&'a str> {
    let mut groups = accounts.groups.iter().filter(|(_, group)| group.gid == user.gid);
    groups.find_map(|(name, _)| is_privileged(name).then_some(name.as_str()))
}

fn is_privileged(group: &str) -> bool {
    PRIVILEGED_GROUPS.contains(&group)
}

fn changed_fields(before: &User, after: &User) -> Vec<&'static str> {
    let knows = before.password != Password::Unknown && after.password != Password::Unknown;
    let is_emptied = after.password == Password::Empty && before.password != Password::Empty;
    [
        ("uid", before.uid != after.uid),
        ("gid", before.gid != after.gid),
        ("display name", before.display_name != after.display_name),
        ("home", before.home != after.home),
        ("shell", before.shell != after.shell),
        ("password", knows && (before.changed_day != after.changed_day || is_emptied)),
        ("expiry", knows && before.expiry_day != after.expiry_day),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

fn group_changes(before: &Accounts, after: &Accounts, findings: &mut Vec<Finding>) {
    for (name, group) in before.groups.iter().filter(|(name, _)| !after.groups.contains_key(*name)) {
        findings.push(group_finding(name, group, &group.members, GroupOperation::Deleted, "deleted"));
    }
    for (name, group) in &after.groups {
        let Some(earlier) = before.groups.get(name) else {
            findings.push(group_finding(name, group, &group.members, GroupOperation::Created, "created"));
            continue;
        };
        if earlier.gid != group.gid {
            let payload = group_payload(name, group, &group.members, GroupOperation::Modified);
            let payload = IdentityGroupPayload { changed: vec!["gid".to_owned()], ..payload };
            findings.push(Finding::new(Level::Info, payload, COMPONENT, "modified"));
        }
        let (gone, come) = (&earlier.members - &group.members, &group.members - &earlier.members);
        if !gone.is_empty() {
            findings.push(group_finding(name, group, &gone, GroupOperation::MemberRemoved, "member removed"));
        }
        if !come.is_empty() {
            findings.push(group_finding(name, group, &come, GroupOperation::MemberAdded, "member added"));
        }
    }
}

/// A warning where the account is unusual.
fn user_finding(payload: SystemUserPayload, action: &str) -> Finding {
    let level = if payload.reason.is_empty() { Level::Info } else { Level::Warn };
    Finding::new(level, payload, COMPONENT, action)
}

fn user_payload(accounts: &Accounts, name: &str, user: &User, operation: UserOperation) -> SystemUserPayload {
    let (groups, more_groups) = first(accounts.groups_of(name, user).into_iter());
    SystemUserPayload {
        username: name.to_owned(),
        display_name: user.display_name.clone(),
        // The wire is signed; the highest numbers come out negative, as in many tools.
        uid: user.uid.cast_signed(),
        groups,
        more_groups,
        operation: operation.into(),
        ..Default::default()
    }
}

/// `members` are those it is about: the ones added or removed, or all. A warning where they are as good as root now.
fn group_finding(
    name: &str,
    group: &Group,
    members: &BTreeSet<String>,
    operation: GroupOperation,
    action: &str,
) -> Finding {
    let gives_rights =
        matches!(operation, GroupOperation::Created | GroupOperation::MemberAdded) && !members.is_empty();
    let level = if gives_rights && is_privileged(name) { Level::Warn } else { Level::Info };
    Finding::new(level, group_payload(name, group, members, operation), COMPONENT, action)
}

fn group_payload(
    name: &str,
    group: &Group,
    members: &BTreeSet<String>,
    operation: GroupOperation,
) -> IdentityGroupPayload {
    let (members, more_members) = first(members.iter().cloned());
    IdentityGroupPayload {
        group_name: name.to_owned(),
        description: format!("local group {}", group.gid),
        members,
        more_members,
        operation: operation.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::system::accounts::{
        parse,
        tests::{GROUP, PASSWD, SHADOW},
    };
    use crate::collectors::{
        finding::{lines, sentences},
        listing::LISTED_MAX,
    };

    fn told(before: [&str; 3], after: [&str; 3]) -> Vec<String> {
        let read = |[passwd, group, shadow]: [&str; 3]| parse(passwd, group, shadow);
        lines(&diff(&read(before), &read(after)))
    }

    const NOW: [&str; 3] = [PASSWD, GROUP, SHADOW];

    #[test]
    fn a_user_who_comes_and_goes_is_told_with_the_group() {
        let passwd = format!("{PASSWD}bob:x:1001:1001::/home/bob:/bin/sh\n");
        let group = format!("{GROUP}bob:x:1001:\n");
        let shadow = format!("{SHADOW}bob:!:20010:0:99999:7:::\n");
        let with_bob = [passwd.as_str(), group.as_str(), shadow.as_str()];
        assert_eq!(told(NOW, with_bob), ["info system.user.created bob", "info identity.group.created bob"]);
        assert_eq!(told(with_bob, NOW), ["info system.user.deleted bob", "info identity.group.deleted bob"]);
    }

    #[test]
    fn locking_and_unlocking_are_told_and_accounts_that_never_could_log_in_are_not() {
        let locked = SHADOW.replace("alice:$y", "alice:!$y");
        let starred = SHADOW.replace("daemon:*", "daemon:!*");
        let with = |shadow| [PASSWD, GROUP, shadow];
        assert_eq!(told(NOW, with(&locked)), ["info system.user.locked alice"]);
        assert_eq!(told(with(&locked), NOW), ["info system.user.unlocked alice"]);
        assert_eq!(told(NOW, with(&starred)), Vec::<String>::new());
        assert_eq!(told(with(""), NOW), Vec::<String>::new());
    }

    #[test]
    fn a_new_password_shell_or_name_is_a_modification() {
        let passwd = PASSWD.replace("/bin/sh", "/bin/zsh").replace("Alice Doe", "Alice Roe");
        let shadow = SHADOW.replace("20001", "20444");
        let read = parse(&passwd, GROUP, &shadow);
        let findings = diff(&parse(PASSWD, GROUP, SHADOW), &read);
        assert_eq!(lines(&findings), ["info system.user.modified alice"]);
        assert_eq!(sentences(&findings), ["User alice was changed: display name, shell, password, uid 1000"]);
    }

    #[test]
    fn an_account_without_a_password_or_with_the_rights_of_root_is_a_warning() {
        let shadow = SHADOW.replace("alice:$y$j9T$def", "alice:");
        assert_eq!(told(NOW, [PASSWD, GROUP, &shadow]), ["warn system.user.modified alice"]);
        let passwd = format!("{PASSWD}toor:x:0:0::/:/bin/sh\n");
        assert_eq!(told(NOW, [&passwd, GROUP, SHADOW]), ["warn system.user.created toor"]);
        let passwd = PASSWD.replace("alice:x:1000", "alice:x:0");
        assert_eq!(told(NOW, [&passwd, GROUP, SHADOW]), ["warn system.user.modified alice"]);
        let read = |after: [&str; 3]| {
            sentences(&diff(&parse(PASSWD, GROUP, SHADOW), &parse(after[0], after[1], after[2]))).remove(0)
        };
        assert_eq!(read([&passwd, GROUP, SHADOW]), "User alice was changed: uid, it has the rights of root");
        assert_eq!(read([PASSWD, GROUP, &shadow]), "User alice was changed: password, it needs no password, uid 1000");
        let toor = [&format!("{PASSWD}toor:x:0:0::/:/bin/sh\n"), GROUP, &format!("{SHADOW}toor::::::::\n")];
        assert_eq!(read(toor), "User toor was created: it has the rights of root and needs no password, groups root");
    }

    #[test]
    fn the_members_of_a_large_group_are_counted_beside_those_that_are_named() {
        let members: Vec<_> = (0..1000).map(|number| format!("u{number:03}")).collect();
        let group = GROUP.replace("sudo:x:27:alice", &format!("sudo:x:27:alice,{}", members.join(",")));
        let findings = diff(&parse(PASSWD, GROUP, SHADOW), &parse(PASSWD, &group, SHADOW));
        let payload: IdentityGroupPayload = findings[0].payload();
        assert_eq!((payload.members.len(), payload.more_members), (LISTED_MAX, 900));
        assert!(findings[0].sentence().ends_with("u006, u007, and 992 more"), "{}", findings[0].sentence());
    }

    #[test]
    fn members_that_come_and_go_are_named() {
        let group = GROUP.replace("sudo:x:27:alice", "sudo:x:27:daemon,bob");
        let findings = diff(&parse(PASSWD, GROUP, SHADOW), &parse(PASSWD, &group, SHADOW));
        assert_eq!(
            lines(&findings),
            ["info identity.group.member_removed sudo", "warn identity.group.member_added sudo"]
        );
        let payload: IdentityGroupPayload = findings[1].payload();
        assert_eq!((payload.members.join(","), payload.domain.as_str()), ("bob,daemon".into(), ""));
    }

    #[test]
    fn a_user_who_gets_the_rights_of_root_by_a_group_is_a_warning_however_it_was_done() {
        for name in PRIVILEGED_GROUPS {
            let group = |members: &str| GROUP.replace("sudo:x:27:alice", &format!("{name}:x:27:{members}"));
            let [without, with] = [group(""), group("eve")];
            let told = |before: &str, after: &str| told([PASSWD, before, SHADOW], [PASSWD, after, SHADOW]);
            assert_eq!(told(&without, &with), [format!("warn identity.group.member_added {name}")]);
            assert_eq!(told(&with, &without), [format!("info identity.group.member_removed {name}")]);
        }
        // What a package brings has no members yet.
        let docker = |members: &str| format!("{GROUP}docker:x:999:{members}\n");
        assert_eq!(told(NOW, [PASSWD, &docker(""), SHADOW]), ["info identity.group.created docker"]);
        assert_eq!(told(NOW, [PASSWD, &docker("eve"), SHADOW]), ["warn identity.group.created docker"]);
        let logs = |members: &str| format!("{GROUP}adm:x:4:{members}\n");
        let told_of_logs = told([PASSWD, &logs(""), SHADOW], [PASSWD, &logs("eve"), SHADOW]);
        assert_eq!(told_of_logs, ["info identity.group.member_added adm"]);
        // As the own group of a user nothing is told of it but the user.
        let eve = |gid: u32| parse(&format!("{PASSWD}eve:x:1002:{gid}::/:/bin/sh\n"), GROUP, SHADOW);
        let created = diff(&parse(PASSWD, GROUP, SHADOW), &eve(27));
        assert_eq!(lines(&created), ["warn system.user.created eve"]);
        assert!(sentences(&created)[0].contains("it has the rights of the group sudo"), "{:?}", sentences(&created));
        assert_eq!(lines(&diff(&eve(1000), &eve(27))), ["warn system.user.modified eve"]);
        assert_eq!(lines(&diff(&eve(27), &eve(1000))), ["info system.user.modified eve"]);
    }

    #[test]
    fn the_inventory_counts() {
        assert_eq!(inventory(&parse(PASSWD, GROUP, SHADOW)), "3 users, 3 groups, 2 with a password");
        assert_eq!(inventory(&parse(PASSWD, GROUP, "")), "3 users, 3 groups");
    }

    proptest! {
        #[test]
        fn no_accounts_differ_from_themselves(passwd in "([a-c]:x:[0-2]:[0-2]:[a-z]{0,2}:/:/\n){0,5}", shadow in "([a-c]:[!*x]{0,2}:[0-9]{0,2}::::[0-9]?:\n){0,4}") {
            let accounts = parse(&passwd, GROUP, &shadow);
            prop_assert_eq!(diff(&accounts, &accounts), vec![]);
        }
    }
}
