//! The tree of devices that a pool is made of: what the paragraph `config:` of `zpool status` says.

use serde::{Deserialize, Serialize};

use crate::collectors::storage::errors::Errors;

/// A row of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vdev {
    /// 0 for the pool itself.
    pub(super) depth: usize,
    pub(super) class: Class,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) errors: Errors,
    /// `too many errors`, `was /dev/sdb1`, `(resilvering)`.
    pub(super) note: String,
}

/// What a device does in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Class {
    /// Holds data or metadata: without it the pool is less than whole.
    Data,
    /// Holds the intent log.
    Log,
    /// May be lost without harm.
    Cache,
    /// Stands by.
    Spare,
}

/// What TRIM does on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Trim {
    /// Nothing is known of it.
    #[default]
    Idle,
    /// It runs, or is suspended.
    Running,
    /// It has ended, at this date in the words of zpool.
    Completed(String),
}

const STATES: [&str; 10] =
    ["ONLINE", "DEGRADED", "FAULTED", "OFFLINE", "UNAVAIL", "REMOVED", "SUSPENDED", "AVAIL", "INUSE", "SPLIT"];

impl Vdev {
    /// Whether it only groups others. Device names that look the same do not exist: groups have a number at the end.
    pub(super) fn is_group(&self) -> bool {
        const GROUPS: [&str; 6] = ["mirror-", "raidz", "draid", "replacing-", "spare-", "indirect-"];
        self.depth == 0 || GROUPS.iter().any(|group| self.name.starts_with(group) && self.name.contains('-'))
    }

    /// The device's lasting name: one that cannot be opened is shown by a number and what it was.
    pub(super) fn device(&self) -> &str {
        self.note.strip_prefix("was ").and_then(|was| was.split_whitespace().next()).unwrap_or(&self.name)
    }

    /// The note less what it says of TRIM, which is no reason for a state.
    pub(super) fn reason(&self) -> &str {
        let is_trim = |rest: &str| rest.split(')').next().is_some_and(|words| words.contains("trim"));
        let trim = self.note.match_indices('(').map(|(at, _)| self.note.split_at(at)).find(|(_, rest)| is_trim(rest));
        trim.map_or(self.note.as_str(), |(before, _)| before.trim_end())
    }

    /// What the note says of TRIM.
    pub(super) fn trim(&self) -> Trim {
        let Some((_, after)) = self.note.split_once("% trimmed, ") else { return Trim::Idle };
        match after.strip_prefix("completed at ") {
            Some(date) => Trim::Completed(date.split(')').next().unwrap_or_default().to_owned()),
            None => Trim::Running,
        }
    }
}

/// Parses the lines of the paragraph; those that make no sense are passed over.
pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Vdev> {
    let mut class = Class::Data;
    let mut vdevs = Vec::new();
    for line in lines {
        let line = line.strip_prefix('\t').unwrap_or(line);
        match class_of(line.trim_end()) {
            Some(section) => class = section,
            None => vdevs.extend(parse_row(line, class)),
        }
    }
    vdevs
}

fn class_of(line: &str) -> Option<Class> {
    match line {
        "logs" => Some(Class::Log),
        "cache" => Some(Class::Cache),
        "spares" => Some(Class::Spare),
        "special" | "dedup" => Some(Class::Data),
        _ => None,
    }
}

/// `    vdc     FAULTED      3   200     0  too many errors`
fn parse_row(line: &str, class: Class) -> Option<Vdev> {
    let depth = (line.len() - line.trim_start_matches(' ').len()) / 2;
    let words: Vec<&str> = line.split_whitespace().collect();
    // The name of a file that serves as a device may contain spaces.
    let at = words.iter().skip(1).position(|word| STATES.contains(word))?.saturating_add(1);
    let (name, rest) = words.split_at_checked(at)?;
    let (state, rest) = rest.split_first()?;
    let mut counts = rest.iter().map_while(|word| word.parse::<u64>().ok());
    let mut count = || counts.next().unwrap_or_default();
    let errors = Errors { read: count(), write: count(), checksum: count() };
    // Spares have no counters.
    let note: Vec<&str> = rest.iter().copied().skip_while(|word| word.bytes().all(|b| b.is_ascii_digit())).collect();
    Some(Vdev { depth, class, name: name.join(" "), state: (*state).to_owned(), errors, note: note.join(" ") })
}

