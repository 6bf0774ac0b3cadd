//! Tables of a real array one after the other, what is told of them, and that no table is misread.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{
    array::{Condition, State},
    *,
};
use crate::{
    collectors::finding::{lines, sentences},
    host::Host,
};

macro_rules! table {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/fixtures/md/", $name))
    };
}

const TABLES: [&str; 8] = [
    table!("mdstat.healthy"),
    table!("mdstat.degraded-failed"),
    table!("mdstat.degraded-removed"),
    table!("mdstat.recovering"),
    table!("mdstat.healthy-with-spare"),
    table!("mdstat.check"),
    table!("mdstat.initial-resync"),
    table!("mdstat.shapes"),
];

/// A machine with that table and these files of `md0` in sysfs.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    fn shows(&self, table: &str, sysfs: &[(&str, &str)]) -> Arrays {
        let _ = fs::remove_dir_all(self.0.path().join("sys"));
        self.write("proc/mdstat", table.as_bytes());
        sysfs.iter().for_each(|(file, text)| self.write(&format!("sys/block/md0/md/{file}"), text.as_bytes()));
        Arrays::look(&Host::at(self.0.path())).expect("a table")
    }
}

fn arrays(table: &str) -> Arrays {
    Machine::new().shows(table, &[])
}

fn percent(table: &str, percent: &str) -> Arrays {
    arrays(&table.replace("10.9%", percent))
}

/// What is told at a look, and what is known then.
fn follow(mut after: Arrays, before: &Arrays) -> (Vec<String>, Arrays) {
    after.arrays.iter_mut().for_each(|(name, array)| array.follow(&before.arrays[name]));
    (sentences(&changes::diff(before, &after)), after)
}

/// Looks one after the other, and what is told at each, from the first on.
fn story(looks: &[(&str, Arrays)]) -> Vec<String> {
    let mut told = Vec::new();
    for (at, (what, after)) in looks.iter().enumerate() {
        let findings = match at.checked_sub(1) {
            None => changes::faults(after),
            Some(before) => changes::diff(&looks[before].1, after),
        };
        told.push(format!("{what}:"));
        let pairs = findings.iter().zip(sentences(&findings));
        told.extend(pairs.map(|(finding, sentence)| format!("  {}: {sentence}", finding.level.name())));
    }
    told
}

#[test]
fn an_array_that_loses_a_disk_is_rebuilt_and_checked_tells_this() {
    let idle = |mismatches: &str| {
        let sysfs = [
            ("level", "raid1\n"),
            ("sync_action", "idle\n"),
            ("last_sync_action", "check\n"),
            ("mismatch_cnt", mismatches),
        ];
        Machine::new().shows(table!("mdstat.healthy-with-spare"), &sysfs)
    };
    let told = story(&[
        ("healthy", arrays(table!("mdstat.healthy"))),
        ("a disk fails", arrays(table!("mdstat.degraded-failed"))),
        ("and is taken out", arrays(table!("mdstat.degraded-removed"))),
        ("another comes", percent(table!("mdstat.recovering"), "10.9%")),
        ("it goes on", percent(table!("mdstat.recovering"), "24.9%")),
        ("a quarter", percent(table!("mdstat.recovering"), "25.1%")),
        ("three quarters", percent(table!("mdstat.recovering"), "80.0%")),
        ("done, the old one is a spare", arrays(table!("mdstat.healthy-with-spare"))),
        ("a check", arrays(table!("mdstat.check"))),
        ("finds nothing", idle("0\n")),
        ("one that nobody saw finds something", idle("128\n")),
        ("the next does not", idle("0\n")),
    ]);
    let expected = "\
healthy:
a disk fails:
  error: Pool md0 is degraded: loop2 FAULTED, 1 of its disks missing
  error: Disk /dev/loop2 is FAULTED in pool md0, it was ONLINE
and is taken out:
  info: Disk /dev/loop2 was taken out of pool md0, it was FAULTED
another comes:
  info: Disk /dev/loop3 was added to pool md0, state ONLINE
  info: Pool md0 is being rebuilt, 10.9 % done
it goes on:
a quarter:
  info: Pool md0 is being rebuilt, 25.1 % done
three quarters:
  info: Pool md0 is being rebuilt, 80 % done
done, the old one is a spare:
  info: Pool md0 is online again
  info: Disk /dev/loop2 was added to pool md0, state SPARE
  info: Pool md0 was rebuilt
a check:
  info: Disk /dev/loop2 was taken out of pool md0, it was SPARE
  info: Pool md0 is being scrubbed
finds nothing:
  info: Disk /dev/loop2 was added to pool md0, state SPARE
  info: Pool md0 was scrubbed
one that nobody saw finds something:
  warn: Pool md0 was scrubbed, mismatches: 128
the next does not:
  info: Pool md0 was scrubbed";
    assert_eq!(told.join("\n"), expected);
}

