//! The btrfs volumes as a domain. That one is mounted or not the mounts tell; here it is told what is wrong with it. One
//! that is not mounted any more stays as it was known.

mod changes;
#[cfg(test)]
mod tests;
mod volume;

use std::time::Duration;

use self::volume::Volumes;
use crate::collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::counted};

/// Small files of the kernel's memory: no disk is asked. Nothing tells when they change.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many that are not mounted any more are remembered, for they were not well.
const AWAY_MAX: usize = 256;

/// The look at them.
pub(super) struct BtrfsVolumes;

impl Domain for BtrfsVolumes {
    const NAME: &'static str = "btrfs volumes";
    type Known = Volumes;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Volumes>) -> Result<Option<Volumes>, CollectError> {
        let looked = context.host.look(volume::look).await;
        let seen = looked.map_err(|error| CollectError::failed("read /sys/fs/btrfs", error))?;
        Ok(Some(follow(seen, before)))
    }

    fn first_sight(&self, known: &Volumes) -> Vec<Finding> {
        changes::faults(known)
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