/// `mirror`, `raidz2`, `stripe`, or several of them: the layout of what holds data.
pub(super) fn layout(vdevs: &[Vdev]) -> String {
    let mut layouts: Vec<&str> = Vec::new();
    for vdev in vdevs.iter().filter(|vdev| vdev.depth == 1 && vdev.class == Class::Data) {
        let group = vdev.name.split(['-', ':']).next().unwrap_or_default();
        let layout = match group {
            "indirect" => continue,
            _ if !vdev.is_group() || group == "replacing" || group == "spare" => "stripe",
            _ => group,
        };
        if !layouts.contains(&layout) {
            layouts.push(layout);
        }
    }
    layouts.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH_CLASSES: &str = "\tNAME                  STATE     READ WRITE CKSUM
\ttank                  DEGRADED     0     0     0
\t  raidz2-0            DEGRADED     0     0     0
\t    /dev/sda1         ONLINE       0     0     0
\t    spare-1           DEGRADED     0     0     0
\t      8675309         UNAVAIL      0     0     0  was /dev/sdb1
\t      /dev/sdg1       ONLINE       0     0     0  (resilvering)
\tspecial
\t  mirror-1            ONLINE       0     0     0
\t    /srv/my file 1    ONLINE       0     0     0
\tlogs
\t  /dev/sdd1           ONLINE       0     0     0
\tcache
\t  /dev/sde1           FAULTED      0     0     0  corrupted data
\tspares
\t  /dev/sdg1           INUSE     currently in use
\t  /dev/sdh1           AVAIL
";

    #[test]
    fn sections_groups_missing_devices_and_spares_are_understood() {
        let vdevs = parse(WITH_CLASSES.lines());
        let seen: Vec<_> = vdevs
            .iter()
            .filter(|vdev| !vdev.is_group())
            .map(|vdev| format!("{:?} {} {} {}", vdev.class, vdev.device(), vdev.state, vdev.note))
            .collect();
        assert_eq!(
            seen,
            [
                "Data /dev/sda1 ONLINE ",
                "Data /dev/sdb1 UNAVAIL was /dev/sdb1",
                "Data /dev/sdg1 ONLINE (resilvering)",
                "Data /srv/my file 1 ONLINE ",
                "Log /dev/sdd1 ONLINE ",
                "Cache /dev/sde1 FAULTED corrupted data",
                "Spare /dev/sdg1 INUSE currently in use",
                "Spare /dev/sdh1 AVAIL ",
            ]
        );
        assert_eq!(layout(&vdevs), "raidz2+mirror");
    }

    #[test]
    fn counters_and_the_reason_stand_behind_the_state() {
        let vdevs = parse(["\t    zc      FAULTED      3   200     0  too many errors"].into_iter());
        assert_eq!(vdevs[0].errors, Errors { read: 3, write: 200, checksum: 0 });
        assert_eq!(vdevs[0].note, "too many errors");
        assert_eq!((vdevs[0].depth, vdevs[0].errors.total()), (2, 203));
    }

    #[test]
    fn what_a_note_says_of_trim_is_no_reason() {
        let reason = |note: &str| {
            let vdevs = parse([format!("\t    vdb  OFFLINE  0  0  0  {note}").as_str()].into_iter());
            vdevs.first().map(|vdev| vdev.reason().to_owned())
        };
        for (note, expected) in [
            ("(untrimmed)", ""),
            ("(trim unsupported)", ""),
            ("too many errors  (untrimmed)", "too many errors"),
            ("(resilvering)  (12% trimmed, started at Fri Nov 20)", "(resilvering)"),
            ("(resilvering)", "(resilvering)"),
            ("was /dev/sdb1", "was /dev/sdb1"),
        ] {
            assert_eq!(reason(note).as_deref(), Some(expected), "{note}");
        }
    }

    #[test]
    fn notes_tell_of_trim() {
        let trim = |note: &str| {
            parse([format!("\t    vdb  ONLINE  0  0  0  {note}").as_str()].into_iter()).first().map(Vdev::trim)
        };
        assert_eq!(trim("(12% trimmed, started at Fri Nov 20)"), Some(Trim::Running));
        assert_eq!(trim("(12% trimmed, suspended, started at Fri)"), Some(Trim::Running));
        assert_eq!(trim("(100% trimmed, completed at Fri Nov 20)"), Some(Trim::Completed("Fri Nov 20".into())));
        assert_eq!(trim("(trim unsupported)"), Some(Trim::Idle));
        assert_eq!(trim("(untrimmed)"), Some(Trim::Idle));
    }
}
