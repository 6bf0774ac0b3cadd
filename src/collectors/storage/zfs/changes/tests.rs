//! Sequences of real answers of zpool, and exactly what is told of them.

use proptest::prelude::*;

use super::*;
use crate::collectors::finding::{lines, sentences};
use crate::collectors::storage::{
    fullness::DEFAULT,
    zfs::status::{add_sizes, parse_status},
};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../../tests/fixtures/zfs/zpool-status", $name, ".txt"))
    };
}

fn diff(before: &Pools, after: &Pools) -> Vec<Finding> {
    super::diff(before, after, "")
}

/// What is told when the pools look like this one after the other, from the second on.
fn told(looks: &[&str]) -> Vec<Vec<String>> {
    findings(looks).iter().map(|findings| lines(findings)).collect()
}

/// The same as people read it.
fn read(looks: &[&str]) -> Vec<Vec<String>> {
    findings(looks).iter().map(|findings| sentences(findings)).collect()
}

fn findings(looks: &[&str]) -> Vec<Vec<Finding>> {
    let mut before: Option<Pools> = None;
    let mut told = Vec::new();
    for look in looks {
        let mut after = parse_status(look);
        for (name, pool) in &mut after {
            pool.follow(before.as_ref().and_then(|before| before.get(name)), &DEFAULT);
        }
        told.push(before.as_ref().map_or_else(|| faults(&after), |before| diff(before, &after)));
        before = Some(after);
    }
    told
}

#[test]
fn a_scrub_is_told_when_it_starts_and_when_it_has_ended() {
    let told = told(&[fixture!(".healthy"), fixture!(".scrub-in-progress"), fixture!(".scrub-done")]);
    assert_eq!(told[0], Vec::<String>::new());
    assert_eq!(told[1], ["info storage.pool.scrub_started tank"]);
    assert_eq!(told[2], ["info storage.pool.scrub_completed tank"]);
}

#[test]
fn a_scrub_that_is_paused_resumed_and_cancelled_is_told_each_time() {
    let told = told(&[
        fixture!(".scrub-in-progress"),
        fixture!(".scrub-paused"),
        fixture!(".scrub-in-progress"),
        fixture!(".scrub-canceled"),
    ]);
    assert_eq!(told[0], Vec::<String>::new());
    assert_eq!(told[1], ["info storage.pool.scrub_paused tank"]);
    assert_eq!(told[2], ["info storage.pool.scrub_started tank"]);
    assert_eq!(told[3], ["info storage.pool.scrub_cancelled tank"]);
}

#[test]
fn a_disk_taken_offline_and_back_is_a_degraded_pool_and_a_resilver() {
    let told = told(&[
        fixture!(".scrub-done"),
        fixture!(".degraded-offline"),
        fixture!(".resilver-in-progress"),
        fixture!(".resilver-online"),
    ]);
    assert_eq!(told[1], ["error storage.pool.degraded tank", "warn storage.disk.state_changed vdc"]);
    assert_eq!(
        told[2],
        [
            "info storage.pool.online tank",
            "info storage.disk.state_changed vdc",
            "info storage.pool.resilver_started tank"
        ]
    );
    assert_eq!(told[3], ["info storage.pool.resilver_completed tank"]);
}

#[test]
fn a_disk_that_is_replaced_leaves_the_pool_when_the_resilver_has_ended() {
    let told = told(&[fixture!(".healthy"), fixture!(".replacing-in-progress"), fixture!(".replaced")]);
    assert_eq!(told[1], ["info storage.disk.added_to_pool vdd", "info storage.pool.resilver_started tank"]);
    assert_eq!(told[2], ["info storage.disk.removed_from_pool vdc", "info storage.pool.resilver_completed tank"]);
}

#[test]
fn a_faulted_disk_degrades_a_pool_that_still_calls_itself_online() {
    let told = told(&[fixture!(".repaired"), fixture!("-p.disk-faulted"), fixture!(".repaired")]);
    assert_eq!(
        told[1],
        ["error storage.pool.degraded pool1", "error storage.disk.state_changed zc", "error storage.pool.errors pool1"]
    );
    assert_eq!(
        told[2],
        [
            "info storage.pool.online pool1",
            "info storage.disk.state_changed zc",
            "info storage.pool.errors_cleared pool1"
        ]
    );
}

