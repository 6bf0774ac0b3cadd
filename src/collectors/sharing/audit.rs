//! What Samba's `full_audit` says of files: how a line is read depends on how smb.conf has it written. Pure.
//!
//! smbd speaks as the user for whom it acts. Believed is what comes out of its service, by systemd's word, which no user gets into; a
//! tag alone says nothing. A line begins with
//! what `full_audit:prefix` says, between bars, and no name in it can have a bar; what comes from a client, a path, stands at its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::smb_conf::{Settings, SmbConf};
use crate::host::journal::JournalRecord;

const TAG: &str = "smbd_audit";
const SMBD: &[&str] = &["/usr/sbin/smbd", "/usr/bin/smbd"];
/// The services that it is in.
const UNITS: &[&str] = &["smbd.service", "smb.service", "samba.service", "samba-ad-dc.service"];
/// Errors that say that somebody may not.
const REFUSED: &[&str] = &["Permission denied", "Operation not permitted", "ACCESS_DENIED"];
/// The most processes of which it is known what they have found; one a client.
const PROCESSES_MAX: usize = 256;
const PREFIX: &str = "full_audit:prefix";
const SUCCESS: &str = "full_audit:success";
const PREFIX_USUAL: &str = "%u|%I";
/// As much of a path as is told, characters.
const PATH_CHARS_MAX: usize = 512;
/// What a file may be opened for: to be read, to be written or added to.
const READ: u32 = 0x1 | 0x8000_0000;
const WRITE: u32 = 0x2 | 0x4 | 0x4000_0000;

/// How lines are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// What they begin with, each way once.
    prefixes: Vec<String>,
    /// Files that are opened are told with what for: then how that was done in the file system says nothing more.
    has_create_file: bool,
    /// By process: the file that it has found last.
    found: BTreeMap<u32, String>,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    Read,
    Write,
    Rename,
    Delete,
    Denied,
}

/// One access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) user: String,
    pub(super) address: String,
    pub(super) share: String,
    pub(super) path: String,
    /// Where it is since it was renamed.
    pub(super) new_path: String,
    /// Of one that was denied, what was wanted.
    pub(super) wanted: &'static str,
    /// Unix milliseconds.
    pub(super) at: i64,
}

/// The programs whose messages are read.
pub(super) fn programs() -> &'static [&'static str] {
    SMBD
}

impl Audit {
    /// As the configuration says; none where nothing is audited.
    pub(super) fn of(conf: &SmbConf) -> Option<Audit> {
        let mut audit = Audit::default();
        let empty = Settings::new();
        for settings in std::iter::once(&empty).chain(conf.shares.values()) {
            let setting = |key: &str| settings.get(key).or_else(|| conf.global.get(key)).map(String::as_str);
            let objects = setting("vfs objects").or_else(|| setting("vfs object")).unwrap_or_default();
            if !words(objects).any(|object| object == "full_audit") {
                continue;
            }
            let prefix = setting(PREFIX).unwrap_or(PREFIX_USUAL).to_owned();
            if !audit.prefixes.contains(&prefix) {
                audit.prefixes.push(prefix);
            }
            audit.has_create_file |=
                words(setting(SUCCESS).unwrap_or_default()).any(|it| it == "create_file" || it == "all");
        }
        (!audit.prefixes.is_empty()).then_some(audit)
    }

    /// Most lines tell nothing of a file's content.
    pub(super) fn access(&mut self, record: &JournalRecord) -> Option<(Act, Access)> {
        let is_smbd = SMBD.contains(&record.executable.as_str()) && UNITS.contains(&record.unit.as_str());
        if !is_smbd || record.tag != TAG {
            return None;
        }
        let line = record.message.trim_end();
        let (mut access, operation, result, arguments) = self.prefixes.iter().find_map(|prefix| parse(prefix, line))?;
        take_paths(operation, arguments, &mut access);
        let act = if result == "ok" {
            if operation.starts_with("open") {
                self.has_found(record.process, &access.path);
            }
            of_operation(operation, arguments, self.has_create_file)?
        } else {
            // What Samba refuses by itself has whatever was the last error; but the file was there.
            let was_found = self.found.get(&record.process).is_some_and(|found| *found == access.path);
            let is_refused = REFUSED.iter().any(|why| result.contains(why))
                || (was_found && operation == "create_file" && arguments.split('|').nth(2) == Some("open"));
            access.wanted = match of_operation(operation, arguments, false).filter(|_| is_refused)? {
                Act::Write => "write",
                Act::Rename => "rename",
                Act::Delete => "delete",
                Act::Read | Act::Denied => "read",
            };
            Act::Denied
        };
        access.at = record.at;
        for path in [&mut access.path, &mut access.new_path] {
            *path = path.chars().take(PATH_CHARS_MAX).collect();
        }
        (!access.path.is_empty()).then_some((act, access))
    }

