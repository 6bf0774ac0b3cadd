//! The agent's settings, out of `rodent.yml` and its drop-ins.
//!
//! Given by files, taken by the agent's composition and by `rodent config`. What holds: a [`Config`] is consistent as a
//! whole; whatever is wrong is refused before anything is touched, all at once. What is deliberately absent: the
//! collectors' own keys, which each collector reads itself, and secrets in messages.

mod consumers;
mod controller;
mod events;
mod files;
mod metrics;
pub mod reference;
mod schema;
mod sinks;
mod source;
mod subscriptions;
mod update;
mod written;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use consumers::ConsumerSettings;
pub use controller::{ControllerSettings, MAY_SET, MAY_STATUS};
pub use events::{EventSettings, Profile};
pub use files::STANDARD_FILE;
pub use metrics::MetricsSettings;
pub use schema::schema;
pub use sinks::SinkSettings;
pub use source::{NEEDS_RESTART, Source};
pub use update::{EventUpdate, FileEvents};
pub use written::{WrittenSink, WrittenSinkError, is_key};

// What the controller's settings are made of; whoever writes them need not know who takes them.
use self::{controller::Credentials, files::Found};
pub use crate::sinks::uplink::{Patience, Tls, TokenSource};
use crate::{
    collectors::{self, Collector, CollectorSpec},
    pipeline::CounterSettings,
    schema::local::SOCKET,
    settings::{Document, Faults, Part, Records, Table},
    sinks::BeatSettings,
};

/// Where the agent keeps its log, unless the configuration says otherwise.
pub const STATE_DIRECTORY: &str = "/var/lib/rodent";

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where events are uploaded to; none to keep them here.
    pub controller: Option<ControllerSettings>,
    /// Which events are kept, and how.
    pub events: EventSettings,
    /// Where the event log and what collectors remember lie.
    pub state_directory: PathBuf,
    /// The local socket.
    pub socket: PathBuf,
    /// Every collector, in the order of [`collectors::ALL`].
    pub collectors: Vec<CollectorSettings>,
    /// Who else events are delivered to, by the names that the files give them.
    pub sinks: Vec<SinkSettings>,
    /// Who is called while the agent is well, and how often.
    pub beat: Option<BeatSettings>,
    /// Programs that consume events.
    pub consumers: ConsumerSettings,
    /// Where the agent shows how it is.
    pub metrics: MetricsSettings,
    /// Events that are counted there.
    pub counters: Vec<CounterSettings>,
    /// The least important lines that the agent says about itself.
    pub log_level: tracing::Level,
}

/// One collector and the keys that are its own.
#[derive(Clone)]
pub struct CollectorSettings {
    /// What it is called and how it is made.
    pub spec: &'static CollectorSpec,
    /// Whether it runs.
    pub enabled: bool,
    settings: Part,
}

impl CollectorSettings {
    /// Makes the collector, anew with each call.
    pub fn build(&self) -> Box<dyn Collector> {
        (self.spec.build)(&mut self.settings.open())
    }
}

impl fmt::Debug for CollectorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.spec.name).field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

/// A configuration that is valid, and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Each key with its effective value and origin.
    pub records: Records,
    /// What was read, the weakest first.
    pub files: Vec<PathBuf>,
    /// Drop-ins that are not read because their names end in `.yaml`.
    pub ignored: Vec<PathBuf>,
}

impl Config {
    /// Reads the file at `path`, which must be there. Without a path, reads the standard file below `root`, which may
    /// be missing, and its drop-ins. The drop-ins belong to the standard file also when that is named.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: Option<&Path>, root: &Path) -> Result<Loaded, Faults> {
        let Found { files, ignored } = match path {
            Some(path) if path == files::standard_file(root) => {
                files::with_drop_ins(vec![path.to_path_buf()], root, None)?
            }
            Some(path) => Found { files: vec![path.to_path_buf()], ..Found::default() },
            None => files::with_drop_ins(files::standard_if_there(root), root, None)?,
        };
        let (config, records) =
            Config::read(Document::open(&files, &files::variables()?), &Credentials::of_service(root))?;
        Ok(Loaded { config, records, files, ignored })
    }

    /// Reads the standard file below `root` and its drop-ins as if this text stood in that drop-in of the administrator's, or
    /// with `None` as if it were not there.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load_as_if(root: &Path, drop_in: &Path, text: Option<&str>) -> Result<Loaded, Faults> {
        let is_there = Some((drop_in, text.is_some()));
        let Found { files, ignored } = files::with_drop_ins(files::standard_if_there(root), root, is_there)?;
        // The variables of whoever asks are not those of the agent's unit.
        let document = Document::open_with(&files, &[], text.map(|text| (drop_in, text)));
        let (config, records) = Config::read(document, &Credentials::of_service(root))?;
        Ok(Loaded { config, records, files, ignored })
    }

    /// Reads a configuration from text; `name` stands for the file in messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Loaded, Faults> {
        let (config, records) = Config::read(Document::parse(name, text), &Credentials::NONE)?;
        Ok(Loaded { config, records, files: Vec::new(), ignored: Vec::new() })
    }

    /// The defaults, with its own places and controller: for an agent that no file configures.
    pub fn default_for(state_directory: PathBuf, socket: PathBuf, controller: Option<ControllerSettings>) -> Loaded {
        let defaults = Config::parse("", "").expect("the defaults are valid");
        Loaded { config: Config { controller, state_directory, socket, ..defaults.config }, ..defaults }
    }

    /// What the controller may do on this node besides taking its events; nothing where there is none.
    pub fn may(&self) -> Vec<String> {
        self.controller.as_ref().map(|controller| controller.may.clone()).unwrap_or_default()
    }

    fn read(document: Document, credentials: &Credentials) -> Result<(Config, Records), Faults> {
        let mut root = document.root();
        root.alias("controller", "toggle");
        let of_consumers;
        let mut counters = Vec::new();
        let config = Config {
            controller: ControllerSettings::read(&mut root, credentials),
            events: EventSettings::read(&mut root.table("events", "which events are kept, and how")),
            state_directory: root.path("state_directory", STATE_DIRECTORY, "where events are kept"),
            socket: root.path("socket", SOCKET, "the socket for programs on this machine"),
            collectors: read_collectors(&mut root.table("collectors", "what is looked at")),
            sinks: {
                // Before what they are put into.
                of_consumers = subscriptions::read(&mut root);
                sinks::read(&mut root)
            },
            beat: BeatSettings::read(&mut root),
            consumers: ConsumerSettings::read(
                &mut root.table("consumers", "programs that consume events"),
                of_consumers,
            ),
            metrics: MetricsSettings::read(&mut root, &mut counters),
            counters,
            log_level: read_log_level(&mut root.table("log", "what the agent says about itself")),
        };
        drop(root);
        document.finish().map(|records| (config, records))
    }
}

fn read_collectors(table: &mut Table) -> Vec<CollectorSettings> {
    let read = |spec: &'static CollectorSpec| {
        let mut switch = table.switch(spec.name, spec.enabled, spec.about);
        // Made once here, and dropped, so that its own keys are checked whether it runs or not.
        drop((spec.build)(&mut switch.table));
        CollectorSettings { spec, enabled: switch.on, settings: switch.table.part() }
    };
    collectors::ALL.iter().map(read).collect()
}

fn read_log_level(table: &mut Table) -> tracing::Level {
    let levels = ["error", "warn", "info", "debug", "trace"];
    let level = table.one_of("level", "info", &levels, "the least important lines in the agent's own log");
    level.parse().unwrap_or(tracing::Level::INFO)
}
