//! Network interfaces: links that appear, go, come up and go down, and their addresses.
//!
//! Takes every change from rtnetlink in the kernel's order, so that a carrier that is away for a millisecond is two
//! events. At first sight an enabled hardware interface without carrier is an event and the rest is one inventory;
//! after that the differences to what was remembered, by name, are reported once. Routes through gateways and name servers are
//! looked at in turn.

#[cfg(feature = "kernel")]
mod change;
#[cfg(feature = "kernel")]
mod interface;
mod name_servers;
mod routes;
#[cfg(feature = "kernel")]
mod watch;

use self::{name_servers::NameServers, routes::Routes};
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver, pattern::Patterns};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "network",
    about: "network interfaces and their addresses, routes, name servers",
    emits: &[
        "network.dns",
        "network.interface",
        "network.route",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
    ],
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
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        let driver = Driver::new(context, SPEC.name);
        // Without the kernel's own word only what stands in files is seen.
        #[cfg(feature = "kernel")]
        let driver = driver.with(watch::Watch::new(self.settings.clone()));
        Box::pin(driver.with(Routes::new(self.settings.exclude)).with(NameServers::default()).run())
    }
}
