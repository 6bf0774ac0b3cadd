//! Storage: mounts that come and go, file systems and pools that fill up, ZFS pools, md arrays and btrfs volumes.
//!
//! The table of mounts is read when the kernel says that it has changed, fill and pools are polled. At first sight
//! what is wrong is an event and the rest one inventory. Asking a file system or zpool may hang behind broken hardware:
//! both are bounded in time and number, and what does not answer keeps the state it had.

mod btrfs;
mod data_sets;
mod disks;
mod errors;
mod ext4;
mod file_systems;
mod fullness;
mod gauge;
mod lvm;
mod md;
mod mount_rule;
mod mount_table;
mod mounts;
mod place;
mod pools;
mod smart;
mod zfs;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use self::{
    btrfs::{BtrfsQuotas, BtrfsVolumes},
    data_sets::DataSets,
    disks::DiskList,
    ext4::Ext4Errors,
    file_systems::FileSystems,
    fullness::Thresholds,
    gauge::{Gauge, Spaces},
    lvm::VolumeGroups,
    md::ArrayTable,
    mount_rule::MountRule,
    mount_table::MountTable,
    pools::PoolList,
    smart::Smart,
};
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "storage",
    about: "mounts, how full file systems are, ZFS pools, md arrays, btrfs, LVM, the disks",
    emits: &[
        "storage.dataset.errors",
        "storage.dataset.errors_cleared",
        "storage.dataset.mounted",
        "storage.dataset.unmounted",
        "storage.dataset.read_only",
        "storage.dataset.writable",
        "storage.pool.capacity",
        "storage.pool.degraded",
        "storage.pool.errors",
        "storage.pool.errors_cleared",
        "storage.pool.expanded",
        "storage.pool.exported",
        "storage.pool.faulted",
        "storage.pool.imported",
        "storage.pool.online",
        "storage.pool.removed",
        "storage.pool.resilver_*",
        "storage.pool.scrub_*",
        "storage.pool.suspended",
        "storage.pool.trim_*",
        "storage.disk.added_to_pool",
        "storage.disk.discovered",
        "storage.disk.health_changed",
        "storage.disk.removed",
        "storage.disk.removed_from_pool",
        "storage.disk.state_changed",
        "storage.disk_probe.completed",
        "storage.disk_probe.failed",
        "storage.transfer.cancelled",
        "storage.transfer.completed",
        "storage.transfer.failed",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
        "usage.threshold",
    ],
    enabled: true,
    build: |table| Box::new(Storage { settings: Settings::read(table) }),
};

/// What may be configured.
#[derive(Clone, Debug)]
struct Settings {
    mounts: MountRule,
    thresholds: Thresholds,
    capacity_interval: Duration,
    pools_interval: Duration,
    data_sets_interval: Duration,
}

impl Settings {
    fn read(table: &mut Table) -> Settings {
        const SHORTEST: Duration = Duration::from_secs(5);
        const LONGEST: Duration = Duration::from_secs(3600);
        let mounts = MountRule::read(&mut table.table("mounts", "which mounts are reported"));
        let mut capacity = table.table("capacity", "when a file system or pool counts as full");
        let capacity_interval = capacity.duration(
            "interval",
            Duration::from_secs(60),
            SHORTEST..=LONGEST,
            "how often file systems are asked how full they are",
        );
        let thresholds = Thresholds::read(&mut capacity);
        let pools_interval = table.table("pools", "how ZFS pools are looked at").duration(
            "interval",
            Duration::from_secs(60),
            SHORTEST..=LONGEST,
            "how often zpool is asked; a change of a pool's state is seen earlier",
        );
        // Asking for thousands of them costs the pool something.
        let data_sets_interval = table.table("data_sets", "how data sets of ZFS are looked at").duration(
            "interval",
            Duration::from_secs(300),
            SHORTEST..=LONGEST,
            "how often zfs is asked how near they are to their quotas, and for receives that were torn",
        );
        Settings { mounts, thresholds, capacity_interval, pools_interval, data_sets_interval }
    }
}

struct Storage {
    settings: Settings,
}

impl Collector for Storage {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(async move {
            let Settings { mounts: rule, thresholds, capacity_interval: interval, pools_interval, data_sets_interval } =
                self.settings;
            let (gauge, (known, mounts)) = (Gauge::default(), watch::channel(None));
            let (disks, known_disks) = watch::channel(Arc::default());
            let table = MountTable::new(rule.clone(), interval, gauge.clone(), known);
            let (btrfs, ext4) = (BtrfsVolumes { mounts: mounts.clone() }, Ext4Errors::new(mounts.clone()));
            let fill = FileSystems { rule, thresholds, interval, gauge, mounts, spaces: Spaces::new() };
            let pools = PoolList::new(thresholds, pools_interval);
            let driver = Driver::new(context, SPEC.name).with(table).with(fill).with(pools);
            let driver = driver.with(ArrayTable::new()).with(btrfs).with(ext4);
            let driver = driver.with(VolumeGroups::new(thresholds)).with(BtrfsQuotas::new(thresholds));
            let driver = driver.with(DataSets::new(thresholds, data_sets_interval));
            driver.with(DiskList::new(disks)).with(Smart::new(known_disks)).run().await
        })
    }
}
