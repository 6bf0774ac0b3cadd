//! The interfaces as a domain: subscribed to, listed, followed.

use std::future::pending;

use super::{
    Settings,
    change::{diff, faults, inventory},
    interface::{Interfaces, Known},
};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, pattern::Patterns},
    host::netlink::{self, Monitor, NetlinkError, NetlinkMessage, Notice},
};

/// The look at the kernel.
pub(super) struct Watch {
    settings: Settings,
    /// None while nothing is subscribed to: then they are listed anew.
    monitor: Option<Monitor>,
    interfaces: Interfaces,
    /// What the next look takes in; without one it lists.
    message: Option<NetlinkMessage>,
}

impl Watch {
    pub(super) fn new(settings: Settings) -> Watch {
        Watch { settings, monitor: None, interfaces: Interfaces::default(), message: None }
    }

    async fn list(&mut self) -> Result<Interfaces, NetlinkError> {
        if self.monitor.is_none() {
            // Before the list, so that nothing falls between.
            self.monitor = Some(Monitor::subscribe()?);
        }
        let listed = netlink::dump().await;
        if listed.is_err() {
            // What is signalled now would be taken for all there is.
            self.monitor = None;
        }
        Ok(Interfaces::from_dump(&listed?))
    }
}

impl Domain for Watch {
    const NAME: &'static str = "interfaces";
    type Known = Known;
    /// What is excluded.
    type Choice = Patterns;

    fn choice(&self) -> Patterns {
        self.settings.exclude.clone()
    }

    fn split(known: Known, exclude: &Patterns) -> (Known, Option<Known>) {
        let (left_out, taken) = known.into_iter().partition(|(name, _)| exclude.matches(name));
        (taken, Some(left_out))
    }

    /// One message a look, so that a carrier that is away for a moment is seen to go and to come.
    async fn look(&mut self, context: &Context, _: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if !context.host.is_live() {
            return Err(CollectError::Absent("network interfaces are only those of the running machine".into()));
        }
        match self.message.take() {
            Some(message) => self.interfaces.apply(&message),
            None => self.interfaces = self.list().await.map_err(absent_or_failed)?,
        }
        Ok(Some(self.interfaces.without(&self.settings.exclude)))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        faults(known)
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after)
    }

    fn inventory(&self, known: &Known) -> String {
        inventory(known)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        let Some(monitor) = &mut self.monitor else { return pending().await };
        match monitor.next().await {
            Ok(Notice::Changed(message)) => self.message = Some(message),
            Ok(Notice::Overrun) => {}
            Err(error) => {
                self.monitor = None;
                return Err(absent_or_failed(error));
            }
        }
        Ok(())
    }
}

fn absent_or_failed(error: NetlinkError) -> CollectError {
    match error {
        NetlinkError::Denied(_) => CollectError::Absent(error.to_string()),
        _ => CollectError::failed("follow network interfaces", error),
    }
}
