//! The accounts of the machine: users and groups as `/etc/passwd`, `/etc/group` and `/etc/shadow` have them.
//!
//! Lines are read as the C library reads them (glibc, `nss/nss_files`), so that who can log in is seen: blanks before a line
//! and before a number, fields that are missing after the numbers, colons too many, and every line of a group.
//!
//! Of a password only this is kept, in memory and beyond: whether one can log in with it, and the day of its last
//! change. Without the right to read `/etc/shadow` these stay unknown and everything else works.

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use serde::{Deserialize, Serialize};

use crate::host::Host;

/// The files, in the directory [`DIRECTORY`].
pub(super) const FILES: &[&str] = &["passwd", "group", "shadow"];
/// Where they are.
pub(super) const DIRECTORY: &str = "/etc";

/// All accounts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub(super) users: BTreeMap<String, User>,
    pub(super) groups: BTreeMap<String, Group>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) display_name: String,
    pub(super) home: String,
    pub(super) shell: String,
    pub(super) password: Password,
    /// Days since 1970 of the last change of the password.
    pub(super) changed_day: Option<i64>,
    /// Days since 1970 from which on the account is disabled.
    pub(super) expiry_day: Option<i64>,
}

/// Whether one can log in with a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Password {
    /// Not ours to read.
    #[default]
    Unknown,
    /// With the right one.
    Usable,
    /// With none: locked, or never given one.
    Locked,
    /// Without any.
    Empty,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) gid: u32,
    pub(super) members: BTreeSet<String>,
}

/// Why the files tell nothing now: they are being rewritten, or this is no machine with accounts.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    #[error("read {path}")]
    Read {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{0} has no entry with number 0: it is not whole")]
    Halved(&'static str),
}

/// What a look gave.
pub(super) struct Look {
    pub(super) accounts: Accounts,
    /// Whether `/etc/shadow` could be read.
    pub(super) sees_passwords: bool,
}

/// Reads the files.
pub(super) fn look(host: &Host) -> Result<Look, Unready> {
    let read = |path| host.read(path).map_err(|source| Unready::Read { path, source });
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let shadow = host.read("/etc/shadow").ok();
    let accounts = parse(&passwd, &group, shadow.as_deref().unwrap_or_default());
    // A file that an editor has emptied to write it anew does not mean that everybody is gone.
    if !accounts.users.values().any(|user| user.uid == 0) {
        return Err(Unready::Halved("/etc/passwd"));
    }
    if !accounts.groups.values().any(|group| group.gid == 0) {
        return Err(Unready::Halved("/etc/group"));
    }
    Ok(Look { accounts, sees_passwords: shadow.is_some() })
}

/// Parses the three files; lines that make no sense are passed over. Of two with one name the first counts, but that who is a
/// member by any line of a group is one.
pub(super) fn parse(passwd: &str, group: &str, shadow: &str) -> Accounts {
    let mut accounts = Accounts::default();
    for (name, user) in passwd.lines().filter_map(parse_user) {
        accounts.users.entry(name).or_insert(user);
    }
    for (name, Group { gid, members }) in group.lines().filter_map(parse_group) {
        let group = accounts.groups.entry(name).or_insert(Group { gid, members: BTreeSet::new() });
        group.members.extend(members);
    }
    let mut seen = BTreeSet::new();
    for line in shadow.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, password, changed, ..] = fields.as_slice() else { continue };
        if let Some(user) = accounts.users.get_mut(*name).filter(|_| seen.insert(name.to_owned())) {
            user.password = Password::of(password);
            user.changed_day = changed.parse().ok();
            user.expiry_day = fields.get(7).and_then(|day| day.parse().ok());
        }
    }
    accounts
}