#[test]
fn at_first_sight_faults_are_told_and_health_is_not() {
    assert_eq!(
        told(&[fixture!("-p.disk-faulted")])[0],
        ["error storage.pool.degraded pool1", "error storage.disk.state_changed zc", "error storage.pool.errors pool1"]
    );
    assert_eq!(told(&[fixture!("-v.data-loss")])[0], ["critical storage.pool.errors lossy"]);
    assert_eq!(told(&[fixture!(".scrub-in-progress")])[0], Vec::<String>::new());
}

#[test]
fn errors_that_were_repaired_are_told_once_and_their_clearing_too() {
    let healthy = fixture!(".after-clear");
    let told = told(&[healthy, fixture!("-v.checksum-repaired"), fixture!("-v.checksum-repaired"), healthy]);
    assert_eq!(told[1], ["error storage.pool.errors tank", "info storage.pool.scrub_completed tank"]);
    assert_eq!(told[2], Vec::<String>::new());
    assert_eq!(told[3][0], "info storage.pool.errors_cleared tank");
}

#[test]
fn errors_that_go_on_are_told_again_when_they_have_doubled() {
    let faulted = |count: &str| fixture!("-p.disk-faulted").replace("200", count);
    let looks = [faulted("10"), faulted("15"), faulted("22"), faulted("23"), faulted("46")];
    let told = told(&looks.each_ref().map(String::as_str));
    let telling: Vec<_> = told.iter().map(|told| told.iter().any(|line| line.contains("errors"))).collect();
    // 13, 18, 25, 26, 49 errors.
    assert_eq!(telling, [true, false, false, true, false]);
}

#[test]
fn a_trim_is_told_at_its_start_and_end() {
    let done = fixture!("-t.trim");
    let running = done.replace("100% trimmed, completed at", "40% trimmed, started at");
    let before = done.replace("(100% trimmed, completed at Fri Nov 20 23:02:57 2026)", "(untrimmed)");
    let told = told(&[&before, &running, &running, done, done]);
    assert_eq!(told[1], ["info storage.pool.trim_started tank"]);
    assert_eq!(told[2], Vec::<String>::new());
    assert_eq!(told[3], ["info storage.pool.trim_completed tank"]);
    assert_eq!(told[4], Vec::<String>::new());
}

#[test]
fn a_disk_is_named_shortly_and_its_path_is_told_in_full() {
    let told = told(&[fixture!("-LP.healthy"), fixture!("-P.replacing-in-progress")]);
    assert_eq!(told[1][0], "info storage.disk.added_to_pool vdd1");
    let after = parse_status(fixture!("-P.replacing-in-progress"));
    let findings = diff(&parse_status(fixture!("-LP.healthy")), &after);
    let payload: StorageDiskPayload = findings[0].payload();
    assert_eq!((payload.device_path.as_str(), payload.pool_name.as_str()), ("/dev/vdd1", "tank"));
}

#[test]
fn a_second_scrub_that_has_ended_since_is_told_by_its_date() {
    let done = fixture!(".scrub-done");
    let later = done.replace("Nov 20 23:00:38", "Nov 27 23:00:38");
    assert_eq!(told(&[done, &later])[1], ["info storage.pool.scrub_completed tank"]);
}

#[test]
fn a_sentence_names_the_disks_that_are_not_well_and_what_they_count() {
    let told = read(&[fixture!(".repaired"), fixture!("-p.disk-faulted"), fixture!(".repaired")]);
    assert_eq!(
        told[1],
        [
            "Pool pool1 is degraded: zc FAULTED (3 read, 200 write errors)",
            "Disk zc is FAULTED in pool pool1, it was ONLINE: too many errors, read errors: 3, write errors: 200",
            "Pool pool1 has errors: zc FAULTED (3 read, 200 write errors)",
        ]
    );
    assert_eq!(
        told[2],
        [
            "Pool pool1 is online again",
            "Disk zc is ONLINE in pool pool1, it was FAULTED",
            "Pool pool1 has no errors any more"
        ]
    );
    let lost = "Pool lossy has errors and lost data in 1 of its files: vdc (913 checksum errors)";
    assert_eq!(read(&[fixture!("-v.data-loss")])[0], [lost]);
    let suspended = fixture!(".healthy").replacen("ONLINE", "SUSPENDED", 1);
    assert_eq!(read(&[&suspended])[0], ["Pool tank is suspended, reads and writes hang"]);
}

