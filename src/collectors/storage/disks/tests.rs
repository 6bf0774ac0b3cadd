//! Trees as sysfs has them, and what is told when one becomes another.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use proptest::prelude::*;

use super::*;
use crate::{collectors::finding::sentences, host::Host};

/// A machine whose disks can be put in and pulled out.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Below a way through the machine, as the kernel has it.
    fn put(&self, way: &str, name: &str, files: &[(&str, &[u8])]) {
        let place = format!("sys/devices/{way}/block/{name}");
        fs::create_dir_all(self.0.path().join(&place).join("device")).unwrap();
        files.iter().for_each(|(file, bytes)| self.write(&format!("{place}/{file}"), bytes));
        fs::create_dir_all(self.0.path().join("sys/block")).unwrap();
        symlink(self.0.path().join(place), self.0.path().join("sys/block").join(name)).unwrap();
    }

    fn pull(&self, name: &str) {
        fs::remove_file(self.0.path().join("sys/block").join(name)).unwrap();
    }

    fn look(&self, before: &Seen) -> Seen {
        disk::look(&Host::at(self.0.path()), before).expect("a tree")
    }
}

const SATA: &[(&str, &[u8])] = &[
    ("diskseq", b"9\n"),
    ("size", b"1048576\n"),
    ("queue/rotational", b"1\n"),
    ("device/vendor", b"ATA     \n"),
    ("device/model", b"QEMU HARDDISK   \n"),
    ("device/vpd_pg80", b"\0\x80\0\x14SATA1               "),
];

fn shelf() -> Machine {
    let machine = Machine::new();
    machine.put("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0", "sda", SATA);
    let nvme: &[(&str, &[u8])] = &[
        ("size", b"2000\n"),
        ("device/model", b"QEMU NVMe Ctrl\n"),
        ("device/serial", b"NVME1 \n"),
        ("hidden", b"0\n"),
    ];
    machine.put("pci0000:00/0000:00:05.0/nvme/nvme0", "nvme0n1", nvme);
    machine.put("pci0000:00/0000:00:05.0/nvme/nvme0", "nvme0c0n1", &[("hidden", b"1\n")]);
    let stick: &[(&str, &[u8])] =
        &[("removable", b"1"), ("device/vendor", b"SanDisk"), ("device/model", b"Ultra \xff")];
    machine.put("pci0000:00/0000:00:14.0/usb2/2-1/host3/3:0:0:0", "sdb", stick);
    machine.put("platform/virtio1", "vda", &[("serial", b"overlayblk"), ("device/vendor", b"0x1af4")]);
    machine.put("virtual", "loop0", &[]);
    machine.put("x", "sr0", &[]);
    machine
}

#[test]
fn disks_are_told_with_serial_model_size_and_type_and_what_is_no_disk_is_none() {
    let disks = disk::by_key(&shelf().look(&Seen::new()));
    let shown: Vec<_> = disks
        .iter()
        .map(|(key, it)| format!("{key} | {} {} {} {} {}", it.name, it.kind, it.interface, it.vendor, it.size_bytes))
        .collect();
    let expected = [
        " overlayblk | vda ssd virtio  0",
        "/dev/sdb | sdb ssd usb SanDisk 0",
        "QEMU HARDDISK SATA1 | sda hdd sata  536870912",
        "QEMU NVMe Ctrl NVME1 | nvme0n1 nvme nvme  1024000",
    ];
    assert_eq!(shown, expected);
    assert_eq!(disk::by_key(&Machine::new().look(&Seen::new())), Disks::new());
}

#[test]
fn disks_that_come_and_go_are_told_and_one_with_another_name_is_the_same() {
    let machine = shelf();
    let seen = machine.look(&Seen::new());
    let mut before = disk::by_key(&seen);
    let mut told = |what: &str| {
        let after = disk::by_key(&machine.look(&seen));
        let findings = diff(&before, &after);
        let levels = findings.iter().map(|finding| finding.level.name());
        before = after;
        let pairs = levels.zip(sentences(&findings)).map(|(level, sentence)| format!("{level}: {sentence}"));
        format!("{what}: {}", pairs.collect::<Vec<_>>().join("; "))
    };
    machine.pull("sda");
    let pulled = told("pulled");
    machine.put("pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0", "sdc", SATA);
    let back = told("back, elsewhere");
    machine.pull("sdc");
    machine.put("pci0000:00/0000:00:1f.2/ata3/host1/target1:0:0/1:0:0:0", "sdd", SATA);
    let renamed = told("renamed");
    machine.pull("sdb");
    let stick = told("a stick");
    let expected = [
        "pulled: warn: Disk /dev/sda was removed, QEMU HARDDISK, serial SATA1",
        "back, elsewhere: info: Disk /dev/sdc was found: QEMU HARDDISK, 512.0 MiB, serial SATA1",
        "renamed: ",
        "a stick: info: Disk /dev/sdb was removed, Ultra \u{fffd}",
    ];
    assert_eq!([pulled, back, renamed, stick], expected);
}

#[test]
fn of_two_ways_to_one_disk_each_is_told_when_it_comes_and_when_it_goes_and_no_other() {
    let machine = Machine::new();
    let way = |number: u32| format!("pci0000:00/0000:03:00.0/host0/port-0:{number}/end_device-0:{number}");
    let mut before = Disks::new();
    let mut told = || {
        let after = disk::by_key(&machine.look(&Seen::new()));
        let findings = sentences(&diff(&before, &after));
        before = after;
        findings.join("; ")
    };
    let found = |name: &str| format!("Disk /dev/{name} was found: QEMU HARDDISK, 512.0 MiB, serial SATA1");
    let removed = |name: &str| format!("Disk /dev/{name} was removed, QEMU HARDDISK, serial SATA1");
    machine.put(&way(1), "sda", SATA);
    assert_eq!(told(), found("sda"));
    machine.put(&way(2), "sdb", SATA);
    assert_eq!(told(), found("sdb"));
    assert_eq!(told(), "");
    machine.pull("sda");
    assert_eq!(told(), removed("sda"));
    machine.put(&way(3), "sdc", SATA);
    assert_eq!(told(), found("sdc"));
    machine.pull("sdc");
    assert_eq!(told(), removed("sdc"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_sysfs_says_every_disk_is_known_once(serials in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..6)) {
        let machine = Machine::new();
        for (at, serial) in serials.iter().enumerate() {
            machine.put("x", &format!("sd{at}"), &[("device/serial", serial.as_slice()), ("size", serial.as_slice())]);
        }
        let seen = machine.look(&Seen::new());
        let disks = disk::by_key(&seen);
        prop_assert_eq!(disks.len(), serials.len());
        let names: BTreeSet<_> = disks.values().map(|disk| &disk.name).collect();
        prop_assert_eq!(names.len(), serials.len());
        prop_assert_eq!(diff(&disks, &disk::by_key(&machine.look(&seen))), vec![]);
    }
}
