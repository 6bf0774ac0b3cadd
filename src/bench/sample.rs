//! What is measured with: events like those that a NAS makes, the same for the same number, and a log to put them in.

use std::{io, path::Path, time::Instant};

use prost::Message as _;
use uuid::Uuid;

use crate::{
    event::Level,
    event_log::{Draft, Settings},
    schema::{
        Payload,
        events::{
            Event, NetworkInterfacePayload, ServiceStatusPayload, SharingFileAccessPayload, StoragePoolPayload,
            UsageThresholdPayload,
        },
    },
};

/// The first event's time, Unix milliseconds.
const BEGIN: i64 = 1_780_000_000_000;
/// Later than any of them: 34 years.
pub(super) const AFTER: i64 = BEGIN + (1 << 40);

/// Event number `n`: mostly file accesses, then services, thresholds, interfaces and pools.
pub(super) fn event(n: u64) -> Event {
    match n % 10 {
        0..=4 => with(n, "sharing", file_access(n)),
        5 | 6 => with(n, "service", service(n)),
        7 => with(n, "storage", threshold(n)),
        8 => with(n, "network", interface(n)),
        _ => with(n, "storage", pool(n)),
    }
}

/// An event of a pool of this name, from a host of this name.
pub(super) fn the_one(name: &str) -> Event {
    let payload = StoragePoolPayload { pool_name: name.to_owned(), ..pool(1) };
    let mut event = with(1, "storage", payload);
    event.metadata.insert("host".to_owned(), name.to_owned());
    event
}

/// Events `from..to`, encoded.
pub(super) fn encoded(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(|n| event(n).encode_to_vec()).collect()
}

/// Events of a pool: more than a frame holds, so that no event meets its like in one, and so few that their memory does
/// not matter.
const POOL_EVENTS: u64 = 2000;

/// Events that are appended at a time, as a busy producer does.
const APPEND: usize = 100;

/// Where an encoded event has its identifier: its first field, behind tag and length.
const ID: std::ops::Range<usize> = 2..38;

/// zstd level of the log.
const ZSTD_LEVEL: i32 = 1;

/// Events compressed together: about what a frame of the log holds.
const FRAME_EVENTS: usize = 256;

/// Encoded events, to be taken again and again.
pub(super) struct Pool {
    events: Vec<Vec<u8>>,
    renewals: u64,
}

impl Pool {
    pub(super) fn new() -> Pool {
        Pool { events: encoded(0, POOL_EVENTS), renewals: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// `count` events, in portions as a producer appends them; from the beginning again after the last.
    pub(super) fn portions(&self, count: u64) -> impl Iterator<Item = &[Vec<u8>]> {
        let mut rest = usize::try_from(count).unwrap_or(usize::MAX);
        self.events.chunks(APPEND).cycle().map_while(move |some| {
            let portion = some.get(..rest.min(some.len()))?;
            rest -= portion.len();
            (!portion.is_empty()).then_some(portion)
        })
    }

    /// Gives every event another identifier.
    pub(super) fn renew(&mut self) {
        self.renewals += 1;
        for (n, event) in (self.renewals * POOL_EVENTS..).zip(&mut self.events) {
            if let Some(place) = event.get_mut(ID) {
                id(n).hyphenated().encode_lower(place);
            }
        }
    }

    /// Bytes of `count` events.
    pub(super) fn bytes_of(&self, count: u64) -> u64 {
        self.portions(count).flatten().map(|event| event.len() as u64).sum()
    }

    /// Bytes of an event, on average.
    pub(super) fn mean(&self) -> usize {
        self.events.iter().map(Vec::len).sum::<usize>() / self.events.len().max(1)
    }

    /// How many such events one core compresses in a second, frame by frame as the log does.
    ///
    /// # Errors
    /// When zstd cannot allocate.
    pub(super) fn compressed_per_second(&self) -> io::Result<f64> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        let frames: Vec<_> = self.events.chunks(FRAME_EVENTS).map(<[_]>::concat).collect();
        let started = Instant::now();
        for frame in frames.iter().cycle().take(100 * frames.len()) {
            compressor.compress(frame)?;
        }
        Ok(100.0 * self.len() as f64 / started.elapsed().as_secs_f64().max(1e-9))
    }
}

/// Events as the log takes them, alike in all that it notes of them: what is measured is the log.
pub(super) fn drafts(events: &[Vec<u8>]) -> Vec<Draft<'_>> {
    events.iter().map(|event| Draft { event, level: 1, category: 2, timestamp: BEGIN, kind: None }).collect()
}

/// A log with the default profile's knobs, room for everything, and no ballast, which would grow meanwhile.
pub(super) fn log_settings(directory: &Path) -> Settings {
    Settings {
        disk_bytes_max: u64::MAX / 2,
        ballast_bytes_max: 0,
        history_bytes: Some(u64::MAX / 2),
        ..Settings::new(directory.join("log"))
    }
}