#[test]
fn at_first_sight_what_is_wrong_is_told_and_what_is_under_way() {
    let faults = |table: &str| lines(&changes::faults(&arrays(table)));
    assert_eq!(faults(table!("mdstat.healthy")), [""; 0]);
    assert_eq!(faults(table!("mdstat.check")), [""; 0]);
    assert_eq!(faults(table!("mdstat.initial-resync")), ["info storage.pool.resilver_started md0"]);
    assert_eq!(
        faults(table!("mdstat.degraded-failed")),
        ["error storage.pool.degraded md0", "error storage.disk.state_changed /dev/loop2"]
    );
    let with_mismatches = [("level", "raid1"), ("mismatch_cnt", "8")];
    let seen = Machine::new().shows(table!("mdstat.healthy"), &with_mismatches);
    let told = sentences(&changes::faults(&seen));
    assert_eq!(told, ["Pool md0 was scrubbed, mismatches: 8"]);
}

#[test]
fn every_shape_of_the_table_is_read() {
    let known = arrays(table!("mdstat.shapes"));
    let read: Vec<_> = known
        .arrays
        .iter()
        .map(|(name, it)| {
            let members: Vec<_> = it.members.iter().map(|(name, state)| format!("{name} {}", state.word())).collect();
            let work = it.sync.map_or_else(String::new, |work| format!(", {} {:?}", work.word(), it.permille));
            format!("{name} {} {:?} -{}{work}: {}", it.level, it.condition, it.missing, members.join(", "))
        })
        .collect();
    let expected = [
        "md0 raid1 Online -0: hda1 ONLINE, hdc1 ONLINE",
        "md1 raid5 Degraded -1, recover Some(50): sda1 ONLINE, sdb1 ONLINE, sdc1 FAULTED, sdd1 ONLINE, sde1 ONLINE",
        "md126 raid1 Degraded -1: sdo ONLINE, sdp ONLINE",
        "md2 raid1 Online -0, recover None: sda2 ONLINE, sdb2 ONLINE",
        "md3 raid6 Online -0, recover None: sda1 ONLINE, sdb1 ONLINE, sdc1 ONLINE, sdd1 ONLINE, sde1 ONLINE, sdf1 ONLINE, \
         sdg1 ONLINE",
        "md4  Failed -0: sdg2 SPARE, sdh1 SPARE",
        "md5 raid0 Failed -0: sdi1 ONLINE, sdj1 ONLINE",
        "md_d6 raid10 Degraded -1, reshape Some(162): sdk1 FAULTED, sdl1 ONLINE, sdm1 ONLINE, sdn1 ONLINE",
        "md_home raid5 Failed -2: sdr1 ONLINE, sds1 FAULTED, sdt1 FAULTED",
    ];
    assert_eq!(read, expected, "and the container md127 is none");
}

