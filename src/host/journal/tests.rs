//! The reader on files that are written here by the format's rules, whole, half-written and damaged. That it reads what a real
//! journald writes is shown by tests/e2e.

use std::{fs, os::unix::fs::FileExt as _};

use proptest::prelude::*;

use super::*;

const MACHINE: &str = "0123456789abcdef0123456789abcdef";
const SSHD: &str = "/usr/sbin/sshd";

/// A file of the journal that grows.
pub(crate) struct Written {
    path: PathBuf,
    bytes: Vec<u8>,
    is_compact: bool,
    entries: u64,
}

impl Written {
    pub(crate) fn new(path: PathBuf, id: u64, is_compact: bool) -> Written {
        let mut bytes = vec![0; 272];
        bytes[..8].copy_from_slice(SIGNATURE_BYTES);
        bytes[12..16].copy_from_slice(&(if is_compact { 16_u32 } else { 0 } | 4 | 8).to_le_bytes());
        put(&mut bytes, 24, id);
        put(&mut bytes, 88, 272);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let written = Written { path, bytes, is_compact, entries: 0 };
        written.save();
        written
    }

    fn object(&mut self, kind: u8, flags: u8, body: &[u8]) -> u64 {
        let place = self.bytes.len() as u64;
        let size = 16 + body.len() as u64;
        self.bytes.extend([kind, flags, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        put(&mut self.bytes, 136, place);
        place
    }

    fn field(&mut self, field: &str, compress: bool) -> u64 {
        let payload =
            if compress { zstd::bulk::compress(field.as_bytes(), 1).unwrap() } else { field.as_bytes().to_vec() };
        let head = if self.is_compact { 56 } else { 48 };
        self.object(1, if compress { 4 } else { 0 }, &[vec![0; head], payload].concat())
    }

    /// An entry of these fields, so many microseconds after the boot of that number.
    pub(crate) fn entry(&mut self, boot: u64, monotonic: u64, fields: &[&str]) {
        let places: Vec<u64> = fields.iter().map(|field| self.field(field, field.len() >= 512)).collect();
        self.entries += 1;
        let realtime = boot * 1_000_000_000 + monotonic;
        if self.entries == 1 {
            put(&mut self.bytes, 184, realtime);
        }
        for (at, number) in [(152, self.entries), (192, realtime), (56, boot), (64, boot), (200, monotonic)] {
            put(&mut self.bytes, at, number);
        }
        let numbers = [self.entries, realtime, monotonic, boot, boot, 0];
        let mut body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        for place in places {
            if self.is_compact {
                body.extend(u32::try_from(place).unwrap().to_le_bytes());
            } else {
                body.extend(place.to_le_bytes());
                body.extend([0; 8]);
            }
        }
        self.object(3, 0, &body);
        self.save();
    }

    /// What that program of root says.
    pub(crate) fn says(&mut self, boot: u64, monotonic: u64, executable: &str, message: &str) {
        let (executable, message) = (format!("_EXE={executable}"), format!("MESSAGE={message}"));
        self.entry(boot, monotonic, &["PRIORITY=6", "_TRANSPORT=syslog", "_UID=0", &executable, &message]);
    }

    fn save(&self) {
        fs::write(&self.path, &self.bytes).unwrap();
    }
}

const SIGNATURE_BYTES: &[u8; 8] = b"LPKSHHRH";

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), MACHINE).unwrap();
        Machine(root)
    }

    fn path(&self, directory: &str, name: &str) -> PathBuf {
        self.0.path().join(directory).join("log/journal").join(MACHINE).join(name)
    }

    fn look(&self, places: &mut JournalPlaces) -> JournalLook {
        look(&Host::at(self.0.path()), places, &[SSHD]).unwrap()
    }

    fn said(&self, places: &mut JournalPlaces) -> Vec<String> {
        self.look(places).records.into_iter().map(|record| record.message).collect()
    }
}

#[test]
fn what_is_said_after_the_first_look_is_read_once_in_both_forms_of_files_also_compressed() {
    for is_compact in [false, true] {
        let machine = Machine::new();
        let mut file = Written::new(machine.path("var", "system.journal"), 1, is_compact);
        file.says(7, 10, SSHD, "before");
        let mut places = JournalPlaces::default();
        assert_eq!(machine.said(&mut places), Vec::<String>::new());
        let long = "x".repeat(600);
        file.says(7, 20, SSHD, "one");
        file.says(7, 20, "/usr/bin/logger", "another program");
        file.says(7, 21, SSHD, &long);
        let mut again: JournalPlaces = serde_json::from_value(serde_json::to_value(&places).unwrap()).unwrap();
        let records = machine.look(&mut places).records;
        assert_eq!(records.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(), ["one", &long]);
        assert_eq!((records[0].uid, records[0].at, records[0].executable.as_str()), (0, 7_000_000, SSHD));
        assert_eq!(machine.said(&mut places), Vec::<String>::new());
        assert_eq!(machine.said(&mut again), ["one", &long], "from where it was remembered");
    }
}

