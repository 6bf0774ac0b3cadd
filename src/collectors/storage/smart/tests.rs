//! What a real smartctl says of emulated disks, changed step by step, and what is told.

use std::{fs, os::unix::fs::PermissionsExt as _};

use proptest::prelude::*;

use super::*;
use crate::collectors::{finding::sentences, tests::Machine};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/fixtures/smart/", $name))
    };
}

const ALL: [&str; 4] =
    [fixture!("sda.json"), fixture!("nvme0.json"), fixture!("scsi_debug.json"), fixture!("vdb.json")];

fn of(json: &str) -> Report {
    match report::parse(json) {
        Some(Answer::Report(report)) => *report,
        other => panic!("{other:?}"),
    }
}

/// Reports of the same disk, and what is told at each.
fn told(reports: &[String]) -> Vec<String> {
    let mut known = Known::new();
    let mut told = Vec::new();
    for json in reports {
        let report = of(json).after(known.get("disk").map(|(_, was)| was));
        let after = Known::from([("disk".to_owned(), ("sda".to_owned(), report))]);
        let findings = diff(&known, &after);
        let pairs = findings.iter().zip(sentences(&findings));
        told.push(
            pairs.map(|(finding, said)| format!("{}: {said}", finding.level.name())).collect::<Vec<_>>().join("; "),
        );
        known = after;
    }
    told
}

fn replaced(count: u32) -> String {
    // The text of the raw value of attribute 5.
    let (before, after) = fixture!("sda.json").split_once("\"Reallocated_Sector_Ct\"").unwrap();
    format!(
        "{before}\"Reallocated_Sector_Ct\"{}",
        after.replacen("\"string\": \"0\"", &format!("\"string\": \"{count}\""), 1)
    )
}

#[test]
fn disks_that_are_well_say_so_and_one_without_health_says_why() {
    for json in [fixture!("sda.json"), fixture!("nvme0.json"), fixture!("scsi_debug.json")] {
        assert_eq!((of(json).health, of(json).reasons.len()), (Health::Well, 0));
    }
    let sda = of(fixture!("sda.json"));
    assert_eq!((sda.model.as_str(), sda.serial.as_str(), sda.temperature), ("QEMU HARDDISK", "SATA1", 31));
    assert_eq!(
        report::parse(fixture!("vdb.json")),
        Some(Answer::None("/dev/vdb: Unable to detect device type".to_owned()))
    );
    let asleep = r#"{"smartctl": {"messages": [{"string": "Device is in STANDBY mode, exit(2)"}], "exit_status": 2}}"#;
    assert_eq!(report::parse(asleep), Some(Answer::Sleeps));
    assert_eq!(report::parse("smartctl: command not found"), None);
}

#[test]
fn a_disk_that_gets_worse_is_told_when_it_does_and_a_test_that_fails() {
    let well = fixture!("sda.json").to_owned();
    let failed =
        well.replace("\"smart_status\": {\n    \"passed\": true", "\"smart_status\": {\n    \"passed\": false");
    let tested = well.replace("\"standard\": {", "\"standard\": {\"table\": [{\"status\": {\"passed\": false}}],");
    let steps = [well.clone(), replaced(8), replaced(12), replaced(16), failed, tested, well];
    let expected = [
        "",
        "warn: Disk /dev/sda health is warning: 8 sectors were replaced by spare ones, 31 °C, QEMU HARDDISK, serial SATA1",
        "",
        "warn: Disk /dev/sda health is warning: 16 sectors were replaced by spare ones, 31 °C, QEMU HARDDISK, serial SATA1",
        "critical: Disk /dev/sda health is failed: it expects to fail soon, 31 °C, QEMU HARDDISK, serial SATA1",
        "info: Disk /dev/sda health is well, 31 °C, QEMU HARDDISK, serial SATA1; \
         error: Disk /dev/sda has failed its test (self-test): the last one found an error",
        "info: Disk /dev/sda was tested (self-test): passed",
    ];
    assert_eq!(told(&steps), expected);
}

