//! Network interfaces: links that appear, go, come up and go down, and their addresses.
//!
//! Takes every change from rtnetlink in the kernel's order, so that a carrier that is away for a millisecond is two
//! events. At first sight an enabled hardware interface without carrier is an event and the rest is one inventory;
//! after that the differences to what was remembered, by name, are reported once. Routes and name servers are not
//! looked at.

#[cfg(feature = "kernel")]
mod change;
#[cfg(feature = "kernel")]
mod interface;
#[cfg(feature = "kernel")]
mod watch;

#[cfg(not(feature = "kernel"))]
use super::CollectError;
#[cfg(feature = "kernel")]
use super::driver::Driver;
use super::{Collector, CollectorRun, CollectorSpec, Context, pattern::Patterns};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "network",
    about: "network interfaces and their addresses",
    emits: &["network.interface", "system.host.blind_spot", "system.host.inventory", "system.host.sees_again"],
    enabled: true,
    build: |table| Box::new(Network { settings: Settings::read(table) }),
};

/// What may be configured.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Interfaces that nothing is said about.
    exclude: Patterns,
}

impl Settings {
    fn read(table: &mut Table) -> Settings {
        // The loopback never changes, and each container brings a veth of its own with every start.
        let exclude = table.strings("exclude", &["lo", "veth*"], "interfaces to leave out; * is any text");
        Settings { exclude: Patterns::new(exclude) }
    }
}

struct Network {
    settings: Settings,
}

impl Collector for Network {
    #[cfg(feature = "kernel")]
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(Driver::new(context, SPEC.name).with(watch::Watch::new(self.settings)).run())
    }

    #[cfg(not(feature = "kernel"))]
    fn run(self: Box<Self>, _: Context) -> CollectorRun {
        let _ = self.settings.exclude;
        Box::pin(async { Err(CollectError::Absent("this build was made without the feature `kernel`".into())) })
    }
}