/// `alice:x:1000:1000:Alice Doe,,,:/home/alice:/bin/sh`; what comes after the numbers may be missing, and the rest of the
/// line is the shell.
fn parse_user(line: &str) -> Option<(String, User)> {
    let mut fields = entry(line)?.splitn(7, ':');
    let (name, password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
    let mut text = || fields.next().unwrap_or_default();
    let (gecos, home, shell) = (text(), text(), text());
    let user = User {
        uid,
        gid,
        display_name: gecos.split(',').next().unwrap_or_default().to_owned(),
        home: home.to_owned(),
        shell: shell.to_owned(),
        password: if password == "x" { Password::Unknown } else { Password::of(password) },
        changed_day: None,
        expiry_day: None,
    };
    Some((name.to_owned(), user))
}

/// `sudo:x:27:alice,bob`
fn parse_group(line: &str) -> Option<(String, Group)> {
    let mut fields = entry(line)?.splitn(4, ':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let gid = number(fields.next()?)?;
    let members = fields.next().unwrap_or_default().split(',').map(str::trim_start);
    let members = members.filter(|member| !member.is_empty()).map(str::to_owned).gather();
    Some((name.to_owned(), Group { gid, members }))
}

/// A line without the blanks before it; `None` for a comment, and for a name that only stands for those of a directory service.
fn entry(line: &str) -> Option<&str> {
    let line = line.trim_start();
    (!line.is_empty() && !line.starts_with(['+', '-', '#', ':'])).then_some(line)
}

/// As `strtoul` reads it: blanks and a sign may stand before, nothing behind; what is too large is the largest.
fn number(field: &str) -> Option<u32> {
    let digits = field.trim_start();
    let (digits, is_negative) = match digits.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (digits.strip_prefix('+').unwrap_or(digits), false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A negative number is the largest, too: it is counted down from the end of 64 bits.
    let number = digits.parse::<u64>().unwrap_or(u64::MAX);
    Some(if is_negative && number > 0 { u32::MAX } else { u32::try_from(number).unwrap_or(u32::MAX) })
}

impl Password {
    fn of(field: &str) -> Password {
        match field.bytes().next() {
            None => Password::Empty,
            Some(b'!' | b'*') => Password::Locked,
            Some(_) => Password::Usable,
        }
    }
}

impl Accounts {
    /// Keeps what an earlier look knew of passwords and this one could not read.
    pub(super) fn follow(&mut self, before: &Accounts) {
        for (name, user) in self.users.iter_mut().filter(|(_, user)| user.password == Password::Unknown) {
            if let Some(before) = before.users.get(name) {
                user.password = before.password;
                (user.changed_day, user.expiry_day) = (before.changed_day, before.expiry_day);
            }
        }
    }

    /// The names of a user's groups, the primary one first.
    pub(super) fn groups_of(&self, name: &str, user: &User) -> Vec<String> {
        let primary = self.groups.iter().filter(|(_, group)| group.gid == user.gid);
        let others = self.groups.iter().filter(|(_, group)| group.gid != user.gid && group.members.contains(name));
        primary.chain(others).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::collectors::system) const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nalice:x:1000:1000:Alice Doe,,,:/home/alice:/bin/sh\n";
    pub(in crate::collectors::system) const GROUP: &str = "root:x:0:\nsudo:x:27:alice\nalice:x:1000:\n";
    pub(in crate::collectors::system) const SHADOW: &str = "root:$y$j9T$abc:20000:0:99999:7:::\n\
        daemon:*:19999:0:99999:7:::\nalice:$y$j9T$def:20001:0:99999:7::21000:\n";

    #[test]
    fn accounts_are_read_with_their_groups_and_without_their_hashes() {
        let accounts = parse(PASSWD, GROUP, SHADOW);
        let alice = &accounts.users["alice"];
        assert_eq!((alice.uid, alice.display_name.as_str()), (1000, "Alice Doe"));
        assert_eq!((alice.password, alice.changed_day, alice.expiry_day), (Password::Usable, Some(20001), Some(21000)));
        assert_eq!(accounts.users["daemon"].password, Password::Locked);
        assert_eq!(accounts.groups_of("alice", alice), ["alice", "sudo"]);
        let kept = format!("{accounts:?}{}", serde_json::to_string(&accounts).unwrap());
        assert!(!kept.contains("$y$") && !kept.contains("j9T"));
    }

    #[test]
    fn what_may_not_be_read_stays_as_it_was_known() {
        let before = parse(PASSWD, GROUP, SHADOW);
        let mut after = parse(PASSWD, GROUP, "");
        assert_eq!(after.users["alice"].password, Password::Unknown);
        after.follow(&before);
        assert_eq!(after, before);
    }

    #[test]
    fn a_file_without_number_0_is_not_whole() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        assert!(matches!(look(&host), Err(Unready::Read { path: "/etc/passwd", .. })));
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join("etc").join(name), text).unwrap();
        write("passwd", "");
        write("group", GROUP);
        assert!(matches!(look(&host), Err(Unready::Halved("/etc/passwd"))));
        write("passwd", PASSWD);
        let seen = look(&host).map_err(|error| error.to_string()).unwrap_or_else(|error| panic!("{error}"));
        assert!(!seen.sees_passwords && seen.accounts.users.len() == 3);
        write("group", "");
        assert!(matches!(look(&host), Err(Unready::Halved("/etc/group"))));
    }

    #[test]
    fn of_two_entries_with_one_name_the_first_counts() {
        let passwd = format!("{PASSWD}alice:x:0:0::/:/bin/sh\n+::::::\n#x:x:1:1:::\n");
        assert_eq!(parse(&passwd, GROUP, SHADOW), parse(PASSWD, GROUP, SHADOW));
        let shadow = format!("{SHADOW}alice:!:1::::::\n");
        assert_eq!(parse(PASSWD, GROUP, &shadow), parse(PASSWD, GROUP, SHADOW));
    }

    #[test]
    fn a_line_is_read_as_the_c_library_reads_it() {
        for (line, name) in [
            ("toor0:x:0:0", "toor0"),
            (" toor1:x:0:0::/root:/bin/sh", "toor1"),
            ("\ttoor2:x:0:0::/root:/bin/sh", "toor2"),
            ("toor3:x: 0:0::/root:/bin/sh", "toor3"),
            ("toor4:x:0:0:Smith: John:/root:/bin/sh", "toor4"),
            ("toor5:x:+0:0::/root:/bin/sh", "toor5"),
            ("toor6:x:00:0::/root:/bin/sh", "toor6"),
            ("toor8:x:0:0::/root:/bin/sh:x", "toor8"),
        ] {
            let (read, user) = parse_user(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((read.as_str(), user.uid), (name, 0), "{line}");
        }
        for line in ["a:x", "a:x:0", "a:x::0:", "a:x:0 :0:", "a:x:0x0:0:", "#a:x:0:0:", "+a:x:0:0:", ":x:0:0:", ""] {
            assert_eq!(parse_user(line), None, "{line}");
        }
        assert_eq!(number("-1"), Some(u32::MAX));
        assert_eq!(number("99999999999999999999"), Some(u32::MAX));
        let group = format!("{GROUP}staff:x:2700:bob\nstaff:x:2700: eve,,mallory\n");
        let members = &parse(PASSWD, &group, SHADOW).groups["staff"].members;
        assert_eq!(members.iter().map(String::as_str).collect::<Vec<_>>(), ["bob", "eve", "mallory"]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(passwd in "(?s).{0,200}", group in "([a-z0-9:,!*]{0,12}:?\n?){0,9}", shadow in "([a-z0-9:!*]{0,12}:?\n?){0,9}") {
            parse(&passwd, &group, &shadow);
            parse(&group, &shadow, &passwd);
        }
    }
}
