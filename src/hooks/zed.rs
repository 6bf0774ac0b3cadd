//! Zevents as events: only those that looking at `zpool status` does not show. The storage collector tells of states,
//! errors, scrubs, resilvers and trims, folded where the kernel counts hundreds; this tells of data sets, snapshots,
//! received streams, pools made and destroyed, hung devices and a log that could not be replayed.

mod properties;

use super::{Daemon, Torn, Words, event, note};
use crate::{
    event::{Level, text_without_credentials},
    schema::{
        Payload,
        events::{
            Event, StorageDatasetPayload, StorageDiskPayload, StoragePoolPayload, StorageSnapshotPayload,
            StorageTransferPayload, storage_dataset_payload::StorageDatasetOperation as DatasetOperation,
            storage_disk_payload::StorageDiskOperation, storage_pool_payload::StoragePoolOperation as PoolOperation,
            storage_snapshot_payload::StorageSnapshotOperation as SnapshotOperation,
            storage_transfer_payload::StorageTransferOperation as TransferOperation,
        },
    },
};

/// The classes that ZED is to run the hook for, and no other: what a sick disk repeats a hundred times a second is not
/// among them.
pub(super) const CLASSES: &[&str] = &["deadman", "history_event", "log_replay", "pool_create", "pool_destroy"];

/// Data sets that ZFS makes for itself while it works: `tank/copy/%recv`.
const RECEIVING: &str = "/%recv";
const ROLLING_BACK: &str = "/%rollback";

/// What a zevent tells.
pub(super) fn events(words: &Words) -> Result<Vec<Event>, String> {
    let class = words.wanted("ZEVENT_SUBCLASS")?;
    let pool = words.wanted("ZEVENT_POOL")?;
    let event = match class {
        "pool_create" => Some(pool_event(pool, Level::Info, PoolOperation::Created, "created")),
        "pool_destroy" => Some(pool_event(pool, Level::Warn, PoolOperation::Deleted, "destroyed")),
        "log_replay" => {
            let payload = StoragePoolPayload {
                reason: "the intent log could not be replayed, the last writes before the crash are lost".to_owned(),
                ..pool_payload(pool, PoolOperation::Errors)
            };
            Some(event(Daemon::Zed, Level::Critical, payload, "log_replay"))
        }
        "deadman" => Some(deadman(words, pool)),
        "history_event" => history(words, pool),
        _ => None,
    };
    Ok(event.map(|event| complete(event, words)).into_iter().collect())
}

/// What a data set that is removed may tell: ZFS removes what a torn stream has left of one, and the part of its own that a stream was
/// received into, torn or whole.
pub(super) fn torn(words: &Words) -> Option<Torn> {
    let is_removed = words.variable("ZEVENT_SUBCLASS") == "history_event"
        && words.variable("ZEVENT_HISTORY_INTERNAL_NAME") == "destroy";
    let (name, pool) = (words.variable("ZEVENT_HISTORY_DSNAME"), words.variable("ZEVENT_POOL"));
    let subject = Subject { name, pool, words };
    let destination = subject.without(RECEIVING);
    if !is_removed || destination.is_empty() || destination.contains(['@', '%']) {
        return None;
    }
    Some(Torn {
        destination: destination.to_owned(),
        event: complete(subject.transfer(Level::Error, destination, TransferOperation::Failed), words),
        may_end_now: name.ends_with(RECEIVING),
    })
}

fn complete(mut event: Event, words: &Words) -> Event {
    let number = |name: &str| words.variable(name).parse::<i64>().ok().filter(|number| *number > 0);
    if let Some(seconds) = number("ZEVENT_TIME_SECS") {
        let milliseconds = number("ZEVENT_TIME_NSECS").unwrap_or_default() / 1_000_000;
        event.timestamp = seconds.saturating_mul(1000).saturating_add(milliseconds);
    }
    note(&mut event.metadata, "zevent", words.variable("ZEVENT_EID"));
    event
}

fn pool_event(pool: &str, level: Level, operation: PoolOperation, action: &str) -> Event {
    event(Daemon::Zed, level, pool_payload(pool, operation), action)
}

fn pool_payload(pool: &str, operation: PoolOperation) -> StoragePoolPayload {
    StoragePoolPayload { pool_name: pool.to_owned(), operation: operation.into(), ..Default::default() }
}

/// An operation that a device has not answered for minutes.
fn deadman(words: &Words, pool: &str) -> Event {
    let device = words.variable("ZEVENT_VDEV_PATH").to_owned();
    let payload = StorageDiskPayload {
        device_id: device.clone(),
        device_path: device,
        health: "hung".to_owned(),
        health_reason: "an operation has not been answered for minutes".to_owned(),
        pool_name: pool.to_owned(),
        operation: StorageDiskOperation::HealthChanged.into(),
        ..Default::default()
    };
    event(Daemon::Zed, Level::Critical, payload, "deadman")
}

