//! An array as it is known: what the table of the kernel tells, completed by what sysfs has of it.

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use serde::{Deserialize, Serialize};

use super::table::{self, Activity, Row};
use crate::host::Host;

/// The table; a change of it is marked with an urgent condition.
pub(super) const TABLE: &str = "/proc/mdstat";

/// All of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Arrays {
    /// Of which boot: an array that is not assembled after a boot was not stopped by somebody.
    pub(super) boot: String,
    /// By name: `md0`.
    pub(super) arrays: BTreeMap<String, Array>,
}

/// One array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Array {
    pub(super) condition: Condition,
    /// The kernel's word where it does not run as it should: `inactive`, `broken`.
    pub(super) state: String,
    /// `raid1`; empty where it is not known.
    pub(super) level: String,
    pub(super) members: BTreeMap<String, State>,
    pub(super) size_bytes: u64,
    /// How many of its members are missing.
    pub(super) missing: u32,
    pub(super) sync: Option<Work>,
    /// Tenths of a percent, of what is under way.
    pub(super) permille: Option<u16>,
    /// Sectors whose copies differ, of the last check; none where there was none, or something else since.
    pub(super) mismatches: Option<u64>,
    /// Whether the kernel counts those of a part: of a check that was broken off, or that went on where one was. That tells of
    /// differences, and not that there are no others.
    #[serde(default)]
    pub(super) is_part: bool,
    /// Whether a check was broken off since the look before.
    #[serde(skip)]
    pub(super) is_broken_off: bool,
    /// Other names below `/dev`, as `md/data`: mdadm's configuration has them, and its monitor.
    #[serde(default)]
    pub(super) aliases: BTreeSet<String>,
}

/// What an array is fit for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Condition {
    #[default]
    Online,
    Degraded,
    Failed,
}

/// What a member is fit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Online,
    Spare,
    Rebuilding,
    Faulty,
}

/// A pass over all members, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    /// Copies are compared.
    Check,
    /// Copies are compared and made the same.
    Repair,
    /// A member, or all of them, are made whole.
    Rebuild,
    /// The members get another layout.
    Reshape,
}

impl Arrays {
    /// Looks at the machine. One without the table has none.
    pub(super) fn look(host: &Host) -> io::Result<Arrays> {
        let boot = host.read("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let table = match host.read(TABLE) {
            Ok(table) => table,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arrays { boot, ..Arrays::default() }),
            Err(error) => return Err(error),
        };
        let rows = table::parse(&table).ok_or_else(|| io::Error::other("the table has no end"))?;
        let rows = rows.into_iter().filter(|(_, row)| !row.is_container);
        let arrays = rows.map(|(name, row)| (name.clone(), Array::of(row, &Sysfs { host, name: &name })));
        Ok(Arrays { boot, arrays: arrays.gather() })
    }
}

/// The kernel's files about an array.
struct Sysfs<'a> {
    host: &'a Host,
    name: &'a str,
}

impl Sysfs<'_> {
    /// A word of a file, where there is one.
    fn word(&self, file: &str) -> Option<String> {
        let text = self.host.read(&format!("/sys/block/{}/md/{file}", self.name)).ok()?;
        Some(text.trim().to_owned()).filter(|word| !word.is_empty())
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.word(file)?.parse().ok()
    }

    fn work(&self, file: &str) -> Option<Work> {
        Work::of(&self.word(file)?)
    }

    /// By udev's database, for devices and links to them are kept from the agent.
    fn aliases(&self) -> BTreeSet<String> {
        let number = self.host.read(&format!("/sys/block/{}/dev", self.name)).unwrap_or_default();
        let entry = self.host.read(&format!("/run/udev/data/b{}", number.trim())).unwrap_or_default();
        let links = entry.lines().filter_map(|line| line.strip_prefix("S:"));
        links.filter(|link| link.starts_with("md/")).map(str::to_owned).gather()
    }
}

