//! Storage that breaks and is mended, on real loop devices: each fault and its end arrives once, with the right words.

use std::{fs, path::PathBuf, process::Command};

use crate::{appliance::Appliance, container::workshop, storage::host};

const DROP_INS: &str = "/etc/systemd/system/rodent.service.d";

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
