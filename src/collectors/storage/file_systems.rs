//! How full the file systems are, in bytes and in inodes, as a domain: asked in turn, and when something is mounted, for it may be full already.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::watch;

use super::{
    fullness::{self, Fills, Measure, Thresholds},
    gauge::{Gauge, Spaces},
    mount_rule::MountRule,
    mount_table,
};
use crate::collectors::{CollectError, Context, driver::Domain, finding::Finding};

pub(super) struct FileSystems {
    pub(super) rule: MountRule,
    pub(super) thresholds: Thresholds,
    pub(super) interval: Duration,
    pub(super) gauge: Gauge,
    pub(super) mounts: watch::Receiver<mount_table::Mounted>,
    /// As last asked.
    pub(super) spaces: Spaces,
}

/// What is not normal, by what of it is not.
type ByMeasure = BTreeMap<Measure, Fills>;

impl Domain for FileSystems {
    const NAME: &'static str = "fill";
    type Known = ByMeasure;
    type Choice = MountRule;

    fn choice(&self) -> MountRule {
        self.rule.clone()
    }

    fn split(known: ByMeasure, rule: &MountRule) -> (ByMeasure, Option<ByMeasure>) {
        let (mut taken, mut left_out) = (ByMeasure::new(), ByMeasure::new());
        for (measure, fills) in known {
            let (own, others) = fills.into_iter().partition(|(place, _)| rule.takes(place));
            taken.insert(measure, own);
            left_out.insert(measure, others);
        }
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&ByMeasure>) -> Result<Option<ByMeasure>, CollectError> {
        // What is mounted may not be known yet; then neither is what is not.
        let Some(mounts) = self.mounts.borrow_and_update().clone() else { return Ok(None) };
        self.gauge.forget_all_but(context, &mounts).await?;
        let measured = fullness::measured(&mounts);
        self.spaces = self.gauge.measure(context, measured.iter().copied()).await?;
        let next = |measure| {
            let before = before.and_then(|before| before.get(&measure));
            (measure, fullness::next(measure, before, &measured, &self.spaces, &self.thresholds))
        };
        Ok(Some(Measure::ALL.map(next).into()))
    }

    fn diff(&self, before: &ByMeasure, after: &ByMeasure) -> Vec<Finding> {
        let none = Fills::new();
        let diff = |measure| {
            let (before, after) = (before.get(&measure).unwrap_or(&none), after.get(&measure).unwrap_or(&none));
            fullness::diff(measure, before, after, &self.spaces, &self.thresholds)
        };
        Measure::ALL.into_iter().flat_map(diff).collect()
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        mount_table::changed(&mut self.mounts).await
    }
}