    fn has_found(&mut self, process: u32, path: &str) {
        if self.found.len() >= PROCESSES_MAX && !self.found.contains_key(&process) {
            self.found.clear();
        }
        self.found.insert(process, path.to_owned());
    }
}

/// `alice|127.0.0.1|vm|data|create_file|ok|0x12019f|file|overwrite_if|/srv/data/keep.txt`: who and where from, what was done, how that
/// went, and with what.
fn parse<'a>(prefix: &str, line: &'a str) -> Option<(Access, &'a str, &'a str, &'a str)> {
    let mut access = Access::default();
    let mut rest = line;
    for field in prefix.split('|') {
        let (value, after) = rest.split_once('|')?;
        match field.trim() {
            "%u" | "%U" => value.clone_into(&mut access.user),
            "%I" => value.clone_into(&mut access.address),
            "%S" => value.clone_into(&mut access.share),
            _ => {}
        }
        rest = after;
    }
    let (operation, rest) = rest.split_once('|')?;
    let (result, arguments) = rest.split_once('|')?;
    (result == "ok" || result.starts_with("fail")).then_some((access, operation, result, arguments))
}

fn of_operation(operation: &str, arguments: &str, has_create_file: bool) -> Option<Act> {
    match operation {
        "create_file" => {
            let mut words = arguments.splitn(4, '|');
            let mask = u32::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
            // A directory is opened to be listed.
            if words.next()? != "file" {
                return None;
            }
            let replaces = matches!(words.next()?, "create" | "overwrite" | "overwrite_if" | "supersede");
            match (replaces || mask & WRITE != 0, mask & READ != 0) {
                (true, _) => Some(Act::Write),
                (false, true) => Some(Act::Read),
                (false, false) => None,
            }
        }
        "open" | "openat" if !has_create_file => match arguments.split_once('|')?.0 {
            "w" => Some(Act::Write),
            "r" => Some(Act::Read),
            _ => None,
        },
        "unlink" | "unlinkat" | "rmdir" => Some(Act::Delete),
        "rename" | "renameat" => Some(Act::Rename),
        "pread" | "pread_recv" | "sendfile" if !has_create_file => Some(Act::Read),
        "pwrite" | "pwrite_recv" | "recvfile" | "ftruncate" if !has_create_file => Some(Act::Write),
        _ => None,
    }
}

