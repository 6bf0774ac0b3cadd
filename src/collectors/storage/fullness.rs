//! How full things are, against two thresholds. A state is entered at its threshold and left only some points below
//! it, so that a file system that hovers at a border tells of it once.

use crate::order::Gather as _;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    gauge::Spaces,
    mount_rule::can_fill_up,
    mounts::{Mounts, Place},
};
use crate::{
    collectors::finding::Finding,
    event::Level,
    host::space::Space,
    schema::events::{UsageThresholdPayload, usage_threshold_payload::UsageThresholdOperation as Operation},
    settings::Table,
};

const COMPONENT: &str = "capacity";

/// Percentages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thresholds {
    pub(super) warn: f64,
    pub(super) critical: f64,
    pub(super) hysteresis: f64,
}

/// How full something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Fill {
    #[default]
    Normal,
    Approached,
    Exceeded,
}

/// What of a file system runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Measure {
    Bytes,
    Inodes,
}

impl Measure {
    pub(super) const ALL: [Measure; 2] = [Measure::Bytes, Measure::Inodes];

    fn percent(self, space: &Space) -> Option<f64> {
        match self {
            Measure::Bytes => space.used_percent(),
            Measure::Inodes => space.used_inodes_percent(),
        }
    }

    /// Beginning of the threshold's name, name of what is measured, and its unit in a sentence.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Measure::Bytes => ("capacity", "filesystem.used_percent", "% full"),
            Measure::Inodes => ("inodes", "filesystem.inodes_used_percent", "% of its inodes used"),
        }
    }
}

/// The states of file systems; what is not in it is normal.
pub(super) type Fills = BTreeMap<Place, Fill>;

impl Thresholds {
    /// Reads the table `capacity`.
    pub(super) fn read(table: &mut Table) -> Thresholds {
        let warn = table.integer("warn", 80, 1..=100, "percent used from which a file system or pool is reported");
        let critical = table.integer("critical", 90, 1..=100, "percent used from which it is an error");
        let hysteresis = table.integer("hysteresis", 3, 0..=50, "points below a threshold at which it is left again");
        if warn >= critical {
            table.fault("warn", format!("{warn} is not below critical, {critical}"));
        }
        if hysteresis >= warn {
            table.fault("hysteresis", format!("{hysteresis} is not below warn, {warn}: nothing would ever be cleared"));
        }
        let percent = |value: u64| f64::from(u32::try_from(value).unwrap_or(100));
        Thresholds { warn: percent(warn), critical: percent(critical), hysteresis: percent(hysteresis) }
    }

    /// The state that follows.
    pub(super) fn next(&self, fill: Fill, percent: f64) -> Fill {
        let reaches = |threshold: f64, state: Fill| {
            percent >= threshold || (fill >= state && percent >= threshold - self.hysteresis)
        };
        if reaches(self.critical, Fill::Exceeded) {
            Fill::Exceeded
        } else if reaches(self.warn, Fill::Approached) {
            Fill::Approached
        } else {
            Fill::Normal
        }
    }

    /// The threshold of a state; that of the normal one is the border that was left.
    pub(super) fn of(&self, fill: Fill) -> f64 {
        if fill == Fill::Exceeded { self.critical } else { self.warn }
    }
}

impl Fill {
    /// How much it matters to be in this state.
    pub(super) fn level(self) -> Level {
        match self {
            Fill::Normal => Level::Info,
            Fill::Approached => Level::Warn,
            Fill::Exceeded => Level::Error,
        }
    }

    /// The word of the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Fill::Normal => "cleared",
            Fill::Approached => "approached",
            Fill::Exceeded => "exceeded",
        }
    }

    pub(super) fn operation(self) -> Operation {
        match self {
            Fill::Normal => Operation::Cleared,
            Fill::Approached => Operation::Approached,
            Fill::Exceeded => Operation::Exceeded,
        }
    }
}

/// The mounts to measure: each device once, at its shortest mount point; images that are full by nature and data sets
/// of ZFS, whose pool is measured, left out.
pub(super) fn measured(mounts: &Mounts) -> Vec<&Place> {
    let mut by_device: BTreeMap<&str, &Place> = BTreeMap::new();
    for (place, mount) in mounts.iter().filter(|(place, _)| can_fill_up(&place.fstype) && place.fstype != "zfs") {
        let chosen = by_device.entry(&mount.device).or_insert(place);
        // The whole file system before a bind mount of a part of it, then the shorter path.
        let rank = |place: &Place| (place.root != "/", place.mountpoint.len());
        if rank(place) < rank(chosen) {
            *chosen = place;
        }
    }
    by_device.into_values().collect()
}

/// The states that follow from what was measured. A file system that gave no answer keeps its state; one that is no longer
/// mounted loses it.
pub(super) fn next(
    measure: Measure,
    before: Option<&Fills>,
    measured: &[&Place],
    spaces: &Spaces,
    thresholds: &Thresholds,
) -> Fills {
    let next = |place: &Place| {
        let fill = before.and_then(|before| before.get(place)).copied().unwrap_or_default();
        let percent = spaces.get(place).and_then(|space| measure.percent(space));
        percent.map_or(fill, |percent| thresholds.next(fill, percent))
    };
    let fills = measured.iter().map(|&place| (place.clone(), next(place)));
    fills.filter(|(_, fill)| *fill != Fill::Normal).gather()
}

