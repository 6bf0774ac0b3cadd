//! What changed between two looks at the arrays, as events.

use super::array::{Array, Arrays, Condition, State, Work};
use crate::{
    collectors::{
        finding::Finding,
        listing::{bytes, device_path, listed},
    },
    event::Level,
    schema::events::{
        StorageDiskPayload, StoragePoolPayload, storage_disk_payload::StorageDiskOperation as DiskOperation,
        storage_pool_payload::StoragePoolOperation as Operation,
    },
};

const COMPONENT: &str = "md";
/// A rebuild says how far it has come at each of so many parts of its way.
const PARTS: u16 = 4;

/// What is wrong at first sight. What is well goes into the inventory.
pub(super) fn faults(arrays: &Arrays) -> Vec<Finding> {
    arrays.arrays.iter().flat_map(|(name, array)| View { name, array }.faults()).collect()
}

/// What changed, array by array.
pub(super) fn diff(before: &Arrays, after: &Arrays) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, array) in before.arrays.iter().filter(|(name, _)| !after.arrays.contains_key(*name)) {
        View { name, array }.gone(before.boot != after.boot, &mut findings);
    }
    for (name, array) in &after.arrays {
        let view = View { name, array };
        let has_booted = before.boot != after.boot;
        let before = before.arrays.get(name);
        match before {
            Some(before) => {
                view.changes(before, &mut findings);
                // mdadm's monitor may have missed it before it was there: that is over.
                if has_booted && view.condition_change(before).is_none() {
                    findings.push(view.back());
                }
            }
            None => {
                findings.push(view.finding(Level::Info, view.payload(Operation::Imported), "appeared"));
                findings.extend(view.faults());
            }
        }
        view.alias_changes(before.filter(|_| !has_booted), &mut findings);
    }
    findings
}

struct View<'a> {
    name: &'a str,
    array: &'a Array,
}

