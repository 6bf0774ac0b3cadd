//! The sensors of the machine as the kernel's hwmon files give them to anybody: temperatures with the limits that the chip
//! or the driver knows, and fans.
//!
//! A disk is not asked while it rests: a sleeping one might wake, and one that idles would never fall asleep. Of those that
//! turn a temperature is read only when the disk has worked since the last look.

use std::{collections::BTreeMap, fs, io};

use crate::host::Host;
use crate::order::Sorted as _;

const DIRECTORY: &str = "/sys/class/hwmon";
/// The most sensors that are followed; a server with two hundred disks has as many.
pub(super) const SENSORS_MAX: usize = 1024;
/// What a broken sensor or a driver without a limit says: not a temperature of a machine that runs.
const PLAUSIBLE: std::ops::RangeInclusive<i64> = -40_000..=200_000;

/// What was read, by the sensor's lasting name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings {
    pub(super) temperatures: BTreeMap<String, Temperature>,
    pub(super) fans: BTreeMap<String, Fan>,
    /// Sensors beyond the bound.
    pub(super) beyond: usize,
}

/// Thousandths of a degree Celsius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Temperature {
    /// None of a disk that rests.
    pub(super) now: Option<i64>,
    pub(super) warn: Option<i64>,
    pub(super) critical: Option<i64>,
}

/// Turns a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fan {
    /// None where the chip gives no answer.
    pub(super) speed: Option<u64>,
    pub(super) least: Option<u64>,
    pub(super) has_alarm: bool,
}

/// How much a disk has worked, by name: the kernel's counters, in its words.
pub(super) type Work = BTreeMap<String, String>;

/// Reads all of them; `work` is that of the last look, and becomes that of this one.
pub(super) fn look(host: &Host, work: &mut Work) -> io::Result<Readings> {
    let mut readings = Readings::default();
    let mut chips = host.names(DIRECTORY)?;
    // The kernel numbers them as they come: of two of the same kind the order tells which is which.
    chips.order_by_key(|chip| (chip.len(), chip.clone()));
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for chip in &chips {
        let chip = Chip { host, directory: format!("{DIRECTORY}/{chip}") };
        let disk = chip.disk();
        let kind = chip.word("name");
        let name = disk.clone().map_or(kind.clone(), |disk| format!("disk /dev/{disk}"));
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        let name = if *count > 1 { format!("{name} ({count})") } else { name };
        let rests = disk.is_some_and(|disk| kind == "drivetemp" && chip.rests(&disk, work));
        chip.read(&name, rests, &mut readings)?;
    }
    Ok(readings)
}

/// The directory of a chip.
struct Chip<'a> {
    host: &'a Host,
    directory: String,
}

impl Chip<'_> {
    fn word(&self, file: &str) -> String {
        self.host.read(&format!("{}/{file}", self.directory)).unwrap_or_default().trim().to_owned()
    }

    fn number(&self, file: &str) -> Option<i64> {
        self.word(file).parse().ok()
    }

    /// The disk whose sensor it is: `sda`, `nvme0`.
    fn disk(&self) -> Option<String> {
        match self.word("name").as_str() {
            "drivetemp" => self.host.names(&format!("{}/device/block", self.directory)).ok()?.into_iter().next(),
            "nvme" => {
                let device = fs::canonicalize(self.host.path(&format!("{}/device", self.directory))).ok()?;
                let name = device.file_name()?.to_string_lossy().into_owned();
                name.starts_with("nvme").then_some(name)
            }
            _ => None,
        }
    }

    /// Whether a disk that turns has done nothing since the last look; of one that is new it is not known, so it may sleep.
    fn rests(&self, disk: &str, work: &mut Work) -> bool {
        let word = |file: &str| self.host.read(&format!("/sys/block/{disk}/{file}")).unwrap_or_default();
        let done = word("stat");
        let before = work.insert(disk.to_owned(), done.clone());
        word("queue/rotational").trim() != "0" && before.is_none_or(|before| before == done)
    }

    fn read(&self, name: &str, rests: bool, readings: &mut Readings) -> io::Result<()> {
        // None where its driver has been unloaded since.
        let files = self.host.names(&self.directory)?;
        let mut inputs: Vec<_> = files.iter().filter_map(|file| file.strip_suffix("_input")).collect();
        inputs.order_by_key(|input| (input.len(), *input));
        for input in inputs {
            let is_full = readings.temperatures.len().saturating_add(readings.fans.len()) >= SENSORS_MAX;
            let (is_temperature, is_fan) = (is_numbered(input, "temp"), is_numbered(input, "fan"));
            if is_full && (is_temperature || is_fan) {
                readings.beyond = readings.beyond.saturating_add(1);
            } else if is_temperature {
                readings.temperatures.insert(self.label(name, input, "temp1"), self.temperature(input, rests));
            } else if is_fan {
                readings.fans.insert(self.label(name, input, ""), self.fan(input));
            }
        }
        Ok(())
    }

    /// `disk /dev/sda`, `coretemp Core 0`, `nct6775 fan2`
    fn label(&self, name: &str, input: &str, plain: &str) -> String {
        let label = self.word(&format!("{input}_label"));
        let is_disk = name.starts_with("disk ");
        match label.as_str() {
            // The one that every disk has.
            _ if is_disk && input == plain => name.to_owned(),
            "" => format!("{name} {input}"),
            label => format!("{name} {label}"),
        }
    }

    fn temperature(&self, input: &str, rests: bool) -> Temperature {
        let limit = |file: &str| self.number(&format!("{input}_{file}")).filter(|limit| (1..=150_000).contains(limit));
        let now = if rests { None } else { self.number(&format!("{input}_input")) };
        let critical = limit("crit");
        // Some drivers give one limit for both, or one above the other.
        let warn = limit("max").filter(|warn| critical.is_none_or(|critical| *warn < critical));
        Temperature { now: now.filter(|now| PLAUSIBLE.contains(now)), warn, critical }
    }

    fn fan(&self, input: &str) -> Fan {
        let speed = self.word(&format!("{input}_input")).parse().ok();
        let least = self.word(&format!("{input}_min")).parse().ok().filter(|least| *least > 0);
        Fan { speed, least, has_alarm: self.word(&format!("{input}_alarm")) == "1" }
    }
}

fn is_numbered(input: &str, kind: &str) -> bool {
    input.strip_prefix(kind).is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
