//! Reads `zpool status` and `zpool list`: their text, which every version writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    scan::{Phase, Scan, Work},
    vdev::{self, Class, Trim},
};
use crate::collectors::storage::{errors::Errors, fullness::Fill};

/// The pools by name.
pub(in crate::collectors::storage) type Pools = BTreeMap<String, Pool>;

/// A pool as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Pool {
    /// zpool's own word.
    pub(super) state: String,
    /// What zpool says is wrong; empty when nothing is.
    pub(super) status: String,
    pub(super) layout: String,
    /// By lasting name.
    pub(super) disks: BTreeMap<String, Disk>,
    /// The last of each: a pool that was ever rebuilt one after the other tells of both.
    pub(super) scans: BTreeMap<Work, Scan>,
    /// Files and metadata that are lost; none when zpool does not tell.
    pub(super) data_errors: Option<u64>,
    pub(super) size_bytes: Option<u64>,
    pub(super) used_bytes: Option<u64>,
    /// How many errors of disks have been told of: only twice as many are worth telling again.
    pub(super) errors_told: u64,
    pub(super) fill: Fill,
    /// In which boot it was last seen: one that is not imported after a boot was not exported by somebody. Empty where that is
    /// not known, as in memories of older agents.
    #[serde(default)]
    pub(super) boot: String,
}

/// A device at the end of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Disk {
    /// Its row in the tree, which it keeps whatever it is called; 0 in memories of older agents.
    #[serde(default)]
    pub(super) row: usize,
    pub(super) class: Class,
    pub(super) state: String,
    pub(super) errors: Errors,
    pub(super) note: String,
    pub(super) trim: Trim,
}

/// Name, size and used bytes of a pool.
pub(super) const LIST_ARGUMENTS: &[&str] = &["list", "-Hp", "-o", "name,size,allocated"];
/// Exact numbers, full paths, what TRIM does.
pub(super) const STATUS_ARGUMENTS: &[&str] = &["status", "-p", "-P", "-t"];

impl Pool {
    /// Errors of all its disks.
    pub(super) fn errors(&self) -> u64 {
        self.disks.values().fold(0, |sum, disk| sum.saturating_add(disk.errors.total()))
    }

    /// How full it is, 0 to 100.
    pub(super) fn used_percent(&self) -> Option<f64> {
        let (size, used) = (self.size_bytes.filter(|size| *size > 0)?, self.used_bytes?);
        #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits")]
        Some(used as f64 * 100.0 / size as f64)
    }
}

/// Parses `zpool status`; what makes no sense is passed over.
pub(super) fn parse_status(text: &str) -> Pools {
    let mut pools = Pools::new();
    let mut rest = paragraphs(text).into_iter().peekable();
    while let Some((key, lines)) = rest.next() {
        let name = lines.first().map(|name| name.trim()).unwrap_or_default();
        if key != "pool" || name.is_empty() {
            continue;
        }
        let mut pool = Pool::default();
        while let Some((key, lines)) = rest.next_if(|(key, _)| *key != "pool") {
            pool.read(key, &lines);
        }
        pools.insert(name.to_owned(), pool);
    }
    pools
}

impl Pool {
    fn read(&mut self, key: &str, lines: &[&str]) {
        let first = lines.first().map(|line| line.trim()).unwrap_or_default();
        match key {
            "state" => self.state = first.to_owned(),
            "status" => self.status = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
            "scan" => self.read_scan(lines),
            "config" => self.read_config(lines),
            "errors" => self.data_errors = data_errors(first, lines),
            _ => {}
        }
    }

    /// A scrub and the rebuilds of single vdevs stand one after the other: the one that runs counts, else the last.
    fn read_scan(&mut self, lines: &[&str]) {
        for scan in lines.iter().filter_map(|line| Scan::parse(line)) {
            if self.scans.get(&scan.work).is_none_or(|earlier| earlier.phase != Phase::Running) {
                self.scans.insert(scan.work, scan);
            }
        }
    }

    fn read_config(&mut self, lines: &[&str]) {
        let vdevs = vdev::parse(lines.iter().copied());
        self.layout = vdev::layout(&vdevs);
        for (row, vdev) in vdevs.iter().enumerate().filter(|(_, vdev)| !vdev.is_group()) {
            let disk = Disk {
                row,
                class: vdev.class,
                state: vdev.state.clone(),
                errors: vdev.errors,
                note: vdev.reason().to_owned(),
                trim: vdev.trim(),
            };
            // What a missing device was called may be the name of another one by now.
            let is_taken = vdev.device() != vdev.name && vdevs.iter().any(|other| other.name == vdev.device());
            let device = if is_taken { &vdev.name } else { vdev.device() };
            // A spare in use stands in the tree and once more among the spares.
            self.disks.entry(device.to_owned()).or_insert(disk);
        }
    }
}

