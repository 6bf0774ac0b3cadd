//! The look at storage: read, compare, emit, remember.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::{
    Settings,
    capacity::{self, Fills},
    listing::listed,
    mount_rule::MountRule,
    mounts::{self, Mounts},
    zfs::{self, Pools, States, Zfs},
};
use crate::{
    collectors::{CollectError, Context, finding::Finding},
    event::Level,
    host::{
        Host,
        mount_watch::{MOUNT_TABLE, MountWatch},
        space::{Asked, Space, SpaceError, SpaceProbe},
    },
    schema::events::{SystemHostPayload, system_host_payload::SystemHostOperation},
    telemetry::ErrorChain,
};

/// A service that starts changes several mounts in a row: one look for all.
const MOUNTS_QUIET: Duration = Duration::from_millis(100);
/// What it may be blind to: the table of mounts, mounts beyond the bound, a file system, the pools.
const MOUNTS: &str = "mounts";
const BEYOND: &str = "all of the mounts";
const FILE_SYSTEM: &str = "file system ";
const POOLS: &str = "ZFS pools in full";
/// How often the kernel's words for the pools are read.
const STATES_INTERVAL: Duration = Duration::from_secs(5);

pub(super) struct Watch {
    settings: Settings,
    context: Context,
    zfs: Zfs,
    probe: SpaceProbe,
    known: Known,
    states: States,
    /// File systems that refuse to tell, so that it is logged once.
    refusing: BTreeSet<String>,
}

/// What survives a restart of the agent; none where nothing has been seen yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    mounts: Option<Mounts>,
    /// By which the mounts were chosen; not known of memories of older agents.
    rule: Option<MountRule>,
    fills: Fills,
    pools: Option<Pools>,
}

impl Watch {
    pub(super) fn new(settings: Settings, context: Context) -> Watch {
        Watch {
            settings,
            context,
            zfs: Zfs::default(),
            probe: SpaceProbe::default(),
            known: Known::default(),
            states: States::new(),
            refusing: BTreeSet::new(),
        }
    }

    /// Looks until dropped.
    pub(super) async fn run(mut self) -> Result<(), CollectError> {
        // Before the first look, so that nothing falls between.
        let mut mount_watch = self.watch_mounts();
        self.begin().await?;
        let mut capacity = ticks(self.settings.capacity_interval);
        let mut pools = ticks(self.settings.pools_interval);
        let mut states = ticks(STATES_INTERVAL);
        loop {
            tokio::select! {
                changed = mounts_changed(&mut mount_watch) => {
                    changed?;
                    sleep(MOUNTS_QUIET).await;
                    let before = self.known.mounts.clone();
                    self.look_at_mounts().await?;
                    // What has just been plugged in may be full already.
                    if self.known.mounts != before {
                        self.look_at_capacity().await?;
                    }
                }
                _ = capacity.tick() => {
                    self.look_at_mounts().await?;
                    self.look_at_capacity().await?;
                }
                _ = pools.tick() => self.look_at_pools().await?,
                _ = states.tick() => self.look_at_states().await?,
            }
        }
    }

    fn watch_mounts(&self) -> Option<MountWatch> {
        MountWatch::open(&self.context.host)
            .inspect_err(
                |error| tracing::debug!(%error, "the table of mounts cannot be watched; it is read now and then"),
            )
            .ok()
    }

    /// First sight, or what changed since the agent last ran.
    async fn begin(&mut self) -> Result<(), CollectError> {
        self.known = self.recall();
        let is_first_sight = self.known.mounts.is_none();
        let rule = self.known.rule.replace(self.settings.mounts.clone());
        if let Some((rule, mounts)) = rule.zip(self.known.mounts.as_mut()) {
            // Of what has been included since only its fill is news: it may have been there all along.
            let table = read_table(&self.context.host).await.unwrap_or_default();
            let left_out = left_out_by(&rule, mounts::parse(&table, &self.settings.mounts));
            left_out.into_iter().for_each(|(place, mount)| {
                mounts.entry(place).or_insert(mount);
            });
        }
        self.look_at_mounts().await?;
        self.look_at_capacity().await?;
        self.look_at_states().await?;
        self.look_at_pools().await?;
        if is_first_sight {
            self.known.inventory().emit(&self.context.emitter).await?;
        }
        self.context.memory.remember(&self.known);
        Ok(())
    }