fn take_paths(operation: &str, arguments: &str, access: &mut Access) {
    let skipped = match operation {
        "create_file" => 3,
        "open" | "openat" => 1,
        _ => 0,
    };
    let path = arguments.splitn(skipped + 1, '|').nth(skipped).unwrap_or_default();
    // A name may have a bar of its own: then both paths stand in one.
    match path.split_once('|').filter(|(_, new)| operation.starts_with("rename") && !new.contains('|')) {
        Some((old, new)) => (access.path, access.new_path) = (old.to_owned(), new.to_owned()),
        None => path.clone_into(&mut access.path),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\t']).filter(|word| !word.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a real Samba 4.17 has said it, with what is configured beside it.
    pub(in crate::collectors::sharing) const LINES: &str = include_str!("../../../tests/fixtures/samba/full_audit.txt");
    const CONF: &str = include_str!("../../../tests/fixtures/samba/smb.conf");

    pub(in crate::collectors::sharing) fn audit(conf: &str) -> Option<Audit> {
        let mut read = SmbConf::default();
        read.read(conf, &mut |_, _| {});
        Audit::of(&read)
    }

    pub(in crate::collectors::sharing) fn said(at: i64, message: &str) -> JournalRecord {
        JournalRecord {
            at,
            uid: 1000,
            process: 7,
            executable: SMBD[0].to_owned(),
            unit: UNITS[0].to_owned(),
            tag: TAG.to_owned(),
            message: message.to_owned(),
        }
    }

    fn of(audit: &mut Audit, line: &str) -> Option<String> {
        let (act, it) = audit.access(&said(1, line))?;
        Some(
            format!("{act:?} {} {} {} {} {} {}", it.user, it.address, it.share, it.path, it.new_path, it.wanted)
                .trim_end()
                .to_owned(),
        )
    }

    #[test]
    fn files_that_a_real_samba_tells_are_read_written_and_deleted_and_directories_are_none() {
        let mut audit = audit(CONF).unwrap();
        let told: Vec<_> = LINES.lines().filter_map(|line| of(&mut audit, line)).collect();
        let expected =
            ["Delete alice 127.0.0.1 data /srv/data/u2.txt", "Write alice 127.0.0.1 data /srv/data/keep.txt"];
        assert_eq!(told, expected);
    }

    #[test]
    fn renames_refusals_and_paths_with_bars_are_read() {
        let mut audit = audit(CONF).unwrap();
        let expected = [
            ("a|10.0.0.7|pc|data|renameat|ok|/srv/a|/srv/b", Some("Rename a 10.0.0.7 data /srv/a /srv/b")),
            ("a|10.0.0.7|pc|data|renameat|ok|/srv/a|x|/srv/b", Some("Rename a 10.0.0.7 data /srv/a|x|/srv/b")),
            ("a|10.0.0.7|pc|data|unlinkat|ok|/srv/a|b", Some("Delete a 10.0.0.7 data /srv/a|b")),
            (
                "a|10.0.0.7|pc|data|openat|fail (Permission denied)|r|/srv/a",
                Some("Denied a 10.0.0.7 data /srv/a  read"),
            ),
            (
                "a|10.0.0.7|pc|data|unlinkat|fail (Permission denied)|/srv/a",
                Some("Denied a 10.0.0.7 data /srv/a  delete"),
            ),
            ("a|10.0.0.7|pc|data|openat|fail (No such file or directory)|r|/srv/a", None),
            ("a|10.0.0.7|pc|data|create_file|ok|0x120089|file|open|/srv/a", Some("Read a 10.0.0.7 data /srv/a")),
            ("a|10.0.0.7|pc|data|create_file|ok|0x12019f|file|open|/srv/a", Some("Write a 10.0.0.7 data /srv/a")),
            ("a|10.0.0.7|pc|data|create_file|ok|0x80|file|open|/srv/a", None),
            ("a|10.0.0.7|pc|data|close|ok|/srv/a", None),
            ("a|10.0.0.7|unlinkat|ok|/srv/a", None),
        ];
        for (line, told) in expected {
            assert_eq!(of(&mut audit, line).as_deref(), told, "{line}");
        }
    }

    #[test]
    fn what_samba_refuses_by_itself_is_known_by_the_file_that_it_has_found() {
        let mut audit = audit(CONF).unwrap();
        // As a real Samba 4.17 has said it, of a file that the user may not read, and of one that is not there.
        let refused = [
            "alice|127.0.0.1|vm|data|openat|ok|r|/srv/data/secret",
            "alice|127.0.0.1|vm|data|close|ok|/srv/data/secret",
            "alice|127.0.0.1|vm|data|create_file|fail (No such file or directory)|0x120089|file|open|/srv/data/secret",
            "alice|127.0.0.1|vm|data|openat|fail (No such file or directory)|r|/srv/data/none",
            "alice|127.0.0.1|vm|data|create_file|fail (No such file or directory)|0x120089|file|open|/srv/data/none",
        ];
        let told: Vec<_> = refused.iter().filter_map(|line| of(&mut audit, line)).collect();
        assert_eq!(told, ["Denied alice 127.0.0.1 data /srv/data/secret  read"]);
    }

    #[test]
    fn how_lines_are_written_stands_in_the_configuration_and_without_it_nothing_is_audited() {
        assert_eq!(audit("[data]\npath=/srv\n"), None);
        let mut usual = audit("[data]\nvfs objects = acl_xattr full_audit\n").unwrap();
        assert_eq!(of(&mut usual, "a|10.0.0.7|openat|ok|w|/srv/a").as_deref(), Some("Write a 10.0.0.7  /srv/a"));
        let two = "[global]\nfull_audit:prefix = %u\n[a]\nvfs objects=full_audit\n[b]\nvfs objects=full_audit\n\
                   full_audit:prefix=%S|%u\n";
        let mut two = audit(two).unwrap();
        assert_eq!(of(&mut two, "alice|unlinkat|ok|/srv/a").as_deref(), Some("Delete alice   /srv/a"));
        assert_eq!(of(&mut two, "b|alice|unlinkat|ok|/srv/a").as_deref(), Some("Delete alice  b /srv/a"));
    }

    #[test]
    fn what_anybody_else_says_in_its_words_is_not_believed() {
        let mut audit = audit(CONF).unwrap();
        let record = said(1, "a|10.0.0.7|pc|data|unlinkat|ok|/srv/a");
        assert!(audit.access(&record).is_some());
        let others = [
            JournalRecord { unit: "user@1000.service".into(), ..record.clone() },
            JournalRecord { executable: "/usr/bin/logger".into(), ..record.clone() },
            JournalRecord { tag: "smbd".into(), ..record },
        ];
        assert!(others.iter().all(|record| audit.access(record).is_none()));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_and_no_path_can_move_an_access_to_another_user(
            path in "(\\||ok|unlinkat|10\\.0\\.0\\.9|mallory|[a-z/ ]|.){0,12}", noise in ".{0,80}", prefix in "[%uIS|]{0,8}",
        ) {
            let mut audit = audit(CONF).unwrap();
            let _ = of(&mut audit, &noise);
            let _ = Audit { prefixes: vec![prefix], ..Audit::default() }.access(&said(1, &noise));
            let line = format!("alice|10.0.0.7|pc|data|unlinkat|ok|/srv/{path}");
            let (act, access) = audit.access(&said(1, &line)).unwrap();
            prop_assert_eq!((act, access.user.as_str(), access.address.as_str()), (Act::Delete, "alice", "10.0.0.7"));
        }
    }
}