/// What to tell of a change of states. One that is no longer mounted is told, too: else it would be over its limit for ever.
pub(super) fn diff(
    measure: Measure,
    before: &Fills,
    after: &Fills,
    spaces: &Spaces,
    thresholds: &Thresholds,
) -> Vec<Finding> {
    let gone = before.keys().filter(|place| !after.contains_key(place)).map(|place| (place, Fill::Normal));
    let changed = after.iter().filter(|(place, fill)| before.get(place) != Some(fill));
    let all = gone.chain(changed.map(|(place, fill)| (place, *fill)));
    all.map(|(place, fill)| finding(measure, place, fill, spaces.get(place), thresholds)).collect()
}

/// Without a space it is not mounted any more.
fn finding(measure: Measure, place: &Place, fill: Fill, space: Option<&Space>, thresholds: &Thresholds) -> Finding {
    let payload = payload(measure, &place.mountpoint, fill, thresholds);
    let Some((space, percent)) = space.and_then(|space| Some((space, measure.percent(space)?))) else {
        return Finding::new(fill.level(), payload, COMPONENT, "unmounted");
    };
    let mut payload = UsageThresholdPayload { current_value: percentage(percent), ..payload };
    if measure == Measure::Bytes {
        (payload.used_bytes, payload.available_bytes) = (space.used_bytes, space.available_bytes);
    }
    Finding::new(fill.level(), payload, COMPONENT, fill.name()).with("source", &place.source)
}

fn payload(measure: Measure, mountpoint: &str, fill: Fill, thresholds: &Thresholds) -> UsageThresholdPayload {
    let (name, metric, unit) = measure.names();
    #[expect(clippy::cast_possible_truncation, reason = "the wire has percentages as float")]
    let threshold_value = thresholds.of(fill) as f32;
    UsageThresholdPayload {
        threshold_name: format!("{name}:{mountpoint}"),
        metric_name: metric.into(),
        threshold_value,
        operation: fill.operation().into(),
        resource: mountpoint.to_owned(),
        unit: unit.into(),
        ..Default::default()
    }
}

/// As the wire has it: to one decimal. What is not quite empty is not 0, which would count as not known.
pub(super) fn percentage(percent: f64) -> f32 {
    let rounded = (percent * 10.0).round() / 10.0;
    #[expect(clippy::cast_possible_truncation, reason = "the wire has percentages as float")]
    let told = if percent > 0.0 { rounded.max(0.1) as f32 } else { rounded as f32 };
    told
}