impl Array {
    fn of(row: Row, sysfs: &Sysfs) -> Array {
        let missing = row.slots.map(|(wanted, working)| wanted.saturating_sub(working));
        let missing = missing.or_else(|| sysfs.number("degraded").and_then(|count| count.try_into().ok()));
        let missing = missing.unwrap_or_default();
        let sync = row.sync.as_ref().and_then(|sync| sysfs.work("sync_action").or_else(|| Work::of(&sync.action)));
        // While a pass runs the count is not that of all, and one that counts nothing leaves it as it was.
        let mismatches = match sysfs.word("last_sync_action").as_deref() {
            _ if sync.is_some() => None,
            // What it has counted it has put right.
            Some("repair") => Some(0),
            // Old kernels have no word for it.
            Some("check") | None => sysfs.number("mismatch_cnt"),
            Some(_) => None,
        };
        let state = match (row.activity, sysfs.word("array_state").as_deref()) {
            (Activity::Broken, _) | (_, Some("broken")) => "broken",
            (Activity::Inactive, _) => "inactive",
            (Activity::Active, _) => "",
        };
        let members = row.members.iter().map(|(name, member)| {
            let state = if member.is_faulty {
                State::Faulty
            } else if member.is_spare {
                State::Spare
            } else {
                sysfs.member(name).unwrap_or(State::Online)
            };
            (name.clone(), state)
        });
        let mut array = Array {
            condition: Condition::Online,
            state: state.to_owned(),
            level: sysfs.word("level").unwrap_or(row.personality),
            members: members.gather(),
            size_bytes: row.size_kib.unwrap_or_default().saturating_mul(1024),
            missing,
            sync,
            permille: sync.and(row.sync.as_ref()).and_then(|sync| sync.permille),
            mismatches,
            // Where the kernel has begun a check, or left it.
            is_part: sysfs.number("sync_min").is_some_and(|sectors| sectors > 0),
            is_broken_off: false,
            aliases: sysfs.aliases(),
        };
        array.condition = array.judge(row.slots.map(|(_, working)| working));
        array
    }

    pub(super) fn mismatches(&self) -> u64 {
        self.mismatches.unwrap_or_default()
    }

    /// Carries over what one look alone does not tell.
    pub(super) fn follow(&mut self, before: &Array) {
        if self.sync.is_none() {
            // After a boot the kernel has no count of a check.
            let has_no_end = self.is_part || self.mismatches.is_none();
            self.is_broken_off = has_no_end && before.sync.is_some_and(Work::is_scrub);
            self.is_part |= self.is_broken_off || before.is_part;
        }
        let known = if self.is_part { before.mismatches } else { None };
        self.mismatches = self.mismatches.or(before.mismatches).max(known);
    }

    /// Whether it may be one that is being assembled.
    pub(super) fn is_inactive(&self) -> bool {
        self.state == "inactive"
    }

    fn judge(&self, working: Option<u32>) -> Condition {
        let bears = match self.level.as_str() {
            "raid4" | "raid5" => 1,
            "raid6" => 2,
            "raid1" | "raid10" => u32::MAX,
            _ => 0,
        };
        let has_faulty = self.members.values().any(|state| *state == State::Faulty);
        // A level without redundancy tells of no slots; its kernel may know of no word for broken.
        let has_lost = working.is_none() && bears == 0 && has_faulty && !self.level.is_empty();
        if !self.state.is_empty() || has_lost || working == Some(0) || (working.is_some() && self.missing > bears) {
            Condition::Failed
        } else if self.missing > 0 {
            Condition::Degraded
        } else {
            Condition::Online
        }
    }
}

impl Sysfs<'_> {
    fn member(&self, name: &str) -> Option<State> {
        let words = self.word(&format!("dev-{name}/state"))?;
        let has = |word: &str| words.split(',').any(|it| it.trim() == word);
        Some(if has("faulty") {
            State::Faulty
        } else if has("in_sync") || has("journal") {
            State::Online
        } else if self.word(&format!("dev-{name}/slot")).is_none_or(|slot| slot == "none") {
            State::Spare
        } else {
            State::Rebuilding
        })
    }
}

impl State {
    /// In the words of ZFS, as hooks tell it, too.
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Online => "ONLINE",
            State::Spare => "SPARE",
            State::Rebuilding => "REBUILDING",
            State::Faulty => "FAULTED",
        }
    }
}

impl Work {
    /// Of the words of the table and those of sysfs.
    fn of(action: &str) -> Option<Work> {
        match action {
            "check" => Some(Work::Check),
            "repair" => Some(Work::Repair),
            "recovery" | "recover" | "resync" => Some(Work::Rebuild),
            "reshape" => Some(Work::Reshape),
            _ => None,
        }
    }

    /// Its word in sysfs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Work::Check => "check",
            Work::Repair => "repair",
            Work::Rebuild => "recover",
            Work::Reshape => "reshape",
        }
    }

    pub(super) fn is_scrub(self) -> bool {
        matches!(self, Work::Check | Work::Repair)
    }
}