#[test]
fn what_sysfs_knows_better_is_taken_from_there() {
    let sysfs =
        [("level", "raid1\n"), ("dev-loop3/state", "spare\n"), ("dev-loop3/slot", "1\n"), ("sync_action", "recover\n")];
    let known = Machine::new().shows(table!("mdstat.recovering"), &sysfs);
    assert_eq!(known.arrays["md0"].members["loop3"], State::Rebuilding);
    let broken = [("level", "raid0\n"), ("array_state", "broken\n")];
    assert_eq!(Machine::new().shows(table!("mdstat.healthy"), &broken).arrays["md0"].condition, Condition::Failed);
    let repaired = [("last_sync_action", "repair\n"), ("mismatch_cnt", "8\n")];
    assert_eq!(Machine::new().shows(table!("mdstat.healthy"), &repaired).arrays["md0"].mismatches, Some(0));
}

#[test]
fn a_rebuild_that_nobody_saw_leaves_the_count_of_the_check_before_as_it_was() {
    let seen = |action: &str, count: &str| {
        let sysfs = [("level", "raid1\n"), ("last_sync_action", action), ("mismatch_cnt", count)];
        Machine::new().shows(table!("mdstat.healthy"), &sysfs)
    };
    let (told, known) = follow(seen("recover\n", "2048\n"), &seen("repair\n", "2048\n"));
    assert_eq!(told, [""; 0], "the kernel counts on what the repair has mended");
    let (told, known) = follow(seen("check\n", "8\n"), &known);
    assert_eq!(told, ["Pool md0 was scrubbed, mismatches: 8"]);
    let (told, _) = follow(seen("recover\n", "8\n"), &known);
    assert_eq!(told, [""; 0]);
}

#[test]
fn a_check_that_is_broken_off_is_cancelled_and_does_not_say_that_nothing_differs() {
    let table: Vec<_> = table!("mdstat.check").lines().filter(|line| !line.contains("check =")).collect();
    let idle = |action: &str, from: &str, count: &str| {
        let sysfs = [("level", "raid1"), ("last_sync_action", action), ("sync_min", from), ("mismatch_cnt", count)];
        Machine::new().shows(&(table.join("\n") + "\n"), &sysfs)
    };
    let running = |from: &str| {
        let sysfs = [("level", "raid1"), ("sync_action", "check"), ("last_sync_action", "check"), ("sync_min", from)];
        Machine::new().shows(table!("mdstat.check"), &sysfs)
    };
    let mut known = idle("check", "0", "128");
    for (what, after, expected) in [
        ("a check", running("0"), "Pool md0 is being scrubbed"),
        ("is broken off", idle("check", "8128", "0"), "Pool md0 had its scrub cancelled"),
        ("and stays so", idle("check", "8128", "0"), ""),
        ("goes on", running("8128"), "Pool md0 is being scrubbed"),
        ("to its end", idle("check", "0", "0"), "Pool md0 was scrubbed, mismatches: 128"),
        ("which is that of a part", idle("check", "0", "0"), ""),
        ("a whole one", running("0"), "Pool md0 is being scrubbed"),
        ("comes to its end", idle("check", "0", "0"), "Pool md0 was scrubbed"),
        ("one more", running("0"), "Pool md0 is being scrubbed"),
        ("finds something before it is broken off", idle("check", "64", "8"), "Pool md0 was scrubbed, mismatches: 8"),
        ("the next", running("0"), "Pool md0 is being scrubbed"),
        ("ends with a boot", idle("idle", "0", "0"), "Pool md0 had its scrub cancelled"),
        ("that leaves nothing", idle("idle", "0", "0"), ""),
    ] {
        let (told, seen) = follow(after, &known);
        assert_eq!(told.join("; "), expected, "{what}");
        known = seen;
    }
    assert_eq!(known.arrays["md0"].mismatches, Some(8));
}