fn with<P: Payload>(n: u64, source: &str, payload: P) -> Event {
    Event {
        event_id: id(n).to_string(),
        level: Level::Info.to_wire().into(),
        category: P::CATEGORY.into(),
        source: source.to_owned(),
        timestamp: BEGIN + (n as i64) * 37,
        metadata: [("component", source), ("action", "observe")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        event_payload: Some(payload.into_event_payload()),
    }
}

/// Of version 7: a time and 74 random bits, as real ones.
fn id(n: u64) -> Uuid {
    let time = (BEGIN as u64).wrapping_add(n.wrapping_mul(37));
    Uuid::from_u64_pair(time << 16 | 0x7000 | mix(n + 5) & 0xFFF, 1 << 63 | mix(n) >> 2)
}

fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

pub(super) fn file_access(n: u64) -> SharingFileAccessPayload {
    SharingFileAccessPayload {
        file_path: format!("/tank/projects/{:03}/drawings/sheet-{:05}.dwg", mix(n) % 400, mix(n + 1) % 90_000),
        username: format!("user{:02}", mix(n + 2) % 60),
        operation_type: ["open", "read", "write", "rename"][(mix(n + 3) % 4) as usize].to_owned(),
        file_size: (mix(n + 4) % 80_000_000) as i64,
        operation: (1 + mix(n + 3) % 4) as i32,
        ..Default::default()
    }
}

fn service(n: u64) -> ServiceStatusPayload {
    ServiceStatusPayload {
        service_name: format!("worker-{:02}.service", mix(n) % 40),
        status: "active/running".to_owned(),
        pid: (mix(n + 1) % 4_000_000) as i32,
        uptime_seconds: (mix(n + 2) % 900_000) as i64,
        operation: (1 + mix(n + 3) % 4) as i32,
        ..ServiceStatusPayload::default()
    }
}

fn threshold(n: u64) -> UsageThresholdPayload {
    UsageThresholdPayload {
        threshold_name: format!("/tank/projects/{:03}", mix(n) % 400),
        metric_name: "used_percent".to_owned(),
        current_value: (mix(n + 1) % 1000) as f32 / 10.0,
        threshold_value: 80.0,
        operation: (1 + mix(n + 2) % 3) as i32,
        ..Default::default()
    }
}

fn interface(n: u64) -> NetworkInterfacePayload {
    NetworkInterfacePayload {
        interface_name: format!("enp{}s0", mix(n) % 8),
        ip_address: format!("192.0.2.{}", mix(n + 1) % 250),
        mac_address: format!("02:00:00:{:02x}:{:02x}:{:02x}", n % 251, mix(n) % 256, mix(n + 2) % 256),
        is_up: n.is_multiple_of(2),
        operation: (1 + n % 4) as i32,
        ..Default::default()
    }
}

fn pool(n: u64) -> StoragePoolPayload {
    StoragePoolPayload {
        pool_name: format!("tank{}", mix(n) % 4),
        devices: (0..6).map(|disk| format!("/dev/disk/by-id/ata-DISK_{:06}", (mix(n) + disk) % 1_000_000)).collect(),
        raid_type: "raidz2".to_owned(),
        size_bytes: 48_000_000_000_000,
        used_bytes: (mix(n + 1) % 48_000_000_000_000) as i64,
        operation: (4 + n % 2) as i32,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_event_is_the_same_but_for_its_identifier() {
        let mut pool = Pool::new();
        let before: Vec<_> =
            pool.events.iter().map(|event| Event::decode(event.as_slice()).expect("an event")).collect();
        pool.renew();
        for (event, mut old) in pool.events.iter().zip(before) {
            let new = Event::decode(event.as_slice()).expect("an event");
            assert_ne!(new.event_id, old.event_id);
            old.event_id.clone_from(&new.event_id);
            assert_eq!(new, old);
            Uuid::parse_str(&new.event_id).expect("an identifier");
        }
    }

    #[test]
    fn portions_come_to_as_many_events_as_asked_for() {
        let pool = Pool::new();
        for count in [0, 1, 100, 150, POOL_EVENTS, 3 * POOL_EVENTS + 7] {
            let portions: Vec<_> = pool.portions(count).collect();
            assert_eq!(portions.iter().map(|some| some.len() as u64).sum::<u64>(), count);
            assert!(portions.iter().all(|some| (1..=APPEND).contains(&some.len())));
        }
        assert_eq!(pool.bytes_of(POOL_EVENTS), pool.events.iter().map(|event| event.len() as u64).sum::<u64>());
    }

    #[test]
    fn identifiers_are_of_version_7() {
        assert_eq!(id(77).get_version_num(), 7);
        assert_eq!(id(77).get_variant(), uuid::Variant::RFC4122);
    }
}