#[test]
fn a_disk_that_is_not_well_is_told_under_the_name_that_it_has_after_a_boot_and_no_more_under_the_old_one() {
    let disk = |serial: &str, health: Health, self_test: SelfTest| {
        let (serial, told) = (serial.to_owned(), u64::from(health != Health::Well));
        Report { health, self_test, told, serial, model: "HD".to_owned(), ..Report::default() }
    };
    let (ill, worn) = (disk("1", Health::Failing, SelfTest::Failed), disk("3", Health::Warning, SelfTest::Passed));
    let well = disk("2", Health::Well, SelfTest::Passed);
    let known = |disks: &[(&str, &Report)]| -> Known {
        let of = |(name, report): &(&str, &Report)| (report.serial.clone(), ((*name).to_owned(), (*report).clone()));
        disks.iter().map(of).collect()
    };
    let told = |before: &[(&str, &Report)], after: &[(&str, &Report)]| sentences(&diff(&known(before), &known(after)));
    let before = [("sda", &ill), ("sdb", &well), ("sdc", &worn)];
    assert_eq!(
        told(&before, &[("sdb", &ill), ("sda", &well), ("sdc", &worn)]),
        [
            "Disk /dev/sda health is well, HD, serial 2",
            "Disk /dev/sda was tested (self-test): passed",
            "Disk /dev/sdb health is failing, HD, serial 1",
            "Disk /dev/sdb has failed its test (self-test): the last one found an error",
        ]
    );
    assert_eq!(
        told(&before, &[("sdc", &ill), ("sdb", &well), ("sda", &worn)]),
        [
            "Disk /dev/sda was tested (self-test): passed",
            "Disk /dev/sdc health is failing, HD, serial 1",
            "Disk /dev/sdc has failed its test (self-test): the last one found an error",
            "Disk /dev/sda health is warning, HD, serial 3",
        ],
        "neither name is that of a disk that is well"
    );
    assert_eq!(told(&before[1..], &[("sdd", &well), ("sde", &worn)])[0], "Disk /dev/sdc health is well");
    assert_eq!(told(&before, &before), [""; 0]);
}

#[tokio::test]
async fn the_name_that_a_disk_has_is_known_before_it_is_asked_again() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("storage").await;
    machine.program("usr/sbin/smartctl", "exit 1");
    let disks = Disks::from([("a".to_owned(), Disk { name: "sdb".to_owned(), ..Disk::default() })]);
    let (_sender, receiver) = watch::channel(Arc::new(disks));
    let before = Known::from(["a", "b"].map(|key| (key.to_owned(), ("sda".to_owned(), Report::default()))));
    let after = Smart::new(receiver).look(&context, Some(&before)).await.unwrap().unwrap();
    assert_eq!(after, Known::from([("a".to_owned(), ("sdb".to_owned(), Report::default()))]));
}

#[tokio::test]
async fn what_is_known_of_a_disk_stays_when_another_way_to_it_comes_or_goes() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("storage").await;
    machine.program("usr/sbin/smartctl", "exit 1");
    let disk = |name: &str| Disk { name: name.into(), model: "HD".into(), serial: "1".into(), ..Disk::default() };
    let ill = Report { health: Health::Failing, told: 1, ..Report::default() };
    let alone = Known::from([("HD 1".to_owned(), ("sda".to_owned(), ill.clone()))]);
    let apart = Known::from([("/dev/sda".to_owned(), ("sda".to_owned(), ill))]);
    let two = Disks::from(["sda", "sdb"].map(|name| (format!("/dev/{name}"), disk(name))));
    let one = Disks::from([("HD 1".to_owned(), disk("sda"))]);
    for (before, disks, after) in [(&alone, two, &apart), (&apart, one, &alone)] {
        let (_sender, receiver) = watch::channel(Arc::new(disks));
        let seen = Smart::new(receiver).look(&context, Some(before)).await.unwrap().unwrap();
        assert_eq!(seen.get_key_value(after.keys().next().unwrap()), after.iter().next());
        assert_eq!(diff(before, &seen), []);
    }
}

