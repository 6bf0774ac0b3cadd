//! The log's own time: how long it has existed, summed from the boot clock. The wall clock, which jumps, plays no part, and
//! time in which the machine was off does not count.
//!
//! What is noted in the ledger may be a little behind after a crash: then things are kept longer, never shorter.

use std::time::Duration;

use uuid::Uuid;

/// The log's time, as it was noted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Noted {
    pub(in crate::event_log) age: Duration,
    /// The boot, and its clock, at that moment.
    pub(in crate::event_log) boot_id: Uuid,
    pub(in crate::event_log) since_boot: Duration,
}

impl Noted {
    /// Milliseconds, big endian: age, boot id, boot clock.
    pub(in crate::event_log) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&milliseconds(self.age).to_be_bytes());
        bytes[8..24].copy_from_slice(self.boot_id.as_bytes());
        bytes[24..].copy_from_slice(&milliseconds(self.since_boot).to_be_bytes());
        bytes
    }

    /// The opposite; `None` when these are not such bytes.
    pub(in crate::event_log) fn from_bytes(bytes: &[u8]) -> Option<Noted> {
        let (age, rest) = bytes.split_first_chunk::<8>()?;
        let (boot_id, rest) = rest.split_first_chunk::<16>()?;
        Some(Noted {
            age: Duration::from_millis(u64::from_be_bytes(*age)),
            boot_id: Uuid::from_bytes(*boot_id),
            since_boot: Duration::from_millis(u64::from_be_bytes(rest.try_into().ok()?)),
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells the log's time.
#[derive(Clone, Copy, Debug)]
pub(in crate::event_log) struct AgeClock {
    boot_id: Uuid,
    since_boot: fn() -> Duration,
    /// Age when the log was opened, and the boot clock then.
    base: Duration,
    opened: Duration,
}

impl AgeClock {
    /// Goes on from what was noted last.
    pub(in crate::event_log) fn new(noted: Option<Noted>, boot_id: Uuid, since_boot: fn() -> Duration) -> AgeClock {
        let opened = since_boot();
        let base = noted.map_or(Duration::ZERO, |noted| match noted.boot_id == boot_id {
            true => noted.age + opened.saturating_sub(noted.since_boot),
            false => noted.age,
        });
        AgeClock { boot_id, since_boot, base, opened }
    }

    /// The log's age.
    pub(in crate::event_log) fn now(&self) -> Duration {
        self.base + (self.since_boot)().saturating_sub(self.opened)
    }

    /// The log's age in milliseconds.
    pub(in crate::event_log) fn milliseconds(&self) -> u64 {
        milliseconds(self.now())
    }

    pub(in crate::event_log) fn note(&self) -> Noted {
        Noted { age: self.now(), boot_id: self.boot_id, since_boot: (self.since_boot)() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Uuid = Uuid::from_u128(1);

    fn clock(noted: Option<Noted>, boot_id: Uuid) -> AgeClock {
        AgeClock::new(noted, boot_id, || Duration::from_secs(1000))
    }

    #[test]
    fn a_new_log_is_young() {
        assert_eq!(clock(None, BOOT).now(), Duration::ZERO);
    }

    #[test]
    fn within_a_boot_the_time_between_two_runs_counts() {
        let noted = Noted { age: Duration::from_secs(50), boot_id: BOOT, since_boot: Duration::from_secs(900) };
        assert_eq!(clock(Some(noted), BOOT).now(), Duration::from_secs(150));
    }

    #[test]
    fn time_in_which_the_machine_was_off_does_not_count() {
        let noted =
            Noted { age: Duration::from_secs(50), boot_id: Uuid::from_u128(2), since_boot: Duration::from_secs(9) };
        assert_eq!(clock(Some(noted), BOOT).now(), Duration::from_secs(50));
    }

    #[test]
    fn what_is_noted_comes_back() {
        let noted = Noted { age: Duration::from_millis(51), boot_id: BOOT, since_boot: Duration::from_millis(7) };
        assert_eq!(Noted::from_bytes(&noted.to_bytes()), Some(noted));
        assert_eq!(Noted::from_bytes(b"x"), None);
    }
}
