//! What has changed in the rights on a path, in words. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    list::letters,
    rights::{Entry, Kind, Rights, Who},
};
use crate::{
    collectors::finding::Finding,
    event::Level,
    schema::events::{
        AccessAclPayload, AccessPermissionPayload, access_acl_payload::AccessAclOperation as Operation,
        access_permission_payload::AccessPermissionOperation,
    },
};

pub(super) const COMPONENT: &str = "access";

/// Flags of an entry of NFSv4: it goes on to what is made below, and counts only there.
const INHERITS: u32 = 0x3;
const INHERIT_ONLY: u32 = 0x8;
/// Of a mode: everybody may write, and only one's own may be removed.
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Names by numbers; who has none is told by the number.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) users: BTreeMap<u32, String>,
    pub(super) groups: BTreeMap<u32, String>,
}

/// The numbers of users and of groups that these rights name.
pub(super) fn numbers<'a>(all: impl Iterator<Item = &'a Rights>) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for rights in all {
        users.insert(rights.user);
        groups.insert(rights.group);
        for entry in &rights.list {
            match entry.who {
                Who::User(number) => drop(users.insert(number)),
                Who::Group(number) => drop(groups.insert(number)),
                _ => {}
            }
        }
    }
    (users, groups)
}

impl Names {
    fn user(&self, number: u32) -> String {
        self.users.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }

    fn group(&self, number: u32) -> String {
        self.groups.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }

    /// `user alice`, `group staff by default`
    fn principal(&self, entry: &Entry) -> String {
        let who = match entry.who {
            Who::Owner => "the owner".to_owned(),
            Who::OwningGroup => "the owning group".to_owned(),
            Who::Everyone => "everyone".to_owned(),
            Who::User(number) => format!("user {}", self.user(number)),
            Who::Group(number) => format!("group {}", self.group(number)),
        };
        match entry.kind {
            Kind::PosixDefault => format!("{who} by default"),
            _ if entry.flags & INHERIT_ONLY != 0 => format!("{who} by default"),
            _ if entry.flags & INHERITS != 0 => format!("{who} here and below"),
            _ => who,
        }
    }
}

/// What has changed between two looks at a path.
pub(super) fn diff(path: &str, before: &Rights, after: &Rights, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    if before.mode != after.mode {
        let opens = |mode: u32| mode & OTHERS_WRITE != 0 && mode & STICKY == 0;
        let level = if opens(after.mode) && !opens(before.mode) { Level::Warn } else { Level::Info };
        findings.push(changed(level, path, "mode", instead(&mode(after.mode), &mode(before.mode))));
    }
    if before.user != after.user {
        let change = instead(&names.user(after.user), &names.user(before.user));
        findings.push(changed(Level::Info, path, "owner", change));
    }
    if before.group != after.group {
        let change = instead(&names.group(after.group), &names.group(before.group));
        findings.push(changed(Level::Info, path, "group", change));
    }
    for was in before.list.iter().filter(|was| !after.list.iter().any(|is| is.is_of(was))) {
        findings.push(listed(path, Operation::Removed, was, letters(was), names));
    }
    for is in &after.list {
        match before.list.iter().find(|was| was.is_of(is)) {
            None => {
                let operation = if is.kind == Kind::Refuses { Operation::Denied } else { Operation::Granted };
                findings.push(listed(path, operation, is, letters(is), names));
            }
            Some(was) if was.may != is.may => {
                findings.push(listed(path, Operation::Modified, is, instead(&letters(is), &letters(was)), names));
            }
            Some(_) => {}
        }
    }
    findings
}

/// That there is more below a path than is told one by one.
pub(super) fn more_below(path: &str, count: usize) -> Finding {
    changed(Level::Info, path, "others below it:", count.to_string())
}

fn instead(is: &str, was: &str) -> String {
    let word = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    format!("{} instead of {}", word(is), word(was))
}

fn changed(level: Level, path: &str, permission: &str, change: String) -> Finding {
    let payload = AccessPermissionPayload {
        resource_path: path.to_owned(),
        permission: permission.to_owned(),
        change,
        operation: AccessPermissionOperation::Changed.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, "changed")
}

