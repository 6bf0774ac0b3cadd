//! Which events are kept, and how: four profiles, and knobs that beat them.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    event::{Catalogue, Level},
    settings::Table,
};

const MIB: u64 = 1 << 20;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Events in memory. More than a million small ones would not fit beside the bound in bytes anyway.
const BUFFER_BOUNDS: RangeInclusive<u64> = 10..=1_000_000;
/// Events of one upload. Ten thousand are more than a message may hold.
const BATCH_BOUNDS: RangeInclusive<u64> = 1..=10_000;
/// Shorter keeps the disk busy for nothing; longer would put too much at risk of a power cut.
const FLUSH_INTERVAL_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(600);
/// Longer than a day is as good as never.
const BATCH_TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;
/// Below this a few generations of the log would not fit; above is no appliance.
const DISK_BOUNDS: RangeInclusive<u64> = 64 * MIB..=64 << 40;
/// At 0 urgent events have no room of their own; beyond 90 little would be left for the others.
const URGENT_SHARE_BOUNDS: RangeInclusive<u8> = 0..=90;
/// Below an hour events would go before a person has seen them.
const AGE_BOUNDS: RangeInclusive<Duration> = HOUR..=Duration::from_secs(3650 * 86_400);
/// One generation at least.
const HISTORY_BOUNDS: RangeInclusive<u64> = 8 * MIB..=64 << 40;

/// Which events are kept, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSettings {
    /// Where the defaults of the other values come from.
    pub profile: Profile,
    /// The most events that wait in memory.
    pub buffer_size: usize,
    /// Waiting events from which on they are written to the log; at most `buffer_size`.
    pub flush_threshold: usize,
    /// How long an event may wait in memory.
    pub flush_interval: Duration,
    /// Events of one upload.
    pub batch_size: usize,
    /// How long an event may wait for its upload to fill.
    pub batch_timeout: Duration,
    /// The most that the log takes on the disk, bytes.
    pub max_disk: u64,
    /// The share of `max_disk` that routine events leave to urgent ones, percent.
    pub urgent_share: u8,
    /// How long events are kept that nobody has taken; none for as long as there is room.
    pub max_age: Option<Duration>,
    /// How much is kept of what is delivered, bytes, at most `max_disk`; none for nothing.
    pub history: Option<u64>,
    /// Levels that are kept. [`Level::Essential`] always is.
    pub levels: Vec<Level>,
    /// Categories that are kept.
    pub categories: Vec<String>,
}

/// Values that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For most machines.
    Default,
    /// Many events, each of which may wait.
    HighThroughput,
    /// Few events, none of which should wait.
    LowLatency,
    /// Little memory; important events only.
    Minimal,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 4] = [Profile::Default, Profile::HighThroughput, Profile::LowLatency, Profile::Minimal];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Default => "default",
            Profile::HighThroughput => "high-throughput",
            Profile::LowLatency => "low-latency",
            Profile::Minimal => "minimal",
        }
    }

    /// Its values.
    pub fn settings(self) -> EventSettings {
        let (buffer_size, flush_threshold, batch_size, batch_timeout) = match self {
            Profile::Default => (20_000, 18_000, 100, 30),
            Profile::HighThroughput => (50_000, 45_000, 500, 60),
            Profile::LowLatency => (5_000, 4_000, 50, 5),
            Profile::Minimal => (2_000, 1_800, 25, 30),
        };
        EventSettings {
            profile: self,
            buffer_size,
            flush_threshold,
            flush_interval: match self {
                Profile::LowLatency => 200 * MILLISECOND,
                Profile::Minimal => 10 * SECOND,
                Profile::Default | Profile::HighThroughput => SECOND,
            },
            batch_size,
            batch_timeout: batch_timeout * SECOND,
            max_disk: 1024 * MIB,
            urgent_share: 25,
            max_age: None,
            history: Some(64 * MIB),
            levels: match self {
                Profile::Minimal => vec![Level::Error, Level::Critical, Level::Essential],
                _ => Level::ALL.to_vec(),
            },
            categories: Catalogue::compiled().categories().to_vec(),
        }
    }
}

impl EventSettings {
    /// Reads the part `events`.
    pub(super) fn read(table: &mut Table) -> EventSettings {
        let names = Profile::ALL.map(Profile::name);
        let name = table.one_of("profile", Profile::Default.name(), &names, "values that go together");
        let profile = Profile::ALL.into_iter().find(|profile| profile.name() == name).unwrap_or(Profile::Default);
        let default = profile.settings();
        let origin = (profile != Profile::Default).then(|| format!("profile {name}"));
        let mut knobs = table.defaults_from(origin);
        let levels: Vec<&str> = default.levels.iter().map(|level| level.name()).collect();
        let mut count = |key, default: usize, bounds, about| {
            usize::try_from(knobs.integer(key, default as u64, bounds, about)).unwrap_or(default)
        };
        let read = EventSettings {
            profile,
            buffer_size: count("buffer_size", default.buffer_size, BUFFER_BOUNDS, "events that may wait in memory"),
            flush_threshold: count(
                "flush_threshold",
                default.flush_threshold,
                1..=*BUFFER_BOUNDS.end(),
                "waiting events at which they are written to disk",
            ),
            batch_size: count("batch_size", default.batch_size, BATCH_BOUNDS, "events of one upload"),
            flush_interval: knobs.duration(
                "flush_interval",
                default.flush_interval,
                FLUSH_INTERVAL_BOUNDS,
                "how long an event may wait in memory",
            ),
            batch_timeout: knobs.duration(
                "batch_timeout",
                default.batch_timeout,
                BATCH_TIMEOUT_BOUNDS,
                "how long an event may wait for its upload to fill",
            ),
            levels: read_levels(&mut knobs, &levels),
            categories: read_categories(table),
            max_disk: table.size("max_disk", default.max_disk, DISK_BOUNDS, "the most disk space for events"),
            urgent_share: table.percent(
                "urgent_share",
                default.urgent_share,
                URGENT_SHARE_BOUNDS,
                "the part of max_disk that is kept free for urgent events",
            ),
            max_age: table.optional_duration("max_age", AGE_BOUNDS, "events older than this go, delivered or not"),
            history: table.size_or_off("history", default.history, HISTORY_BOUNDS, "delivered events kept for queries"),
        };
        read.check(table);
        read
    }

    /// Rules between keys.
    fn check(&self, table: &mut Table) {
        if self.flush_threshold > self.buffer_size {
            table.exceeds("flush_threshold", "buffer_size");
        }
        if self.history.is_some_and(|history| history > self.max_disk) {
            table.exceeds("history", "max_disk");
        }
    }
}

fn read_levels(table: &mut Table, default: &[&str]) -> Vec<Level> {
    let names = Level::ALL.map(Level::name);
    let words = table.several_of(
        "levels",
        default,
        &names,
        "levels that are kept; essential always is, and what ends an urgent state",
    );
    words.iter().filter_map(|word| word.parse().ok()).collect()
}

fn read_categories(table: &mut Table) -> Vec<String> {
    let all: Vec<&str> = Catalogue::compiled().categories().iter().map(String::as_str).collect();
    table.several_of("categories", &all, &all, "categories that are kept")
}