#[test]
fn what_zpool_says_is_wrong_stands_where_no_disk_is() {
    let status = "UNAVAIL\nstatus: One or more devices could not be used.\n\tThe label is missing.";
    let unavailable = fixture!(".healthy").replacen("ONLINE", status, 1);
    let reason = "One or more devices could not be used. The label is missing";
    assert_eq!(read(&[&unavailable])[0], [format!("Pool tank has failed (UNAVAIL): {reason}")]);
}

#[test]
fn a_scrub_and_a_rebuild_tell_how_long_they_took_and_what_they_did() {
    let told = read(&[fixture!(".scrub-paused"), fixture!(".scrub-in-progress"), fixture!(".scrub-done")]);
    assert_eq!(told[1], ["Pool tank is being scrubbed, after a pause"]);
    assert_eq!(told[2], ["Pool tank was scrubbed, took 5s"]);
    let rebuilt = read(&[fixture!(".resilver-in-progress"), fixture!(".resilver-online")]);
    assert_eq!(rebuilt[1], ["Pool tank was rebuilt, 80.5 MiB written, took 2s"]);
    let scan = "scan: scrub repaired 59K in 00:00:03 with 444 errors on Fri Nov 20 23:02:49 2026\nconfig:";
    let lossy = fixture!(".healthy").replacen("config:", scan, 1);
    let told = read(&[fixture!(".healthy"), &lossy]);
    assert_eq!(told[1], ["Pool tank was scrubbed, errors left: 444, 59.0 KiB repaired, took 3s"]);
}

#[test]
fn a_rebuild_of_long_ago_that_stands_beside_a_scrub_is_not_told_at_its_end() {
    let with = |scrub: &str| {
        let rebuilt = "resilvered (draid1:2d:4c:1s-0) 334G in 01:02:03 with 0 errors on Mon Jul 24 19:40:55 2023";
        fixture!(".healthy").replacen("config:", &format!("scan: {scrub}\n  scan: {rebuilt}\nconfig:"), 1)
    };
    let told = read(&[
        &with("scrub repaired 0B in 2 days 10:05:20 with 0 errors on Tue Jul 11 10:29:22 2023"),
        &with("scrub in progress since Sun Aug 13 00:24:02 2023"),
        &with("scrub repaired 12K in 1 days 10:05:20 with 7 errors on Mon Aug 14 10:29:22 2023"),
    ]);
    assert_eq!(told[1], ["Pool tank is being scrubbed"]);
    assert_eq!(told[2], ["Pool tank was scrubbed, errors left: 7, 12.0 KiB repaired, took 1d 10h"]);
    assert_eq!(told[0], [""; 0], "what has ended before the first look is no news");
}

#[test]
fn the_disks_of_a_pool_that_has_gone_are_not_well_no_longer_than_it_is_there() {
    let told = read(&[fixture!("-p.disk-faulted"), "no pools available\n"]);
    assert_eq!(
        told[1],
        ["Pool pool1 is gone: exported or destroyed", "Disk zc was taken out of pool pool1, it was FAULTED"]
    );
}

#[test]
fn of_very_many_disks_the_worst_are_named_and_the_others_counted() {
    let mut pool = parse_status(fixture!(".healthy")).remove("tank").expect("a pool");
    let (_, disk) = pool.disks.pop_first().expect("a disk");
    pool.disks = (0..1000).map(|n| (format!("d{n:03}"), Disk { state: "OFFLINE".into(), ..disk.clone() })).collect();
    pool.disks.insert("z".into(), Disk { state: "FAULTED".into(), ..disk });
    let findings = faults(&Pools::from([("tank".to_owned(), pool)]));
    let payload: StoragePoolPayload = findings[0].payload();
    assert_eq!((payload.devices.len(), payload.more_devices), (100, 901));
    assert_eq!(payload.faulty_devices[0], "z FAULTED");
    assert!(findings[0].sentence().ends_with("d006 OFFLINE, and 993 more"), "{}", findings[0].sentence());
}

#[test]
fn a_broken_cache_is_a_broken_disk_and_no_degraded_pool() {
    let with_cache = |state: &str| {
        let cache = format!("\tcache\n\t  vde       {state}     0     0     0\n\nerrors: No");
        fixture!(".healthy").replace("\nerrors: No", &cache)
    };
    let told = told(&[&with_cache("ONLINE"), &with_cache("FAULTED")]);
    assert_eq!(told[1], ["error storage.disk.state_changed vde"]);
}