fn listed(path: &str, operation: Operation, entry: &Entry, permissions: String, names: &Names) -> Finding {
    let is_refusal = entry.kind == Kind::Refuses && operation != Operation::Denied;
    let principal = names.principal(entry);
    let action = match operation {
        Operation::Granted => "granted",
        Operation::Denied => "denied",
        Operation::Removed => "removed",
        _ => "modified",
    };
    let payload = AccessAclPayload {
        resource_path: path.to_owned(),
        principal: if is_refusal { format!("the refusal of {principal}") } else { principal },
        permissions: vec![permissions],
        operation: operation.into(),
    };
    Finding::new(Level::Info, payload, COMPONENT, action)
}

/// `rwxr-s---`
fn mode(mode: u32) -> String {
    let mut letters = String::with_capacity(9);
    for (shift, special, with, without) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 == 0 { '-' } else { 'r' });
        letters.push(if bits & 2 == 0 { '-' } else { 'w' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => with,
            (true, false) => without,
        });
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::finding::{lines, sentences};

    fn entry(kind: Kind, who: Who, flags: u32, may: u32) -> Entry {
        Entry { kind, who, flags, may }
    }

    fn rights(mode: u32, user: u32, group: u32, entries: &[Entry]) -> Rights {
        let mut rights = Rights { mode, user, group, list: Vec::new() };
        entries.iter().for_each(|entry| rights.add(*entry));
        rights
    }

    fn told(before: &Rights, after: &Rights) -> Vec<String> {
        let names = Names {
            users: BTreeMap::from([(0, "root".to_owned()), (1000, "alice".to_owned())]),
            groups: BTreeMap::from([(50, "staff".to_owned())]),
        };
        sentences(&diff("/srv/a", before, after, &names))
    }

    #[test]
    fn mode_owner_and_group_are_told_with_what_they_were() {
        let expected = [
            "Access to /srv/a was changed: mode rwxrws--- instead of rwxr-xr-t",
            "Access to /srv/a was changed: owner alice instead of root",
            "Access to /srv/a was changed: group 70 instead of staff",
        ];
        assert_eq!(told(&rights(0o1755, 0, 50, &[]), &rights(0o2770, 1000, 70, &[])), expected);
        assert_eq!(told(&rights(0o755, 0, 0, &[]), &rights(0o755, 0, 0, &[])), Vec::<String>::new());
    }

    #[test]
    fn who_comes_into_an_access_list_goes_or_may_something_else_is_told_by_name() {
        let before = [
            entry(Kind::Posix, Who::User(1000), 0, 5),
            entry(Kind::Posix, Who::Group(50), 0, 7),
            entry(Kind::Refuses, Who::User(1000), 0, 2),
        ];
        let after = [
            entry(Kind::Posix, Who::User(1000), 0, 7),
            entry(Kind::PosixDefault, Who::User(1001), 0, 4),
            entry(Kind::Refuses, Who::Everyone, 3, 1),
            entry(Kind::Allows, Who::OwningGroup, 0xb, 1),
        ];
        let expected = [
            "Access list of /srv/a has lost an entry: group staff, rwx",
            "Access list of /srv/a has lost an entry: the refusal of user alice, w",
            "Access list of /srv/a was changed for user alice: rwx instead of r-x",
            "Access list of /srv/a lets in user 1001 by default: r--",
            "Access list of /srv/a lets in the owning group by default: r",
            "Access list of /srv/a shuts out everyone here and below: r",
        ];
        assert_eq!(told(&rights(0o755, 0, 0, &before), &rights(0o755, 0, 0, &after)), expected);
    }

    #[test]
    fn that_everybody_may_write_since_is_a_warning() {
        let of = |before, after| {
            lines(&diff("/srv/a", &rights(before, 0, 0, &[]), &rights(after, 0, 0, &[]), &Names::default()))
        };
        assert_eq!(of(0o755, 0o777), ["warn access.permission.changed"]);
        assert_eq!(of(0o755, 0o1777), ["info access.permission.changed"]);
        assert_eq!(of(0o777, 0o755), ["info access.permission.changed"]);
    }
}
