//! A disk as sysfs tells of it to anybody. Reading it asks the kernel's memory; the disk itself sleeps on.

use std::{collections::BTreeMap, fs, io};

use serde::{Deserialize, Serialize};

use crate::{host::Host, order::Gather as _};

const DIRECTORY: &str = "/sys/block";
/// Block devices that no hardware stands behind, or that hold no data of the machine, by the beginning of their names.
const NO_DISKS: [&str; 9] = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "zd"];
const SECTOR_BYTES: u64 = 512;

/// By what makes a disk the same one after a boot: model and serial, or, where it has none or another has the same, its name.
pub(in crate::collectors::storage) type Disks = BTreeMap<String, Disk>;

/// One disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::storage) struct Disk {
    /// `sda`, of this boot.
    pub(in crate::collectors::storage) name: String,
    pub(in crate::collectors::storage) serial: String,
    pub(in crate::collectors::storage) model: String,
    pub(in crate::collectors::storage) vendor: String,
    pub(in crate::collectors::storage) size_bytes: u64,
    /// `hdd`, `ssd`, `nvme`, `flash`.
    pub(in crate::collectors::storage) kind: String,
    /// `sata`, `sas`, `usb`, `nvme`, `virtio`, `mmc`, `scsi`.
    pub(in crate::collectors::storage) interface: String,
}

impl Disk {
    fn key(&self) -> String {
        if self.serial.is_empty() { self.path() } else { format!("{} {}", self.model, self.serial) }
    }

    fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// Whether that may be its key: it is another one when one with its serial comes or goes.
    pub(in crate::collectors::storage) fn may_be(&self, key: &str) -> bool {
        key == self.key() || key == self.path()
    }

    /// Whether it is the same one under the same name: its key is another when one with its serial comes or goes.
    pub(super) fn is_in_place_of(&self, other: &Disk) -> bool {
        (&self.name, &self.model, &self.serial) == (&other.name, &other.model, &other.serial)
    }

    /// Whether it may tell of its own health; what only pretends to be a disk does not.
    pub(in crate::collectors::storage) fn has_smart(&self) -> bool {
        matches!(self.interface.as_str(), "sata" | "sas" | "scsi" | "nvme" | "usb")
    }

    /// One that people pull out and put in.
    pub(super) fn comes_and_goes(&self) -> bool {
        matches!(self.interface.as_str(), "usb" | "mmc")
    }
}

/// The disks of the machine, and, of those that the look before saw, what it found: to ask for a serial may ask the disk.
pub(super) fn look(host: &Host, before: &Seen) -> io::Result<Seen> {
    let mut seen = Seen::new();
    for name in host.names(DIRECTORY)? {
        let files = Files { host, name: &name };
        if !files.is_disk() {
            continue;
        }
        let (number, size_bytes) = (files.word("diskseq"), files.number("size").saturating_mul(SECTOR_BYTES));
        let known = before.get(&name).filter(|(known, _)| *known == number).map(|(_, disk)| disk.clone());
        let disk = Disk { size_bytes, ..known.unwrap_or_else(|| files.disk()) };
        seen.insert(name, (number, disk));
    }
    Ok(seen)
}

/// By name: the kernel's number for it, which it gives to each that comes, and what it is.
pub(super) type Seen = BTreeMap<String, (String, Disk)>;

/// Those that can be told apart. Two with the same serial are, by their names: two ways to one, or what a dock makes up.
pub(super) fn by_key(seen: &Seen) -> Disks {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (_, disk) in seen.values() {
        *counts.entry(disk.key()).or_default() += 1;
    }
    let key = |disk: &Disk| Some(disk.key()).filter(|key| counts.get(key) == Some(&1)).unwrap_or_else(|| disk.path());
    seen.values().map(|(_, disk)| (key(disk), disk.clone())).gather()
}

struct Files<'a> {
    host: &'a Host,
    name: &'a str,
}

impl Files<'_> {
    fn path(&self, file: &str) -> String {
        format!("{DIRECTORY}/{}/{file}", self.name)
    }

    /// Without what pads it; nothing where there is no such file.
    fn word(&self, file: &str) -> String {
        let text = self.host.read(&self.path(file)).unwrap_or_default();
        text.trim_matches(|c: char| c.is_whitespace() || c.is_control()).to_owned()
    }

    fn number(&self, file: &str) -> u64 {
        self.word(file).parse().unwrap_or_default()
    }

    fn is_disk(&self) -> bool {
        let is_none = NO_DISKS.iter().any(|none| self.name.starts_with(none)) || self.name.contains("boot");
        !is_none && self.host.path(&self.path("device")).exists() && self.word("hidden") != "1"
    }

    fn disk(&self) -> Disk {
        let interface = self.interface();
        let kind = match interface {
            "nvme" => "nvme",
            "mmc" => "flash",
            _ if self.word("queue/rotational") == "1" => "hdd",
            _ => "ssd",
        };
        // Of a SATA disk the word is the protocol's, and of a virtual one a number.
        let vendor = Some(self.word("device/vendor")).filter(|vendor| vendor != "ATA" && !vendor.starts_with("0x"));
        Disk {
            name: self.name.to_owned(),
            serial: self.serial(),
            model: Some(self.word("device/model"))
                .filter(|it| !it.is_empty())
                .unwrap_or_else(|| self.word("device/name")),
            vendor: vendor.unwrap_or_default(),
            size_bytes: 0,
            kind: kind.to_owned(),
            interface: interface.to_owned(),
        }
    }

    fn serial(&self) -> String {
        // NVMe and MMC, then virtio, then the page of vital product data of SCSI and SATA: four bytes, then the serial.
        let page = || {
            let page = fs::read(self.host.path(&self.path("device/vpd_pg80"))).unwrap_or_default();
            String::from_utf8_lossy(page.get(4..).unwrap_or_default()).trim_matches(|c: char| c <= ' ').to_owned()
        };
        let candidates = [self.word("device/serial"), self.word("serial")];
        candidates.into_iter().find(|serial| !serial.is_empty()).unwrap_or_else(page)
    }

    /// By what stands on the way to it.
    fn interface(&self) -> &'static str {
        let way = fs::canonicalize(self.host.path(&format!("{DIRECTORY}/{}", self.name))).unwrap_or_default();
        let way = way.to_string_lossy();
        let on_way = |part: &str| way.contains(part);
        match self.name {
            name if name.starts_with("nvme") => "nvme",
            name if name.starts_with("mmcblk") => "mmc",
            name if name.starts_with("vd") => "virtio",
            _ if on_way("/usb") => "usb",
            _ if on_way("/ata") => "sata",
            _ if on_way("/end_device-") => "sas",
            _ => "scsi",
        }
    }
}
