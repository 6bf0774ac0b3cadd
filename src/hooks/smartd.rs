//! What smartd warns of, as events. smartd says each kind of warning of a disk once, or once a day while it lasts.

use super::{Daemon, Words, event, note};
use crate::{
    event::Level,
    schema::events::{
        Event, StorageDiskPayload, StorageDiskProbePayload, SystemHostPayload,
        storage_disk_payload::StorageDiskOperation, storage_disk_probe_payload::StorageDiskProbeOperation,
        system_host_payload::SystemHostOperation,
    },
};

/// What a warning tells.
pub(super) fn events(words: &Words) -> Result<Vec<Event>, String> {
    let kind = words.wanted("SMARTD_FAILTYPE")?;
    let disk = Disk::of(words)?;
    let mut event = match kind {
        "EmailTest" => disk.test(),
        "SelfTest" => disk.self_test_failed(),
        kind => {
            let (level, health) = judge(kind);
            // What is less than the disk's health stands beside that, and not in its place.
            let is_its_health = matches!(health, "failed" | "failing");
            let operation =
                if is_its_health { StorageDiskOperation::HealthChanged } else { StorageDiskOperation::Warned };
            event(Daemon::Smartd, level, disk.told(health, operation), kind)
        }
    };
    // A warning that is repeated while it lasts.
    note(&mut event.metadata, "earlier_warnings", words.variable("SMARTD_PREVCNT").trim_start_matches('0'));
    Ok(vec![event])
}

/// How much a kind of warning matters, and what it makes of the disk. One that smartd learns later is a warning.
fn judge(kind: &str) -> (Level, &'static str) {
    match kind {
        "Health" => (Level::Critical, "failed"),
        "Usage" | "CurrentPendingSector" | "OfflineUncorrectableSector" => (Level::Error, "failing"),
        "FailedOpenDevice" => (Level::Error, "unknown"),
        "FailedHealthCheck" | "FailedReadSmartData" | "FailedReadSmartErrorLog" | "FailedReadSmartSelfTestLog" => {
            (Level::Warn, "unknown")
        }
        _ => (Level::Warn, "warning"),
    }
}

struct Disk<'a> {
    path: &'a str,
    /// As smartd has it: `/dev/sda [SAT]`.
    name: &'a str,
    device_type: &'a str,
    message: &'a str,
    vendor: &'a str,
    model: &'a str,
    serial: &'a str,
}

