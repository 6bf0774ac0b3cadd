//! What the system collector has to say, before it is said: comparing gives findings, the run loop emits them. So what
//! would be emitted can be tested without a log.

use crate::{
    event::{Level, Metadata},
    pipeline::{EmitError, Emitter},
    schema::events::{
        IdentityGroupPayload, SystemHostPayload, SystemShutdownPayload, SystemStartupPayload, SystemUserPayload,
        system_host_payload::SystemHostOperation,
    },
};

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
    Startup(SystemStartupPayload),
    Shutdown(SystemShutdownPayload),
    User(SystemUserPayload),
    Group(IdentityGroupPayload),
    Host(SystemHostPayload),
}

impl Finding {
    /// A finding of a part of the collector (`agent`, `accounts`, `host`, `clock`), named by what has happened.
    pub(super) fn new(level: Level, about: About, component: &str, action: &str) -> Finding {
        let metadata = Metadata::from([("component".into(), component.into()), ("action".into(), action.into())]);
        Finding { level, about, metadata }
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
        let payload = SystemHostPayload { subject: subject.to_owned(), detail, operation: operation.into() };
        Finding::new(level, About::Host(payload), component, action)
    }

    /// The same with one more word beside the payload.
    pub(super) fn with(mut self, key: &str, value: impl Into<String>) -> Finding {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Emits it. One that the pipeline refuses (too large) is logged and given up: trying again would not help.
    pub(super) async fn emit(self, emitter: &Emitter) -> Result<(), EmitError> {
        let Finding { level, about, metadata } = self;
        let emitted = match about {
            About::Startup(payload) => emitter.system_startup(level, payload, metadata).await,
            About::Shutdown(payload) => emitter.system_shutdown(level, payload, metadata).await,
            About::User(payload) => emitter.system_user(level, payload, metadata).await,
            About::Group(payload) => emitter.identity_group(level, payload, metadata).await,
            About::Host(payload) => emitter.system_host(level, payload, metadata).await,
        };
        match emitted {
            Err(EmitError::Refused(why)) => tracing::error!(why, "an event of the system was refused"),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
impl Finding {
    /// `warn system.host.clock_stepped wall clock`: what the tests compare.
    pub(super) fn line(&self) -> String {
        use prost::Message as _;

        use crate::{
            event::EventView,
            schema::{Payload, events::Event},
        };
        let (payload, name) = match self.about.clone() {
            About::Startup(payload) => (payload.into_event_payload(), String::new()),
            About::Shutdown(payload) => (payload.clone().into_event_payload(), payload.reason),
            About::User(payload) => (payload.clone().into_event_payload(), payload.username),
            About::Group(payload) => (payload.clone().into_event_payload(), payload.group_name),
            About::Host(payload) => (payload.clone().into_event_payload(), payload.subject),
        };
        let event = Event { event_payload: Some(payload), ..Event::default() };
        let kind = EventView::decode(&event.encode_to_vec()).unwrap().kind();
        format!("{} {kind} {name}", self.level.name()).trim_end().to_owned()
    }
}

/// The lines of many findings.
#[cfg(test)]
pub(super) fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::line).collect()
}