#[test]
fn pools_that_come_and_go_are_told_with_what_is_wrong_with_them() {
    let told = told(&["no pools available\n", fixture!("-v.data-loss"), "no pools available\n"]);
    assert_eq!(told[1], ["info storage.pool.imported lossy", "critical storage.pool.errors lossy"]);
    assert_eq!(told[2], ["info storage.pool.exported lossy"]);
}

#[test]
fn a_pool_that_a_boot_does_not_bring_back_is_missed_and_one_that_goes_in_this_boot_was_exported() {
    let gone = |boot: &str, now: &str| {
        let mut pools = parse_status(fixture!("-p.disk-faulted"));
        pools.values_mut().for_each(|pool| pool.boot = boot.to_owned());
        sentences(&super::diff(&pools, &Pools::new(), now))
    };
    let missed = ["Pool pool1 has disappeared: mirror", "Disk zc was taken out of pool pool1, it was FAULTED"];
    assert_eq!(gone("one", "two"), missed);
    for (boot, now) in [("one", "one"), ("", "two"), ("one", "")] {
        assert_eq!(gone(boot, now)[0], "Pool pool1 is gone: exported or destroyed", "{boot}, {now}");
    }
}

#[test]
fn a_pool_in_the_memory_of_an_older_agent_is_of_no_known_boot() {
    let mut remembered = serde_json::to_value(parse_status(fixture!(".healthy"))).expect("JSON");
    remembered["tank"].as_object_mut().and_then(|pool| pool.remove("boot")).expect("a boot");
    let pools: Pools = serde_json::from_value(remembered).expect("pools");
    assert_eq!(pools, parse_status(fixture!(".healthy")));
    assert!(!pools["tank"].is_from_before("two"));
}

#[test]
fn more_errors_of_disks_of_a_pool_that_has_lost_data_are_as_grave_as_that() {
    let with = |count: &str| fixture!("-v.data-loss").replace("913", count);
    let told = told(&[&with("913"), &with("1826")]);
    assert_eq!(told[1], ["critical storage.pool.errors lossy"]);
}

#[test]
fn a_clean_scrub_ends_what_a_rebuild_has_left_and_an_import_what_was_told_before_the_pool_had_gone() {
    let ends = |kind: &str| crate::event::Catalogue::compiled().describe(kind).expect("a kind").meaning().ends.clone();
    assert_eq!(ends("storage.pool.scrub_completed"), ["pool resilver"]);
    assert_eq!(ends("storage.pool.imported"), ["pool health", "pool errors", "pool capacity"]);
}

#[test]
fn suspended_and_faulted_pools_are_critical() {
    let state = |state: &str| fixture!(".healthy").replacen("ONLINE", state, 1);
    let told = told(&[fixture!(".healthy"), &state("SUSPENDED"), &state("UNAVAIL"), fixture!(".healthy")]);
    assert_eq!(told[1], ["critical storage.pool.suspended tank"]);
    assert_eq!(told[2], ["critical storage.pool.faulted tank"]);
    assert_eq!(told[3], ["info storage.pool.online tank"]);
}

#[test]
fn a_pool_that_grows_or_fills_up_is_told() {
    let look = |list: &str, before: Option<&Pool>| {
        let mut pools = parse_status(fixture!(".healthy"));
        add_sizes(&mut pools, list);
        pools.values_mut().for_each(|pool| pool.follow(before, &DEFAULT));
        pools
    };
    let small = look("tank\t1000\t500\n", None);
    let full = look("tank\t1000\t920\n", small.get("tank"));
    assert_eq!(lines(&diff(&small, &full)), ["error storage.pool.capacity tank"]);
    assert_eq!(sentences(&diff(&small, &full)), ["Pool tank is 92 % full, 920 B of 1000 B"]);
    let unknown = look("", full.get("tank"));
    assert_eq!(lines(&diff(&full, &unknown)), Vec::<String>::new());
    let grown = look("tank\t2000\t920\n", unknown.get("tank"));
    assert_eq!(lines(&diff(&unknown, &grown)), ["info storage.pool.expanded tank", "info storage.pool.capacity tank"]);
    assert_eq!(
        sentences(&diff(&unknown, &grown)),
        ["Pool tank has grown to 2.0 KiB from 1000 B", "Pool tank is 46 % full, 920 B of 2.0 KiB"]
    );
}

