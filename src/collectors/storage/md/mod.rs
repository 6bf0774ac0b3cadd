//! The arrays of md as a domain: the kernel's table, read when the kernel says that it has changed, and now and then for
//! the progress of what is under way.

mod array;
mod changes;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use self::array::{Array, Arrays, TABLE};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::counted},
    host::file_watch::FileWatch,
};

/// Nothing tells how far a rebuild has come.
const INTERVAL: Duration = Duration::from_secs(30);
/// One that is being assembled does not run until its last disk has come, or is waited for no more (30 s in mdadm's units).
const ASSEMBLY_TIME: Duration = Duration::from_secs(45);

/// What is stopped or assembled changes several times in a row: one look for all.
const QUIET: Duration = Duration::from_millis(100);

/// The look at the arrays.
pub(super) struct ArrayTable {
    watch: FileWatch,
    started: Instant,
    /// Those that do not run, since when.
    assembling: BTreeMap<String, Instant>,
}

impl ArrayTable {
    pub(super) fn new() -> ArrayTable {
        ArrayTable { watch: FileWatch::new(TABLE), started: Instant::now(), assembling: BTreeMap::new() }
    }

    /// Those that may still be on their way are as they were, or not there yet.
    fn wait_for_assembly(&mut self, before: Option<&Arrays>, after: &mut Arrays, now: Instant) {
        self.assembling.retain(|name, _| after.arrays.get(name).is_some_and(Array::is_inactive));
        let inactive: Vec<_> =
            after.arrays.iter().filter(|(_, array)| array.is_inactive()).map(|(name, _)| name.clone()).collect();
        let mut waits = now.saturating_duration_since(self.started) < ASSEMBLY_TIME;
        let mut is_held = false;
        for name in inactive {
            let since = *self.assembling.entry(name.clone()).or_insert(now);
            if now.saturating_duration_since(since) >= ASSEMBLY_TIME {
                continue;
            }
            match before.and_then(|before| before.arrays.get(&name)) {
                Some(array) => {
                    after.arrays.insert(name, array.clone());
                    (waits, is_held) = (true, true);
                }
                None => drop(after.arrays.remove(&name)),
            }
        }
        // While one of before the boot is waited for, all are: only with its end it is known what the boot has not brought back.
        if let Some(before) = before.filter(|before| waits && before.boot != after.boot) {
            let missing = before.arrays.iter().filter(|(name, _)| !after.arrays.contains_key(*name));
            let missing: Vec<_> = missing.map(|(name, array)| (name.clone(), array.clone())).collect();
            if is_held || !missing.is_empty() {
                after.arrays.extend(missing);
                after.boot.clone_from(&before.boot);
            }
        }
    }
}

impl Domain for ArrayTable {
    const NAME: &'static str = "md arrays";
    type Known = Arrays;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Arrays>) -> Result<Option<Arrays>, CollectError> {
        // Before it is read, so that no change falls between.
        if let Err(error) = self.watch.begin(&context.host) {
            tracing::debug!(%error, "{TABLE} is not watched");
        }
        let mut after = context.look(&format!("read {TABLE}"), Arrays::look).await?;
        for (name, array) in &mut after.arrays {
            before.and_then(|before| before.arrays.get(name)).into_iter().for_each(|before| array.follow(before));
        }
        self.wait_for_assembly(before, &mut after, Instant::now());
        Ok(Some(after))
    }

    fn first_sight(&self, known: &Arrays) -> Vec<Finding> {
        changes::faults(known)
    }

    fn diff(&self, before: &Arrays, after: &Arrays) -> Vec<Finding> {
        changes::diff(before, after)
    }

    fn inventory(&self, known: &Arrays) -> String {
        let names: Vec<_> = known.arrays.keys().cloned().collect();
        if names.is_empty() { String::new() } else { counted(names, "md array") }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        let changed = self.watch.changed().await;
        changed.map_err(|error| CollectError::failed(format!("watch {TABLE}"), error))?;
        sleep(QUIET).await;
        Ok(())
    }
}
