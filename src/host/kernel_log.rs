//! The kernel's messages, from `/dev/kmsg`, where it may be read: as root, with `CAP_SYSLOG`, or where
//! `kernel.dmesg_restrict` is 0. Only what the kernel itself has written is given; programs may write there, too.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
};

use tokio::io::{Interest, unix::AsyncFd};

use super::Host;

const PATH: &str = "/dev/kmsg";
/// The longest record that the kernel gives, and what stands around it.
const RECORD_BYTES_MAX: usize = 8 * 1024;

/// The messages of this boot that the kernel still has, and those to come.
#[derive(Debug)]
pub struct KernelLog {
    file: AsyncFd<File>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRecord {
    /// Counts up by one from the boot on.
    pub sequence: u64,
    /// Since the boot.
    pub microseconds: u64,
    /// One line; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// What a look at the messages finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next of the kernel's own.
    Record(KernelRecord),
    /// One that is passed over: of a program, or not understood.
    Other,
    /// The kernel has overwritten some before they were read.
    Lost,
    /// There is no more for now.
    End,
}

impl KernelLog {
    /// Opens it at its oldest message.
    ///
    /// # Errors
    /// When it is not there, or may not be read.
    #[expect(unsafe_code, reason = "tokio lets nobody but the caller answer for the descriptor")]
    pub fn open(host: &Host) -> io::Result<KernelLog> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(host.path(PATH))?;
        // SAFETY: the descriptor is owned by the file that is registered, and closes after it is deregistered.
        Ok(KernelLog { file: unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }? })
    }

    /// The next message, if there is one; never waits.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub fn read(&mut self) -> io::Result<Next> {
        let mut buffer = [0; RECORD_BYTES_MAX];
        match self.file.get_mut().read(&mut buffer) {
            Ok(0) => Ok(Next::End),
            Ok(length) => Ok(parse(buffer.get(..length).unwrap_or_default()).map_or(Next::Other, Next::Record)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Next::End),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Next::Other),
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => Ok(Next::Lost),
            Err(error) => Err(error),
        }
    }

    /// Waits for a message that comes after this call's last.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When polling itself breaks.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.file.readable().await?.clear_ready();
        Ok(())
    }
}

/// `3,799,821365780,-;critical medium error, dev sdb, …`, then lines about the device. Priority, sequence, time; those
/// whose facility is not 0 are not of the kernel.
pub fn parse(record: &[u8]) -> Option<KernelRecord> {
    let text = String::from_utf8_lossy(record);
    let (head, rest) = text.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let (sequence, microseconds) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let text = rest.lines().next().unwrap_or_default().trim_end().to_owned();
    (priority < 8).then_some(KernelRecord { sequence, microseconds, text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_program_has_written_is_none_of_the_kernels() {
        let of = |record: &[u8]| parse(record).map(|record| (record.sequence, record.text));
        let error =
            b"3,799,821365780,-;critical medium error, dev sdb, sector 2000\n SUBSYSTEM=scsi\n DEVICE=+scsi:1\n";
        assert_eq!(of(error), Some((799, "critical medium error, dev sdb, sector 2000".to_owned())));
        assert_eq!(of(b"12,800,821365781,-;Out of memory: Killed process 1 (init)\n"), None);
        assert_eq!(of(b"3,1,5,-,caller=T1;I/O \xff error\n"), Some((1, "I/O \u{fffd} error".to_owned())));
    }

    #[test]
    fn a_plain_file_is_no_kernel_log() {
        let root = tempfile::tempdir().unwrap();
        assert!(KernelLog::open(&Host::at(root.path())).is_err());
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic(record in proptest::collection::vec(any::<u8>(), 0..200), head in "[0-9,;-]{0,30}") {
            let _ = parse(&record);
            let _ = parse(&[head.as_bytes(), &record].concat());
        }
    }
}
