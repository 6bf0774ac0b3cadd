//! How near what btrfs has a quota for is to it, as a domain: its quota groups, as sysfs tells of them to anybody. A subvolume is
//! a group by its number; which path it has root alone may ask.

use std::{collections::BTreeSet, io, time::Duration};

use super::volume::{self, DIRECTORY};
use crate::{
    collectors::{
        CollectError, Context,
        driver::Domain,
        finding::Finding,
        storage::{
            data_sets::quotas::{self, Known, Quotas},
            fullness::Thresholds,
        },
    },
    host::Host,
};

/// Small files of the kernel's memory, as of its last transaction.
const INTERVAL: Duration = Duration::from_secs(30);
/// The most groups of all volumes that are looked at; every snapshot is one.
const GROUPS_MAX: usize = 16 * 1024;
const BEYOND: &str = "all quotas of btrfs";
/// Of `limit_flags`: what counts.
const LIMITS_REFERENCED: u64 = 1;
const LIMITS_EXCLUSIVE: u64 = 2;

/// The look at them.
pub(in crate::collectors::storage) struct BtrfsQuotas {
    thresholds: Thresholds,
    /// As last read.
    quotas: Quotas,
}

/// What a look finds.
#[derive(Default)]
struct Looked {
    quotas: Quotas,
    /// Volumes whose numbers say nothing until they are counted anew.
    unsure: BTreeSet<String>,
    beyond: usize,
}

impl BtrfsQuotas {
    pub(in crate::collectors::storage) fn new(thresholds: Thresholds) -> BtrfsQuotas {
        BtrfsQuotas { thresholds, quotas: Quotas::new() }
    }

    fn follow(&mut self, looked: Looked, before: Option<&Known>) -> Known {
        let mut known = quotas::follow(&looked.quotas, before, &self.thresholds);
        let is_unsure = |name: &str| name.rsplit_once('#').is_some_and(|(volume, _)| looked.unsure.contains(volume));
        let stay = before.into_iter().flatten().filter(|(name, _)| is_unsure(name));
        known.extend(stay.map(|(name, fill)| (name.clone(), *fill)));
        self.quotas = looked.quotas;
        known
    }
}