impl View<'_> {
    /// What distinguishes it from an array of the same members in perfect health.
    fn faults(&self) -> Vec<Finding> {
        let mut healthy = Array { condition: Condition::Online, mismatches: None, ..self.array.clone() };
        healthy.members.values_mut().filter(|state| **state == State::Faulty).for_each(|state| *state = State::Online);
        if self.array.sync.is_some_and(|work| !work.is_scrub()) {
            (healthy.sync, healthy.permille) = (None, None);
        }
        let mut findings = Vec::new();
        self.changes(&healthy, &mut findings);
        findings
    }

    /// Somebody has stopped it; or it was there before the boot, and did not come back.
    fn gone(&self, has_booted: bool, findings: &mut Vec<Finding>) {
        findings.push(match has_booted {
            true => self.finding(Level::Critical, self.payload(Operation::Removed), "not assembled"),
            false => self.finding(Level::Info, self.payload(Operation::Exported), "stopped"),
        });
        for (member, state) in self.array.members.iter().filter(|(_, state)| **state == State::Faulty) {
            findings.push(self.member(Level::Info, member, *state, DiskOperation::RemovedFromPool, "stopped"));
        }
    }

    fn changes(&self, before: &Array, findings: &mut Vec<Finding>) {
        findings.extend(self.condition_change(before));
        self.member_changes(before, findings);
        findings.extend(self.work_change(before));
        if self.array.size_bytes > before.size_bytes && before.size_bytes > 0 {
            let payload = StoragePoolPayload {
                previous_size_bytes: bytes(before.size_bytes),
                ..self.payload(Operation::Expanded)
            };
            findings.push(self.finding(Level::Info, payload, "grown"));
        }
    }

    /// That it is there, as it was.
    fn back(&self) -> Finding {
        match self.array.condition {
            Condition::Online => self.finding(Level::Info, self.payload(Operation::Imported), "appeared"),
            Condition::Degraded | Condition::Failed => self.condition(),
        }
    }

    /// By a name of its configuration mdadm's monitor may have missed it, and does not tell that it has come: udev makes that name
    /// a moment after it has.
    fn alias_changes(&self, before: Option<&Array>, findings: &mut Vec<Finding>) {
        // Of a number the hook makes the kernel's name.
        let is_other = |alias: &str| alias.strip_prefix("md/") != self.name.strip_prefix("md");
        let is_new = |alias: &str| before.is_none_or(|before| !before.aliases.contains(alias));
        for alias in self.array.aliases.iter().filter(|alias| is_other(alias) && is_new(alias)) {
            let payload = StoragePoolPayload { pool_name: alias.clone(), ..self.payload(Operation::Imported) };
            findings.push(self.finding(Level::Info, payload, "appeared"));
        }
    }

    fn condition_change(&self, before: &Array) -> Option<Finding> {
        let array = self.array;
        // One more disk that is missing is worth a word of its own.
        let is_worse = array.condition == Condition::Degraded && array.missing > before.missing;
        (array.condition != before.condition || is_worse).then(|| self.condition())
    }

    fn condition(&self) -> Finding {
        let array = self.array;
        let (level, operation, action) = match array.condition {
            Condition::Online => (Level::Info, Operation::Online, "online"),
            Condition::Degraded => (Level::Error, Operation::Degraded, "degraded"),
            Condition::Failed => (Level::Critical, Operation::Faulted, "failed"),
        };
        let faulty = array.members.iter().filter(|(_, state)| **state == State::Faulty);
        let faulty: Vec<_> = faulty.map(|(member, state)| format!("{member} {}", state.word())).collect();
        let payload = StoragePoolPayload {
            state: array.state.clone(),
            missing_devices: array.missing,
            faulty_devices: listed(faulty.into_iter()),
            ..self.payload(operation)
        };
        self.finding(level, payload, action)
    }

    fn member_changes(&self, before: &Array, findings: &mut Vec<Finding>) {
        for (member, state) in before.members.iter().filter(|(member, _)| !self.array.members.contains_key(*member)) {
            findings.push(self.member(Level::Info, member, *state, DiskOperation::RemovedFromPool, "removed"));
        }
        for (member, &state) in &self.array.members {
            let level = if state == State::Faulty { Level::Error } else { Level::Info };
            match before.members.get(member) {
                None => findings.push(self.member(level, member, state, DiskOperation::AddedToPool, "added")),
                Some(&was) if was != state => {
                    let payload = StorageDiskPayload {
                        previous_state: was.word().to_owned(),
                        ..self.disk(member, state, DiskOperation::StateChanged)
                    };
                    findings.push(Finding::new(level, payload, COMPONENT, "state changed"));
                }
                Some(_) => {}
            }
        }
    }

    fn work_change(&self, before: &Array) -> Option<Finding> {
        match (before.sync, self.array.sync) {
            (was, Some(work)) if was != Some(work) => {
                let (scrub, rebuild) = (Operation::ScrubStarted, Operation::ResilverStarted);
                let payload = self.payload(if work.is_scrub() { scrub } else { rebuild });
                Some(self.pass(Level::Info, payload, work, "started"))
            }
            (_, Some(work)) if !work.is_scrub() && part(self.array.permille) > part(before.permille) => {
                Some(self.pass(Level::Info, self.payload(Operation::ResilverProgress), work, "progress"))
            }
            // What it has found is told all the same.
            (Some(work), None) if self.array.is_broken_off && self.array.mismatches() <= before.mismatches() => {
                Some(self.pass(Level::Info, self.payload(Operation::ScrubCancelled), work, "cancelled"))
            }
            (Some(work), None) if work.is_scrub() => Some(self.scrubbed(work)),
            // One that ends and leaves the array short of a disk has not made it whole.
            (Some(work), None) if self.array.condition == Condition::Online => {
                Some(self.pass(Level::Info, self.payload(Operation::ResilverCompleted), work, "completed"))
            }
            // It was compared while nobody looked.
            (None, None) if self.array.mismatches() != before.mismatches() => Some(self.scrubbed(Work::Check)),
            _ => None,
        }
    }

    fn scrubbed(&self, work: Work) -> Finding {
        let mismatches = self.array.mismatches();
        let level = if mismatches > 0 { Level::Warn } else { Level::Info };
        let payload = StoragePoolPayload { mismatches, ..self.payload(Operation::ScrubCompleted) };
        self.pass(level, payload, work, "completed")
    }

    fn pass(&self, level: Level, payload: StoragePoolPayload, work: Work, action: &str) -> Finding {
        self.finding(level, payload, action).with("sync_action", work.word())
    }

    fn payload(&self, operation: Operation) -> StoragePoolPayload {
        let array = self.array;
        StoragePoolPayload {
            pool_name: self.name.to_owned(),
            raid_type: if array.level.is_empty() { "md".to_owned() } else { format!("md-{}", array.level) },
            devices: listed(array.members.keys().cloned().collect::<Vec<_>>().into_iter()),
            size_bytes: bytes(array.size_bytes),
            progress_percent: array.permille.map_or(0.0, |permille| f32::from(permille) / 10.0),
            operation: operation.into(),
            ..Default::default()
        }
    }

    fn finding(&self, level: Level, payload: StoragePoolPayload, action: &str) -> Finding {
        Finding::new(level, payload, COMPONENT, action)
    }

    fn member(&self, level: Level, member: &str, state: State, operation: DiskOperation, action: &str) -> Finding {
        Finding::new(level, self.disk(member, state, operation), COMPONENT, action)
    }

    fn disk(&self, member: &str, state: State, operation: DiskOperation) -> StorageDiskPayload {
        let path = device_path(member);
        StorageDiskPayload {
            device_id: path.clone(),
            device_path: path,
            state: state.word().to_owned(),
            pool_name: self.name.to_owned(),
            operation: operation.into(),
            ..Default::default()
        }
    }
}

/// The part of the way that is behind.
fn part(permille: Option<u16>) -> u16 {
    permille.map_or(0, |permille| permille.saturating_mul(PARTS) / 1000)
}
