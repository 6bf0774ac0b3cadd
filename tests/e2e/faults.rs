//! Storage that breaks and is mended, on real loop devices: each fault and its end arrives once, with the right words.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    appliance::Appliance,
    container::workshop,
    storage::{Disk, host},
};

const DROP_INS: &str = "/etc/systemd/system/rodent.service.d";

/// Kind, level and sentence of the events about something, oldest first.
fn story(appliance: &Appliance, count: usize, about: impl Fn(&Value) -> bool) -> Vec<String> {
    appliance.kinds(count, &about);
    let mut events = appliance.stored();
    events.sort_by_key(|event| event["id"].to_string());
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let told = events.iter().filter(|event| about(event));
    told.map(|event| format!("{} {}", word(event, "level"), word(event, "kind"))).collect()
}

#[test]
fn a_btrfs_mirror_with_errors_and_without_a_device_is_told_and_when_it_is_whole_again() {
    let label = format!("rodent{}", std::process::id());
    let appliance = Appliance::start("btrfs", &[]);
    let is_volume = |event: &Value| event["payload"]["pool_name"] == label.as_str();
    let mirror = Mirror::new(&label);
    mirror.mount("rw");
    host(&[
        "dd",
        "if=/dev/urandom",
        &format!("of={}/file", mirror.place()),
        "bs=1M",
        "count=40",
        "conv=fsync",
        "status=none",
    ]);
    mirror.unmount();
    host(&[
        "dd",
        "if=/dev/urandom",
        &format!("of={}", mirror.second.image),
        "bs=1M",
        "seek=60",
        "count=150",
        "conv=notrunc",
        "status=none",
    ]);
    mirror.mount("rw");
    // It says itself that there were errors.
    let _ = Command::new("btrfs").args(["scrub", "start", "-B", mirror.place()]).output();
    let errors = appliance.wait_for_event("errors", |event| is_volume(event) && event["kind"] == "storage.pool.errors");
    assert!(errors["payload"]["faulty_devices"].to_string().contains("device 2"), "{errors}");
    host(&["btrfs", "device", "stats", "-z", mirror.place()]);
    appliance.wait_for_event("no errors", |event| is_volume(event) && event["kind"] == "storage.pool.errors_cleared");

    mirror.unmount();
    mirror.second.detach();
    host(&["btrfs", "device", "scan", "--forget"]);
    mirror.mount("degraded");
    appliance.wait_for_event("a missing device", |event| is_volume(event) && event["kind"] == "storage.pool.degraded");
    mirror.unmount();
    mirror.second.attach();
    host(&["btrfs", "device", "scan"]);
    mirror.mount("rw");
    let expected = [
        "error storage.pool.errors",
        "info storage.pool.errors_cleared",
        "error storage.pool.degraded",
        "info storage.pool.online",
    ];
    assert_eq!(story(&appliance, 4, is_volume), expected);
}

#[test]
fn a_file_system_that_finds_errors_in_itself_or_takes_no_writes_is_told_and_when_it_is_mended() {
    let disk = Disk::new("faults");
    let appliance = Appliance::start("faults", &[&format!("--bind={}", disk.device)]);
    appliance.run(&format!("mkdir /srv/tank && mount {} /srv/tank", disk.device));
    let is_it = |event: &Value| event["payload"]["dataset_name"] == disk.device.as_str();
    appliance.wait_for_event("the mount", is_it);
    appliance.run("mount -o remount,ro /srv/tank");
    appliance.wait_for_event("read-only", |event| is_it(event) && event["kind"] == "storage.dataset.read_only");
    appliance.run("mount -o remount,rw /srv/tank");
    appliance.wait_for_event("writable", |event| is_it(event) && event["kind"] == "storage.dataset.writable");

    let name = disk.device.trim_start_matches("/dev/");
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "a trial").expect("ext4 may be made to find an error");
    appliance.wait_for_event("errors", |event| is_it(event) && event["kind"] == "storage.dataset.errors");
    appliance.run("umount /srv/tank");
    // It ends with 1: it has mended something.
    let _ = Command::new("e2fsck").args(["-fy", &disk.device]).output();
    appliance.run(&format!("mount {} /srv/tank", disk.device));
    let expected = [
        "info storage.dataset.mounted",
        "error storage.dataset.read_only",
        "info storage.dataset.writable",
        "error storage.dataset.errors",
        "info storage.dataset.unmounted",
        "info storage.dataset.mounted",
        "info storage.dataset.errors_cleared",
    ];
    assert_eq!(story(&appliance, 7, is_it), expected);
}

