//! The disks of the machine as a domain: looked at when the kernel tells that one has come or gone, and now and then.

mod disk;
#[cfg(test)]
mod tests;

use std::{future::pending, sync::Arc, time::Duration};

use tokio::sync::watch;

use self::disk::Seen;
pub(super) use self::disk::{Disk, Disks};
#[cfg(feature = "kernel")]
use crate::host::uevent_watch::UeventWatch;
use crate::{
    collectors::{
        CollectError, Context,
        driver::Domain,
        finding::Finding,
        listing::{bytes, counted, device_path},
    },
    event::Level,
    schema::events::{StorageDiskPayload, storage_disk_payload::StorageDiskOperation as Operation},
};

/// For a kernel whose events do not come in here.
const INTERVAL: Duration = Duration::from_secs(60);
/// A shelf that is switched on has many disks: one look for all that come so close together.
#[cfg(feature = "kernel")]
const QUIET: Duration = Duration::from_secs(1);
const COMPONENT: &str = "disks";

/// The look at them.
pub(super) struct DiskList {
    #[cfg(feature = "kernel")]
    watch: Option<UeventWatch>,
    seen: Seen,
    known: watch::Sender<Arc<Disks>>,
}

impl DiskList {
    /// What is known goes to whoever asks disks, too.
    pub(super) fn new(known: watch::Sender<Arc<Disks>>) -> DiskList {
        DiskList {
            #[cfg(feature = "kernel")]
            watch: None,
            seen: Seen::new(),
            known,
        }
    }

    #[cfg(feature = "kernel")]
    fn subscribe(&mut self, context: &Context) {
        if self.watch.is_none() && context.host.is_live() {
            let open = UeventWatch::open(&["SUBSYSTEM=block", "DEVTYPE=disk"]);
            self.watch = open.inspect_err(|error| tracing::debug!(%error, "the kernel's events are not heard")).ok();
        }
    }

    #[cfg(not(feature = "kernel"))]
    fn subscribe(&mut self, _: &Context) {}
}

impl Domain for DiskList {
    const NAME: &'static str = "disks";
    type Known = Disks;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, _: Option<&Disks>) -> Result<Option<Disks>, CollectError> {
        // Before it is looked at, so that no change falls between.
        self.subscribe(context);
        let before = std::mem::take(&mut self.seen);
        self.seen = context.look("read /sys/block", move |host| disk::look(host, &before)).await?;
        Ok(Some(disk::by_key(&self.seen)))
    }

    fn first_sight(&self, _: &Disks) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Disks, after: &Disks) -> Vec<Finding> {
        diff(before, after)
    }

    fn inventory(&self, known: &Disks) -> String {
        let mut names: Vec<_> = known.values().map(|disk| disk.name.clone()).collect();
        names.sort();
        if names.is_empty() { String::new() } else { counted(names, "disk") }
    }

    fn knows(&mut self, known: &Disks) {
        self.known.send_replace(Arc::new(known.clone()));
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        #[cfg(feature = "kernel")]
        if let Some(watch) = &mut self.watch {
            let changed = watch.changed().await;
            if let Err(error) = changed {
                self.watch = None;
                return Err(CollectError::failed("listen to the kernel's events", error));
            }
            tokio::time::sleep(QUIET).await;
            return Ok(());
        }
        pending().await
    }
}

/// What has come and gone. A disk that has another name after a boot is the same one, and so is one that has another key.
fn diff(before: &Disks, after: &Disks) -> Vec<Finding> {
    let mut findings = Vec::new();
    for disk in missing(before, after) {
        let level = if disk.comes_and_goes() { Level::Info } else { Level::Warn };
        findings.push(Finding::new(level, payload(disk, Operation::Removed), COMPONENT, "removed"));
    }
    for disk in missing(after, before) {
        findings.push(Finding::new(Level::Info, payload(disk, Operation::Discovered), COMPONENT, "found"));
    }
    findings
}

/// Those of these that are not among those.
fn missing<'a>(these: &'a Disks, those: &Disks) -> Vec<&'a Disk> {
    let others = these.iter().filter(|(key, _)| !those.contains_key(*key)).map(|(_, disk)| disk);
    others.filter(|disk| !those.values().any(|other| other.is_in_place_of(disk))).collect()
}

fn payload(disk: &Disk, operation: Operation) -> StorageDiskPayload {
    let path = device_path(&disk.name);
    StorageDiskPayload {
        device_id: path.clone(),
        device_path: path,
        serial: disk.serial.clone(),
        model: disk.model.clone(),
        vendor: disk.vendor.clone(),
        size_bytes: bytes(disk.size_bytes),
        device_type: disk.kind.clone(),
        interface_type: disk.interface.clone(),
        operation: operation.into(),
        ..Default::default()
    }
}
