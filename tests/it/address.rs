//! Addresses of the loopback that are a test's own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsRawFd as _, IntoRawFd as _},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt::ReuseAddr,
};

/// One on which nobody listens until the test has somebody do so, and which nobody else on the machine gets until this
/// process ends: a socket that is bound and does not listen keeps it. Beside that only who asks for this very port can
/// listen, and a port that is merely free now may be another one's a moment later.
pub(crate) fn own_address() -> SocketAddr {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&socket, ReuseAddr, &true).expect("an option");
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    let port = getsockname::<SockaddrIn>(socket.as_raw_fd()).expect("bound").port();
    // Never closed.
    let _ = socket.into_raw_fd();
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