#[test]
fn an_nvme_disk_tells_of_wear_and_warnings() {
    let nvme = |from: &str, to: &str| of(&fixture!("nvme0.json").replace(from, to));
    let worn = nvme("\"percentage_used\": 0", "\"percentage_used\": 104");
    assert_eq!((worn.health, worn.reasons), (Health::Failing, vec!["104 % of its life is used up".to_owned()]));
    let spare = nvme("\"critical_warning\": 0", "\"critical_warning\": 9");
    assert_eq!(spare.health, Health::Failed);
    assert_eq!(spare.reasons, ["its spare blocks run out", "it is read-only now"]);
}

#[test]
fn disks_are_asked_one_a_turn_and_each_seldom() {
    let disk = |name: &str, interface: &str| Disk { name: name.into(), interface: interface.into(), ..Disk::default() };
    let disks: Disks =
        [("a", "sata"), ("b", "nvme"), ("c", "virtio")].map(|(it, of)| (it.to_owned(), disk(it, of))).into();
    let (_sender, receiver) = watch::channel(Arc::new(disks.clone()));
    let (mut smart, start) = (Smart::new(receiver), Instant::now());
    let mut turn = |minutes: u64| {
        let now = start + Duration::from_secs(60 * minutes);
        let next = smart.next(&disks, now).map(|(key, _)| key);
        smart.asked.extend(next.clone().map(|key| (key, now)));
        next.unwrap_or_default()
    };
    let turns = [0, 1, 2, 29, 30, 31, 32].map(&mut turn);
    assert_eq!(turns, ["a", "b", "", "", "a", "b", ""]);
}

#[tokio::test]
async fn one_disk_that_cannot_be_opened_hides_the_health_of_no_other() {
    let machine = Machine::new();
    let log = machine.log().await;
    let (context, _keeper) = machine.context("storage", &log).await;
    let write = |path: &str, text: &str, mode: u32| {
        let path = context.host.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("/usr/sbin/answer", ALL[0], 0o644);
    write("/usr/sbin/smartctl", "#!/bin/sh\ncat \"$(dirname \"$0\")/answer\"\n", 0o755);
    write("/dev/sdb", "", 0o644);
    let disk = |name: &str| Disk { name: name.to_owned(), interface: "sata".to_owned(), ..Disk::default() };
    let disks: Disks = ["sda", "sdb"].map(|name| (name.to_owned(), disk(name))).into();
    let (_sender, receiver) = watch::channel(Arc::new(disks));
    let mut smart = Smart::new(receiver.clone());
    let first = smart.look(&context, None).await.unwrap().unwrap();
    assert_eq!((first.len(), context.sight.blind_to(DISK)), (0, vec!["/dev/sda".to_owned()]));
    let second = smart.look(&context, Some(&first)).await.unwrap().unwrap();
    assert_eq!(second.keys().collect::<Vec<_>>(), ["sdb"]);

    // What is no disk any more is another matter than a node that is kept from the agent.
    let _broken = std::os::unix::net::UnixListener::bind(context.host.path("/dev/sda")).unwrap();
    fs::remove_file(context.host.path("/dev/sdb")).unwrap();
    assert!(Smart::new(receiver.clone()).look(&context, None).await.is_ok());
    fs::remove_file(context.host.path("/dev/sda")).unwrap();
    let absent = Smart::new(receiver).look(&context, None).await;
    assert!(matches!(absent, Err(CollectError::Absent(_))));
    tokio::task::spawn_blocking(move || log.close()).await.unwrap();
}

proptest! {
    #[test]
    fn an_answer_that_is_cut_is_none_and_no_text_makes_it_panic(of in 0..ALL.len(), at in 0.0..0.99, junk in ".{0,80}") {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (ALL[of].len() as f64 * at) as usize;
        prop_assert_eq!(report::parse(&ALL[of][..at]), None);
        prop_assert_eq!(report::parse(&ALL[of].repeat(2)), None);
        let _ = report::parse(&junk);
    }

    #[test]
    fn numbers_that_no_disk_has_are_taken_as_they_are(number in any::<u64>()) {
        let json = fixture!("nvme0.json").replace("\"media_errors\": 0", &format!("\"media_errors\": {number}"));
        prop_assert_eq!(of(&json).faults, number);
    }
}
