//! ZFS pools, by the commands of the machine and, in between, by the one word that the kernel has for each.
//!
//! Gives snapshots and their differences to the storage collector. Text is read and not JSON: every version of zpool
//! writes it. Where there is no zpool, or no module behind it, there are no pools and nothing is said.

mod changes;
mod scan;
mod status;
mod vdev;

use std::{collections::BTreeMap, io, time::Duration};

use self::status::{LIST_ARGUMENTS, STATUS_ARGUMENTS, add_sizes, parse_status};
pub(super) use self::{
    changes::{diff, faults},
    status::Pools,
};
use super::fullness::Thresholds;
use crate::{
    host::{
        Host,
        command::{CommandError, Program},
    },
    order::Gather as _,
};

/// Programs to look for.
const ZPOOL: &[&str] = &["/sbin/zpool", "/usr/sbin/zpool", "/usr/local/sbin/zpool"];
/// What is there when the module is loaded.
const MODULE: &[&str] = &["/dev/zfs", "/proc/spl"];
/// One directory a pool, with a file `state`.
const KSTAT: &str = "/proc/spl/kstat/zfs";
/// Of a pool that is being imported or exported: it is not there yet, or no more.
const COMING_OR_GOING: [&str; 3] = ["TRANSITIONING", "OFFLINE", "UNKNOWN"];
const TIMEOUT: Duration = Duration::from_secs(10);
/// Some hundred pools of some hundred disks.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The kernel's word for each pool.
pub(super) type States = BTreeMap<String, String>;

/// In how many looks zpool is asked once for sizes, which change slowly; so no program is started twice a minute for long.
const LOOKS_PER_SIZES: u32 = 5;

/// The way to the pools of a machine.
#[derive(Debug, Default)]
pub(super) struct Zfs {
    zpool: Option<Program>,
    looks: u32,
    /// How those were whose sizes have been asked: who is otherwise now is asked for them at once.
    sized: States,
}

impl Zfs {
    /// All pools with their sizes; none when the machine has no ZFS. Where zpool tells of the pools and not of their sizes, the
    /// pools are given with that complaint.
    ///
    /// # Errors
    /// When zpool tells nothing of the pools.
    pub(super) async fn look(&mut self, host: &Host) -> Result<Option<Looked>, CommandError> {
        if !is_here(host) {
            return Ok(None);
        }
        let zpool = Program::found(&mut self.zpool, host, ZPOOL, TIMEOUT, OUTPUT_BYTES_MAX);
        let Some(zpool) = zpool else { return Ok(None) };
        let looked = look(zpool, self.looks, &mut self.sized).await;
        self.looks = self.looks.wrapping_add(1);
        looked.map(Some)
    }
}

/// What zpool tells, and what it fails to tell.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) pools: Pools,
    pub(super) complaint: Option<CommandError>,
}

async fn look(zpool: &mut Program, looks: u32, sized: &mut States) -> Result<Looked, CommandError> {
    let mut pools = parse_status(&zpool.run(STATUS_ARGUMENTS).await?);
    let mut complaint = None;
    let has_changed = pools.iter().any(|(name, pool)| sized.get(name) != Some(&pool.state));
    if !pools.is_empty() && (has_changed || looks.is_multiple_of(LOOKS_PER_SIZES)) {
        match zpool.run(LIST_ARGUMENTS).await {
            Ok(list) => {
                add_sizes(&mut pools, &list);
                *sized = pools.iter().map(|(name, pool)| (name.clone(), pool.state.clone())).gather();
            }
            Err(error) => {
                sized.clear();
                complaint = Some(error);
            }
        }
    }
    Ok(Looked { pools, complaint })
}

/// Whether the module is loaded.
pub(super) fn is_here(host: &Host) -> bool {
    MODULE.iter().any(|path| host.path(path).exists())
}

/// The kernel's words, at the price of a few small files: a change of one is a reason to look at once.
pub(super) fn states(host: &Host) -> io::Result<States> {
    // Beside the pools there are files.
    let state = |name: String| {
        let state = host.read(&format!("{KSTAT}/{name}/state")).ok()?.trim().to_owned();
        (!COMING_OR_GOING.contains(&state.as_str())).then_some((name, state))
    };
    Ok(host.names(KSTAT)?.into_iter().filter_map(state).gather())
}

/// Puts the kernel's words in the place of zpool's, for when zpool itself does not answer. Of a pool that no look has seen
/// they are all that is known.
pub(super) fn with_states(mut pools: Pools, states: &States) -> Pools {
    for (name, state) in states {
        pools.entry(name.clone()).or_default().state.clone_from(state);
    }
    pools
}

