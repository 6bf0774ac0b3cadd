//! Where the log's events go: each sink knows one other side, how to reach it and what its answers mean. What all of them
//! have in common, the way from the cursor to an arrived batch, is the driver's in [`crate::consumers`].
//!
//! A new one is a folder with its `SPEC` and a type that is a [`crate::consumers::Sink`], and a line in [`ALL`]. The uplink is
//! none of them: there is one, and it has its own part in the configuration.

mod credentials;
pub mod uplink;
mod webhook;

use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;

pub use self::webhook::{
    TIMEOUT_BOUNDS,
    beat::{BeatSettings, beat},
};
use crate::{
    consumers::{ConsumerState, Delivery, Driver, Pacing, Sink, Threshold},
    dead_letters::DeadLetters,
    event_log::{Cursor, EventLog},
    settings::Table,
    state::StatesWatch,
};

/// Every sink that `sinks:` may configure, in alphabetical order.
pub const ALL: &[SinkSpec] = &[webhook::SPEC];

/// What a sink is called and how it is made.
pub struct SinkSpec {
    /// The word for `type`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The keys that it cannot do without, as in a file: for whoever describes the configuration.
    pub sample: &'static str,
    /// Reads its settings; none where they are refused.
    pub build: fn(&mut Table) -> Option<Box<dyn Configured>>,
}

/// A sink with its settings.
pub trait Configured: Any + Send {
    /// Where it delivers to, as people may see it.
    fn target(&self) -> String;

    /// Whether it tells how things are, and not what happens.
    fn is_of_states(&self) -> bool {
        false
    }

    /// The name of the sink that takes what this one has not taken for long.
    fn fallback(&self) -> Option<&str> {
        None
    }

    /// That sink.
    fn stand_in(&mut self, _other: &dyn Configured) {}

    /// Sends a message that says it is a test, by the way that events go.
    fn test(self: Box<Self>, node: &NodeName) -> Pin<Box<dyn Future<Output = SinkTest> + Send>>;

    /// Delivers what its consumer has yet to get, until that ends.
    fn run(self: Box<Self>, consumer: Consumer) -> SinkRun;
}

/// What came of a test.
#[derive(Clone, Debug, Default)]
pub struct SinkTest {
    /// Why the message was not taken; none when it was.
    pub error: Option<String>,
    /// What the other side said.
    pub answer: String,
    /// How long it took.
    pub took: Duration,
    /// Until when the other side's certificate is valid, if it has one.
    pub certificate_until: Option<SystemTime>,
}

pub type SinkRun = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Consumer {
    /// Delivers to a sink, until that ends.
    pub fn deliver(self, sink: impl Sink, threshold: Threshold, pacing: Pacing) -> SinkRun {
        let delivery = Delivery::new(&self.log, &self.cursor, threshold);
        let driver = Driver::new(sink, delivery, self.state, self.now)
            .with_pacing(pacing)
            .with_dead_letters(self.dead_letters)
            .until_replaced(self.replaced);
        Box::pin(driver.run(self.shutdown, self.abandon))
    }
}

/// What this node is called. Cheap to copy.
#[derive(Clone, Debug)]
pub struct NodeName {
    /// For programs: the same for ever.
    pub id: Arc<str>,
    /// For people: what the machine was called when the agent began.
    pub host: Arc<str>,
}

#[cfg(test)]
impl NodeName {
    /// The one of the tests.
    pub(crate) fn of_tests() -> NodeName {
        NodeName { id: "nas".into(), host: "attic".into() }
    }
}

/// What a sink delivers for. Cheap to copy.
#[derive(Clone)]
pub struct Consumer {
    /// What the configuration calls it; the name of its cursor.
    pub name: String,
    pub log: EventLog,
    /// How far it has come.
    pub cursor: Cursor,
    /// Where it says how it is.
    pub state: ConsumerState,
    /// Where events end that are refused.
    pub dead_letters: DeadLetters,
    /// How things are.
    pub states: Arc<dyn StatesWatch>,
    pub node: NodeName,
    /// Unix milliseconds.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Another takes its place: nothing more is sent.
    pub replaced: CancellationToken,
    /// Nothing more will come: what is left is delivered.
    pub shutdown: CancellationToken,
    /// It ends at once.
    pub abandon: CancellationToken,
}
