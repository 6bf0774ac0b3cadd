//! What is measured with: events like those that a NAS makes, the same for the same number, and a log to put them in.

use std::path::Path;

use prost::Message as _;
use uuid::Uuid;

use crate::{
    event::Level,
    event_log::Settings,
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

/// Events `from..to`, encoded.
pub(super) fn encoded(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(|n| event(n).encode_to_vec()).collect()
}

/// A log with the default profile's knobs and room for everything.
pub(super) fn log_settings(directory: &Path) -> Settings {
    Settings { disk_bytes_max: u64::MAX / 2, history_bytes: Some(u64::MAX / 2), ..Settings::new(directory.join("log")) }
}

fn with<P: Payload>(n: u64, source: &str, payload: P) -> Event {
    Event {
        // The time and the random part differ from event to event, as they do in real ones.
        event_id: Uuid::from_u64_pair(n.wrapping_mul(977) << 16 | 0x7000, mix(n)).to_string(),
        level: Level::Info.to_wire().into(),
        category: P::CATEGORY.into(),
        source: source.to_owned(),
        timestamp: BEGIN + (n as i64) * 37,
        metadata: [("component", source), ("action", "observe")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        event_payload: Some(payload.into_event_payload()),
    }
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
    }
}

fn interface(n: u64) -> NetworkInterfacePayload {
    NetworkInterfacePayload {
        interface_name: format!("enp{}s0", mix(n) % 8),
        ip_address: format!("192.0.2.{}", mix(n + 1) % 250),
        mac_address: format!("02:00:00:{:02x}:{:02x}:{:02x}", n % 251, mix(n) % 256, mix(n + 2) % 256),
        is_up: n.is_multiple_of(2),
        operation: (1 + n % 4) as i32,
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
    }
}
