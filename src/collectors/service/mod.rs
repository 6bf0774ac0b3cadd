//! Services of systemd: started, stopped, restarted, failed; and timers that do not start them at their times.
//!
//! Takes the states of `.service` units from the system bus, in systemd's order. At first sight failed services are
//! events and the rest is one inventory; after that the differences to what was remembered are reported once. A service
//! without a long-running process that ran and ended well is one event `stopped` at level debug: timers run dozens of
//! those an hour. Only a failure of one is news. No service is ever started or stopped from here.

#[cfg(feature = "systemd")]
mod story;
#[cfg(feature = "systemd")]
mod timers;
#[cfg(feature = "systemd")]
mod unit;
#[cfg(feature = "systemd")]
mod watch;

use serde::{Deserialize, Serialize};
#[cfg(feature = "systemd")]
use tokio::sync::Notify;

#[cfg(not(feature = "systemd"))]
use super::CollectError;
#[cfg(feature = "systemd")]
use super::driver::Driver;
use super::{Collector, CollectorRun, CollectorSpec, Context, pattern::Patterns};
use crate::settings::Table;

pub(super) const SPEC: CollectorSpec = CollectorSpec {
    name: "service",
    about: "services of systemd, and timers that are overdue",
    emits: &[
        "service.status.started",
        "service.status.stopped",
        "service.status.restarted",
        "service.status.failed",
        "service.status.gave_up",
        "service.timer",
        "system.host.blind_spot",
        "system.host.inventory",
        "system.host.sees_again",
    ],
    enabled: true,
    build: |table| Box::new(Service { settings: Settings::read(table) }),
};

/// What may be configured. Also remembered, to know what was left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    units: Patterns,
    exclude: Patterns,
}

impl Settings {
    fn read(table: &mut Table) -> Settings {
        Settings {
            units: Patterns::new(table.strings("units", &["*.service"], "services to follow; * is any text")),
            exclude: Patterns::new(table.strings("exclude", &[], "services, and timers, to leave out of them")),
        }
    }

    #[cfg(feature = "systemd")]
    fn include(&self, unit: &str) -> bool {
        self.units.matches(unit) && !self.exclude.matches(unit)
    }
}

struct Service {
    settings: Settings,
}

impl Collector for Service {
    #[cfg(feature = "systemd")]
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        Box::pin(async move {
            let shutdown = context.shutdown.clone();
            let beside = Context { memory: context.memory.beside("service_timers"), ..context.copied() };
            let timers = Driver::new(beside, "timers").with(timers::Timers::new(self.settings.exclude.clone()));
            let connected = Notify::new();
            // Where there is no systemd the services say so, and nothing else is said.
            let timers = async {
                tokio::select! {
                    () = shutdown.cancelled() => Ok(()),
                    () = connected.notified() => timers.run().await,
                }
            };
            // Dropped wherever it stands: what was emitted and not yet remembered is found again at the next start.
            let services = async {
                tokio::select! {
                    () = shutdown.cancelled() => Ok(()),
                    ended = watch::watch(self.settings, context, &connected) => ended,
                }
            };
            tokio::try_join!(services, timers).map(|_| ())
        })
    }

    #[cfg(not(feature = "systemd"))]
    fn run(self: Box<Self>, _: Context) -> CollectorRun {
        let _ = (self.settings.units, self.settings.exclude);
        Box::pin(async { Err(CollectError::Absent("this build was made without the feature `systemd`".into())) })
    }
}