#[test]
fn what_a_program_has_only_written_to_its_output_is_not_its_word_and_fields_of_senders_are_none() {
    let machine = Machine::new();
    let mut file = Written::new(machine.path("var", "system.journal"), 1, false);
    let mut places = JournalPlaces::default();
    machine.said(&mut places);
    let exe = format!("_EXE={SSHD}");
    file.entry(7, 1, &["_TRANSPORT=stdout", "_UID=0", &exe, "MESSAGE=of its output"]);
    file.entry(7, 2, &["_TRANSPORT=syslog", &exe, "MESSAGE=without a user"]);
    file.entry(
        7,
        3,
        &["_TRANSPORT=syslog", "_UID=0", "_COMM=sshd", "SYSLOG_IDENTIFIER=sshd", "MESSAGE=without a program"],
    );
    file.entry(7, 4, &["_TRANSPORT=journal", "_UID=0", "EXE=/x", &exe, "MESSAGE=true", "MESSAGE=second"]);
    assert_eq!(machine.said(&mut places), ["true"]);
    // Whoever writes to the journal's own socket names fields as he likes, but for those with a line before them.
    let forged = format!("EXE={SSHD}");
    file.entry(7, 5, &["_TRANSPORT=journal", &forged, "_UID=1000", "MESSAGE=by another program"]);
    let fields =
        ["_TRANSPORT=journal", &exe, "_UID=1000", "UID=0", "_SYSTEMD_UNIT=user@1000.service", "UNIT=smbd.service"];
    file.entry(7, 6, &[&fields[..], &["MESSAGE=forged"]].concat());
    let records = machine.look(&mut places).records;
    let told: Vec<_> = records.iter().map(|it| (it.message.as_str(), it.uid, it.unit.as_str())).collect();
    assert_eq!(told, [("forged", 1000, "user@1000.service")]);
}

#[test]
fn files_that_were_put_aside_are_read_to_their_end_first_and_a_new_user_has_a_file_from_its_beginning() {
    let machine = Machine::new();
    let mut first = Written::new(machine.path("var", "system.journal"), 1, false);
    first.says(7, 1, SSHD, "old");
    let mut places = JournalPlaces::default();
    machine.said(&mut places);
    first.says(7, 2, SSHD, "a");
    fs::rename(&first.path, machine.path("var", "system@1.journal")).unwrap();
    Written::new(machine.path("var", "system@2.journal"), 2, false).says(7, 3, SSHD, "b");
    Written::new(machine.path("var", "system.journal"), 3, false).says(7, 4, SSHD, "c");
    Written::new(machine.path("var", "user-1000.journal"), 4, false).says(7, 5, SSHD, "d");
    Written::new(machine.path("var", "user-x.journal"), 5, false).says(7, 6, SSHD, "no name of a user's file");
    assert_eq!(machine.said(&mut places), ["a", "b", "c", "d"]);
    assert_eq!(machine.said(&mut places), Vec::<String>::new());
}

#[test]
fn what_was_in_memory_and_is_written_to_the_disk_at_a_boot_is_not_read_twice() {
    let machine = Machine::new();
    let mut memory = Written::new(machine.path("run", "system.journal"), 1, false);
    memory.says(7, 1, SSHD, "first");
    let mut places = JournalPlaces::default();
    machine.said(&mut places);
    memory.says(7, 2, SSHD, "a");
    assert_eq!(machine.said(&mut places), ["a"]);
    let mut disk = Written::new(machine.path("var", "system.journal"), 2, true);
    disk.says(6, 500, SSHD, "of the boot before");
    for (at, message) in [(1, "first"), (2, "a"), (3, "b")] {
        disk.says(7, at, SSHD, message);
    }
    assert_eq!(machine.said(&mut places), ["b"]);
}

#[test]
fn an_entry_that_is_half_written_is_read_when_it_is_whole_and_damage_is_passed() {
    let machine = Machine::new();
    let mut file = Written::new(machine.path("var", "system.journal"), 1, false);
    let mut places = JournalPlaces::default();
    file.says(7, 1, SSHD, "old");
    machine.said(&mut places);
    let entry = file.bytes.len();
    file.says(7, 2, SSHD, "new");
    // Its last field is not there yet.
    let whole = file.bytes.clone();
    let last = whole.len() - 16;
    let on_disk = fs::OpenOptions::new().write(true).open(&file.path).unwrap();
    on_disk.write_all_at(&[0; 8], last as u64).unwrap();
    assert_eq!(machine.said(&mut places), Vec::<String>::new());
    on_disk.write_all_at(&whole, 0).unwrap();
    assert_eq!(machine.said(&mut places), ["new"]);
    // An object without a size.
    let damaged = file.bytes.len();
    assert!(damaged > entry);
    file.says(7, 3, SSHD, "in the damage");
    put(&mut file.bytes, damaged + 8, 0);
    file.save();
    for _ in 0..=UNREADY_MAX {
        assert_eq!(machine.said(&mut places), Vec::<String>::new());
    }
    file.says(7, 4, SSHD, "behind it");
    assert_eq!(machine.said(&mut places), ["behind it"]);
}

#[test]
fn where_no_journal_is_that_is_not_found() {
    let machine = Machine::new();
    let error = look(&Host::at(machine.0.path()), &mut JournalPlaces::default(), &[SSHD]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_it_panic_hang_or_say_what_was_not_written(
        damage in proptest::collection::vec((24usize..1600, any::<u8>()), 0..12),
        length in 200usize..2000,
        is_compact in any::<bool>(),
    ) {
        let machine = Machine::new();
        let mut file = Written::new(machine.path("var", "system.journal"), 1, is_compact);
        let mut places = JournalPlaces::default();
        machine.said(&mut places);
        for at in 1..4 {
            file.says(7, at, SSHD, "true");
        }
        for (at, byte) in damage {
            if let Some(there) = file.bytes.get_mut(at) {
                *there = byte;
            }
        }
        file.bytes.truncate(length);
        file.save();
        for _ in 0..8 {
            let Ok(look) = look(&Host::at(machine.0.path()), &mut places, &[SSHD]) else { break };
            prop_assert!(look.records.len() <= 8);
            prop_assert!(look.records.iter().all(|record| record.executable == SSHD));
        }
    }
}