    fn recall(&self) -> Known {
        let mut known: Known = self.context.memory.recall().unwrap_or_default();
        if let Some(mounts) = &mut known.mounts {
            // What has been excluded since is not gone, and how full it is nobody asks any more.
            mounts.retain(|place, _| self.settings.mounts.takes(&place.source, &place.mountpoint, &place.fstype));
            known.fills.retain(|mountpoint, _| mounts.keys().any(|place| place.mountpoint == *mountpoint));
        }
        known
    }

    async fn look_at_mounts(&mut self) -> Result<(), CollectError> {
        let table = match read_table(&self.context.host).await {
            Ok(table) => table,
            // Pools, and how full is what is known, do not depend on it.
            Err(error) => {
                let why = ErrorChain(&error).to_string();
                return self.context.is_blind(MOUNTS, &why).await;
            }
        };
        self.context.sees(MOUNTS).await?;
        let all = mounts::parse(&table, &self.settings.mounts);
        let (after, beyond) = mounts::bounded(all, self.known.mounts.as_ref());
        self.note_beyond(beyond).await?;
        let findings = match self.known.mounts.clone() {
            Some(before) => {
                let spaces = self.measure(after.keys().filter(|place| !before.contains_key(place))).await?;
                mounts::diff(&before, &after, &spaces)
            }
            None => Vec::new(),
        };
        let mut fills = self.known.fills.clone();
        // Another file system at the same place begins with a state of its own.
        fills.retain(|mountpoint, _| after.keys().any(|place| place.mountpoint == *mountpoint));
        // What is not mounted any more is no blind spot.
        for gone in self.context.sight.blind_to(FILE_SYSTEM) {
            if !after.keys().any(|place| place.mountpoint == gone) {
                self.context.sees(&format!("{FILE_SYSTEM}{gone}")).await?;
            }
        }
        let known = Known { mounts: Some(after), fills, ..self.known.clone() };
        self.report(findings, known).await
    }

    async fn note_beyond(&self, beyond: usize) -> Result<(), CollectError> {
        if beyond == 0 {
            return self.context.sees(BEYOND).await;
        }
        let why = format!(
            "more than {} are mounted, {beyond} are not followed; leave some out: collectors.storage.mounts.exclude",
            mounts::MOUNTS_MAX
        );
        self.context.is_blind(BEYOND, &why).await
    }

    async fn look_at_capacity(&mut self) -> Result<(), CollectError> {
        let mounts = self.known.mounts.clone().unwrap_or_default();
        let measured = capacity::measured(&mounts);
        let spaces = self.measure(measured.iter().copied()).await?;
        let (fills, findings) = capacity::diff(&self.known.fills, &measured, &spaces, &self.settings.thresholds);
        let known = Known { fills, ..self.known.clone() };
        self.report(findings, known).await
    }

    async fn look_at_states(&mut self) -> Result<(), CollectError> {
        let Ok(states) = self.context.host.look(zfs::states).await else { return Ok(()) };
        if states != self.states {
            self.states = states;
            self.look_at_pools().await?;
        }
        Ok(())
    }

    async fn look_at_pools(&mut self) -> Result<(), CollectError> {
        let looked = self.zfs.look(&self.context.host).await;
        if let Ok(states) = self.context.host.look(zfs::states).await {
            self.states = states;
        }
        let before = self.known.pools.as_ref();
        let (after, why) = match looked {
            Ok(None) => return Ok(()),
            Ok(Some(zfs::Looked { mut pools, complaint })) => {
                let unlisted = zfs::keep_those_of_the_kernel(before, &mut pools, &self.states);
                let unlisted = (!unlisted.is_empty())
                    .then(|| format!("zpool does not list {}", listed(unlisted.into_iter()).join(", ")));
                (pools, complaint.map(|error| ErrorChain(&error).to_string()).or(unlisted))
            }
            // The kernel's words are all that there is, and enough to tell of a pool that has been suspended.
            Err(error) => (
                zfs::with_states(before.cloned().unwrap_or_default(), &self.states),
                Some(ErrorChain(&error).to_string()),
            ),
        };
        match why {
            Some(why) => self.context.is_blind(POOLS, &format!("zpool gives no full answer: {why}")).await?,
            None => self.context.sees(POOLS).await?,
        }
        let (pools, findings) = zfs::compare(self.known.pools.as_ref(), after, &self.settings.thresholds);
        let known = Known { pools: Some(pools), ..self.known.clone() };
        self.report(findings, known).await
    }