/// An entry of the pool's own history.
fn history(words: &Words, pool: &str) -> Option<Event> {
    let subject = Subject { name: words.variable("ZEVENT_HISTORY_DSNAME"), pool, words };
    let detail = words.variable("ZEVENT_HISTORY_INTERNAL_STR");
    if subject.name.is_empty() {
        // About the pool itself, which the collector looks at.
        return None;
    }
    match words.variable("ZEVENT_HISTORY_INTERNAL_NAME") {
        "finish receiving" => Some(subject.received(detail)),
        "receive" => Some(subject.transfer(Level::Info, subject.without(RECEIVING), TransferOperation::Started)),
        "resume receive" => Some(subject.resumed()),
        "clone swap" if subject.name.ends_with(ROLLING_BACK) => Some(subject.rolled_back()),
        // Whatever else happens to a data set that ZFS works with is a step of the three above.
        _ if subject.name.contains('%') => None,
        "create" => Some(subject.dataset(Level::Info, DatasetOperation::Created, "created")),
        "destroy" if subject.is_snapshot() => Some(subject.snapshot(SnapshotOperation::Deleted, "destroyed")),
        "destroy" => Some(subject.dataset(Level::Warn, DatasetOperation::Deleted, "destroyed")),
        "snapshot" => Some(subject.snapshot(SnapshotOperation::Created, "created")),
        "clone" => Some(subject.cloned(detail)),
        "rename" => Some(subject.renamed(detail)),
        "set" | "inherit" => subject.property_changed(detail),
        _ => None,
    }
}

/// What an entry of the history is about.
struct Subject<'a> {
    name: &'a str,
    pool: &'a str,
    words: &'a Words,
}

impl<'a> Subject<'a> {
    fn is_snapshot(&self) -> bool {
        self.name.contains('@')
    }

