//! Where the log lies, and its bounds.
//!
//! Made by the agent from the configuration, by tests and benchmarks from [`Settings::new`].

use std::{path::PathBuf, time::Duration};

use uuid::Uuid;

use crate::event_log::{
    disk::{ballast, generation::GENERATION_BYTES},
    lane::Lane,
    ledger::retention,
};

/// The most that is put between two flushes, bytes, unless told otherwise.
const FLUSH_BYTES: usize = 256 * 1024;

/// Where the log lies, and its bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory; made when it is not there.
    pub directory: PathBuf,
    /// The most events that wait in memory.
    pub buffer_size: usize,
    /// Waiting events from which on they are written.
    pub flush_threshold: usize,
    /// How long an event may wait in memory.
    pub flush_interval: Duration,
    /// The most that is handed to the storage between two flushes, bytes. A flush is at least one frame, whatever this says.
    pub flush_bytes: usize,
    /// The most that the log takes on the disk, bytes; exceeded by less than one generation.
    pub disk_bytes_max: u64,
    /// The most of that that is kept as ballast, given up when the disk is full, bytes; 0 for none. Never more than a sixteenth.
    pub ballast_bytes_max: u64,
    /// How much of what every consumer has is kept, bytes; `None` for nothing.
    pub history_bytes: Option<u64>,
    /// How long an event is kept at the most, in time that the machine is on; `None` for as long as there is room.
    /// Exceeded by a tenth and never fallen short of.
    pub age_max: Option<Duration>,
    /// The share of `disk_bytes_max` that routine events leave to urgent ones, percent, at most 90.
    pub urgent_share: u8,
    /// How much is stored in a generation before it is sealed, bytes: what retention removes at a time.
    pub generation_bytes: u64,
    /// Whose log it is: the machine and the node. A log that was written under another name is a copy or was moved; it
    /// goes on in a new epoch.
    pub owner: String,
    /// The running boot.
    pub boot_id: Uuid,
    /// The boot clock.
    pub since_boot: fn() -> Duration,
}

impl Settings {
    /// A log in `directory`, with the values of the default profile; no machine, no boot, and a clock that stands still.
    pub fn new(directory: PathBuf) -> Settings {
        Settings {
            directory,
            buffer_size: 20_000,
            flush_threshold: 18_000,
            flush_interval: Duration::from_secs(1),
            flush_bytes: FLUSH_BYTES,
            disk_bytes_max: 1 << 30,
            ballast_bytes_max: ballast::BALLAST_BYTES_MAX,
            history_bytes: Some(64 << 20),
            age_max: None,
            urgent_share: 25,
            generation_bytes: GENERATION_BYTES,
            owner: String::new(),
            boot_id: Uuid::nil(),
            since_boot: || Duration::ZERO,
        }
    }

    /// The part that can change while the log is open.
    pub fn room(&self) -> Room {
        Room {
            disk_bytes_max: self.disk_bytes_max,
            history_bytes: self.history_bytes,
            age_max: self.age_max,
            urgent_share: self.urgent_share,
            flush_interval: self.flush_interval,
        }
    }
}

/// How much the log may keep and for how long: what can change while it is open. As in [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub disk_bytes_max: u64,
    pub history_bytes: Option<u64>,
    pub age_max: Option<Duration>,
    pub urgent_share: u8,
    /// The longest that an event may wait in memory: what the next start takes for the time in which an unclean stop may
    /// have lost some, so it has to be what the next start will read.
    pub flush_interval: Duration,
}

impl Room {
    pub(super) fn bounds(&self, generation_bytes: u64, age: Duration) -> retention::Bounds {
        let expired_before = self.age_max.map_or(Duration::ZERO, |age_max| age.saturating_sub(age_max));
        // A generation that is being written may grow to a full one before retention looks again.
        let margin = Lane::ALL.len() as u64 * generation_bytes;
        let disk_bytes_max = self.disk_bytes_max.saturating_sub(margin);
        retention::Bounds {
            disk_bytes_max,
            routine_bytes_max: disk_bytes_max / 100 * u64::from(100 - self.urgent_share.min(90)),
            history_bytes: self.history_bytes,
            expired_before: u64::try_from(expired_before.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How often retention looks for what has become too old.
    pub(super) fn age_interval(&self) -> Option<Duration> {
        self.age_max.map(|age_max| (age_max / AGE_STEPS).max(AGE_INTERVAL_MIN))
    }
}

/// Into how many steps the longest age is divided: a generation is sealed after one of them, so that it can expire.
const AGE_STEPS: u32 = 10;

/// The shortest interval at which retention looks for what is too old.
const AGE_INTERVAL_MIN: Duration = Duration::from_millis(100);