impl<'a> Disk<'a> {
    fn of(words: &'a Words) -> Result<Disk<'a>, String> {
        let path = words.wanted("SMARTD_DEVICE")?;
        let name = words.variable("SMARTD_DEVICESTRING");
        // `QEMU HARDDISK, S/N:SATA1, FW:2.5+, 536 MB`, or of SCSI `[HGST     HUH721212AL5200  A3D0], lu id: 0x…, S/N: 8CG, 12.0 TB`
        let described = words.variable("SMARTD_DEVICEINFO");
        let first = described.split(", ").next().unwrap_or_default();
        let (vendor, model) = inquired(first).unwrap_or(("", first));
        let serial = described.split(", ").find_map(|part| part.strip_prefix("S/N:")).unwrap_or_default().trim();
        Ok(Disk {
            path,
            name: if name.is_empty() { path } else { name },
            device_type: words.variable("SMARTD_DEVICETYPE"),
            message: without_name(words.variable("SMARTD_MESSAGE"), path),
            vendor,
            model,
            serial,
        })
    }

    fn told(&self, health: &str, operation: StorageDiskOperation) -> StorageDiskPayload {
        StorageDiskPayload {
            device_id: named(self.name),
            device_path: self.path.to_owned(),
            serial: self.serial.to_owned(),
            vendor: self.vendor.to_owned(),
            model: self.model.to_owned(),
            device_type: self.device_type.to_owned(),
            health: health.to_owned(),
            health_reason: self.message.to_owned(),
            temperature: self.temperature().unwrap_or_default(),
            operation: operation.into(),
            ..Default::default()
        }
    }

    /// `…, Temperature 55 Celsius reached critical limit of 50 Celsius (Min/Max 20/55)`
    fn temperature(&self) -> Option<i32> {
        let (_, rest) = self.message.split_once("Temperature ")?;
        rest.split(' ').next()?.parse().ok()
    }

    fn self_test_failed(&self) -> Event {
        let payload = StorageDiskProbePayload {
            device_id: named(self.name),
            device_path: self.path.to_owned(),
            probe_type: "self-test".to_owned(),
            error_message: self.message.to_owned(),
            operation: StorageDiskProbeOperation::Failed.into(),
            ..Default::default()
        };
        event(Daemon::Smartd, Level::Error, payload, "SelfTest")
    }

    /// `-M test`: somebody wants to see that it arrives.
    fn test(&self) -> Event {
        let payload = SystemHostPayload {
            subject: "smartd".to_owned(),
            detail: format!("smartd has tried out its hook for {}", self.name),
            operation: SystemHostOperation::HookTested.into(),
            ..Default::default()
        };
        event(Daemon::Smartd, Level::Info, payload, "EmailTest")
    }
}

/// `/dev/sda` of `/dev/sda [SAT]`: how smartd talks to it is no part of its name, by which the collector ends what is told here.
/// `/dev/bus/0 [megaraid_disk_03]` stays: that is the disk behind a controller.
fn named(device: &str) -> String {
    let mut parts = device.split(" [");
    let path = parts.next().unwrap_or_default().to_owned();
    parts.filter(|part| part.contains("_disk")).fold(path, |name, part| format!("{name} [{part}"))
}

/// Vendor and product of a SCSI disk in brackets: 8 and 16 columns, then the revision.
fn inquired(described: &str) -> Option<(&str, &str)> {
    let inside = described.strip_prefix('[')?.strip_suffix(']')?;
    let columns = inside.get(..8).zip(inside.get(9..25)).filter(|_| inside.is_ascii());
    // Written by somebody who does not fill columns.
    let words = || {
        inside.split_once(' ').map(|(vendor, rest)| (vendor, rest.rsplit_once(' ').map_or(rest, |(model, _)| model)))
    };
    let (vendor, model) = columns.or_else(words)?;
    Some((vendor.trim(), model.trim()))
}

/// What smartd says, less the disk, which the event names: `Device: /dev/sda [SAT], 8 Currently unreadable sectors`.
fn without_name<'a>(message: &'a str, path: &str) -> &'a str {
    let of_disk = message.strip_prefix("Device: ").filter(|rest| rest.starts_with(path));
    let said = of_disk.and_then(|rest| rest.split_once(", ")).map_or(message, |(_, said)| said);
    said.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hooks::{lines, sentences},
        schema::events::event::EventPayload,
    };

    fn warning(kind: &str, message: &str) -> Vec<Event> {
        let variables = [
            ("SMARTD_DEVICE", "/dev/sda"),
            ("SMARTD_DEVICESTRING", "/dev/sda [SAT]"),
            ("SMARTD_DEVICETYPE", "sat"),
            ("SMARTD_DEVICEINFO", "QEMU HARDDISK, S/N:SATA1, FW:2.5+, 536 MB"),
            ("SMARTD_FAILTYPE", kind),
            ("SMARTD_MESSAGE", message),
            ("SMARTD_PREVCNT", "0"),
        ];
        let words = Words::new(variables.map(|(name, value)| (name.into(), value.into())), []);
        events(&words).expect("a warning")
    }

    #[test]
    fn each_kind_of_warning_has_the_level_that_it_deserves() {
        for (kind, line) in [
            ("EmailTest", "info system.host.hook_tested smartd"),
            ("Health", "critical storage.disk.health_changed /dev/sda"),
            ("Usage", "error storage.disk.health_changed /dev/sda"),
            ("SelfTest", "error storage.disk_probe.failed /dev/sda"),
            ("ErrorCount", "warn storage.disk.warned /dev/sda"),
            ("CurrentPendingSector", "error storage.disk.health_changed /dev/sda"),
            ("OfflineUncorrectableSector", "error storage.disk.health_changed /dev/sda"),
            ("Temperature", "warn storage.disk.warned /dev/sda"),
            ("FailedHealthCheck", "warn storage.disk.warned /dev/sda"),
            ("FailedReadSmartData", "warn storage.disk.warned /dev/sda"),
            ("FailedReadSmartErrorLog", "warn storage.disk.warned /dev/sda"),
            ("FailedReadSmartSelfTestLog", "warn storage.disk.warned /dev/sda"),
            ("FailedOpenDevice", "error storage.disk.warned /dev/sda"),
            ("Something new", "warn storage.disk.warned /dev/sda"),
        ] {
            assert_eq!(lines(&warning(kind, "Device: /dev/sda [SAT], …")), [line]);
        }
    }

    #[test]
    fn the_disk_is_told_with_model_serial_and_temperature() {
        let message =
            "Device: /dev/sda [SAT], Temperature 55 Celsius reached critical limit of 50 Celsius (Min/Max 20/55)";
        let payload = warning("Temperature", message).remove(0).event_payload;
        let Some(EventPayload::StorageEvent(storage)) = payload else { panic!("{payload:?}") };
        let Some(crate::schema::events::storage_event::EventType::DiskEvent(disk)) = storage.event_type else {
            panic!("{storage:?}")
        };
        assert_eq!((&*disk.model, &*disk.serial, disk.temperature), ("QEMU HARDDISK", "SATA1", 55));
        let said = "Temperature 55 Celsius reached critical limit of 50 Celsius (Min/Max 20/55)";
        assert_eq!((&*disk.health, &*disk.health_reason, &*disk.device_path), ("warning", said, "/dev/sda"));
    }

    #[test]
    fn a_scsi_disk_is_told_with_vendor_model_and_serial() {
        assert_eq!(inquired("[SEAGATE  ST4000NM0023     0004]"), Some(("SEAGATE", "ST4000NM0023")));
        assert_eq!(inquired("[LIO-ORG disk 4.0]"), Some(("LIO-ORG", "disk")));
        assert_eq!(inquired("QEMU HARDDISK"), None);
        let info = "[HGST     HUH721212AL5200  A3D0], lu id: 0x5000cca2705b1c2d, S/N: 8CGTEST1, 12.0 TB";
        let variables = [("SMARTD_DEVICE", "/dev/sda"), ("SMARTD_DEVICEINFO", info)];
        let words = Words::new(variables.map(|(name, value)| (name.into(), value.into())), []);
        let disk = Disk::of(&words).expect("a disk");
        assert_eq!((disk.vendor, disk.model, disk.serial), ("HGST", "HUH721212AL5200", "8CGTEST1"));
    }

    #[test]
    fn a_disk_has_the_name_that_the_collector_gives_it_and_one_behind_a_controller_its_own() {
        for (device, name) in [
            ("/dev/sda", "/dev/sda"),
            ("/dev/sda [SAT]", "/dev/sda"),
            ("/dev/sdb [USB JMicron]", "/dev/sdb"),
            ("/dev/bus/0 [megaraid_disk_03] [SAT]", "/dev/bus/0 [megaraid_disk_03]"),
            ("/dev/twa0 [3ware_disk_01]", "/dev/twa0 [3ware_disk_01]"),
        ] {
            assert_eq!(named(device), name);
        }
    }

    #[test]
    fn a_sentence_names_the_disk_once() {
        let read = |kind, message| sentences(&warning(kind, message)).remove(0);
        assert_eq!(
            read("CurrentPendingSector", "Device: /dev/sda [SAT], 8 Currently unreadable (pending) sectors"),
            "Disk /dev/sda health is failing: 8 Currently unreadable (pending) sectors, QEMU HARDDISK, serial SATA1"
        );
        assert_eq!(
            read("SelfTest", "Device: /dev/sda [SAT], Self-Test Log error count increased from 0 to 1"),
            "Disk /dev/sda has failed its test (self-test): Self-Test Log error count increased from 0 to 1"
        );
        // Of another disk, or without one: all of it.
        for message in ["Device: /dev/sdb, failing", "failing, and soon", "Device: /dev/sda [SAT]"] {
            assert!(read("Health", message).contains(&format!(": {message}, QEMU")), "{message}");
        }
    }

    #[test]
    fn a_call_that_is_no_smartds_is_an_error() {
        assert_eq!(events(&Words::default()), Err("SMARTD_FAILTYPE is not set".to_owned()));
    }
}
