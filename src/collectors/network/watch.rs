//! The look at the kernel: subscribe, list, compare, follow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Settings,
    change::{Change, diff, diff_remembered, faults, inventory},
    interface::{Interface, Interfaces},
};
use crate::{
    collectors::{CollectError, Context, pattern::Patterns},
    event::{Level, Metadata},
    host::netlink::{self, Message, Monitor, NetlinkError, Notice},
};

/// What survives a restart of the agent: the interfaces that are not excluded, by name.
#[derive(Deserialize)]
struct Remembered {
    interfaces: BTreeMap<String, Interface>,
    /// What was excluded; not known of memories of older agents.
    exclude: Option<Patterns>,
}

#[derive(Serialize)]
struct Remember<'a> {
    interfaces: BTreeMap<&'a str, &'a Interface>,
    exclude: &'a Patterns,
}

struct Watch {
    settings: Settings,
    context: Context,
    interfaces: Interfaces,
}

/// Looks until dropped.
pub(super) async fn watch(settings: Settings, context: Context) -> Result<(), CollectError> {
    if !context.host.is_live() {
        return Err(CollectError::Absent("network interfaces are only those of the running machine".into()));
    }
    // Before the list, so that nothing falls between.
    let mut monitor = Monitor::subscribe().map_err(absent_or_failed)?;
    let interfaces = list().await?;
    let mut watch = Watch { settings, context, interfaces };
    watch.begin().await?;
    loop {
        match monitor.next().await.map_err(absent_or_failed)? {
            Notice::Changed(message) => watch.follow(&message).await?,
            Notice::Overrun => watch.compare(list().await?).await?,
        }
    }
}

impl Watch {
    /// First sight, or what changed since the agent last ran.
    async fn begin(&self) -> Result<(), CollectError> {
        let memory = self.context.memory.clone();
        let remembered = tokio::task::spawn_blocking(move || memory.recall::<Remembered>()).await.unwrap_or_default();
        let visible = self.visible();
        let changes = match remembered {
            Some(Remembered { interfaces, exclude }) => {
                let was_left_out = |name: &str| exclude.as_ref().is_some_and(|patterns| patterns.matches(name));
                diff_remembered(&self.still_included(interfaces), was_left_out, visible.clone())
            }
            None => {
                let metadata =
                    Metadata::from([("component".into(), "network".into()), ("action".into(), "inventory".into())]);
                self.context.emitter.system_host(Level::Info, inventory(&visible), metadata).await?;
                faults(&visible)
            }
        };
        self.emit(changes).await?;
        self.remember();
        Ok(())
    }

    async fn follow(&mut self, message: &Message) -> Result<(), CollectError> {
        let (before, after) = self.interfaces.apply(message);
        self.report(diff(self.included(before.as_ref()), self.included(after.as_ref()))).await
    }

    async fn compare(&mut self, after: Interfaces) -> Result<(), CollectError> {
        let before = std::mem::replace(&mut self.interfaces, after);
        let indexes = before.indexes_with(&self.interfaces).into_iter();
        let changes =
            indexes.flat_map(|index| diff(self.included(before.get(index)), self.included(self.interfaces.get(index))));
        self.report(changes.collect()).await
    }

    async fn report(&self, changes: Vec<Change>) -> Result<(), CollectError> {
        if !changes.is_empty() {
            self.emit(changes).await?;
            self.remember();
        }
        Ok(())
    }

    async fn emit(&self, changes: Vec<Change>) -> Result<(), CollectError> {
        for Change { level, payload, metadata } in changes {
            self.context.emitter.network_interface(level, payload, metadata).await?;
        }
        Ok(())
    }

    fn remember(&self) {
        self.context.memory.remember(&Remember { interfaces: self.visible(), exclude: &self.settings.exclude });
    }

    fn visible(&self) -> BTreeMap<&str, &Interface> {
        let mut interfaces = self.interfaces.by_name();
        interfaces.retain(|name, _| !self.settings.exclude.matches(name));
        interfaces
    }

    /// Less what has been excluded since: it is not gone.
    fn still_included(&self, mut interfaces: BTreeMap<String, Interface>) -> BTreeMap<String, Interface> {
        interfaces.retain(|name, _| !self.settings.exclude.matches(name));
        interfaces
    }

    fn included<'a>(&self, interface: Option<&'a Interface>) -> Option<&'a Interface> {
        interface.filter(|interface| !self.settings.exclude.matches(&interface.name))
    }
}

async fn list() -> Result<Interfaces, CollectError> {
    Ok(Interfaces::from_dump(&netlink::dump().await.map_err(absent_or_failed)?))
}

fn absent_or_failed(error: NetlinkError) -> CollectError {
    match error {
        NetlinkError::Denied(_) => CollectError::Absent(error.to_string()),
        _ => CollectError::failed("follow network interfaces", error),
    }
}
