//! Hooks: what the storage daemons of the machine (ZED, smartd, mdadm) run when something happens, so that it becomes an
//! event at once.
//!
//! Given the words that a daemon calls a hook with ([`Words`]), gives events ([`events`]); and puts hooks where a daemon
//! looks for them, and away again ([`state`], [`enable`], [`disable`]). What a call alone does not say, it leaves open ([`torn`]). Takes nothing from the network and emits
//! nothing: the command `rodent hook` does. Always holds: nothing that is not ours is changed, and what a daemon says is
//! bounded and never trusted to be text. Deliberately absent: what the collectors see by themselves; see docs/hooks.md.

mod installation;
mod mdadm;
mod smartd;
mod words;
mod zed;

use std::{fmt, path::Path};

pub use installation::{Enabled, HookChange, HookError, HookState, disable, enable, state};
pub use words::Words;

use crate::{
    event::{Level, Metadata},
    schema::{Payload, events::Event},
};

/// Where the programs lie that the daemons run.
pub const PROGRAMS: &str = "/usr/lib/rodent/hooks";

/// A daemon that runs hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// The ZFS event daemon.
    Zed,
    /// The SMART daemon of smartmontools.
    Smartd,
    /// `mdadm --monitor`.
    Mdadm,
}

impl Daemon {
    /// Every one.
    pub const ALL: [Daemon; 3] = [Daemon::Zed, Daemon::Smartd, Daemon::Mdadm];

    /// As commands and events call it.
    pub fn name(self) -> &'static str {
        match self {
            Daemon::Zed => "zed",
            Daemon::Smartd => "smartd",
            Daemon::Mdadm => "mdadm",
        }
    }

    /// Patterns of the kinds that its hook tells of.
    pub fn emits(self) -> &'static [&'static str] {
        match self {
            Daemon::Zed => &[
                "storage.pool.created",
                "storage.pool.deleted",
                "storage.pool.errors",
                "storage.disk.health_changed",
                "storage.dataset.created",
                "storage.dataset.deleted",
                "storage.dataset.property_changed",
                "storage.snapshot",
                "storage.transfer.started",
                "storage.transfer.completed",
                "storage.transfer.failed",
            ],
            Daemon::Smartd => &[
                "storage.disk.health_changed",
                "storage.disk.warned",
                "storage.disk_probe.failed",
                "system.host.hook_tested",
            ],
            Daemon::Mdadm => &["storage.pool.removed", "storage.pool.spares_missing", "system.host.hook_tested"],
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a daemon's call says has happened; nothing where a collector tells it, or it tells nothing. `root` is `/`, or
/// where a test keeps a machine: of md arrays some small files below `/sys` are read. `is_alone`: whether no
/// collector looks at the storage; it is asked only where that makes a difference.
///
/// # Errors
/// When the call is not one of this daemon's: says what is missing.
pub fn events(daemon: Daemon, words: &Words, root: &Path, is_alone: impl Fn() -> bool) -> Result<Vec<Event>, String> {
    match daemon {
        Daemon::Zed => zed::events(words),
        Daemon::Smartd => smartd::events(words),
        Daemon::Mdadm => mdadm::events(words, root, is_alone),
    }
}

/// What a call tells in place of its events, where the last that was told of a transfer is that it has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Torn {
    /// Where it went.
    pub destination: String,
    /// That it has failed.
    pub event: Event,
    /// Whether another call may be telling at this moment that it has come whole.
    pub may_end_now: bool,
}

/// What a daemon's call may say of a transfer; it is for the caller to ask how that stands.
pub fn torn(daemon: Daemon, words: &Words) -> Option<Torn> {
    match daemon {
        Daemon::Zed => zed::torn(words),
        Daemon::Smartd | Daemon::Mdadm => None,
    }
}

/// An event of a hook. Its time is the agent's, unless the daemon has one.
fn event<P: Payload>(daemon: Daemon, level: Level, payload: P, action: &str) -> Event {
    let metadata = [("component", daemon.name()), ("action", action)];
    Event {
        level: level.to_wire().into(),
        category: P::CATEGORY.into(),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        event_payload: Some(payload.into_event_payload()),
        ..Event::default()
    }
}

/// One more word beside the payload; an empty one is left out.
fn note(metadata: &mut Metadata, key: &str, value: &str) {
    if !value.is_empty() {
        metadata.insert(key.to_owned(), value.to_owned());
    }
}

/// What people read.
#[cfg(test)]
fn sentences(events: &[Event]) -> Vec<String> {
    let sentence = |event: &Event| crate::event::Summary::of(&crate::event::EventView::from(event)).text;
    events.iter().map(sentence).collect()
}

#[cfg(test)]
fn lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let view = crate::event::EventView::from(event);
        let subject = crate::event::Summary::of(&view).subject;
        format!("{} {} {subject}", view.level().name(), view.kind()).trim_end().to_owned()
    };
    events.iter().map(line).collect()
}
