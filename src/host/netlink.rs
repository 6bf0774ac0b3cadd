//! Links and addresses of the machine as the kernel tells them over rtnetlink.
//!
//! A [`Monitor`] gives every change in the kernel's order; [`dump`] gives all that is. Subscribe first, then dump, then
//! apply the changes: each carries the whole of its link or address, so what is applied twice does no harm. Only the
//! kernel is believed. When changes came faster than they were read the kernel drops the rest: what had been queued is
//! still given, then [`Notice::Overrun`] asks for a new dump. Nothing is ever set or changed here.

mod message;

use std::{
    collections::VecDeque,
    io::{self, IoSliceMut},
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg, send, setsockopt,
        socket, sockopt,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

pub use message::{Address, Link, NetlinkMessage};

/// Unread changes that the kernel keeps for us, bytes (it doubles the figure for its own overhead): some 500 changes.
/// Beyond it the kernel drops, and a new dump tells what is.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;
/// The largest datagram that is read; the kernel builds none above 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// How long a dump may take. Then it is an error.
const DUMP_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a dump that was disturbed by changes is begun anew. Then it is an error.
const DUMP_TRIES_MAX: u32 = 10;
/// `RTEXT_FILTER_SKIP_STATS`: leaves the counters out, half of every answer.
const WITHOUT_COUNTERS: u32 = 1 << 3;

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// There is no rtnetlink here, or a sandbox denies it.
    #[error("rtnetlink is not available ({0}); under systemd, allow AF_NETLINK in RestrictAddressFamilies=")]
    Denied(Errno),
    /// An operation on the socket went wrong.
    #[error("{action}")]
    Failed {
        /// Verb first.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel gave no whole answer in time.
    #[error("list links and addresses: no complete answer from the kernel {0}")]
    Incomplete(&'static str),
}

/// What a monitor gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something changed.
    Changed(NetlinkMessage),
    /// Changes were lost: dump, and compare.
    Overrun,
}

/// A subscription to changes of links and addresses.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    /// Messages of the last datagram: at most what fits into one.
    waiting: VecDeque<NetlinkMessage>,
    overrun: bool,
}

impl Monitor {
    /// Subscribes, in the network namespace of the calling thread. Changes from now on are kept for [`Monitor::next`].
    ///
    /// # Errors
    /// [`NetlinkError::Denied`] where there is no such socket to be had.
    pub fn subscribe() -> Result<Monitor, NetlinkError> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let socket = Socket::open(groups.cast_unsigned())?;
        Ok(Monitor { socket, waiting: VecDeque::new(), overrun: false })
    }

    /// The next change; waits for it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the socket cannot be read; subscribe anew.
    pub async fn next(&mut self) -> Result<Notice, NetlinkError> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(Notice::Changed(message));
            }
            match self.socket.receive().await {
                Ok(Some(datagram)) => self.waiting.extend(datagram.messages),
                // The kernel queues nothing more until all that was queued is read: the dump that follows is newer.
                Ok(None) if std::mem::take(&mut self.overrun) => return Ok(Notice::Overrun),
                Ok(None) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.overrun = true,
                Err(source) => return Err(NetlinkError::Failed { action: "receive from rtnetlink", source }),
            }
        }
    }
}

/// All links, then all addresses, of the calling thread's network namespace.
///
/// # Errors
/// When the kernel refuses, or gives no undisturbed answer in ten seconds.
pub async fn dump() -> Result<Vec<NetlinkMessage>, NetlinkError> {
    let answer = async {
        let mut socket = Socket::open(0)?;
        let mut messages = socket.list(libc::RTM_GETLINK, &link_request()).await?;
        messages.extend(socket.list(libc::RTM_GETADDR, &[0; message::ADDRESS_HEAD_BYTES]).await?);
        Ok(messages)
    };
    tokio::time::timeout(DUMP_TIME_MAX, answer).await.unwrap_or(Err(NetlinkError::Incomplete("in ten seconds")))
}

/// The body of a request for all links: the head, all zero, and an attribute that leaves out the counters.
fn link_request() -> Vec<u8> {
    let mut body = vec![0; message::LINK_HEAD_BYTES];
    body.extend(8_u16.to_ne_bytes());
    body.extend(libc::IFLA_EXT_MASK.to_ne_bytes());
    body.extend(WITHOUT_COUNTERS.to_ne_bytes());
    body
}

#[derive(Debug)]
struct Socket {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Socket {
    fn open(groups: u32) -> Result<Socket, NetlinkError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .map_err(NetlinkError::Denied)?;
        let prepare = |errno: Errno| NetlinkError::Failed { action: "prepare a netlink socket", source: errno.into() };
        setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES).map_err(prepare)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(NetlinkError::Denied)?;
        let fd = register(fd).map_err(|source| NetlinkError::Failed { action: "wait for a netlink socket", source })?;
        Ok(Socket { fd, buffer: vec![0; DATAGRAM_BYTES_MAX], sequence: 0 })
    }

    /// Waits until there may be something; `None` when everything has been read or something was not for us.
    async fn receive(&mut self) -> io::Result<Option<message::Datagram>> {
        let mut guard = self.fd.readable().await?;
        let buffer = &mut self.buffer;
        match guard.try_io(|fd| read(fd.get_ref(), buffer)) {
            Ok(Ok(length)) => Ok(Some(message::parse(self.buffer.get(..length).unwrap_or_default()))),
            Ok(Err(error)) => Err(error),
            Err(_would_block) => Ok(None),
        }
    }

    async fn list(&mut self, kind: u16, body: &[u8]) -> Result<Vec<NetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_TRIES_MAX {
            if let Some(messages) = self.list_once(kind, body).await? {
                return Ok(messages);
            }
        }
        Err(NetlinkError::Incomplete("while they change all the time"))
    }

    /// `None` when changes disturbed the answer.
    async fn list_once(&mut self, kind: u16, body: &[u8]) -> Result<Option<Vec<NetlinkMessage>>, NetlinkError> {
        let failed = |source| NetlinkError::Failed { action: "list links and addresses", source };
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, self.sequence, body);
        send(self.fd.get_ref().as_raw_fd(), &request, MsgFlags::empty()).map_err(|errno| failed(errno.into()))?;
        let (mut messages, mut interrupted) = (Vec::new(), false);
        loop {
            let Some(datagram) = self.receive().await.map_err(failed)? else { continue };
            if let Some(number) = datagram.refused.filter(|number| *number != 0) {
                return Err(failed(io::Error::from_raw_os_error(number)));
            }
            messages.extend(datagram.messages);
            interrupted |= datagram.interrupted;
            if datagram.done {
                return Ok((!interrupted).then_some(messages));
            }
        }
    }
}

#[expect(unsafe_code, reason = "tokio takes a descriptor only on the promise that it stays open")]
pub(super) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, always the same, and nobody takes it out of the AsyncFd.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

fn request(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let length = u32::try_from(16 + body.len()).expect("our own requests are short");
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// Reads one datagram; an empty one when it is not from the kernel. One that was cut off counts as lost.
pub(super) fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<NetlinkAddr>(fd.as_raw_fd(), &mut parts, None, MsgFlags::empty())?;
    if received.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
    }
    let from_kernel = received.address.is_some_and(|sender| sender.pid() == 0);
    Ok(if from_kernel { received.bytes } else { 0 })
}
