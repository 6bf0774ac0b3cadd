//! The machine as a whole: boots, starts and stops of the agent, local users and groups, the host's name and clock, and
//! the heartbeat that makes silence mean health.
//!
//! Emits at its end too: when the agent is told to stop, that is its last event. A change of the agent's configuration
//! is told by the agent, which knows of it.

mod account_changes;
mod account_watch;
mod accounts;
mod heartbeat;
mod host_state;
mod lifecycle;

use std::time::Duration;

use self::{account_watch::AccountWatch, heartbeat::Heartbeat, host_state::HostWatch, lifecycle::Lifecycle};
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "system",
    about: "boots and stops, users and groups, host name and clock, heartbeat",
    emits: &[
        "identity.group",
        "system.host.blind_spot",
        "system.host.clock_*",
        "system.host.heartbeat",
        "system.host.hostname_changed",
        "system.host.inventory",
        "system.host.sees_again",
        "system.host.reboot_*",
        "system.shutdown",
        "system.startup.cold_boot",
        "system.startup.service_restart",
        "system.startup.started",
        "system.user",
    ],
    enabled: true,
    build: |table| Box::new(System { settings: Settings::read(table) }),
};

/// What may be configured.
#[derive(Clone, Debug)]
struct Settings {
    heartbeat: Option<Duration>,
}

impl Settings {
    fn read(table: &mut Table) -> Settings {
        const MINUTE: Duration = Duration::from_secs(60);
        let heartbeat = table.duration_or_off(
            "heartbeat",
            Some(15 * MINUTE),
            MINUTE..=24 * 60 * MINUTE,
            "how often the agent says that it is alive",
        );
        Settings { heartbeat }
    }
}

struct System {
    settings: Settings,
}

impl Collector for System {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(async move {
            let accounts = AccountWatch::new(&context);
            let driver = Driver::new(context, "accounts").with(Lifecycle::default()).with(HostWatch).with(accounts);
            match self.settings.heartbeat {
                Some(interval) => driver.with(Heartbeat::new(interval)).run().await,
                None => driver.run().await,
            }
        })
    }
}
