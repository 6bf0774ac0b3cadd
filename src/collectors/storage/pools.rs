//! The ZFS pools as a domain: zpool is asked in turn, and when the kernel's word for a pool changes.

use std::{io, time::Duration};

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
/// What it is blind to while zpool does not tell all.
const IN_FULL: &str = "ZFS pools in full";

pub(super) struct PoolList {
    zfs: Zfs,
    thresholds: Thresholds,
    interval: Duration,
    states: States,
    states_turns: Interval,
}

impl PoolList {
    pub(super) fn new(thresholds: Thresholds, interval: Duration) -> PoolList {
        let states_turns = turns(STATES_INTERVAL);
        PoolList { zfs: Zfs::default(), thresholds, interval, states: States::new(), states_turns }
    }

    /// What zpool and the kernel tell together, and what is missing from it.
    async fn ask(&mut self, context: &Context, before: Option<&Pools>) -> Option<(Pools, Option<String>)> {
        let looked = self.zfs.look(&context.host).await;
        if let Ok(states) = states(context).await {
            self.states = states;
        }
        match looked {
            Ok(None) => None,
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
        zfs::complete(&mut pools, before, &self.thresholds);
        Ok(Some(pools))
    }

    fn first_sight(&self, known: &Pools) -> Vec<Finding> {
        zfs::faults(known)
    }

    fn diff(&self, before: &Pools, after: &Pools) -> Vec<Finding> {
        zfs::diff(before, after)
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