#[test]
fn an_array_that_has_come_is_told_by_its_name_in_the_configuration_too_once_udev_has_made_that() {
    let machine = Machine::new();
    let named = |entry: &str| {
        machine.write("proc/mdstat", table!("mdstat.healthy").as_bytes());
        machine.write("sys/block/md0/dev", b"9:0\n");
        machine.write("run/udev/data/b9:0", entry.as_bytes());
        Arrays::look(&Host::at(machine.0.path())).expect("a table")
    };
    let (none, bare) = (arrays("unused devices: <none>\n"), named("S:disk/by-id/md-name-nas:data\nE:MD_LEVEL=raid1\n"));
    let full = named("S:disk/by-id/md-name-nas:data\nS:md/data\nS:md/0\nE:MD_LEVEL=raid1\n");
    let told = |before: &Arrays, after: &Arrays| lines(&changes::diff(before, after));
    assert_eq!(told(&none, &full), ["info storage.pool.imported md0", "info storage.pool.imported md/data"]);
    assert_eq!(told(&none, &bare), ["info storage.pool.imported md0"]);
    assert_eq!(told(&bare, &full), ["info storage.pool.imported md/data"]);
    assert_eq!(told(&full, &bare), [""; 0]);
    assert_eq!(told(&full, &full), [""; 0]);
}

#[test]
fn what_an_older_agent_remembers_is_understood() {
    let known = arrays(table!("mdstat.healthy"));
    let mut remembered = serde_json::to_value(&known).expect("JSON");
    for field in ["is_part", "aliases"] {
        remembered["arrays"]["md0"].as_object_mut().and_then(|array| array.remove(field)).expect(field);
    }
    assert_eq!(serde_json::from_value::<Arrays>(remembered).expect("arrays"), known);
}

#[test]
fn an_array_that_is_stopped_is_gone_and_one_that_a_boot_does_not_bring_back_is_missed() {
    let (before, none) = (arrays(table!("mdstat.degraded-failed")), "unused devices: <none>\n");
    let stopped = changes::diff(&before, &arrays(none));
    assert_eq!(lines(&stopped), ["info storage.pool.exported md0", "info storage.disk.removed_from_pool /dev/loop2"]);
    let booted = Arrays { boot: "another".into(), ..arrays(none) };
    assert_eq!(lines(&changes::diff(&before, &booted))[0], "critical storage.pool.removed md0");
}

#[test]
fn an_array_is_told_as_it_is_after_a_boot_for_mdadm_may_have_missed_it_before() {
    let told = |table: &str| {
        let before = Arrays { boot: "another".into(), ..arrays(table) };
        assert_eq!(changes::diff(&arrays(table), &arrays(table)), []);
        lines(&changes::diff(&before, &arrays(table)))
    };
    assert_eq!(told(table!("mdstat.healthy")), ["info storage.pool.imported md0"]);
    assert_eq!(told(table!("mdstat.degraded-failed")), ["error storage.pool.degraded md0"]);
}

#[test]
fn what_a_boot_has_not_brought_back_is_told_when_nothing_is_waited_for_any_more() {
    let (mut look, now) = (ArrayTable::new(), Instant::now());
    let mut before = Arrays { boot: "another".into(), ..arrays(table!("mdstat.healthy")) };
    before.arrays.insert("md1".to_owned(), before.arrays["md0"].clone());
    let late = now + ASSEMBLY_TIME;
    let inactive = "md1 : inactive loop1[0](S)\n      97280 blocks super 1.2\nunused devices: <none>\n";
    let mut after = arrays(inactive);
    look.wait_for_assembly(Some(&before), &mut after, late);
    assert_eq!(after, before, "md0 is not told of as stopped while md1 is waited for");
    let mut after = arrays(inactive);
    look.wait_for_assembly(Some(&before), &mut after, late + ASSEMBLY_TIME);
    let told = lines(&changes::diff(&before, &after));
    assert!(told.contains(&"critical storage.pool.removed md0".to_owned()), "{told:?}");
}

