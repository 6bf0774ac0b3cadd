//! How full the file systems are, as a domain: asked in turn, and when something is mounted, for it may be full already.

use std::{future::pending, time::Duration};

use tokio::sync::watch;

use super::{
    capacity::{self, Fills, Thresholds},
    gauge::{Gauge, Spaces},
    mount_rule::MountRule,
    mount_table,
};
use crate::collectors::{CollectError, Context, driver::Domain, finding::Finding};

pub(super) struct Fill {
    pub(super) rule: MountRule,
    pub(super) thresholds: Thresholds,
    pub(super) interval: Duration,
    pub(super) gauge: Gauge,
    pub(super) mounts: watch::Receiver<mount_table::Mounted>,
    /// As last asked.
    pub(super) spaces: Spaces,
}

impl Domain for Fill {
    const NAME: &'static str = "fill";
    type Known = Fills;
    type Choice = MountRule;

    fn choice(&self) -> MountRule {
        self.rule.clone()
    }

    fn split(known: Fills, rule: &MountRule) -> (Fills, Option<Fills>) {
        let (taken, left_out) = known.into_iter().partition(|(place, _)| rule.takes(place));
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&Fills>) -> Result<Option<Fills>, CollectError> {
        // What is mounted may not be known yet; then neither is what is not.
        let Some(mounts) = self.mounts.borrow_and_update().clone() else { return Ok(None) };
        self.gauge.forget_all_but(context, &mounts).await?;
        let measured = capacity::measured(&mounts);
        self.spaces = self.gauge.measure(context, measured.iter().copied()).await?;
        Ok(Some(capacity::next(before, &measured, &self.spaces, &self.thresholds)))
    }

    fn first_sight(&self, known: &Fills) -> Vec<Finding> {
        self.diff(&Fills::new(), known)
    }

    fn diff(&self, before: &Fills, after: &Fills) -> Vec<Finding> {
        capacity::diff(before, after, &self.spaces, &self.thresholds)
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        match self.mounts.changed().await {
            Ok(()) => Ok(()),
            Err(_) => pending().await,
        }
    }
}
