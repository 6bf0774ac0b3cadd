//! The btrfs volumes as a domain. That one is mounted or not the mounts tell; here it is told what is wrong with it. One
//! that is not mounted any more stays as it was known.

mod changes;
mod quotas;
#[cfg(test)]
mod tests;
mod volume;

use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::quotas::BtrfsQuotas;
use self::volume::Volumes;
use super::mount_table::{self, Mounted};
use crate::collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::counted};

/// Small files of the kernel's memory: no disk is asked. Nothing tells when they change, but for what is mounted.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many that are not mounted any more are remembered, for they were not well.
const AWAY_MAX: usize = 256;

/// The look at them.
pub(super) struct BtrfsVolumes {
    pub(super) mounts: watch::Receiver<Mounted>,
}

impl Domain for BtrfsVolumes {
    const NAME: &'static str = "btrfs volumes";
    type Known = Volumes;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Volumes>) -> Result<Option<Volumes>, CollectError> {
        self.mounts.mark_unchanged();
        Ok(Some(follow(context.look("read /sys/fs/btrfs", volume::look).await?, before)))
    }

    fn diff(&self, before: &Volumes, after: &Volumes) -> Vec<Finding> {
        changes::diff(before, after)
    }

    fn inventory(&self, known: &Volumes) -> String {
        let names: Vec<_> = known.values().map(|volume| volume.name.clone()).collect();
        if names.is_empty() { String::new() } else { counted(names, "btrfs volume") }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        mount_table::changed(&mut self.mounts).await
    }
}

fn follow(mut seen: Volumes, before: Option<&Volumes>) -> Volumes {
    for (uuid, volume) in &mut seen {
        volume.follow(before.and_then(|before| before.get(uuid)));
    }
    let away = before.into_iter().flatten().filter(|(uuid, volume)| !seen.contains_key(*uuid) && !volume.is_well());
    let away: Vec<_> = away.take(AWAY_MAX).map(|(uuid, volume)| (uuid.clone(), volume.clone())).collect();
    seen.extend(away);
    seen
}
