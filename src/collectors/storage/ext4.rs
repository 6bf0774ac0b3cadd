//! The errors that ext4 file systems have counted in themselves, as a domain. The count stands on the disk: it outlasts
//! reboots, until the file system is checked.

use crate::order::Gather as _;
use std::{collections::BTreeMap, io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    mount_table::{self, Mounted},
    mounts::Mounts,
};
use crate::{
    collectors::{
        CollectError, Context,
        driver::Domain,
        finding::{Finding, told_of},
        listing::source_of,
    },
    event::Level,
    host::Host,
    schema::events::{StorageDatasetPayload, storage_dataset_payload::StorageDatasetOperation as Operation},
};

const DIRECTORY: &str = "/sys/fs/ext4";
/// Small files of the kernel's memory: no disk is asked.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many that are not mounted any more are remembered with their errors.
const AWAY_MAX: usize = 256;
const COMPONENT: &str = "ext4";

/// Those with errors, by the name of what is mounted: `/dev/sda1`.
type Known = BTreeMap<String, Damage>;

/// What a file system says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Damage {
    errors: u64,
    /// As many as have been told.
    told: u64,
    mountpoint: String,
    /// Where in the kernel the last one was found: `ext4_lookup`.
    function: String,
}

/// The look at them.
pub(super) struct Ext4Errors {
    mounts: watch::Receiver<Mounted>,
}

impl Ext4Errors {
    pub(super) fn new(mounts: watch::Receiver<Mounted>) -> Ext4Errors {
        Ext4Errors { mounts }
    }
}

impl Domain for Ext4Errors {
    const NAME: &'static str = "ext4 errors";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let mounts = self.mounts.borrow_and_update().clone().unwrap_or_default();
        let seen = context.look(&format!("read {DIRECTORY}"), move |host| look(host, &mounts)).await?;
        Ok(Some(follow(seen, before)))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        mount_table::changed(&mut self.mounts).await
    }
}

/// All that are mounted, also those without errors.
fn look(host: &Host, mounts: &Mounts) -> io::Result<Known> {
    let mut known = Known::new();
    for device in host.names(DIRECTORY)? {
        let word = |file: &str| host.read(&format!("{DIRECTORY}/{device}/{file}")).ok();
        // `features` has none; nor has one that is being unmounted.
        let Some(errors) = word("errors_count").and_then(|count| count.trim().parse().ok()) else { continue };
        let number = host.read(&format!("/sys/class/block/{device}/dev")).unwrap_or_default();
        let mount = mounts.iter().find(|(_, mount)| !number.is_empty() && mount.device == number.trim());
        let (name, mountpoint) = match mount {
            Some((place, _)) => (place.source.clone(), place.mountpoint.clone()),
            None => (source_of(host, &device), String::new()),
        };
        let function = word("last_error_func").unwrap_or_default().trim().to_owned();
        known.insert(name, Damage { errors, told: 0, mountpoint, function });
    }
    Ok(known)
}

/// What is known from now on: those with errors, and those that had some and are away.
fn follow(seen: Known, before: Option<&Known>) -> Known {
    let none = Known::new();
    let before = before.unwrap_or(&none);
    // A boot may deal the names anew: what is mounted there now, and has as many, is the same.
    let is_renamed = |damage: &Damage| {
        let is_it = |other: &Damage| other.mountpoint == damage.mountpoint && other.errors >= damage.errors;
        !damage.mountpoint.is_empty() && seen.values().any(is_it)
    };
    let away = before.iter().filter(|(name, damage)| !seen.contains_key(*name) && !is_renamed(damage)).take(AWAY_MAX);
    let away: Vec<_> = away.map(|(name, damage)| (name.clone(), damage.clone())).collect();
    let damaged = seen.into_iter().filter(|(_, damage)| damage.errors > 0).map(|(name, damage)| {
        let told = told_of(damage.errors, before.get(&name).map_or(0, |before| before.told));
        (name, Damage { told, ..damage })
    });
    damaged.chain(away).gather()
}

fn diff(before: &Known, after: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, damage) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        findings.push(finding(Level::Info, name, &Damage { errors: 0, ..damage.clone() }, Operation::ErrorsCleared));
    }
    for (name, damage) in after {
        if damage.told > before.get(name).map_or(0, |before| before.told) {
            findings.push(finding(Level::Error, name, damage, Operation::Errors));
        }
    }
    findings
}

