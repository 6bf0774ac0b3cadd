//! The data sets of the ZFS pools as a domain: `zfs list` is asked in turn how near each is to its quota, and what streams that were
//! being received have left half done.

pub(super) mod quotas;
mod receives;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fullness::Thresholds;
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    host::{Host, command::Program},
};

const ZFS: &[&str] = &["/sbin/zfs", "/usr/sbin/zfs", "/usr/local/sbin/zfs"];
/// Exact numbers; a quota counts snapshots and descendants (`used`), a refquota the data set alone (`referenced`).
const ARGUMENTS: &[&str] =
    &["list", "-Hp", "-t", "filesystem,volume", "-o", "name,used,quota,referenced,refquota,receive_resume_token"];
const TIMEOUT: Duration = Duration::from_secs(30);
/// Some ten thousand data sets.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// There where ZED runs the hook (docs/hooks.md), which tells of streams that come whole.
const HOOK: &str = "/etc/zfs/zed.d/history_event-rodent.sh";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    quotas: quotas::Known,
    receives: receives::Known,
}

/// The look at them.
pub(super) struct DataSets {
    thresholds: Thresholds,
    interval: Duration,
    zfs: Option<Program>,
    /// As last read.
    quotas: quotas::Quotas,
    ends: receives::Ends,
}

impl DataSets {
    pub(super) fn new(thresholds: Thresholds, interval: Duration) -> DataSets {
        DataSets { thresholds, interval, zfs: None, quotas: quotas::Quotas::new(), ends: receives::Ends::new() }
    }

    /// What an answer comes to.
    fn read(&mut self, list: &str, host: &Host, before: Option<&Known>) -> Known {
        self.quotas = quotas::parse(list);
        let (were, lines) = (before.map(|before| &before.receives), receives::parse(list));
        self.ends = receives::ends(&lines, were, host.path(HOOK).exists());
        Known {
            quotas: quotas::follow(&self.quotas, before.map(|before| &before.quotas), &self.thresholds),
            receives: receives::follow(lines, were),
        }
    }
}

impl Domain for DataSets {
    const NAME: &'static str = "data sets";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if !super::zfs::is_here(&context.host) {
            return Ok(None);
        }
        let zfs = Program::found(&mut self.zfs, &context.host, ZFS, TIMEOUT, OUTPUT_BYTES_MAX);
        let Some(zfs) = zfs else { return Ok(None) };
        let answer = zfs.run(ARGUMENTS).await.map_err(|error| CollectError::failed("ask for data sets", error))?;
        Ok(Some(self.read(&answer, &context.host, before)))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = quotas::diff(&before.quotas, &after.quotas, &self.quotas, &self.thresholds);
        findings.extend(receives::diff(&before.receives, &after.receives, &self.ends));
        findings
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }
}

/// The lines of an answer; the last one may have lost something where it has no end.
fn whole_lines(list: &str) -> impl Iterator<Item = &str> {
    list.rfind('\n').and_then(|end| list.get(..end)).unwrap_or_default().lines()
}