/// Keeps what zpool does not list and the kernel has; gives the names of these.
pub(super) fn keep_those_of_the_kernel(before: Option<&Pools>, after: &mut Pools, states: &States) -> Vec<String> {
    let unlisted: Vec<String> = states.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
    for name in &unlisted {
        let mut pool = before.and_then(|before| before.get(name)).cloned().unwrap_or_default();
        pool.state = states.get(name).cloned().unwrap_or_default();
        after.insert(name.clone(), pool);
    }
    unlisted
}

/// Completes a look by what the one before knew.
pub(super) fn complete(after: &mut Pools, before: Option<&Pools>, thresholds: &Thresholds) {
    for (name, pool) in after {
        pool.follow(before.and_then(|before| before.get(name)), thresholds);
    }
}

/// Notes that those are of this boot which zpool or the kernel has. One that is only known keeps the boot in which it was seen.
pub(super) fn note_boot(pools: &mut Pools, states: &States, boot: &str) {
    for (name, pool) in pools {
        // What zpool has told of has none yet.
        if pool.boot.is_empty() || states.contains_key(name) {
            boot.clone_into(&mut pool.boot);
        }
    }
}

/// Those that were there before the boot and are not yet may still be imported: they are as they were.
pub(super) fn wait_for_import(before: &Pools, after: &mut Pools, boot: &str) {
    for (name, pool) in before.iter().filter(|(_, pool)| pool.is_from_before(boot)) {
        after.entry(name.clone()).or_insert_with(|| pool.clone());
    }
}

/// How many devices the pools have.
pub(super) fn disks(pools: &Pools) -> usize {
    pools.values().map(|pool| pool.disks.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::collectors::{
        finding::{Finding, lines},
        storage::fullness::DEFAULT,
    };

    fn compare(before: Option<&Pools>, mut after: Pools) -> (Pools, Vec<Finding>) {
        complete(&mut after, before, &DEFAULT);
        let findings = before.map_or_else(|| faults(&after), |before| diff(before, &after, ""));
        (after, findings)
    }

    #[test]
    fn the_kernel_tells_of_a_suspended_pool_while_zpool_hangs() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        assert_eq!(states(&host).unwrap(), States::new());
        let kstat = root.path().join("proc/spl/kstat/zfs");
        fs::create_dir_all(kstat.join("tank")).unwrap();
        fs::write(kstat.join("tank/state"), "SUSPENDED\n").unwrap();
        fs::write(kstat.join("arcstats"), "9 1 0x01\n").unwrap();
        let states = states(&host).unwrap();
        let pools = parse_status(include_str!("../../../../tests/fixtures/zfs/zpool-status.healthy.txt"));
        let (pools, _) = compare(None, pools);
        let (_, findings) = compare(Some(&pools), with_states(pools.clone(), &states));
        assert_eq!(lines(&findings), ["critical storage.pool.suspended tank"]);
        let (bare, findings) = compare(None, with_states(Pools::new(), &states));
        assert_eq!(lines(&findings), ["critical storage.pool.suspended tank"], "also of one that no look has seen");
        let suspended = with_states(pools.clone(), &states);
        let (_, findings) = compare(Some(&bare), suspended);
        assert_eq!(lines(&findings), [""; 0], "its disks were there all along");
        let mut unlisted = Pools::new();
        assert_eq!(keep_those_of_the_kernel(Some(&pools), &mut unlisted, &states), ["tank"]);
        assert_eq!(unlisted["tank"].disks, pools["tank"].disks, "what zpool does not list for a moment is not gone");
    }

    #[test]
    fn a_pool_that_is_being_imported_is_not_there_until_it_is() {
        let root = tempfile::tempdir().unwrap();
        let kstat = root.path().join("proc/spl/kstat/zfs/single");
        fs::create_dir_all(&kstat).unwrap();
        for word in ["TRANSITIONING", "OFFLINE", "UNKNOWN"] {
            fs::write(kstat.join("state"), format!("{word}\n")).unwrap();
            let mut pools = Pools::new();
            let states = states(&Host::at(root.path())).unwrap();
            assert_eq!(keep_those_of_the_kernel(Some(&Pools::new()), &mut pools, &states), [""; 0]);
            assert_eq!(pools, Pools::new(), "{word} would be told as a fault, with nothing that is wrong");
        }
    }

    #[tokio::test]
    async fn a_machine_without_the_module_has_no_pools() {
        let root = tempfile::tempdir().unwrap();
        assert!(Zfs::default().look(&Host::at(root.path())).await.unwrap().is_none());
    }
}