fn finding(level: Level, name: &str, damage: &Damage, operation: Operation) -> Finding {
    let action = if operation == Operation::Errors { "errors counted" } else { "errors cleared" };
    let payload = StorageDatasetPayload {
        dataset_name: name.to_owned(),
        r#type: "ext4".to_owned(),
        mountpoint: damage.mountpoint.clone(),
        errors: damage.errors,
        operation: operation.into(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, action).with("function", &damage.function)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{
        finding::{lines, sentences},
        storage::{mount_rule::rule, mounts::parse},
    };

    const MOUNTS: &str = "29 1 8:1 / /srv rw - ext4 /dev/mapper/vg-srv rw";

    /// A machine on which `/srv` has counted so many errors; none when it is not mounted.
    fn shown(count: Option<&str>) -> Known {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("sys/fs/ext4/features/batched_discard", b"supported\n");
        write("sys/class/block/dm-0/dev", b"8:1\n");
        if let Some(count) = count {
            write("sys/fs/ext4/dm-0/errors_count", count.as_bytes());
            write("sys/fs/ext4/dm-0/last_error_func", b"ext4_lookup\xff\n");
        }
        look(&Host::at(root.path()), &parse(MOUNTS, &rule(&[], &[]))).unwrap()
    }

    #[test]
    fn errors_are_told_once_again_when_they_double_and_when_a_check_has_cleared_them() {
        let mut known: Option<Known> = None;
        let mut told = Vec::new();
        for count in [Some("0\n"), Some("1\n"), Some("1\n"), Some("2\n"), Some("3\n"), None, Some("3\n"), Some("0\n")] {
            let after = follow(shown(count), known.as_ref());
            let findings = diff(&known.clone().unwrap_or_default(), &after);
            told.push(format!("{}: {}", count.unwrap_or("away").trim(), sentences(&findings).join("; ")));
            known = Some(after);
        }
        let expected = [
            "0: ",
            "1: File system /dev/mapper/vg-srv has found errors in itself: 1, mounted at /srv, ext4",
            "1: ",
            "2: File system /dev/mapper/vg-srv has found errors in itself: 2, mounted at /srv, ext4",
            "3: ",
            "away: ",
            "3: ",
            "0: File system /dev/mapper/vg-srv has no errors any more, mounted at /srv, ext4",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_file_system_that_has_another_name_after_a_boot_is_no_longer_damaged_under_the_old_one() {
        let damage = |errors| Damage { errors, told: errors, mountpoint: "/srv".to_owned(), function: String::new() };
        let known = |name: &str, errors| Known::from([(name.to_owned(), damage(errors))]);
        let before = known("/dev/sdb1", 3);
        let after = follow(known("/dev/sdc1", 3), Some(&before));
        let told = lines(&diff(&before, &after));
        assert_eq!(told, ["info storage.dataset.errors_cleared /srv", "error storage.dataset.errors /srv"]);
        let other = follow(known("/dev/sdc1", 2), Some(&before));
        assert_eq!(other.len(), 2, "one with fewer is another one");
    }

    #[test]
    fn a_machine_without_ext4_has_no_errors_and_a_device_that_is_not_mounted_here_has_its_own_name() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        assert_eq!(look(&host, &Mounts::new()).unwrap(), Known::new());
        for device in ["sdb1", "dm-1"] {
            std::fs::create_dir_all(root.path().join("sys/fs/ext4").join(device)).unwrap();
            std::fs::write(root.path().join("sys/fs/ext4").join(device).join("errors_count"), "7").unwrap();
        }
        std::fs::create_dir_all(root.path().join("sys/class/block/dm-1/dm")).unwrap();
        std::fs::write(root.path().join("sys/class/block/dm-1/dm/name"), "vg-srv\n").unwrap();
        let known = follow(look(&host, &Mounts::new()).unwrap(), None);
        assert_eq!(lines(&diff(&Known::new(), &known)), ["error storage.dataset.errors"; 2]);
        assert_eq!(known.keys().collect::<Vec<_>>(), ["/dev/mapper/vg-srv", "/dev/sdb1"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whatever_is_counted_a_look_that_sees_the_same_tells_nothing(counts in proptest::collection::vec("[0-9]{0,20}|.{0,4}", 1..8)) {
            let mut known: Option<Known> = None;
            for count in &counts {
                let after = follow(shown(Some(count)), known.as_ref());
                let again = follow(shown(Some(count)), Some(&after));
                prop_assert_eq!(diff(&after, &again), vec![]);
                known = Some(after);
            }
        }
    }
}
