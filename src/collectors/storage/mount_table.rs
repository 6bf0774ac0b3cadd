//! The mounts as a domain: the kernel's table, read when the kernel says that it has changed, and now and then.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{
    gauge::{Gauge, Spaces},
    mount_rule::MountRule,
    mounts::{self, MOUNTS_MAX, Mounts},
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, listing},
    host::file_watch::FileWatch,
};

/// The kernel marks it when it has changed.
const MOUNT_TABLE: &str = "/proc/self/mountinfo";
/// A service that starts changes several mounts in a row: one look for all.
const QUIET: Duration = Duration::from_millis(100);
/// What it is blind to beyond the bound.
const BEYOND: &str = "all of the mounts";
/// What it would not see, before there is any.
const NEAR: &str = "mounts beyond the bound";

/// What is mounted, for whoever measures it; none before it is known.
pub(super) type Mounted = Option<Arc<Mounts>>;

/// Waits until something has been mounted or unmounted.
pub(super) async fn changed(mounts: &mut watch::Receiver<Mounted>) -> Result<(), CollectError> {
    match mounts.changed().await {
        Ok(()) => Ok(()),
        Err(_) => pending().await,
    }
}

pub(super) struct MountTable {
    rule: MountRule,
    interval: Duration,
    watch: FileWatch,
    gauge: Gauge,
    /// Of what has come since the last look.
    spaces: Spaces,
    known: watch::Sender<Mounted>,
}

impl MountTable {
    pub(super) fn new(rule: MountRule, interval: Duration, gauge: Gauge, known: watch::Sender<Mounted>) -> MountTable {
        MountTable { rule, interval, watch: FileWatch::new(MOUNT_TABLE), gauge, spaces: Spaces::new(), known }
    }
}

impl Domain for MountTable {
    const NAME: &'static str = "mounts";
    type Known = Mounts;
    type Choice = MountRule;

    fn choice(&self) -> MountRule {
        self.rule.clone()
    }

    fn split(known: Mounts, rule: &MountRule) -> (Mounts, Option<Mounts>) {
        let (taken, left_out) = known.into_iter().partition(|(place, _)| rule.takes(place));
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&Mounts>) -> Result<Option<Mounts>, CollectError> {
        // Before it is read, so that no change falls between.
        if let Err(error) = self.watch.begin(&context.host) {
            tracing::debug!(%error, "the table of mounts cannot be watched; it is read now and then");
        }
        let table = context.look(&format!("read {MOUNT_TABLE}"), |host| host.read(MOUNT_TABLE)).await?;
        let (mut after, beyond) = mounts::bounded(mounts::parse(&table, &self.rule), before);
        let why = listing::beyond(beyond, MOUNTS_MAX, "mounted", "storage.mounts.exclude");
        context.note(BEYOND, why).await?;
        let near = listing::near(after.len(), MOUNTS_MAX).unwrap_or_default();
        context.sight.is_not_meant_to_see(NEAR, &near);
        if let Some(before) = before {
            mounts::follow(&mut after, before);
            let come = after.keys().filter(|place| !before.contains_key(place));
            self.spaces = self.gauge.measure(context, come).await?;
        }
        Ok(Some(after))
    }

    fn first_sight(&self, _: &Mounts) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Mounts, after: &Mounts) -> Vec<Finding> {
        mounts::diff(before, after, &self.spaces)
    }

    fn inventory(&self, known: &Mounts) -> String {
        let mut mountpoints: Vec<_> = known.keys().map(|place| place.mountpoint.clone()).collect();
        mountpoints.dedup();
        listing::counted(mountpoints, "file system")
    }

    fn knows(&mut self, known: &Mounts) {
        self.known.send_replace(Some(Arc::new(known.clone())));
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        self.watch.changed().await.map_err(|error| CollectError::failed(format!("watch {MOUNT_TABLE}"), error))?;
        sleep(QUIET).await;
        Ok(())
    }
}
