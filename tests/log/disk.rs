//! Disks of a trial: images on loop devices and file systems in memory. What is mounted is unmounted when it is dropped,
//! also by a trial that fails.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// How often unmounting is tried: somebody who looks at all mounts may hold one for a moment.
const UNMOUNT_TRIES: u32 = 50;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// Makes an ext4 file system in a file, with nothing left to be initialised later.
pub(crate) fn make_image(file: &Path, megabytes: u64) {
    let image = fs::File::create(file).expect("a file for an image");
    image.set_len(megabytes << 20).expect("a long file");
    run("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"], &[file]);
}

/// Copies what has reached a device.
pub(crate) fn copy_image(from: &Path, to: &Path) {
    run("cp", ["--sparse=always"], &[from, to]);
}

/// A mounted file system.
pub(crate) struct Mounted {
    pub(crate) point: PathBuf,
}

impl Mounted {
    /// An image on a loop device, which goes with the mount. Nothing reaches the image by the passing of time, only by
    /// what is synced: the journal's timer is longer than any trial.
    pub(crate) fn image(file: &Path, point: &Path) -> Mounted {
        fs::create_dir_all(point).expect("a mount point");
        run("mount", ["-o", "loop,commit=300"], &[file, point]);
        Mounted { point: point.to_owned() }
    }

    /// A file system in memory.
    pub(crate) fn memory(megabytes: u64, point: &Path) -> Mounted {
        fs::create_dir_all(point).expect("a mount point");
        let size = format!("size={megabytes}m");
        run("mount", ["-t", "tmpfs", "-o", &size, "tmpfs"], &[point]);
        Mounted { point: point.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..UNMOUNT_TRIES {
            if Command::new("umount").arg(&self.point).output().is_ok_and(|output| output.status.success()) {
                return;
            }
            thread::sleep(UNMOUNT_PAUSE);
        }
        // Whoever still holds it lets go some time; nobody finds it any more.
        let _ = Command::new("umount").arg("-l").arg(&self.point).output();
    }
}

fn run<'a>(program: &str, options: impl IntoIterator<Item = &'a str>, paths: &[&Path]) {
    let mut command = Command::new(program);
    command.args(options.into_iter().map(OsStr::new)).args(paths);
    let output = command.output().unwrap_or_else(|error| panic!("start {program}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
