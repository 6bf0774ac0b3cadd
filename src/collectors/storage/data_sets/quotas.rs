//! How near data sets, and subvolumes of btrfs, are to their quotas: what is told of two moments, compared. One may be full while
//! its pool is not.

use std::collections::BTreeMap;

use crate::{
    collectors::{
        finding::Finding,
        storage::fullness::{Fill, Thresholds, percentage},
    },
    order::Gather as _,
    schema::events::UsageThresholdPayload,
};

const COMPONENT: &str = "quotas";

/// Those whose quota is not far away, by name.
pub(in crate::collectors::storage) type Known = BTreeMap<String, Fill>;

/// Used and allowed bytes, by name, of those that have a quota.
pub(in crate::collectors::storage) type Quotas = BTreeMap<String, (u64, u64)>;

/// `tank/data 126074880 314572800 126009344 0`; lines that make no sense are passed over. Of two quotas the nearer.
pub(super) fn parse(list: &str) -> Quotas {
    let quota = |line: &str| {
        let mut fields = line.split('\t');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let mut number = || fields.next().and_then(|field| field.trim().parse::<u64>().ok());
        let (used, quota, referenced, refquota) = (number()?, number(), number()?, number());
        let pairs = [(used, quota.unwrap_or(0)), (referenced, refquota.unwrap_or(0))];
        Some((name.to_owned(), nearest(pairs)?))
    };
    super::whole_lines(list).filter_map(quota).gather()
}

/// Of pairs of what is used and what is allowed; 0 allows all.
pub(in crate::collectors::storage) fn nearest(pairs: [(u64, u64); 2]) -> Option<(u64, u64)> {
    let limited = pairs.into_iter().filter(|(_, limit)| *limit > 0);
    limited.max_by(|one, other| percent(*one).total_cmp(&percent(*other)))
}

fn percent((used, limit): (u64, u64)) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
    let percent = 100.0 * used as f64 / limit as f64;
    percent
}

pub(in crate::collectors::storage) fn follow(
    quotas: &Quotas,
    before: Option<&Known>,
    thresholds: &Thresholds,
) -> Known {
    let next = |(name, quota): (&String, &(u64, u64))| {
        let was = before.and_then(|before| before.get(name)).copied().unwrap_or_default();
        (name.clone(), thresholds.next(was, percent(*quota)))
    };
    quotas.iter().map(next).filter(|(_, fill)| *fill != Fill::Normal).gather()
}

/// What has changed.
pub(in crate::collectors::storage) fn diff(
    before: &Known,
    after: &Known,
    quotas: &Quotas,
    thresholds: &Thresholds,
) -> Vec<Finding> {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name, Fill::Normal));
    let changed = after.iter().filter(|(name, fill)| before.get(*name) != Some(fill));
    let all = gone.chain(changed.map(|(name, fill)| (name, *fill)));
    all.map(|(name, fill)| finding(name, fill, quotas.get(name), thresholds)).collect()
}

fn finding(name: &str, fill: Fill, quota: Option<&(u64, u64)>, thresholds: &Thresholds) -> Finding {
    let mut payload = UsageThresholdPayload {
        threshold_name: format!("quota:{name}"),
        metric_name: "dataset.quota_used_percent".to_owned(),
        threshold_value: percentage(thresholds.of(fill)),
        operation: fill.operation().into(),
        resource: resource(name),
        unit: "% of its quota used".to_owned(),
        ..Default::default()
    };
    // Without one it has no quota any more, or is gone.
    if let Some(&(used, limit)) = quota {
        payload.current_value = percentage(percent((used, limit)));
        (payload.used_bytes, payload.available_bytes) = (used, limit.saturating_sub(used));
    }
    Finding::new(fill.level(), payload, COMPONENT, fill.name())
}

/// `tank/data` is a data set, `tank#0/256` a group of btrfs: no data set has such a letter in its name. Of level 0 are subvolumes.
fn resource(name: &str) -> String {
    match name.rsplit_once('#') {
        Some((volume, group)) => match group.strip_prefix("0/") {
            Some(number) => format!("Subvolume {number} of {volume}"),
            None => format!("Quota group {group} of {volume}"),
        },
        None => format!("Data set {name}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{finding::sentences, storage::fullness::DEFAULT};

    /// As a real ZFS 2.3.9 lists its data sets.
    const LIST: &str = "tank\t253267968\t0\t98304\t0\n\
                        tank/copy\t126074880\tnone\t126009344\tnone\n\
                        tank/data\t126074880\t314572800\t126009344\t0\n";

    #[test]
    fn a_data_set_that_comes_near_its_quota_is_told_once_and_when_it_has_room_again() {
        let (mut known, mut told) = (None::<Known>, Vec::new());
        let with = |used: u64, quota: u64| LIST.replace("126074880\t314572800", &format!("{used}\t{quota}"));
        for list in [
            with(126, 1000),
            with(850, 1000),
            with(790, 1000),
            with(950, 1000),
            with(950, 2000),
            with(950, 1000),
            String::new(),
        ] {
            let quotas = parse(&list);
            let after = follow(&quotas, known.as_ref(), &DEFAULT);
            told.push(sentences(&diff(&known.unwrap_or_default(), &after, &quotas, &DEFAULT)).join("; "));
            known = Some(after);
        }
        let expected = [
            "",
            "Data set tank/data is near its limit: 85 % of its quota used, warning from 80, 850 B used, 150 B free",
            "",
            "Data set tank/data is over its limit: 95 % of its quota used, limit 90, 950 B used, 50 B free",
            "Data set tank/data is no longer near its limit: 47.5 % of its quota used, warning from 80, 950 B used, 1.0 KiB \
             free",
            "Data set tank/data is over its limit: 95 % of its quota used, limit 90, 950 B used, 50 B free",
            "Data set tank/data is no longer near its limit, warning from 80",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn of_two_quotas_the_nearer_counts() {
        assert_eq!(parse("a\t10\t100\t9\t10\n")["a"], (9, 10));
        assert_eq!(parse("a\t10\t11\t9\t90\n")["a"], (10, 11));
        assert_eq!(parse("a\t10\t11\t9\t90\nb\t10\t11\t9\t90").len(), 1, "the last line may be cut");
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic_and_one_that_is_cut_invents_nothing(list in "([a-z/]{0,6}\t|[0-9]{0,22}\t|-|\n|none){0,40}", at in 0usize..140) {
            let _ = follow(&parse(&list), None, &DEFAULT);
            let cut = parse(&LIST[..at.min(LIST.len())]);
            prop_assert!(cut.keys().all(|name| name == "tank/data"), "{cut:?}");
        }
    }
}