/// Splits `  pool: tank` and what is indented below into key and lines.
fn paragraphs(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut paragraphs: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (header(line), paragraphs.last_mut()) {
            (Some((key, value)), _) => paragraphs.push((key, vec![value])),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    paragraphs
}

/// Keys are at the right of seven columns; what is indented further, or by a tab, goes on with the paragraph.
fn header(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let indent = key.len() - key.trim_start_matches(' ').len();
    let key = key.trim_start_matches(' ');
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase());
    (is_key && indent <= 3 && (value.is_empty() || value.starts_with(' '))).then_some((key, value))
}

/// `No known data errors`, `3 data errors, use '-v' for a list`, or a list of files below.
fn data_errors(first: &str, lines: &[&str]) -> Option<u64> {
    if first.starts_with("No known data errors") {
        return Some(0);
    }
    if first.starts_with("Permanent errors") {
        let files = lines.iter().skip(1).filter(|line| !line.trim().is_empty()).count();
        return Some(u64::try_from(files).unwrap_or(u64::MAX).max(1));
    }
    first.split(' ').next().and_then(|number| number.parse().ok())
}

/// Puts the sizes of `zpool list -Hp -o name,size,allocated` to the pools.
pub(super) fn add_sizes(pools: &mut Pools, list: &str) {
    for line in list.lines() {
        let mut fields = line.split('\t');
        let Some(pool) = fields.next().and_then(|name| pools.get_mut(name)) else { continue };
        pool.size_bytes = fields.next().and_then(|field| field.parse().ok());
        pool.used_bytes = fields.next().and_then(|field| field.parse().ok());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../../tests/fixtures/zfs/zpool-status", $name, ".txt"))
        };
    }

    #[test]
    fn a_pool_with_a_faulted_disk_says_online_itself_and_names_the_disk() {
        let pools = parse_status(fixture!("-p.disk-faulted"));
        let pool = &pools["pool1"];
        assert_eq!((pool.state.as_str(), pool.layout.as_str(), pool.data_errors), ("ONLINE", "mirror", Some(0)));
        assert!(pool.status.starts_with("One or more devices are faulted in response to persistent errors. Suff"));
        let disk = &pool.disks["zc"];
        assert_eq!((disk.state.as_str(), disk.note.as_str()), ("FAULTED", "too many errors"));
        assert_eq!((pool.errors(), pool.disks.len()), (203, 2));
    }

    #[test]
    fn lost_files_are_counted_with_and_without_their_list() {
        assert_eq!(parse_status(fixture!("-v.data-loss"))["lossy"].data_errors, Some(1));
        assert_eq!(data_errors("444 data errors, use '-v' for a list", &[]), Some(444));
        assert_eq!(data_errors("List of errors unavailable (insufficient privileges)", &[]), None);
    }

    #[test]
    fn several_pools_are_told_apart_and_a_single_disk_is_a_stripe() {
        let both = format!("{}\n{}", fixture!("-v.data-loss"), fixture!("-p.disk-faulted"));
        let pools = parse_status(&both);
        assert_eq!(pools.keys().collect::<Vec<_>>(), ["lossy", "pool1"]);
        assert_eq!(pools["lossy"].layout, "stripe");
        assert!(parse_status("no pools available\n").is_empty());
    }

    #[test]
    fn a_file_that_is_called_like_a_key_begins_no_paragraph() {
        let evil = format!("{}        pool: evil\n", fixture!("-v.data-loss"));
        assert_eq!(parse_status(&evil).keys().collect::<Vec<_>>(), ["lossy"]);
    }

    #[test]
    fn sizes_come_from_the_list() {
        let mut pools = parse_status(fixture!(".healthy"));
        add_sizes(&mut pools, include_str!("../../../../tests/fixtures/zfs/zpool-list-Hpo.txt"));
        let pool = &pools["tank"];
        assert_eq!((pool.size_bytes, pool.used_bytes), (Some(503_316_480), Some(253_718_528)));
        assert_eq!(pool.used_percent().map(f64::round), Some(50.0));
        add_sizes(&mut pools, "tank\t-\t-\n");
        assert_eq!(pools["tank"].used_percent(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in "(?s).{0,400}") {
            let mut pools = parse_status(&text);
            add_sizes(&mut pools, &text);
        }

        #[test]
        fn a_damaged_answer_is_parsed_without_a_panic(from in 0usize..600, to in 0usize..600, junk in "[ \t\na-z:%(0-9]{0,8}") {
            let text = fixture!("-t.trim");
            let damaged: String = text.chars().take(from).chain(junk.chars()).chain(text.chars().skip(to)).collect();
            parse_status(&damaged);
        }
    }
}
