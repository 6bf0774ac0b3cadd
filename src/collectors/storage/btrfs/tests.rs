//! What sysfs shows of a real volume, changed step by step, and what is told of it.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{
    volume::{Phase, parse_errors, parse_scrub},
    *,
};
use crate::{collectors::finding::sentences, host::Host};

const UUID: &str = "b678fff0-5587-4736-87dc-34c42099df00";
const DEVINFO: &str = include_str!("../../../../tests/fixtures/btrfs/devinfo.missing-and-corrupt.txt");
const SCRUB: &str = include_str!("../../../../tests/fixtures/btrfs/scrub.status.corrected");

/// A machine that shows that, with the label `t`, and that scrub.
fn shown(devinfo: &str, scrub: &str) -> Volumes {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    };
    write("sys/fs/btrfs/features/raid1c34", "0\n");
    for (path, text) in devinfo.lines().filter_map(|line| line.split_once(": ")) {
        write(path.trim_start_matches('/'), text);
    }
    write(&format!("sys/fs/btrfs/{UUID}/label"), "t\n");
    write(&format!("sys/fs/btrfs/{UUID}/devices/loop0/size"), "1\n");
    write(&format!("var/lib/btrfs/scrub.status.{UUID}"), scrub);
    volume::look(&Host::at(root.path())).unwrap()
}

fn healthy() -> String {
    DEVINFO.replace("missing: 1", "missing: 0").replace("12800", "0")
}

/// What is wrong at first sight.
fn faults(volumes: &Volumes) -> Vec<Finding> {
    changes::diff(&Volumes::new(), volumes)
}

#[test]
fn a_volume_that_loses_a_device_is_scrubbed_and_mended_tells_this() {
    let scrub = |what: &str| SCRUB.replace("1796039873", what);
    let running = |start: &str| scrub(start).replace("finished:1", "finished:0");
    let away = Volumes::new();
    let looks = [
        ("healthy", shown(&healthy(), "")),
        ("a device is missing", shown(&healthy().replace("2/missing: 0", "2/missing: 1"), "")),
        ("not mounted", away.clone()),
        ("it is back, with errors", shown(&DEVINFO.replace("missing: 1", "missing: 0"), "")),
        ("a scrub", shown(&DEVINFO.replace("missing: 1", "missing: 0"), &running("1796039873"))),
        ("has mended all", shown(&DEVINFO.replace("missing: 1", "missing: 0"), SCRUB)),
        ("the counters are set to zero", shown(&healthy(), SCRUB)),
        ("another", shown(&healthy(), &running("1796040000"))),
        ("is cancelled", shown(&healthy(), &running("1796040000").replace("canceled:0", "canceled:1"))),
        (
            "the last leaves errors",
            shown(&healthy(), &scrub("1796050000").replace("uncorrectable_errors:0", "uncorrectable_errors:3")),
        ),
    ];
    let mut told = Vec::new();
    let mut known: Option<Volumes> = None;
    for (what, seen) in looks {
        let after = follow(seen, known.as_ref());
        let findings = known.as_ref().map_or_else(|| faults(&after), |known| changes::diff(known, &after));
        let pairs = findings.iter().zip(sentences(&findings));
        told.push(format!("{what}:"));
        told.extend(pairs.map(|(finding, sentence)| format!("  {}: {sentence}", finding.level.name())));
        known = Some(after);
    }
    let expected = "\
healthy:
a device is missing:
  error: Pool t is degraded, 1 of its disks missing
not mounted:
it is back, with errors:
  info: Pool t is online again
  error: Pool t has errors: device 2 (12800 checksum errors)
a scrub:
  info: Pool t is being scrubbed
has mended all:
  info: Pool t was scrubbed
the counters are set to zero:
  info: Pool t has no errors any more
another:
  info: Pool t is being scrubbed
is cancelled:
  info: Pool t had its scrub cancelled
the last leaves errors:
  error: Pool t was scrubbed, errors left: 6";
    assert_eq!(told.join("\n"), expected);
}

#[test]
fn at_first_sight_what_is_wrong_is_told_and_a_scrub_of_long_ago_is_not() {
    let told = sentences(&faults(&follow(shown(DEVINFO, SCRUB), None)));
    let expected =
        ["Pool t is degraded, 1 of its disks missing", "Pool t has errors: device 2 (12800 checksum errors)"];
    assert_eq!(told, expected);
    let left = SCRUB.replace("uncorrectable_errors:0", "uncorrectable_errors:3");
    assert_eq!(sentences(&faults(&shown(&healthy(), &left))), ["Pool t was scrubbed, errors left: 6"]);
}

#[test]
fn a_machine_without_btrfs_has_no_volumes_and_two_of_the_same_label_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let host = Host::at(root.path());
    assert_eq!(volume::look(&host).unwrap(), Volumes::new());
    for uuid in ["a", "b", "c"] {
        let directory = root.path().join("sys/fs/btrfs").join(uuid);
        fs::create_dir_all(directory.join("devinfo/1")).unwrap();
        fs::write(directory.join("label"), if uuid == "c" { "" } else { "data\n" }).unwrap();
    }
    let names: Vec<_> = volume::look(&host).unwrap().into_values().map(|volume| volume.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn what_a_scrub_has_written_is_read_line_by_line() {
    let scrub = parse_scrub(SCRUB).unwrap();
    assert_eq!((scrub.started, scrub.phase, scrub.corrected), (1_796_039_873, Phase::Finished, 14_080));
    assert_eq!(parse_scrub(""), None);
    assert_eq!(parse_scrub(&SCRUB.replacen("finished:1", "finished:0", 1)).unwrap().phase, Phase::Running);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_that_is_written_makes_it_panic(text in "(errs|read_errs|[0-9]{1,22}|t_start:|finished:1|canceled:|\\||\n| |invalid){0,40}") {
        let _ = (parse_errors(&text), parse_scrub(&text), parse_scrub(&text.repeat(1000)));
    }

    #[test]
    fn a_file_that_is_cut_tells_of_no_end_that_did_not_come(at in 0usize..700) {
        let running = SCRUB.replace("finished:1", "finished:0");
        let cut = &running[..at.min(running.len())];
        prop_assert!(parse_scrub(cut).is_none_or(|scrub| scrub.phase == Phase::Running));
    }

    #[test]
    fn counters_that_only_grow_are_told_at_most_once_for_each_doubling(steps in proptest::collection::vec(0u64..1000, 1..30)) {
        let (mut known, mut count, mut told) = (None::<Volumes>, 0, 0usize);
        for step in steps {
            count += step;
            let seen = shown(&healthy().replace("read_errs 0", &format!("read_errs {count}")), "");
            let after = follow(seen, known.as_ref());
            told += known.as_ref().map_or_else(|| faults(&after), |known| changes::diff(known, &after)).len();
            known = Some(after);
        }
        prop_assert!(told <= 64 - (2 * count).leading_zeros() as usize, "{told} of {count}");
    }
}
