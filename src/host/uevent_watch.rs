//! Tells when a device comes, goes or changes its size: the kernel's uevents, over netlink. What it is and what there is now
//! stands in sysfs; the event is a reason to look there.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use tokio::io::unix::AsyncFd;

use super::netlink::{read, register};

/// The multicast group of the kernel itself; udev has another.
const KERNEL_GROUP: u32 = 1;
/// The largest datagram that is read: the kernel gives an event 2 KiB for its variables, and a path.
const DATAGRAM_BYTES_MAX: usize = 8 * 1024;

/// A subscription to the events of one subsystem.
#[derive(Debug)]
pub struct UeventWatch {
    socket: AsyncFd<OwnedFd>,
    /// Variables that an event must have: `SUBSYSTEM=block`, `DEVTYPE=disk`.
    wanted: &'static [&'static str],
}

impl UeventWatch {
    /// Subscribes; the events of which a variable is not as wanted are passed over. Look at sysfs after this, so that no
    /// change falls between.
    ///
    /// # Errors
    /// When there is no such socket to be had.
    pub fn open(wanted: &'static [&'static str]) -> io::Result<UeventWatch> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(UeventWatch { socket: register(socket)?, wanted })
    }

    /// Waits for the next one, or for word that some were lost.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the socket cannot be read; subscribe anew.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let mut guard = self.socket.readable().await?;
            match guard.try_io(|socket| read(socket.get_ref(), &mut buffer)) {
                Ok(Ok(length)) if tells(buffer.get(..length).unwrap_or_default(), self.wanted) => return Ok(()),
                Ok(Ok(_)) | Err(_) => {}
                // The kernel had no room for more: what they were sysfs tells.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Whether an event (`add@/devices/…`, then variables, a zero byte behind each) is one of those that are wanted.
fn tells(event: &[u8], wanted: &[&str]) -> bool {
    let variables = || event.split(|byte| *byte == 0);
    let has = |variable: &str| variables().any(|it| it == variable.as_bytes());
    let is_change = has("ACTION=add") || has("ACTION=remove") || has("RESIZE=1");
    is_change && wanted.iter().all(|variable| has(variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISKS: &[&str] = &["SUBSYSTEM=block", "DEVTYPE=disk"];

    fn event(lines: &str) -> Vec<u8> {
        lines.replace('\n', "\0").into_bytes()
    }

    #[test]
    fn a_disk_that_comes_goes_or_grows_is_told_and_nothing_else() {
        let of = |action: &str, kind: &str| {
            event(&format!("add@/devices/x\nACTION={action}\nSUBSYSTEM=block\nDEVNAME=sdb\nDEVTYPE={kind}\n"))
        };
        assert!(tells(&of("add", "disk"), DISKS) && tells(&of("remove", "disk"), DISKS));
        assert!(tells(&of("change\nRESIZE=1", "disk"), DISKS));
        assert!(!tells(&of("change", "disk"), DISKS), "as every loop device does all the time");
        assert!(!tells(&of("add", "partition"), DISKS));
        assert!(!tells(&event("add@/devices/virtual/net/ev1\nACTION=add\nSUBSYSTEM=net\n"), DISKS));
        assert!(!tells(b"", DISKS) && !tells(&[0; 100], DISKS) && !tells(&[0xff; 100], DISKS));
    }

    #[tokio::test]
    async fn nothing_is_told_while_no_disk_comes_or_goes() {
        let Ok(mut watch) = UeventWatch::open(&["SUBSYSTEM=no such"]) else { return };
        let quiet = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    }
}
