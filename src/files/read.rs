//! Reading of files that people and other programs put there.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Permission of everybody to read.
const OTHERS_READ: u32 = 0o004;

/// Opens an ordinary file. What lies there and is none is an error, and not waited for as a pipe would be.
///
/// # Errors
/// As the file system says.
pub fn open(path: &Path) -> io::Result<File> {
    ordinary(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

fn ordinary(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not an ordinary file")),
    }
}

/// All of an ordinary file. Waits as long as the file system does, which whoever follows a file shows as being at the disk.
///
/// # Errors
/// As the file system says; `FileTooLarge` when it has more bytes.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_all(ordinary(File::open(path)?)?, bytes_max)
}

/// All of a file that holds a secret; whoever uses it keeps it out of messages. A pipe will do: a shell makes one of the
/// output of a command. Warns when everybody on the machine can read it.
///
/// # Errors
/// As the file system says; `FileTooLarge` when it has more bytes.
pub fn read_secret(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if is_open_to_all(file.metadata()?.permissions().mode()) {
        tracing::warn!(path = %path.display(), "everybody on this machine can read this secret; chmod o= would end that");
    }
    read_all(file, bytes_max)
}

/// Whether everybody on the machine may read a file of this mode.
pub fn is_open_to_all(mode: u32) -> bool {
    mode & OTHERS_READ != 0
}

fn read_all(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_ordinary_file_is_neither_opened_nor_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(open(&pipe).is_err(), "and it is not waited for");
        for path in ["/dev/zero", "/"].map(Path::new) {
            assert!(open(path).is_err() && read_bounded(path, 100).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_not_beyond() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, [b'x'; 100]).expect("written");
        assert_eq!(read_bounded(&path, 100).expect("as long as it may be").len(), 100);
        for read in [read_bounded, read_secret] {
            assert_eq!(read(&path, 99).expect_err("longer").kind(), io::ErrorKind::FileTooLarge);
        }
    }
}
