//! Disks of a trial: images on loop devices and file systems in memory. What is mounted is unmounted when it is dropped,
//! also by a trial that fails.
//!
//! They are mounted where nobody else sees them. Whoever makes mounts of its own while a disk is among the machine's, as
//! a service that starts does, copies it and keeps it mounted for as long as it likes: an image would then go on being
//! written after the trial has unmounted it.

use std::{
    ffi::OsStr,
    fs,
    marker::PhantomData,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};

/// How often a copy of a device is tried that somebody writes to meanwhile.
const COPY_TRIES: u32 = 100;
/// How often unmounting is tried: what another trial just starts has all open files of this program for a moment.
const UNMOUNT_TRIES: u32 = 50;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// Makes an ext4 file system in a file, with nothing left to be initialised later.
pub(crate) fn make_image(file: &Path, megabytes: u64) {
    let image = fs::File::create(file).expect("a file for an image");
    image.set_len(megabytes << 20).expect("a long file");
    run("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"], &[file]);
}

/// Copies what has reached a device, at one moment. Nobody writes on a frozen writer's file system but the kernel, and
/// that at any time, be it that somebody says `sync`: a copy counts when the device is still the same behind it.
pub(crate) fn copy_image(from: &Path, to: &Path) {
    for _ in 0..COPY_TRIES {
        run("cp", ["--sparse=always"], &[from, to]);
        let compared = Command::new("cmp").arg("--quiet").args([from, to]).status().expect("start cmp");
        if compared.success() {
            return;
        }
    }
    panic!("{} is written to all the time", from.display());
}

/// A mounted file system.
pub(crate) struct Mounted {
    pub(crate) point: PathBuf,
    /// It stays in its thread: another one has other mounts.
    _of_this_thread: PhantomData<*const ()>,
}

impl Mounted {
    /// An image on a loop device, which goes with the mount. Nothing reaches the image by the passing of time, only by
    /// what is synced: the journal's timer is longer than any trial.
    pub(crate) fn image(file: &Path, point: &Path) -> Mounted {
        Mounted::mount(&["-o", "loop,commit=300"], file, point)
    }

    /// A file system in memory.
    pub(crate) fn memory(megabytes: u64, point: &Path) -> Mounted {
        Mounted::mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m,nr_inodes=2000")], Path::new("tmpfs"), point)
    }

    /// Mounts it otherwise: `ro`, `rw`.
    pub(crate) fn remount(&self, how: &str) {
        run("mount", ["-o", &format!("remount,{how}")], &[&self.point]);
    }

    fn mount(options: &[&str], what: &Path, point: &Path) -> Mounted {
        leave_the_mounts();
        fs::create_dir_all(point).expect("a mount point");
        run("mount", options.iter().copied(), &[what, point]);
        Mounted { point: point.to_owned(), _of_this_thread: PhantomData }
    }
}

/// Takes this thread, and whatever it starts from now on, to mounts of its own. They go with the last of those.
fn leave_the_mounts() {
    thread_local! {
        static LEFT: () = {
            unshare(CloneFlags::CLONE_NEWNS).expect("only root has mounts of its own: run `make test` as root");
            // Nothing that is mounted here goes out. What others unmount goes from here, too, and is not kept from them.
            run("mount", ["--make-rslave"], &[Path::new("/")]);
        };
    }
    LEFT.with(|()| ());
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

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::{sync::OnceLock, time::Instant};

    use super::*;

    /// For a loop device to go.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_trial_mounts_is_seen_by_nobody_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Mounted::memory(1, &directory.path().join("disk"));
        let point = disk.point.to_str().expect("UTF-8");
        let has = |who: &str| fs::read_to_string(format!("/proc/{who}/mountinfo")).expect("mounts").contains(point);
        assert!(has("thread-self"), "it is mounted");
        assert!(!has("self"), "the rest of the program has the mounts of the machine, and there it is not");
    }

    #[test]
    fn nothing_of_a_disk_is_left_after_a_panic() {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (image, point) = (directory.path().join("device"), directory.path().join("disk"));
        make_image(&image, 8);
        let device_of = |image: &Path| {
            let output = Command::new("losetup").arg("--associated").arg(image).output().expect("start losetup");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let had = OnceLock::new();
        let trial = || {
            let _disk = Mounted::image(&image, &point);
            had.get_or_init(|| device_of(&image));
            panic!("as a trial that fails");
        };
        let tried: thread::Result<()> = thread::scope(|scope| scope.spawn(trial).join());
        assert!(tried.is_err() && had.get().is_some_and(|device| !device.is_empty()), "{had:?}");
        let start = Instant::now();
        while !device_of(&image).is_empty() {
            assert!(start.elapsed() < PATIENCE, "{} is left", device_of(&image));
            thread::sleep(UNMOUNT_PAUSE);
        }
    }
}
