//! Debian packages of others whose programs call ours: fetched once from the archive of this machine's own release, and
//! unpacked without being installed, so that the container stays what it is.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::container::workshop;

/// Where the files of a package lie.
///
/// # Panics
/// When the archive does not have it.
pub(crate) fn unpacked(package: &str) -> PathBuf {
    let lock = fs::File::create(workshop().join("foreign.lock")).expect("make the lock");
    lock.lock().expect("take the lock");
    let directory = workshop().join("foreign").join(package);
    let files = directory.join("files");
    if !files.exists() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("make a directory");
        // As root: the sandbox of apt may not write where tests keep their things.
        let fetch = ["-o", "APT::Sandbox::User=root", "download", "-q", package];
        succeed(Command::new("apt-get").args(fetch).current_dir(&directory));
        let archive = fs::read_dir(&directory).expect("a directory").flatten().next().expect("a package").path();
        succeed(Command::new("dpkg-deb").arg("-x").arg(archive).arg(directory.join("new")));
        fs::rename(directory.join("new"), &files).expect("rename a directory");
    }
    files
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
