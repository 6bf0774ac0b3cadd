//! What changed between two looks at the btrfs volumes, as events.

use super::volume::{Phase, Scrub, Volume, Volumes};
use crate::{
    collectors::{finding::Finding, listing::listed},
    event::Level,
    schema::events::{StoragePoolPayload, storage_pool_payload::StoragePoolOperation as Operation},
};

const COMPONENT: &str = "btrfs";

/// What changed, volume by volume. That one is mounted is no news here, what is wrong with it is.
pub(super) fn diff(before: &Volumes, after: &Volumes) -> Vec<Finding> {
    let mut findings = Vec::new();
    let unknown = Volume::default();
    for (uuid, volume) in after {
        let was = before.get(uuid).unwrap_or(&unknown);
        findings.extend(condition_change(volume, was));
        findings.extend(error_change(volume, was));
        findings
            .extend(volume.scrub.and_then(|scrub| scrub_change(volume, scrub, was.scrub, before.contains_key(uuid))));
    }
    findings
}

fn condition_change(volume: &Volume, was: &Volume) -> Option<Finding> {
    let (missing, missed) = (volume.missing(), was.missing());
    if missing > missed {
        let payload = StoragePoolPayload {
            missing_devices: u32::try_from(missing).unwrap_or(u32::MAX),
            ..payload(volume, Operation::Degraded)
        };
        return Some(Finding::new(Level::Error, payload, COMPONENT, "device missing"));
    }
    let is_whole = missing == 0 && missed > 0;
    is_whole.then(|| Finding::new(Level::Info, payload(volume, Operation::Online), COMPONENT, "whole again"))
}

fn error_change(volume: &Volume, was: &Volume) -> Option<Finding> {
    let errors = volume.errors();
    if volume.errors_told > was.errors_told {
        let faulty = volume.members.iter().filter(|(_, member)| member.errors.total() > 0);
        let faulty: Vec<_> =
            faulty.map(|(number, member)| format!("device {number}{}", member.errors.words())).collect();
        let payload = StoragePoolPayload {
            read_errors: errors.read,
            write_errors: errors.write,
            checksum_errors: errors.checksum,
            faulty_devices: listed(faulty.into_iter()),
            ..payload(volume, Operation::Errors)
        };
        return Some(Finding::new(Level::Error, payload, COMPONENT, "errors counted"));
    }
    let are_cleared = errors.total() == 0 && was.errors().total() > 0;
    are_cleared
        .then(|| Finding::new(Level::Info, payload(volume, Operation::ErrorsCleared), COMPONENT, "errors cleared"))
}

/// At first sight only what one has left is told.
fn scrub_change(volume: &Volume, scrub: Scrub, was: Option<Scrub>, is_known: bool) -> Option<Finding> {
    let is_news = was.is_none_or(|was| (was.started, was.phase) != (scrub.started, scrub.phase));
    if !is_news || (!is_known && scrub.uncorrectable == 0) {
        return None;
    }
    let (operation, action) = match scrub.phase {
        Phase::Running => (Operation::ScrubStarted, "started"),
        Phase::Cancelled => (Operation::ScrubCancelled, "cancelled"),
        Phase::Finished => (Operation::ScrubCompleted, "completed"),
    };
    let mut payload = payload(volume, operation);
    if scrub.phase == Phase::Finished {
        payload.unrepaired_errors = scrub.uncorrectable;
        payload.duration_seconds = i64::try_from(scrub.duration_seconds).unwrap_or(i64::MAX);
    }
    let level = if scrub.phase == Phase::Finished && scrub.uncorrectable > 0 { Level::Error } else { Level::Info };
    let corrected = if scrub.corrected > 0 { scrub.corrected.to_string() } else { String::new() };
    Some(Finding::new(level, payload, COMPONENT, action).with("corrected_errors", corrected))
}

fn payload(volume: &Volume, operation: Operation) -> StoragePoolPayload {
    StoragePoolPayload {
        pool_name: volume.name.clone(),
        raid_type: "btrfs".to_owned(),
        devices: listed(volume.devices.iter().cloned()),
        operation: operation.into(),
        ..Default::default()
    }
}
