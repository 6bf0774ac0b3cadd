//! What a collector has to say, before it is said: comparing snapshots gives findings, the run loop emits them. So what
//! would be emitted can be tested without a log.

use crate::{
    event::{Level, Metadata},
    pipeline::{EmitError, Emitter},
    schema::{
        Payload,
        events::{EventCategory, SystemHostPayload, event::EventPayload, system_host_payload::SystemHostOperation},
    },
};

/// One event to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) level: Level,
    category: EventCategory,
    payload: EventPayload,
    pub(super) metadata: Metadata,
}

impl Finding {
    /// A finding of a part of a collector (`mounts`, `accounts`), named by what has happened.
    pub(super) fn new<P: Payload>(level: Level, payload: P, component: &str, action: &str) -> Finding {
        let metadata = Metadata::from([("component".into(), component.into()), ("action".into(), action.into())]);
        Finding { level, category: P::CATEGORY, payload: payload.into_event_payload(), metadata }
    }

    /// What a host tells in words.
    pub(super) fn host(
        level: Level,
        operation: SystemHostOperation,
        subject: &str,
        detail: String,
        component: &str,
        action: &str,
    ) -> Finding {
        let payload = SystemHostPayload {
            subject: subject.to_owned(),
            detail,
            operation: operation.into(),
            ..Default::default()
        };
        Finding::new(level, payload, component, action)
    }

    /// What there is, at first sight.
    pub(super) fn inventory(subject: &str, component: &str, detail: String) -> Finding {
        Finding::host(Level::Info, SystemHostOperation::Inventory, subject, detail, component, "inventory")
    }

    /// The same with one more word beside the payload; an empty one is left out.
    pub(super) fn with(mut self, key: &str, value: impl Into<String>) -> Finding {
        let value = value.into();
        if !value.is_empty() {
            self.metadata.insert(key.to_owned(), value);
        }
        self
    }

    /// The same as told before, and told again because it was lost.
    pub(super) fn asserted(self) -> Finding {
        self.with("asserted", "true")
    }

    /// Emits it. One that the pipeline refuses, which it logs, is given up: trying again would not help.
    pub(super) async fn emit(self, emitter: &Emitter) -> Result<(), EmitError> {
        match emitter.emit_payload(self.level, self.category, self.payload, self.metadata).await {
            Err(EmitError::Refused(_)) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

#[cfg(test)]
impl Finding {
    /// `warn storage.pool.degraded tank`: what tests compare.
    pub(super) fn line(&self) -> String {
        /// Fields that name the thing, the most telling first.
        const NAMES: [&str; 8] =
            ["device_id", "mountpoint", "pool_name", "threshold_name", "username", "group_name", "subject", "reason"];
        let view = self.view();
        let payload = view.payload().expect("a payload");
        let name = NAMES.iter().find_map(|name| payload.get_field_by_name(name));
        let name = name.as_deref().and_then(|name| name.as_str()).unwrap_or_default();
        format!("{} {} {name}", self.level.name(), view.kind()).trim_end().to_owned()
    }

    /// The payload as its own type.
    pub(super) fn payload<P: Payload + Default>(&self) -> P {
        use prost_reflect::ReflectMessage as _;

        let view = self.view();
        let payload = view.payload().expect("a payload");
        assert_eq!(payload.descriptor().full_name(), P::MESSAGE);
        payload.transcode_to().expect("the same message")
    }

    /// What people read.
    pub(super) fn sentence(&self) -> String {
        crate::event::Summary::of(&self.view()).text
    }

    fn view(&self) -> crate::event::EventView {
        crate::event::EventView::from(&crate::schema::events::Event {
            event_payload: Some(self.payload.clone()),
            ..Default::default()
        })
    }
}

/// How many of so many errors have been told after a look: all of them where that is news, which they are at first, and then
/// when there are twice as many. What goes wrong goes wrong on for days.
pub(super) fn told_of(count: u64, told: u64) -> u64 {
    if told == 0 || count >= told.saturating_mul(2) { count } else { told.min(count) }
}

/// What people read of many findings.
#[cfg(test)]
pub(super) fn sentences(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::sentence).collect()
}

/// The lines of many findings.
#[cfg(test)]
pub(super) fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::line).collect()
}
