//! What the storage collector has to say, before it is said: the differences of snapshots give findings, the run loop
//! emits them. So what would be emitted can be tested without a log.

use crate::{
    event::{Level, Metadata},
    pipeline::{EmitError, Emitter},
    schema::events::{
        StorageDatasetPayload, StorageDiskPayload, StoragePoolPayload, SystemHostPayload, UsageThresholdPayload,
    },
};

/// How many names a payload lists: beside long paths it must stay below the size of an event.
pub(super) const LISTED_MAX: usize = 100;

/// One event to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) about: About,
    pub(super) metadata: Metadata,
}

/// Its payload.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum About {
    Pool(StoragePoolPayload),
    Disk(StorageDiskPayload),
    Dataset(StorageDatasetPayload),
    Threshold(UsageThresholdPayload),
    Inventory(SystemHostPayload),
}

impl Finding {
    /// A finding of a part of the collector (`mounts`, `capacity`, `zfs`), named by what has happened.
    pub(super) fn new(level: Level, about: About, component: &str, action: &str) -> Finding {
        let metadata = Metadata::from([("component".into(), component.into()), ("action".into(), action.into())]);
        Finding { level, about, metadata }
    }

    /// The same with one more word beside the payload; an empty one is left out.
    pub(super) fn with(mut self, key: &str, value: impl Into<String>) -> Finding {
        let value = value.into();
        if !value.is_empty() {
            self.metadata.insert(key.to_owned(), value);
        }
        self
    }

    /// Emits it. One that the pipeline refuses (too large) is logged and given up: trying again would not help.
    pub(super) async fn emit(self, emitter: &Emitter) -> Result<(), EmitError> {
        let Finding { level, about, metadata } = self;
        let emitted = match about {
            About::Pool(payload) => emitter.storage_pool(level, payload, metadata).await,
            About::Disk(payload) => emitter.storage_disk(level, payload, metadata).await,
            About::Dataset(payload) => emitter.storage_dataset(level, payload, metadata).await,
            About::Threshold(payload) => emitter.usage_threshold(level, payload, metadata).await,
            About::Inventory(payload) => emitter.system_host(level, payload, metadata).await,
        };
        match emitted {
            Err(EmitError::Refused(why)) => tracing::error!(why, "an event of storage was refused"),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(())
    }
}

/// The first of many names, and how many more there are.
pub(super) fn listed(names: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = names.len().saturating_sub(LISTED_MAX);
    let mut listed: Vec<String> = names.take(LISTED_MAX).collect();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed
}

/// A size as the wire has it.
pub(super) fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
impl Finding {
    /// `warn storage.pool.degraded tank`: what the tests compare.
    pub(super) fn line(&self) -> String {
        use prost::Message as _;

        use crate::{
            event::EventView,
            schema::{Payload, events::Event},
        };
        let (payload, name) = match self.about.clone() {
            About::Pool(payload) => (payload.clone().into_event_payload(), payload.pool_name),
            About::Disk(payload) => (payload.clone().into_event_payload(), payload.device_id),
            About::Dataset(payload) => (payload.clone().into_event_payload(), payload.mountpoint),
            About::Threshold(payload) => (payload.clone().into_event_payload(), payload.threshold_name),
            About::Inventory(payload) => (payload.clone().into_event_payload(), payload.subject),
        };
        let event = Event { event_payload: Some(payload), ..Event::default() };
        let kind = EventView::decode(&event.encode_to_vec()).unwrap().kind();
        format!("{} {kind} {name}", self.level.name())
    }
}

/// The lines of many findings.
#[cfg(test)]
pub(super) fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::line).collect()
}
