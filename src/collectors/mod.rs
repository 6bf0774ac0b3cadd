//! What sees things happen on the machine. One file or folder a domain, one line each in [`ALL`].
//!
//! A collector takes snapshots, compares them and emits what changed; on a change that is none it emits nothing. At
//! first sight bad states are events and the rest is one inventory event; what changed while the agent was down is
//! reported once, from its [`Memory`]. It names the [`Emitter`], the host and events, nothing else.
//!
//! A new one is a folder with its `SPEC` and a type that is a [`driver::Domain`]: how to look, and what the difference of
//! two looks comes to. The driver does the rest.

mod access;
mod driver;
mod finding;
mod identity;
mod listing;
mod network;
mod pattern;
mod security;
mod service;
mod settling;
mod sharing;
mod sight;
mod storage;
mod system;
#[cfg(test)]
mod tests;

use std::{future::Future, io, pin::Pin};

use tokio_util::sync::CancellationToken;

use self::finding::Finding;
pub use self::sight::{Sight, Sights};
use crate::{
    host::Host,
    pipeline::{EmitError, Emitter, Memory},
    settings::Table,
};

/// Every collector, in alphabetical order.
pub const ALL: &[CollectorSpec] = &[
    access::SPEC,
    identity::SPEC,
    network::SPEC,
    security::SPEC,
    service::SPEC,
    sharing::SPEC,
    storage::SPEC,
    system::SPEC,
];

/// What a collector is called and how it is made.
pub struct CollectorSpec {
    /// Key under `collectors:`, and `source` of its events.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Patterns of the kinds that it emits.
    pub emits: &'static [&'static str],
    /// Whether it runs when the configuration does not say.
    pub enabled: bool,
    /// Reads its settings and makes it.
    pub build: fn(&mut Table) -> Box<dyn Collector>,
}

/// A running look at one domain.
pub trait Collector: Send {
    /// Looks until `context.shutdown` is cancelled. The supervisor starts it again, with back-off, when it fails.
    fn run(self: Box<Self>, context: Context) -> CollectorRun;
}

pub type CollectorRun = Pin<Box<dyn Future<Output = Result<(), CollectError>> + Send>>;

/// What a collector is handed.
pub struct Context {
    /// Emits with the collector's name as source.
    pub emitter: Emitter,
    /// The machine.
    pub host: Host,
    /// What it remembered when the agent last ran.
    pub memory: Memory,
    /// Where it says what it cannot see, although it runs.
    pub sight: Sight,
    /// Cancelled when it shall end.
    pub shutdown: CancellationToken,
    /// Cancelled before that when the agent itself ends, and not when only the collector does.
    pub agent_stops: CancellationToken,
    /// Whether what is wrong is told at the first look, also where it was told before: whoever keeps the states has lost events.
    pub asserts: bool,
}

impl Context {
    /// For a part of a collector that is driven by itself.
    #[cfg(feature = "systemd")]
    fn copied(&self) -> Context {
        Context {
            emitter: self.emitter.clone(),
            host: self.host.clone(),
            memory: self.memory.clone(),
            sight: self.sight.clone(),
            shutdown: self.shutdown.clone(),
            agent_stops: self.agent_stops.clone(),
            asserts: self.asserts,
        }
    }

    /// It cannot see something: a part that does not answer, or what lies beyond a bound. Told when that is news.
    pub(crate) async fn is_blind(&self, what: &str, why: &str) -> Result<(), CollectError> {
        Ok(self.sight.is_blind(&self.emitter, what, why).await?)
    }

    /// It sees that. Told when it did not before.
    pub(crate) async fn sees(&self, what: &str) -> Result<(), CollectError> {
        Ok(self.sight.sees(&self.emitter, what).await?)
    }

    /// What begins so, and is no longer there, is no blind spot.
    async fn sees_gone(&self, prefix: &str, is_there: impl Fn(&str) -> bool + Send) -> Result<(), CollectError> {
        for gone in self.sight.blind_to(prefix).iter().filter(|name| !is_there(name)) {
            self.sees(&format!("{prefix}{gone}")).await?;
        }
        Ok(())
    }

    /// A look at files of the machine; `action` says what it does, verb first.
    async fn look<T: Send + 'static>(
        &self,
        action: &str,
        look: impl FnOnce(&Host) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CollectError> {
        self.host.look(look).await.map_err(|error| CollectError::failed(action, error))
    }

    /// Why it cannot see something, or that it does.
    async fn note(&self, what: &str, blind: Option<String>) -> Result<(), CollectError> {
        match blind {
            Some(why) => self.is_blind(what, &why).await,
            None => self.sees(what).await,
        }
    }

    /// Emits what was found, in order.
    async fn report(
        &self,
        findings: impl IntoIterator<Item = Finding, IntoIter: Send> + Send,
    ) -> Result<(), CollectError> {
        for finding in findings {
            finding.emit(&self.emitter).await?;
        }
        Ok(())
    }
}

/// Why a collector ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Nothing of its kind is on this machine: said quietly, tried again only after a restart of the agent.
    #[error("{0}")]
    Absent(String),
    /// It will be started again.
    #[error("{action}")]
    Failed {
        /// Verb first: `read /etc/passwd`.
        action: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log takes no more events.
    #[error("emit an event")]
    Emit(#[from] EmitError),
}

impl CollectError {
    /// An error with what was attempted, verb first.
    pub fn failed(
        action: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> CollectError {
        CollectError::Failed { action: action.into(), source: source.into() }
    }
}
