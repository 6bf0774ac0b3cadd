//! Files as disks, on loop devices of this machine.

use std::{fs, path::Path, process::Command};

use crate::{appliance::PATIENCE, container::workshop, process::wait};

/// Gone when dropped, with its file.
pub(crate) struct Disk {
    pub(crate) device: String,
    pub(crate) image: String,
}

impl Disk {
    /// One with nothing on it, in the workshop.
    pub(crate) fn new(name: &str, size: &str) -> Disk {
        Disk::of(&workshop().join(format!("{name}-{}.img", std::process::id())), size)
    }

    /// One of that file.
    pub(crate) fn of(image: &Path, size: &str) -> Disk {
        let image = image.to_str().expect("the target directory's name is UTF-8").to_owned();
        host(&["truncate", "-s", size, &image]);
        Disk { device: host(&["losetup", "--find", "--show", &image]), image }
    }

    /// One with a small ext4.
    pub(crate) fn ext4(name: &str, options: &[&str]) -> Disk {
        let disk = Disk::new(name, "64M");
        host(&[&["mkfs.ext4", "-q", "-m", "0"], options, &[disk.device.as_str()]].concat());
        disk
    }

    /// As if it was pulled out.
    pub(crate) fn detach(&self) {
        host(&["losetup", "-d", &self.device]);
    }

    /// Puts it back. Another test may have been given the same number meanwhile: then once that is done with it.
    pub(crate) fn attach(&self) {
        let attach = || Command::new("losetup").args([&self.device, &self.image]).output().expect("start losetup");
        wait(&format!("{} is free again", self.device), 3 * PATIENCE, || attach().status.success().then_some(()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.device]).output();
        let _ = fs::remove_file(&self.image);
    }
}

pub(crate) fn host(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
