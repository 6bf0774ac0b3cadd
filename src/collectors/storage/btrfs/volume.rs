//! The btrfs volumes of the machine, as sysfs tells of them to anybody, and of their scrubs, where it may be read, what
//! `btrfs scrub` has written down.

use crate::order::Gather as _;
use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{finding::told_of, storage::errors::Errors},
    host::Host,
};

pub(super) const DIRECTORY: &str = "/sys/fs/btrfs";
/// Written by `btrfs scrub`, for root.
const SCRUBS: &str = "/var/lib/btrfs/scrub.status.";

/// By UUID.
pub(in crate::collectors::storage) type Volumes = BTreeMap<String, Volume>;

/// One volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Volume {
    /// As people call it: its label, or its UUID.
    pub(super) name: String,
    /// Names of those that are there: `sda1`.
    pub(super) devices: Vec<String>,
    /// By number in the volume; which name belongs to which sysfs does not tell.
    pub(super) members: BTreeMap<u64, Member>,
    /// As many errors as have been told.
    pub(super) errors_told: u64,
    pub(super) scrub: Option<Scrub>,
}

/// One of its devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) is_missing: bool,
    pub(super) errors: Errors,
}

/// The last scrub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scrub {
    /// Unix seconds.
    pub(super) started: u64,
    pub(super) duration_seconds: u64,
    pub(super) phase: Phase,
    pub(super) corrected: u64,
    pub(super) uncorrectable: u64,
}

/// How far a scrub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Phase {
    #[default]
    Running,
    Cancelled,
    Finished,
}

impl Volume {
    /// Of all its devices.
    pub(super) fn errors(&self) -> Errors {
        self.members.values().map(|member| member.errors).sum()
    }

    pub(super) fn missing(&self) -> usize {
        self.members.values().filter(|member| member.is_missing).count()
    }

    /// Whether something of it has to be ended when it is well again.
    pub(super) fn is_well(&self) -> bool {
        self.missing() == 0 && self.errors().total() == 0 && self.scrub.is_none_or(|scrub| scrub.uncorrectable == 0)
    }

    /// Carries over what one look alone does not tell.
    pub(super) fn follow(&mut self, before: Option<&Volume>) {
        let (errors, told) = (self.errors().total(), before.map_or(0, |before| before.errors_told));
        self.errors_told = told_of(errors, told);
        self.scrub = self.scrub.or(before.and_then(|before| before.scrub));
    }
}

/// All that are mounted.
pub(super) fn look(host: &Host) -> io::Result<Volumes> {
    let mut volumes = Volumes::new();
    for (uuid, name) in names(host)? {
        let numbers = host.names(&format!("{DIRECTORY}/{uuid}/devinfo")).unwrap_or_default();
        let word = |file: &str| host.read(&format!("{DIRECTORY}/{uuid}/{file}")).unwrap_or_default();
        let member = |number: &String| {
            let of = |file: &str| word(&format!("devinfo/{number}/{file}"));
            let errors = parse_errors(&of("error_stats"));
            Some((number.parse().ok()?, Member { is_missing: of("missing").trim() == "1", errors }))
        };
        let volume = Volume {
            name,
            devices: host.names(&format!("{DIRECTORY}/{uuid}/devices")).unwrap_or_default(),
            members: numbers.iter().filter_map(member).gather(),
            errors_told: 0,
            scrub: host.read(&format!("{SCRUBS}{uuid}")).ok().and_then(|text| parse_scrub(&text)),
        };
        volumes.insert(uuid, volume);
    }
    Ok(volumes)
}

/// By UUID: how each is called. Two that somebody has given the same label are told apart.
pub(super) fn names(host: &Host) -> io::Result<BTreeMap<String, String>> {
    let (mut names, mut counts) = (BTreeMap::new(), BTreeMap::<String, u32>::new());
    for uuid in host.names(DIRECTORY)? {
        // Beside the volumes there are `features` and, in kernels for debugging, more.
        if host.names(&format!("{DIRECTORY}/{uuid}/devinfo")).is_ok_and(|numbers| !numbers.is_empty()) {
            let label = host.read(&format!("{DIRECTORY}/{uuid}/label")).unwrap_or_default().trim().to_owned();
            *counts.entry(label.clone()).or_default() += 1;
            names.insert(uuid, label);
        }
    }
    for (uuid, name) in &mut names {
        if name.is_empty() || counts.get(name).is_some_and(|count| *count > 1) {
            name.clone_from(uuid);
        }
    }
    Ok(names)
}

/// `write_errs 0 read_errs 0 flush_errs 0 corruption_errs 12800 generation_errs 0`; `invalid` is none.
pub(super) fn parse_errors(text: &str) -> Errors {
    let words: Vec<&str> = text.split_whitespace().collect();
    let count = |name: &str| -> u64 {
        let at = words.iter().position(|word| *word == name).map(|at| at.saturating_add(1));
        at.and_then(|at| words.get(at)).and_then(|count| count.parse().ok()).unwrap_or_default()
    };
    Errors {
        read: count("read_errs"),
        write: count("write_errs").saturating_add(count("flush_errs")),
        checksum: count("corruption_errs").saturating_add(count("generation_errs")),
    }
}

/// `scrub status:1`, then a line for each device: `UUID:1|data_extents_scrubbed:3200|…|finished:1`. All of them together;
/// none when there is nothing to be read.
pub(super) fn parse_scrub(text: &str) -> Option<Scrub> {
    let mut scrub: Option<Scrub> = None;
    for line in text.lines().filter(|line| line.contains("|t_start:")) {
        let number = |name: &str| -> Option<u64> {
            let value = line.split('|').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().parse().ok()
        };
        // Cut short while it is written.
        let (Some(started), Some(finished)) = (number("t_start"), number("finished")) else { continue };
        let phase = match (finished, number("canceled")) {
            (0, Some(1..)) => Phase::Cancelled,
            (0, _) => Phase::Running,
            _ => Phase::Finished,
        };
        let sum = scrub.get_or_insert(Scrub { started, phase, ..Scrub::default() });
        sum.phase = sum.phase.min(phase);
        sum.started = sum.started.max(started);
        sum.duration_seconds = sum.duration_seconds.max(number("duration").unwrap_or_default());
        sum.corrected = sum.corrected.saturating_add(number("corrected_errors").unwrap_or_default());
        sum.uncorrectable = sum.uncorrectable.saturating_add(number("uncorrectable_errors").unwrap_or_default());
    }
    scrub
}
