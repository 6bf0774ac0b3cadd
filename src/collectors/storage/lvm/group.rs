//! Reads what `lvm fullreport` says of volume groups: disks that are missing, thin pools that fill up, arrays.

use crate::order::Gather as _;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::collectors::storage::fullness::{Fill, Thresholds};

/// One program for all of it; sizes and counts as plain numbers. Nothing is locked, for nothing is changed.
pub(super) const ARGUMENTS: &[&str] = &[
    "fullreport",
    "--reportformat",
    "json",
    "--units",
    "b",
    "--nosuffix",
    "--nolocking",
    "-a",
    "--configreport",
    "vg",
    "-o",
    "vg_name,vg_missing_pv_count,vg_size",
    "--configreport",
    "pv",
    "-o",
    "pv_name,pv_missing,pv_uuid",
    "--configreport",
    "lv",
    "-o",
    "lv_name,lv_attr,lv_size,data_percent,metadata_percent,lv_health_status,raid_mismatch_count",
    "--configreport",
    "pvseg",
    "-o",
    "pvseg_start",
    "--configreport",
    "seg",
    "-o",
    "seg_start",
];

/// By name.
pub(in crate::collectors::storage) type Groups = BTreeMap<String, Group>;

/// A volume group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Group {
    pub(super) size_bytes: u64,
    /// How many of its disks are missing.
    pub(super) missing: u32,
    /// Names of those that are there.
    pub(super) disks: Vec<String>,
    /// By name: `tp`.
    pub(super) volumes: BTreeMap<String, Volume>,
}

/// A thin pool or an array in it; other volumes have nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Volume {
    /// LVM's word, when it is not well: `partial`, `refresh needed`, `failed`, `metadata_read_only`.
    pub(super) trouble: String,
    pub(super) mismatches: u64,
    /// Of a thin pool, by what fills up.
    pub(super) fills: BTreeMap<Part, Fill>,
    /// Percents, as last read.
    #[serde(skip)]
    pub(super) percents: BTreeMap<Part, Percent>,
}

/// What of a thin pool fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::collectors::storage) enum Part {
    Data,
    Metadata,
}

/// Hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::collectors::storage) struct Percent(u32);

impl Percent {
    fn parse(text: &str) -> Option<Percent> {
        let percent: f64 = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at most 10,000")]
        let hundredths = (percent * 100.0).round() as u32;
        Some(Percent(hundredths))
    }

    pub(super) fn value(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// The groups; none when it is not such a report.
pub(super) fn parse(json: &str) -> Option<Groups> {
    let root: Value = serde_json::from_str(json).ok()?;
    let mut groups = Groups::new();
    for report in root.get("report")?.as_array()? {
        let rows = |of: &str| report.get(of).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        // Disks that belong to no group stand in a report of their own.
        let Some(head) = rows("vg").first() else { continue };
        let name = word(head, "vg_name");
        if name.is_empty() {
            continue;
        }
        let there = rows("pv").iter().filter(|disk| word(disk, "pv_missing").is_empty());
        let volumes = rows("lv").iter().filter_map(volume);
        let group = Group {
            size_bytes: number(head, "vg_size"),
            missing: number(head, "vg_missing_pv_count").try_into().unwrap_or(u32::MAX),
            disks: there.map(|disk| word(disk, "pv_name").to_owned()).collect(),
            volumes: volumes.gather(),
        };
        groups.insert(name.to_owned(), group);
    }
    Some(groups)
}

fn word<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(row: &Value, name: &str) -> u64 {
    word(row, name).parse().unwrap_or_default()
}

/// Thin pools, and arrays with their old form, mirrors; by the first letter of their attributes.
fn volume(row: &Value) -> Option<(String, Volume)> {
    let kind = word(row, "lv_attr").chars().next()?;
    let name = word(row, "lv_name");
    // In brackets stand the parts of which others are made.
    if !matches!(kind, 't' | 'r' | 'R' | 'm' | 'M') || name.starts_with('[') {
        return None;
    }
    let part = |part: Part, of: &str| Some((part, Percent::parse(word(row, of))?));
    let parts = [part(Part::Data, "data_percent"), part(Part::Metadata, "metadata_percent")];
    let volume = Volume {
        trouble: word(row, "lv_health_status").to_owned(),
        mismatches: number(row, "raid_mismatch_count"),
        fills: BTreeMap::new(),
        percents: parts.into_iter().flatten().filter(|_| kind == 't').gather(),
    };
    Some((name.to_owned(), volume))
}

/// Completes a look by what the one before knew: how full a pool was, and how full it is where it does not say.
pub(super) fn follow(groups: &mut Groups, before: Option<&Groups>, thresholds: &Thresholds) {
    for (name, group) in groups {
        let before = before.and_then(|before| before.get(name));
        for (name, volume) in &mut group.volumes {
            let was = before.and_then(|before| before.volumes.get(name));
            let was = |part: Part| was.and_then(|was| was.fills.get(&part)).copied().unwrap_or_default();
            let next = |part: Part| match volume.percents.get(&part) {
                Some(percent) => (part, thresholds.next(was(part), percent.value())),
                None => (part, was(part)),
            };
            volume.fills = [Part::Data, Part::Metadata].map(next).into();
            volume.fills.retain(|_, fill| *fill != Fill::Normal);
        }
    }
}