    /// Sizes by mount point; those that give none are left out. Local ones go first, for they answer.
    async fn measure<'a>(
        &mut self,
        places: impl Iterator<Item = &'a mounts::Place>,
    ) -> Result<BTreeMap<String, Space>, CollectError> {
        let mut spaces = BTreeMap::new();
        // The mount points of a fixture tree lie on the machine's own file system.
        if !self.context.host.is_live() {
            return Ok(spaces);
        }
        let mut places: Vec<_> = places.map(|place| (mounts::is_remote(&place.fstype), &place.mountpoint)).collect();
        places.sort();
        let mut asked = Vec::with_capacity(places.len());
        for (is_remote, mountpoint) in &places {
            asked.push(Asked { path: self.context.host.path(mountpoint), is_remote: *is_remote });
        }
        let answers = self.probe.look(&asked).await;
        for ((_, mountpoint), answer) in places.into_iter().zip(answers) {
            let what = format!("{FILE_SYSTEM}{mountpoint}");
            match answer {
                Ok(space) => {
                    self.refusing.remove(mountpoint);
                    self.context.sees(&what).await?;
                    spaces.insert(mountpoint.clone(), space);
                }
                // It may be one that only its owner may look into.
                Err(error @ SpaceError::Refused { .. }) => {
                    self.context.sees(&what).await?;
                    if self.refusing.insert(mountpoint.clone()) {
                        tracing::debug!(error = %ErrorChain(&error), "the file system does not tell how full it is");
                    }
                }
                Err(error) => self.context.is_blind(&what, &error.to_string()).await?,
            }
        }
        Ok(spaces)
    }

    /// Emits what was found, and only then knows it.
    async fn report(&mut self, findings: Vec<Finding>, known: Known) -> Result<(), CollectError> {
        for finding in findings {
            finding.emit(&self.context.emitter).await?;
        }
        if known != self.known {
            self.known = known;
            self.context.memory.remember(&self.known);
        }
        Ok(())
    }
}

async fn read_table(host: &Host) -> Result<String, CollectError> {
    let table = host.look(|host| host.read(MOUNT_TABLE)).await;
    table.map_err(|error| CollectError::failed(format!("read {MOUNT_TABLE}"), error))
}

/// Those of the mounts that an earlier rule did not take.
fn left_out_by(rule: &MountRule, mut mounts: Mounts) -> Mounts {
    mounts.retain(|place, _| !rule.takes(&place.source, &place.mountpoint, &place.fstype));
    mounts
}

impl Known {
    fn inventory(&self) -> Finding {
        let mountpoints = self.mounts.iter().flat_map(|mounts| mounts.keys()).map(|place| place.mountpoint.clone());
        let mountpoints: Vec<String> = mountpoints.collect::<BTreeSet<_>>().into_iter().collect();
        let mut detail = counted(mountpoints, "file system");
        if let Some(pools) = self.pools.as_ref().filter(|pools| !pools.is_empty()) {
            let names = pools.keys().cloned().collect();
            let (count, plural) = (zfs::disks(pools), if zfs::disks(pools) == 1 { "" } else { "s" });
            detail = format!("{detail}; {}; {count} disk{plural} in pools", counted(names, "pool"));
        }
        let payload = SystemHostPayload {
            subject: "storage".into(),
            detail,
            operation: SystemHostOperation::Inventory.into(),
            ..Default::default()
        };
        Finding::new(Level::Info, payload, "storage", "inventory")
    }
}

/// `2 pools: backup, tank`
fn counted(names: Vec<String>, noun: &str) -> String {
    let (count, plural) = (names.len(), if names.len() == 1 { "" } else { "s" });
    let names = listed(names.into_iter()).join(", ");
    if count == 0 { format!("no {noun}s") } else { format!("{count} {noun}{plural}: {names}") }
}

/// The first one after a whole period, for the first look is taken at the start.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

async fn mounts_changed(watch: &mut Option<MountWatch>) -> Result<(), CollectError> {
    match watch {
        Some(watch) => {
            watch.changed().await.map_err(|error| CollectError::failed(format!("watch {MOUNT_TABLE}"), error))
        }
        None => std::future::pending().await,
    }
}