#[cfg(test)]
pub(super) const DEFAULT: Thresholds = Thresholds { warn: 80.0, critical: 90.0, hysteresis: 3.0 };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{
        finding::{lines, sentences},
        storage::{mount_rule::rule, mounts::parse},
    };

    const SRV: &str = "29 1 8:1 / /srv rw - ext4 /dev/sda1 rw";

    fn at(percent: u64) -> Spaces {
        let (used_bytes, available_bytes) = (percent * 10, 1000 - percent * 10);
        of(&srv(), Space { total_bytes: 1000, used_bytes, available_bytes, ..Space::default() })
    }

    fn of(mounts: &Mounts, space: Space) -> Spaces {
        mounts.keys().map(|place| (place.clone(), space)).collect()
    }

    /// What is known of `/srv` after a look, and what that is told as.
    fn look(before: &Fills, mounts: &Mounts, spaces: &Spaces) -> (Fills, Vec<Finding>) {
        let fills = next(Measure::Bytes, Some(before), &measured(mounts), spaces, &DEFAULT);
        let findings = diff(Measure::Bytes, before, &fills, spaces, &DEFAULT);
        (fills, findings)
    }

    fn srv() -> Mounts {
        parse(SRV, &rule(&[], &[]))
    }

    fn exceeded() -> Fills {
        srv().into_keys().map(|place| (place, Fill::Exceeded)).collect()
    }

    fn told(percents: &[u64]) -> Vec<String> {
        let mut fills = Fills::new();
        let mut told = Vec::new();
        for &percent in percents {
            let (next, findings) = look(&fills, &srv(), &at(percent));
            told.extend(findings.iter().map(|finding| format!("{percent} {}", finding.line())));
            fills = next;
        }
        told
    }

    #[test]
    fn each_threshold_is_told_once_on_the_way_up_and_once_on_the_way_down() {
        assert_eq!(
            told(&[10, 79, 80, 85, 89, 90, 99, 88, 87, 86, 79, 77, 76, 10]),
            [
                "80 warn usage.threshold.approached capacity:/srv",
                "90 error usage.threshold.exceeded capacity:/srv",
                "86 warn usage.threshold.approached capacity:/srv",
                "76 info usage.threshold.cleared capacity:/srv"
            ]
        );
    }

    #[test]
    fn hovering_at_a_border_is_told_once() {
        assert_eq!(told(&[80, 79, 80, 78, 81, 79]).len(), 1);
        assert_eq!(told(&[95, 89, 90, 88, 91]).len(), 1);
    }

    #[test]
    fn a_fall_from_exceeded_to_empty_is_one_clearing() {
        assert_eq!(
            told(&[95, 5]),
            ["95 error usage.threshold.exceeded capacity:/srv", "5 info usage.threshold.cleared capacity:/srv"]
        );
    }

    #[test]
    fn a_file_system_that_does_not_answer_keeps_its_state() {
        assert_eq!(look(&exceeded(), &srv(), &Spaces::new()), (exceeded(), vec![]));
    }

    #[test]
    fn a_full_file_system_that_is_unmounted_is_near_its_limit_no_longer() {
        let (after, findings) = look(&exceeded(), &Mounts::new(), &Spaces::new());
        assert_eq!(
            (after, lines(&findings)),
            (Fills::new(), vec!["info usage.threshold.cleared capacity:/srv".into()])
        );
        assert_eq!(findings[0].metadata["action"], "unmounted");
        assert_eq!(sentences(&findings), ["/srv is no longer near its limit, warning from 80"]);
    }

    #[test]
    fn another_file_system_at_the_same_place_begins_with_a_state_of_its_own() {
        let other = parse(&SRV.replace("/dev/sda1", "/dev/sdb1"), &rule(&[], &[]));
        let space = Space { used_bytes: 81, available_bytes: 19, ..Space::default() };
        let (after, findings) = look(&exceeded(), &other, &of(&other, space));
        assert_eq!(after.into_values().collect::<Vec<_>>(), [Fill::Approached]);
        let told = ["info usage.threshold.cleared capacity:/srv", "warn usage.threshold.approached capacity:/srv"];
        assert_eq!(lines(&findings), told);
    }

    #[test]
    fn a_file_system_without_inodes_is_over_a_limit_of_its_own() {
        let space = Space { used_bytes: 1, available_bytes: 99, inodes: 256, available_inodes: 0, ..Space::default() };
        let spaces = of(&srv(), space);
        let after = next(Measure::Inodes, None, &measured(&srv()), &spaces, &DEFAULT);
        let findings = diff(Measure::Inodes, &Fills::new(), &after, &spaces, &DEFAULT);
        assert_eq!(lines(&findings), ["error usage.threshold.exceeded inodes:/srv"]);
        assert_eq!(sentences(&findings), ["/srv is over its limit: 100 % of its inodes used, limit 90"]);
        // btrfs and its like make as many as are wanted.
        let endless = of(&srv(), Space { used_bytes: 1, available_bytes: 99, ..Space::default() });
        assert_eq!(next(Measure::Inodes, None, &measured(&srv()), &endless, &DEFAULT), Fills::new());
    }

    #[test]
    fn a_fill_is_read_with_one_decimal() {
        let space = Space { used_bytes: 1_000_000, available_bytes: 231_000, ..Space::default() };
        let (_, findings) = look(&Fills::new(), &srv(), &of(&srv(), space));
        let sentence = "/srv is near its limit: 81.2 % full, warning from 80, 976.6 KiB used, 225.6 KiB free";
        assert_eq!(sentences(&findings), [sentence]);
        assert_eq!([0.0, 0.01, 99.96].map(percentage), [0.0, 0.1, 100.0]);
    }

    #[test]
    fn a_device_is_measured_once_and_images_and_data_sets_never() {
        let table = "1 1 8:1 /a /srv rw - ext4 /dev/sda1 rw\n2 1 8:1 / /mnt/whole rw - ext4 /dev/sda1 rw\n\
                     3 1 8:1 /b /x rw - ext4 /dev/sda1 rw\n4 1 11:0 / /media/cd ro - iso9660 /dev/sr0 ro\n\
                     5 1 0:40 / /tank rw - zfs tank rw";
        let mounts = parse(table, &rule(&[], &[]));
        let points: Vec<_> = measured(&mounts).iter().map(|place| place.mountpoint.as_str()).collect();
        assert_eq!(points, ["/mnt/whole"]);
    }

    #[test]
    fn a_cleared_event_names_the_threshold_that_was_left() {
        let (_, findings) = look(&exceeded(), &srv(), &at(10));
        assert_eq!(lines(&findings), ["info usage.threshold.cleared capacity:/srv"]);
        let payload: UsageThresholdPayload = findings[0].payload();
        assert_eq!((payload.current_value, payload.threshold_value), (10.0, 80.0));
    }

    proptest! {
        #[test]
        fn the_same_measurement_twice_tells_nothing_the_second_time(percents in proptest::collection::vec(0u64..=100, 1..20)) {
            let mut fills = Fills::new();
            for percent in percents {
                fills = look(&fills, &srv(), &at(percent)).0;
                let (again, findings) = look(&fills, &srv(), &at(percent));
                prop_assert_eq!(again, fills.clone());
                prop_assert_eq!(findings, vec![]);
            }
        }
    }
}
