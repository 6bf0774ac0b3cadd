//! The ZFS pools as a domain: zpool is asked in turn, and when the kernel's word for a pool changes.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::time::Interval;

use super::{
    fullness::Thresholds,
    zfs::{self, Pools, States, Zfs},
};
use crate::{
    collectors::{
        CollectError, Context,
        driver::{Domain, turns},
        finding::Finding,
        listing::{counted, listed},
    },
    telemetry::ErrorChain,
};

/// How often the kernel's words for the pools are read.
const STATES_INTERVAL: Duration = Duration::from_secs(5);
/// Pools of many disks, or of disks that the network brings, are imported some time after the boot.
const IMPORT_TIME: Duration = Duration::from_secs(300);
/// What it is blind to while zpool does not tell all.
const IN_FULL: &str = "ZFS pools in full";

pub(super) struct PoolList {
    zfs: Zfs,
    thresholds: Thresholds,
    interval: Duration,
    states: States,
    states_turns: Interval,
    /// Of the machine.
    boot: String,
    /// Until then what was there before a boot may still come.
    waits_until: Instant,
}

impl PoolList {
    pub(super) fn new(thresholds: Thresholds, interval: Duration) -> PoolList {
        let states_turns = turns(STATES_INTERVAL);
        let waits_until = Instant::now() + IMPORT_TIME;
        let (zfs, states, boot) = (Zfs::default(), States::new(), String::new());
        PoolList { zfs, thresholds, interval, states, states_turns, boot, waits_until }
    }

    /// What zpool and the kernel tell together, and what is missing from it.
    async fn ask(&mut self, context: &Context, before: Option<&Pools>) -> Option<(Pools, Option<String>)> {
        let looked = self.zfs.look(&context.host).await;
        if let Ok(states) = states(context).await {
            self.states = states;
        }
        match looked {
            // Without zpool nothing is seen of pools that may be there; without the module there are none.
            Ok(None) if zfs::is_here(&context.host) => None,
            Ok(None) => before.filter(|before| !before.is_empty()).map(|_| (Pools::new(), None)),
            Ok(Some(zfs::Looked { mut pools, complaint })) => {
                let unlisted = zfs::keep_those_of_the_kernel(before, &mut pools, &self.states);
                let unlisted = (!unlisted.is_empty())
                    .then(|| format!("zpool does not list {}", listed(unlisted.into_iter()).join(", ")));
                Some((pools, complaint.map(|error| ErrorChain(&error).to_string()).or(unlisted)))
            }
            // The kernel's words are all that there is, and enough to tell of a pool that has been suspended.
            Err(error) => {
                let pools = zfs::with_states(before.cloned().unwrap_or_default(), &self.states);
                Some((pools, Some(ErrorChain(&error).to_string())))
            }
        }
    }
}

impl Domain for PoolList {
    const NAME: &'static str = "pools";
    type Known = Pools;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Pools>) -> Result<Option<Pools>, CollectError> {
        let Some((mut pools, why)) = self.ask(context, before).await else { return Ok(None) };
        context.note(IN_FULL, why.map(|why| format!("zpool gives no full answer: {why}"))).await?;
        let boot = context.host.look(|host| host.read("/proc/sys/kernel/random/boot_id")).await;
        self.boot = boot.unwrap_or_default().trim().to_owned();
        zfs::complete(&mut pools, before, &self.thresholds);
        zfs::note_boot(&mut pools, &self.states, &self.boot);
        if let Some(before) = before.filter(|_| Instant::now() < self.waits_until) {
            zfs::wait_for_import(before, &mut pools, &self.boot);
        }
        Ok(Some(pools))
    }

    fn first_sight(&self, known: &Pools) -> Vec<Finding> {
        zfs::faults(known)
    }

    fn diff(&self, before: &Pools, after: &Pools) -> Vec<Finding> {
        zfs::diff(before, after, &self.boot)
    }

    fn inventory(&self, known: &Pools) -> String {
        if known.is_empty() {
            return String::new();
        }
        let (count, plural) = (zfs::disks(known), if zfs::disks(known) == 1 { "" } else { "s" });
        format!("{}; {count} disk{plural} in pools", counted(known.keys().cloned().collect(), "pool"))
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    async fn wake(&mut self, context: &Context) -> Result<(), CollectError> {
        loop {
            self.states_turns.tick().await;
            if states(context).await.is_ok_and(|states| states != self.states) {
                return Ok(());
            }
        }
    }
}

async fn states(context: &Context) -> io::Result<States> {
    context.host.look(zfs::states).await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::collectors::{finding::lines, storage::fullness::DEFAULT, tests::Machine};

    #[tokio::test]
    async fn a_pool_that_a_boot_does_not_bring_back_is_waited_for_and_then_missed_once_also_without_the_module() {
        let machine = Machine::new();
        let (context, _log) = machine.ground("storage").await;
        let list = || PoolList::new(DEFAULT, Duration::from_secs(60));
        assert!(list().look(&context, None).await.unwrap().is_none(), "a machine that never had pools");
        machine.write("proc/sys/kernel/random/boot_id", "one\n");
        machine.write("dev/zfs", "");
        machine.write("proc/spl/kstat/zfs/tank/state", "ONLINE\n");
        machine.program("sbin/zpool", "exit 1");
        let before = list().look(&context, None).await.unwrap().expect("the kernel's word");

        machine.write("proc/sys/kernel/random/boot_id", "two\n");
        fs::remove_file(machine.path("dev/zfs")).unwrap();
        fs::remove_dir_all(machine.path("proc/spl")).unwrap();
        let mut booted = list();
        let waiting = booted.look(&context, Some(&before)).await.unwrap().expect("what was there");
        assert_eq!(waiting, before);
        booted.waits_until = Instant::now();
        let missed = booted.look(&context, Some(&waiting)).await.unwrap().expect("no pools");
        assert_eq!(lines(&booted.diff(&waiting, &missed)), ["critical storage.pool.removed tank"]);
        assert!(booted.look(&context, Some(&missed)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_pool_that_comes_late_after_a_boot_was_there_all_along_and_one_that_is_exported_then_was_not_missed() {
        let machine = Machine::new();
        let (context, _log) = machine.ground("storage").await;
        let list = || PoolList::new(DEFAULT, Duration::from_secs(60));
        machine.write("dev/zfs", "");
        machine.write("proc/sys/kernel/random/boot_id", "one\n");
        machine.write("proc/spl/kstat/zfs/tank/state", "ONLINE\n");
        machine.program("sbin/zpool", "exit 1");
        let before = list().look(&context, None).await.unwrap().expect("the kernel's word");
        machine.write("proc/sys/kernel/random/boot_id", "two\n");
        let mut booted = list();
        let back = booted.look(&context, Some(&before)).await.unwrap().expect("the kernel's word");
        assert_eq!(booted.diff(&before, &back), []);
        fs::remove_dir_all(machine.path("proc/spl/kstat/zfs/tank")).unwrap();
        machine.program("sbin/zpool", "echo no pools available");
        let gone = booted.look(&context, Some(&back)).await.unwrap().expect("no pools");
        assert_eq!(lines(&booted.diff(&back, &gone)), ["info storage.pool.exported tank"]);
    }
}
