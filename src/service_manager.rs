//! What the service manager is told: ready, how it is going, stopping. Nothing happens where no one listens.
//!
//! Agent and controller give, systemd takes. Always holds: who does not read holds nobody up for longer than [`PATIENCE`], and
//! what only repeats is not waited with at all. What was owed is told with the next sign of life.
//!
//! Source: sd_notify(3); `NOTIFY_SOCKET` is a path, or after `@` a name of Linux's own.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// How long a service manager that does not read is waited for, with what is said only once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether it could not be told that all is ready.
static OWES_READY: AtomicBool = AtomicBool::new(false);

/// All is open and taken.
pub(crate) fn ready() {
    OWES_READY.store(!notify("READY=1", Some(PATIENCE)), Ordering::Relaxed);
}

/// The configuration is being read again; [`ready`] tells that it is done.
pub(crate) fn reloading() {
    OWES_READY.store(false, Ordering::Relaxed);
    // Without the time, newer ones do not take it for an answer to their own signal.
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(now) => {
            let microseconds = Duration::from(now).as_micros();
            notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"), Some(PATIENCE));
        }
        Err(error) => tracing::debug!(%error, "the time cannot be told; the service manager is not told of a reload"),
    }
}

/// Everything gets on: the watchdog waits anew.
pub(crate) fn watchdog() {
    if OWES_READY.load(Ordering::Relaxed) && notify("READY=1", None) {
        OWES_READY.store(false, Ordering::Relaxed);
    }
    notify("WATCHDOG=1", None);
}

/// One line for `systemctl status`; false when it has to be told again.
pub(crate) fn status(line: &str) -> bool {
    notify(&format!("STATUS={}", line.replace('\n', " ")), None)
}

/// The program has begun to stop.
pub(crate) fn stopping() {
    notify("STOPPING=1", Some(PATIENCE));
}

/// False when it could not be told now; true also when there is nobody.
fn notify(text: &str, patience: Option<Duration>) -> bool {
    let Some(place) = env::var_os("NOTIFY_SOCKET") else { return true };
    let sent = send(&place, text, patience);
    if let Err(error) = &sent {
        tracing::debug!(%error, text, "the service manager could not be told");
    }
    sent.is_ok()
}

fn send(place: &OsStr, text: &str, patience: Option<Duration>) -> io::Result<()> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    match patience {
        Some(patience) => socket.set_write_timeout(Some(patience))?,
        None => socket.set_nonblocking(true)?,
    }
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, time::Instant};

    use super::*;

    #[test]
    fn what_is_said_arrives_at_a_path_and_at_a_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let name = format!("rodent-{}", path.display());
        let named = SocketAddr::from_abstract_name(&name).expect("a name");
        for (listener, place) in [
            (UnixDatagram::bind(&path).expect("bound"), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&named).expect("bound"), OsString::from(format!("@{name}"))),
        ] {
            send(&place, "READY=1", Some(PATIENCE)).expect("sent");
            let mut bytes = [0; 64];
            let length = listener.recv(&mut bytes).expect("received");
            assert_eq!(&bytes[..length], b"READY=1");
        }
    }

    #[test]
    fn who_does_not_read_holds_nobody_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).expect("bound");
        let fault = (0..10_000).find_map(|_| send(path.as_os_str(), "WATCHDOG=1", None).err()).expect("it is full");
        assert_eq!(fault.kind(), io::ErrorKind::WouldBlock);
        let begun = Instant::now();
        send(path.as_os_str(), "READY=1", Some(Duration::from_millis(200))).expect_err("still full");
        assert!(begun.elapsed() >= Duration::from_millis(200), "it has waited");
    }
}