#[test]
fn a_disk_that_fails_to_write_is_told_where_the_kernels_messages_may_be_read() {
    let appliance = Appliance::install("io-errors", &["--capability=CAP_SYSLOG", "--bind=/dev/kmsg:/dev/kmsg"]);
    appliance.install("systemd/drop-ins/kernel-log.conf", &format!("{DROP_INS}/kernel-log.conf"));
    appliance.run("systemctl daemon-reload && systemctl start rodent-controller rodent");
    appliance.wait_for_event("the first look", |event| {
        event["kind"] == "system.host.inventory" && event["source"] == "system"
    });
    // A file on a file system that is full at a megabyte, written past it.
    let small = Scratch::new("small");
    host(&["mount", "-t", "tmpfs", "-o", "size=1M", "small", small.place()]);
    let image = Image::new(&format!("{}/image", small.place()), "8M");
    let wrote =
        Command::new("dd").args(["if=/dev/zero", &format!("of={}", image.device()), "bs=1M", "oflag=direct"]).output();
    assert!(!wrote.expect("dd runs").status.success());
    let told = appliance.wait_for_event("the error", |event| {
        event["kind"] == "storage.disk.io_errors" && event["payload"]["device_id"] == image.device()
    });
    assert_eq!(told["level"], "error", "{told}");
    assert!(told["payload"]["health_reason"].to_string().contains("WRITE"), "{told}");
}

/// A btrfs of two loop devices, mounted on the machine itself: what the kernel tells of it is the same everywhere.
struct Mirror {
    // Unmounted before the devices go.
    scratch: Scratch,
    first: Image,
    second: Image,
}

impl Mirror {
    fn new(label: &str) -> Mirror {
        let scratch = Scratch::new(label);
        let image = |name: &str| Image::new(&format!("{}/{label}-{name}.img", workshop().display()), "300M");
        let mirror = Mirror { scratch, first: image("a"), second: image("b") };
        host(&[
            "mkfs.btrfs",
            "-q",
            "-L",
            label,
            "-d",
            "raid1",
            "-m",
            "raid1",
            mirror.first.device(),
            mirror.second.device(),
        ]);
        mirror
    }

    fn place(&self) -> &str {
        self.scratch.place()
    }

    fn mount(&self, options: &str) {
        host(&["mount", "-o", options, self.first.device(), self.place()]);
    }

    fn unmount(&self) {
        host(&["umount", self.place()]);
    }
}

/// A file as a disk. Gone when dropped.
struct Image {
    image: String,
    device: String,
}

impl Image {
    fn new(image: &str, size: &str) -> Image {
        host(&["truncate", "-s", size, image]);
        Image { image: image.to_owned(), device: host(&["losetup", "--find", "--show", image]) }
    }

    fn device(&self) -> &str {
        &self.device
    }

    fn detach(&self) {
        host(&["losetup", "-d", &self.device]);
    }

    fn attach(&self) {
        host(&["losetup", &self.device, &self.image]);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.device]).output();
        let _ = fs::remove_file(&self.image);
    }
}

/// A directory to mount on. Unmounted and gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let place = workshop().join(format!("{name}-{}.mount", std::process::id()));
        fs::create_dir_all(&place).expect("the workshop takes a directory");
        Scratch(place)
    }

    fn place(&self) -> &str {
        self.0.to_str().expect("the target directory's name is UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}
