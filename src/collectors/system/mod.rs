//! The machine as a whole: boots, starts and stops of the agent, local users and groups, the host's name and clock, what the
//! kernel says of errors, pressure, temperatures, fans and power supplies, and the heartbeat that makes silence mean health.
//!
//! Emits at its end too: when the agent is told to stop, that is its last event. A change of the agent's configuration
//! is told by the agent, which knows of it.

mod account_changes;
mod account_watch;
mod accounts;
mod heartbeat;
mod host_state;
mod kernel;
mod lifecycle;
mod pressure;
mod sensors;
mod ups;

use std::time::Duration;

use self::{
    account_watch::AccountWatch,
    heartbeat::Heartbeat,
    host_state::HostWatch,
    kernel::{Counters, IsRead, Log},
    lifecycle::Lifecycle,
    pressure::Pressure,
    sensors::Sensors,
    ups::Supplies,
};
use super::{Collector, CollectorRun, CollectorSpec, Context, driver::Driver};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "system",
    about: "boots and stops, users and groups, name and clock, the kernel, pressure, heat, power, heartbeat",
    emits: &[
        "identity.group",
        "storage.dataset.errors",
        "storage.dataset.errors_cleared",
        "storage.disk.io_errors",
        "storage.disk.io_errors_ceased",
        "system.host.blind_spot",
        "system.host.clock_*",
        "system.host.fan_*",
        "system.host.heartbeat",
        "system.host.hostname_changed",
        "system.host.inventory",
        "system.host.kernel_oops",
        "system.host.memory_errors",
        "system.host.oom_kill",
        "system.host.sees_again",
        "system.host.reboot_*",
        "system.host.ups_*",
        "system.shutdown",
        "system.startup.cold_boot",
        "system.startup.service_restart",
        "system.startup.started",
        "system.user",
        "usage.threshold",
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
            let is_read = IsRead::default();
            let accounts = AccountWatch::new(&context);
            let driver = Driver::new(context, "accounts").with(Lifecycle::default()).with(HostWatch).with(accounts);
            let driver = driver
                .with(Pressure)
                .with(Sensors::default())
                .with(Supplies::default())
                .with(Log::new(is_read.clone()))
                .with(Counters::new(is_read));
            match self.settings.heartbeat {
                Some(interval) => driver.with(Heartbeat::new(interval)).run().await,
                None => driver.run().await,
            }
        })
    }
}