impl Domain for BtrfsQuotas {
    const NAME: &'static str = "quotas of btrfs";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let looked = context.look("read /sys/fs/btrfs", |host| look(host, GROUPS_MAX)).await?;
        let why = format!("more than {GROUPS_MAX} quota groups are there, {} are not looked at", looked.beyond);
        context.note(BEYOND, (looked.beyond > 0).then_some(why)).await?;
        Ok(Some(self.follow(looked, before)))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        quotas::diff(before, after, &self.quotas, &self.thresholds)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

fn look(host: &Host, mut left: usize) -> io::Result<Looked> {
    let mut looked = Looked::default();
    for (uuid, volume) in volume::names(host)? {
        let directory = format!("{DIRECTORY}/{uuid}/qgroups");
        // Where there are no quotas there is none.
        let names = host.names(&directory).unwrap_or_default();
        if host.read(&format!("{directory}/inconsistent")).is_ok_and(|word| word.trim() != "0") {
            looked.unsure.insert(volume);
            continue;
        }
        for name in names {
            let Some((level, number)) = name.split_once('_').filter(|(level, _)| level.parse::<u16>().is_ok()) else {
                continue;
            };
            if left == 0 {
                looked.beyond += 1;
                continue;
            }
            left -= 1;
            if let Some(quota) = quota(host, &format!("{directory}/{name}")) {
                looked.quotas.insert(format!("{volume}#{level}/{number}"), quota);
            }
        }
    }
    Ok(looked)
}

/// Used and allowed bytes; none where all is allowed, or it has gone since.
fn quota(host: &Host, directory: &str) -> Option<(u64, u64)> {
    let number = |file: &str| host.read(&format!("{directory}/{file}")).ok()?.trim().parse::<u64>().ok();
    let flags = number("limit_flags").filter(|flags| flags & (LIMITS_REFERENCED | LIMITS_EXCLUSIVE) != 0)?;
    let limit = |flag: u64, file: &str| if flags & flag == 0 { 0 } else { number(file).unwrap_or(0) };
    let referenced = (number("referenced")?, limit(LIMITS_REFERENCED, "max_referenced"));
    let exclusive = (number("exclusive")?, limit(LIMITS_EXCLUSIVE, "max_exclusive"));
    quotas::nearest([referenced, exclusive])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{
        driver::compare,
        finding::{lines, sentences},
        storage::fullness::DEFAULT,
    };

    /// As sysfs tells of a real volume: a subvolume of which what it refers to is limited, and a group with another one in it.
    const QGROUPS: &str = include_str!("../../../../tests/fixtures/btrfs/qgroups.txt");

    fn shown(text: &str) -> Looked {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in text.lines().filter_map(|line| line.split_once(": ")) {
            let path = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        look(&Host::at(root.path()), 4).unwrap()
    }

    #[test]
    fn a_subvolume_over_its_quota_is_told_once_and_when_it_has_room_again_and_numbers_that_say_nothing_change_nothing()
    {
        let room = QGROUPS.replace("referenced: 20955136", "referenced: 15000000");
        let unsure = room.replace("inconsistent: 0", "inconsistent: 1");
        let unlimited = QGROUPS.replace("limit_flags: 1", "limit_flags: 0");
        let (mut domain, mut known, mut told) = (BtrfsQuotas::new(DEFAULT), None::<Known>, Vec::new());
        for text in [QGROUPS, QGROUPS, &unsure, &room, QGROUPS, &unlimited, QGROUPS, ""] {
            let after = domain.follow(shown(text), known.as_ref());
            let findings = compare(&domain, known.as_ref(), None, &after);
            told.push(format!("{} {}", lines(&findings).join("; "), sentences(&findings).join("; ")).trim().to_owned());
            known = serde_json::from_value(serde_json::to_value(after).unwrap()).unwrap();
        }
        let over = "error usage.threshold.exceeded quota:tank#0/256 Subvolume 256 of tank is over its limit: 99.9 % of its quota \
                    used, limit 90, 20.0 MiB used, 16.0 KiB free";
        let room = "info usage.threshold.cleared quota:tank#0/256 Subvolume 256 of tank is no longer near its limit";
        assert_eq!((told[0].as_str(), told[1].as_str(), told[2].as_str()), (over, "", ""));
        assert!(told[3].starts_with(&format!("{room}: 71.5 % of its quota used")), "{}", told[3]);
        assert_eq!((told[4].as_str(), told[6].as_str()), (over, over));
        assert!([&told[5], &told[7]].iter().all(|told| told.starts_with(room)), "{told:?}");
    }

    #[test]
    fn of_what_is_shared_and_what_is_not_that_counts_which_is_limited_and_a_group_of_several_is_one() {
        let looked = shown(&QGROUPS.replace("1_100/exclusive: 16384", "1_100/exclusive: 9000000"));
        let expected = [("tank#0/256", (20_955_136, 20_971_520)), ("tank#1/100", (9_000_000, 10_485_760))];
        assert_eq!(looked.quotas.iter().map(|(name, quota)| (name.as_str(), *quota)).collect::<Vec<_>>(), expected);
        let other = shown(&QGROUPS.replace("0_256/limit_flags: 1", "0_256/limit_flags: 2"));
        assert!(!other.quotas.contains_key("tank#0/256"), "a number without its flag limits nothing");
        let mut domain = BtrfsQuotas::new(DEFAULT);
        let known = domain.follow(looked, None);
        let told = sentences(&compare(&domain, None, None, &known));
        assert!(told[1].starts_with("Quota group 1/100 of tank is near its limit: 85.8 %"), "{told:?}");
    }

    #[test]
    fn beyond_the_bound_groups_are_counted() {
        assert_eq!(shown(QGROUPS).beyond, 0);
        assert_eq!(shown(&format!("{QGROUPS}{}", QGROUPS.replace("/0_5/", "/0_6/"))).beyond, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_text_makes_it_panic_and_what_is_cut_invents_nothing(noise in ".{0,12}", at in 0_usize..2000) {
            let cut: String = QGROUPS.chars().take(at).collect();
            let quotas = shown(&cut).quotas;
            prop_assert!(quotas.keys().all(|name| ["tank#0/256", "tank#1/100"].contains(&name.as_str())), "{quotas:?}");
            let _ = shown(&QGROUPS.replace("20971520", &noise.replace('\n', "")));
        }
    }
}