#[test]
fn an_array_that_is_being_assembled_is_waited_for() {
    let (mut look, now) = (ArrayTable::new(), Instant::now());
    let inactive = arrays("md0 : inactive loop1[0](S)\n      97280 blocks super 1.2\nunused devices: <none>\n");
    let mut after = inactive.clone();
    look.wait_for_assembly(None, &mut after, now);
    assert!(after.arrays.is_empty());
    let before = Arrays { boot: "another".into(), ..arrays(table!("mdstat.healthy")) };
    let mut after = arrays("unused devices: <none>\n");
    look.wait_for_assembly(Some(&before), &mut after, now);
    assert_eq!(after, before, "neither is one of before the boot missed at once");
    let mut after = inactive.clone();
    look.wait_for_assembly(Some(&before), &mut after, now);
    assert_eq!(changes::diff(&before, &after), []);
    let mut after = inactive;
    look.wait_for_assembly(Some(&before), &mut after, now + ASSEMBLY_TIME);
    let told = sentences(&changes::diff(&before, &after));
    assert_eq!(told[0], "Pool md0 has failed (inactive)");
}

#[test]
fn a_machine_without_md_has_no_arrays_and_a_table_without_an_end_is_an_error() {
    let machine = Machine::new();
    let look = || Arrays::look(&Host::at(machine.0.path()));
    assert_eq!(look().unwrap(), Arrays::default());
    machine.write("proc/mdstat", b"Personalities : [raid1]\nmd0 : active raid1 sda1[0]\n");
    assert!(look().is_err());
    machine.write(
        "proc/mdstat",
        b"md0 : active raid1 sda1[0] \xff\xfe[1]\n 5 blocks [2/2] [UU]\nunused devices: <none>\n",
    );
    assert_eq!(look().unwrap().arrays.len(), 1);
}

proptest! {
    #[test]
    fn a_table_that_is_cut_is_refused_and_one_that_is_doubled_reads_as_once(of in 0..TABLES.len(), at in 0.0..1.0) {
        let whole = TABLES[of];
        let end = whole.find("unused devices:").unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (end as f64 * at) as usize;
        prop_assert_eq!(table::parse(&whole[..at]), None);
        prop_assert_eq!(table::parse(&whole.repeat(2)), table::parse(whole));
    }

    #[test]
    fn lines_that_make_no_sense_change_nothing_of_the_arrays(of in 0..TABLES.len(), noise in "[^md=\\[\n][^=\\[:\n]{0,30}", at in 0usize..3) {
        let mut lines: Vec<_> = TABLES[of].lines().collect();
        prop_assume!(!noise.contains("blocks") && !noise.starts_with("unused"));
        lines.insert(at, &noise);
        prop_assert_eq!(table::parse(&lines.join("\n")), table::parse(TABLES[of]));
    }

    #[test]
    fn no_table_makes_it_panic_or_an_array_differ_from_itself(table in "(md[0-9] : |[a-z]{1,3}[0-9]?|\\[|\\]|\\(F\\)|\\(S\\)|[0-9]{1,20}|/|%|=|\\.| |\n|active|raid5|inactive|recovery|blocks){0,60}") {
        let known = arrays(&format!("{table}\nunused devices: <none>\n"));
        prop_assert_eq!(changes::diff(&known, &known), vec![]);
        for finding in changes::faults(&known) {
            prop_assert!(!finding.sentence().is_empty());
        }
    }
}

#[test]
fn ten_thousand_arrays_are_read() {
    let row = |number: u32| format!("md{number} : active raid1 sda{number}[0] sdb{number}[1]\n 5 blocks [2/2] [UU]\n");
    let table: String = (0..10_000).map(row).chain(["unused devices: <none>\n".to_owned()]).collect();
    assert_eq!(table::parse(&table).map(|rows| rows.len()), Some(10_000));
}
