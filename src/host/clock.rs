//! The machine's clocks: the wall clock for people, the boot clock for intervals, and whether the wall clock may be
//! trusted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::Host;

/// Reads the clocks. A copy reads the same ones.
#[derive(Clone, Debug)]
pub struct Clock {
    host: Host,
}

/// Whether something keeps the wall clock in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronisation {
    /// The kernel's clock is disciplined.
    Synchronised,
    /// It is not, or no longer.
    Unsynchronised,
    /// The kernel may not be asked here.
    Unknown,
}

impl Clock {
    /// The clocks of a machine.
    pub fn of(host: &Host) -> Clock {
        Clock { host: host.clone() }
    }

    /// Unix milliseconds. May jump.
    pub fn unix_milliseconds(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |m| -m),
        }
    }

    /// Time since the machine booted, suspended time included. Never jumps.
    pub fn since_boot(&self) -> Duration {
        since_boot()
    }

    /// The same without the time in which the machine was suspended: what the kernel stamps its messages with.
    pub fn awake_since_boot(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
    }

    /// The kernel's random identifier of this boot.
    pub fn boot_id(&self) -> uuid::Uuid {
        let text = self.host.read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        uuid::Uuid::try_parse(text.trim()).unwrap_or_default()
    }

    /// What the kernel says of the wall clock.
    #[expect(unsafe_code, reason = "adjtimex has no safe wrapper in nix; with modes = 0 it only reads")]
    pub fn synchronisation(&self) -> Synchronisation {
        // SAFETY: an all-zero timex is valid, and the pointer lives for the call.
        let state = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            libc::adjtimex(&mut timex)
        };
        match state {
            0..libc::TIME_ERROR => Synchronisation::Synchronised,
            libc::TIME_ERROR.. => Synchronisation::Unsynchronised,
            _ => Synchronisation::Unknown,
        }
    }
}

/// The boot clock: suspended time included, never jumps.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}