proptest! {
    #[test]
    fn no_pools_differ_from_themselves(index in 0usize..6, cut in 0usize..900) {
        let text = [
            fixture!(".healthy"), fixture!("-p.disk-faulted"), fixture!("-v.data-loss"), fixture!("-t.trim"),
            fixture!(".scrub-paused"), fixture!(".replacing-in-progress"),
        ][index];
        let text: String = text.chars().take(cut).collect();
        let mut pools = parse_status(&text);
        pools.values_mut().for_each(|pool| pool.follow(None, &DEFAULT));
        let mut again = pools.clone();
        for (name, pool) in &mut again {
            pool.follow(pools.get(name), &DEFAULT);
        }
        prop_assert_eq!(diff(&pools, &again), vec![]);
    }
}

/// A mirror with a scrub or a resilver and with rows of its tree.
fn tank(scan: &str, rows: &[&str]) -> String {
    let rows: String = rows.iter().map(|row| format!("\t    {row} 0 0 0\n")).collect();
    format!(
        "  pool: tank\n state: ONLINE\n  scan: {scan}\nconfig:\n\n\tNAME STATE READ WRITE CKSUM\n\ttank ONLINE 0 0 0\n\t  \
         mirror-0 ONLINE 0 0 0\n{rows}\nerrors: No known data errors\n"
    )
}

const SCRUBBED: &str = "scrub repaired 0B in 00:00:01 with 0 errors on Sun Nov  8 00:24:02 2026";
const REBUILT: &str = "resilvered 99.2M in 00:00:16 with 0 errors on Sat Nov 21 13:04:51 2026";

#[test]
fn letters_that_move_at_a_boot_tell_nothing_and_each_disk_keeps_its_history() {
    let before = tank(SCRUBBED, &["/dev/sda1 ONLINE", "/dev/sdb1 FAULTED"]);
    let nothing = [""; 0];
    for after in [["/dev/sdb1 ONLINE", "/dev/sdc1 FAULTED"], ["/dev/sdb1 ONLINE", "/dev/sda1 FAULTED"]] {
        assert_eq!(told(&[&before, &tank(SCRUBBED, &after)])[1], nothing, "{after:?}");
    }
    let healed = tank(SCRUBBED, &["/dev/sdb1 ONLINE", "/dev/sdc1 ONLINE"]);
    assert_eq!(told(&[&before, &healed])[1], ["info storage.pool.online tank", "info storage.disk.state_changed sdc1"]);
    let lasting = tank(SCRUBBED, &["/dev/disk/by-id/wwn-1 ONLINE", "/dev/disk/by-id/wwn-2 ONLINE"]);
    let other = tank(SCRUBBED, &["/dev/disk/by-id/wwn-1 ONLINE", "/dev/disk/by-id/wwn-3 ONLINE"]);
    assert_eq!(
        told(&[&lasting, &other])[1],
        ["info storage.disk.removed_from_pool wwn-2", "info storage.disk.added_to_pool wwn-3"]
    );
}

#[test]
fn a_disk_that_was_rebuilt_in_the_place_of_another_is_another() {
    let before = tank(SCRUBBED, &["/dev/sda1 ONLINE", "/dev/sdb1 ONLINE"]);
    let after = tank(REBUILT, &["/dev/sda1 ONLINE", "/dev/sdc1 ONLINE"]);
    let told = told(&[&before, &after]).remove(1);
    assert!(told.contains(&"info storage.disk.removed_from_pool sdb1".to_owned()), "{told:?}");
    assert!(told.contains(&"info storage.disk.added_to_pool sdc1".to_owned()), "{told:?}");
}

#[test]
fn a_missing_disk_is_not_hidden_by_one_that_has_its_name_now() {
    let before = tank(SCRUBBED, &["/dev/sda1 ONLINE", "/dev/sdb1 ONLINE"]);
    let missing = "8675309 UNAVAIL 0 0 0 was /dev/sdb1";
    let after = tank(SCRUBBED, &["/dev/sdb1 ONLINE", missing]).replace("was /dev/sdb1 0 0 0", "was /dev/sdb1");
    let told = told(&[&before, &after]).remove(1);
    assert_eq!(told, ["error storage.pool.degraded tank", "error storage.disk.state_changed 8675309"]);
}