    /// The data set, of a snapshot too.
    fn dataset_name(&self) -> &'a str {
        self.name.split('@').next().unwrap_or_default()
    }

    /// The name less an inner part of ZFS.
    fn without(&self, inner: &str) -> &'a str {
        self.name.strip_suffix(inner).unwrap_or(self.name)
    }

    fn event<P: Payload>(&self, level: Level, payload: P, action: &str) -> Event {
        let mut event = event(Daemon::Zed, level, payload, action);
        note(&mut event.metadata, "pool", self.pool);
        event
    }

    fn dataset(&self, level: Level, operation: DatasetOperation, action: &str) -> Event {
        self.event(level, self.dataset_payload(operation), action)
    }

    fn dataset_payload(&self, operation: DatasetOperation) -> StorageDatasetPayload {
        StorageDatasetPayload {
            dataset_name: self.name.to_owned(),
            pool_name: self.pool.to_owned(),
            operation: operation.into(),
            ..Default::default()
        }
    }

    fn snapshot(&self, operation: SnapshotOperation, action: &str) -> Event {
        let created = self.words.variable("ZEVENT_HISTORY_TIME").parse().unwrap_or_default();
        let payload = StorageSnapshotPayload {
            snapshot_name: self.name.to_owned(),
            dataset_name: self.dataset_name().to_owned(),
            creation_time: if operation == SnapshotOperation::Created { created } else { 0 },
            operation: operation.into(),
            ..Default::default()
        };
        self.event(Level::Info, payload, action)
    }

    /// `origin=tank/data@s1 (86)`
    fn cloned(&self, detail: &str) -> Event {
        let origin = detail.strip_prefix("origin=").unwrap_or_default();
        let payload = StorageSnapshotPayload {
            snapshot_name: origin.rsplit_once(" (").map_or(origin, |(name, _)| name).to_owned(),
            dataset_name: self.name.to_owned(),
            operation: SnapshotOperation::Cloned.into(),
            ..Default::default()
        };
        self.event(Level::Info, payload, "cloned")
    }

    /// To which snapshot is not said.
    fn rolled_back(&self) -> Event {
        let payload = StorageSnapshotPayload {
            dataset_name: self.without(ROLLING_BACK).to_owned(),
            operation: SnapshotOperation::RolledBack.into(),
            ..Default::default()
        };
        self.event(Level::Warn, payload, "rolled back")
    }

    /// `-> tank/home2`
    fn renamed(&self, detail: &str) -> Event {
        self.changed("name", detail.trim_start_matches("->").trim(), "renamed")
    }

    /// `compression=15`, which is lz4; those with a dollar are ZFS's own.
    fn property_changed(&self, detail: &str) -> Option<Event> {
        let (property, value) = detail.split_once('=').unwrap_or((detail, ""));
        if property.is_empty() || property.starts_with('$') {
            return None;
        }
        Some(self.changed(property, &properties::shown(property, value), "property changed"))
    }

    fn changed(&self, property: &str, value: &str, action: &str) -> Event {
        let payload = StorageDatasetPayload {
            property: property.to_owned(),
            // `keylocation=https://user:password@host/key`
            value: text_without_credentials(value).into_owned(),
            ..self.dataset_payload(DatasetOperation::PropertyChanged)
        };
        self.event(Level::Info, payload, action)
    }

    fn transfer(&self, level: Level, destination: &str, operation: TransferOperation) -> Event {
        let payload = StorageTransferPayload {
            destination: destination.to_owned(),
            operation: operation.into(),
            ..Default::default()
        };
        self.event(level, payload, "receive")
    }

    /// Where it was torn it goes on.
    fn resumed(&self) -> Event {
        let mut event = self.transfer(Level::Info, self.without(RECEIVING), TransferOperation::Started);
        note(&mut event.metadata, "resumed", "true");
        event
    }

    /// `snap=daily-1`, which stands beside: the transfer that has started is to the data set, and is one with this.
    fn received(&self, detail: &str) -> Event {
        let mut event = self.transfer(Level::Info, self.without(RECEIVING), TransferOperation::Completed);
        note(&mut event.metadata, "snapshot", detail.strip_prefix("snap=").unwrap_or_default());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::{lines, sentences};

    /// A zedlet's environment as a real ZED made it.
    macro_rules! zevent {
        ($name:literal) => {
            words(include_str!(concat!("../../tests/fixtures/zed/", $name)))
        };
    }

    fn words(environment: &str) -> Words {
        let pairs = environment.lines().filter_map(|line| line.split_once('='));
        Words::new(pairs.map(|(name, value)| (name.into(), value.into())), [])
    }

    fn told(words: &Words) -> Vec<String> {
        lines(&events(words).expect("a zevent"))
    }

    #[test]
    fn what_happens_to_data_sets_and_snapshots_is_told() {
        assert_eq!(told(&zevent!("history_event.snapshot")), ["info storage.snapshot.created tank/data@s1"]);
        assert_eq!(told(&zevent!("history_event.destroy")), ["warn storage.dataset.deleted tank/clone"]);
        assert_eq!(told(&zevent!("history_event.clone")), ["info storage.snapshot.cloned tank/data@s1"]);
        assert_eq!(told(&zevent!("history_event.rename")), ["info storage.dataset.property_changed tank/home"]);
        let renamed = events(&zevent!("history_event.rename")).expect("a zevent");
        assert_eq!(sentences(&renamed), ["Dataset tank/home was changed: name, now tank/home2"]);
        assert_eq!((renamed[0].timestamp, &*renamed[0].metadata["zevent"]), (1_795_215_585_563, "67"));
    }

    #[test]
    fn a_rollback_and_a_received_stream_are_one_event_each_and_not_their_inner_steps() {
        let rolled_back = events(&zevent!("history_event.clone_swap")).expect("a zevent");
        assert_eq!(lines(&rolled_back).len(), 1);
        assert!(lines(&rolled_back)[0].starts_with("warn storage.snapshot.rolled_back"), "{rolled_back:?}");
        assert_eq!(told(&zevent!("history_event.destroy_recv")), [""; 0]);
        let received = events(&zevent!("history_event.finish_receiving")).expect("a zevent");
        assert_eq!(lines(&received), ["info storage.transfer.completed tank/copy"]);
        assert_eq!(received[0].metadata["snapshot"], "daily-1");
        assert_eq!(sentences(&rolled_back), ["Dataset tank/home was rolled back"]);
    }

    #[test]
    fn a_received_stream_begins_and_ends_as_the_transfer_of_one_thing() {
        assert_eq!(told(&zevent!("history_event.receive")), ["info storage.transfer.started tank/copy"]);
        assert_eq!(told(&zevent!("history_event.finish_receiving")), ["info storage.transfer.completed tank/copy"]);
    }

    #[test]
    fn a_stream_that_is_resumed_begins_again() {
        let resumed = words(
            "ZEVENT_SUBCLASS=history_event\nZEVENT_POOL=tank\nZEVENT_HISTORY_DSNAME=tank/copy/%recv\n\
             ZEVENT_HISTORY_INTERNAL_NAME=resume receive",
        );
        let resumed = events(&resumed).expect("a zevent");
        assert_eq!(lines(&resumed), ["info storage.transfer.started tank/copy"]);
        assert_eq!(resumed[0].metadata["resumed"], "true");
    }

    #[test]
    fn what_a_stream_was_received_into_may_have_been_removed_because_it_was_torn() {
        let inner = torn(&zevent!("history_event.destroy_recv")).expect("the part of a stream");
        assert_eq!((inner.destination.as_str(), inner.may_end_now), ("tank/copy", true));
        assert_eq!(lines(std::slice::from_ref(&inner.event)), ["error storage.transfer.failed tank/copy"]);
        assert_eq!(sentences(&[inner.event]), ["Transfer to tank/copy has failed"]);
        let whole = torn(&zevent!("history_event.destroy")).expect("a data set");
        assert_eq!((whole.destination.as_str(), whole.may_end_now), ("tank/clone", false));
        let removed = |name: &str| {
            words(&format!(
                "ZEVENT_SUBCLASS=history_event\nZEVENT_HISTORY_INTERNAL_NAME=destroy\nZEVENT_HISTORY_DSNAME={name}"
            ))
        };
        let (receiving, snapshot) = (zevent!("history_event.finish_receiving"), zevent!("history_event.snapshot"));
        let pool = zevent!("pool_destroy");
        for other in [receiving, snapshot, pool, removed("tank/a@b"), removed("tank/a/%rollback"), removed("")] {
            assert_eq!(torn(&other), None, "{other:?}");
        }
    }

    #[test]
    fn pools_made_and_destroyed_are_told_apart_from_those_that_come_and_go() {
        assert_eq!(told(&zevent!("pool_create")), ["info storage.pool.created tank"]);
        assert_eq!(told(&zevent!("pool_destroy")), ["warn storage.pool.deleted lossy"]);
    }

    #[test]
    fn what_the_collector_sees_is_not_told_twice() {
        for silent in
            [zevent!("checksum"), zevent!("statechange"), zevent!("scrub_finish"), zevent!("history_event.set")]
        {
            assert_eq!(told(&silent), [""; 0], "{silent:?}");
        }
    }

    #[test]
    fn the_hook_is_run_for_exactly_the_classes_that_tell_something() {
        for class in CLASSES.iter().filter(|class| **class != "history_event") {
            let words = words(&format!("ZEVENT_SUBCLASS={class}\nZEVENT_POOL=tank\nZEVENT_VDEV_PATH=/dev/sda1"));
            assert_eq!(told(&words).len(), 1, "{class}");
        }
        let deadman = words("ZEVENT_SUBCLASS=deadman\nZEVENT_POOL=tank\nZEVENT_VDEV_PATH=/dev/sda1");
        assert_eq!(told(&deadman), ["critical storage.disk.health_changed /dev/sda1"]);
        let read = |words: &Words| sentences(&events(words).expect("a zevent"));
        let hung = "Disk /dev/sda1 health is hung: an operation has not been answered for minutes, pool tank";
        assert_eq!(read(&deadman), [hung]);
        let unread =
            "Pool tank has errors: the intent log could not be replayed, the last writes before the crash are lost";
        assert_eq!(read(&words("ZEVENT_SUBCLASS=log_replay\nZEVENT_POOL=tank")), [unread]);
    }

    #[test]
    fn a_property_is_told_with_its_value_and_those_of_zfs_itself_are_not() {
        let set = |detail: &str| {
            words(&format!(
                "ZEVENT_SUBCLASS=history_event\nZEVENT_POOL=tank\nZEVENT_HISTORY_DSNAME=tank/a\n\
                 ZEVENT_HISTORY_INTERNAL_NAME=set\nZEVENT_HISTORY_INTERNAL_STR={detail}"
            ))
        };
        let told_ = events(&set("compression=15")).expect("a zevent");
        assert_eq!(sentences(&told_), ["Dataset tank/a was changed: compression, now lz4"]);
        let told_ = events(&set("keylocation=https://bob:S3CRET@h/key")).expect("a zevent");
        assert_eq!(sentences(&told_), ["Dataset tank/a was changed: keylocation, now https://h/key"]);
        assert_eq!(sentences(&events(&set("quota=")).expect("a zevent")), ["Dataset tank/a was changed: quota"]);
        assert_eq!(told(&set("$hasrecvd=")), [""; 0]);
    }

    #[test]
    fn a_call_that_is_no_zeds_is_an_error() {
        assert_eq!(events(&words("PATH=/bin")), Err("ZEVENT_SUBCLASS is not set".to_owned()));
    }
}
