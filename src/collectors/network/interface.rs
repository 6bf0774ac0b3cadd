//! Every interface of the machine as last heard of: what changes are compared with. Pure.

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::{
    collectors::pattern::Patterns,
    host::netlink::{Link, NetlinkMessage},
};

/// The most interfaces that are followed; what comes beyond is not looked at.
pub(super) const INTERFACES_MAX: usize = 4096;
/// The most addresses of one interface that are followed; what comes beyond is not looked at.
pub(super) const ADDRESSES_MAX: usize = 256;

/// Whether packets can pass, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LinkState {
    /// Not enabled by the administrator.
    Disabled,
    /// Enabled; no carrier.
    NoCarrier,
    /// Enabled, with carrier; still waits to be let in (802.1X).
    Dormant,
    /// Packets can pass.
    Up,
}

impl LinkState {
    /// `before` stands while the kernel, which has noticed a carrier, has yet to say what it makes of it: some
    /// milliseconds on the way up.
    fn of(link: &Link, before: LinkState) -> LinkState {
        match (link.enabled, link.carrier) {
            (false, _) => LinkState::Disabled,
            (true, false) => LinkState::NoCarrier,
            (true, true) if link.running => LinkState::Up,
            (true, true) if link.dormant => LinkState::Dormant,
            (true, true) if before == LinkState::Up => LinkState::NoCarrier,
            (true, true) => before,
        }
    }

    /// For people.
    pub(super) fn text(self) -> &'static str {
        match self {
            LinkState::Disabled => "disabled",
            LinkState::NoCarrier => "no carrier",
            LinkState::Dormant => "waiting for authentication",
            LinkState::Up => "up",
        }
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interface {
    /// The kernel's number of it, which does not outlive a boot: 0 of one that is only remembered.
    #[serde(skip)]
    pub(super) index: u32,
    pub(super) name: String,
    /// Empty when it has none.
    pub(super) mac: String,
    /// Bytes.
    pub(super) mtu: u32,
    /// A real device, not one made by software.
    pub(super) hardware: bool,
    pub(super) state: LinkState,
    /// The usable ones.
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl Interface {
    fn new(link: &Link) -> Option<Interface> {
        let mut interface = Interface {
            index: link.index,
            name: link.name.clone()?,
            mac: String::new(),
            mtu: 0,
            hardware: false,
            state: if link.enabled { LinkState::NoCarrier } else { LinkState::Disabled },
            addresses: BTreeSet::new(),
        };
        interface.update(link);
        Some(interface)
    }

    /// What a message does not say stays as it was.
    fn update(&mut self, link: &Link) {
        self.state = LinkState::of(link, self.state);
        if let Some(name) = &link.name {
            self.name.clone_from(name);
        }
        if let Some(mac) = &link.mac {
            self.mac.clone_from(mac);
        }
        self.mtu = link.mtu.unwrap_or(self.mtu);
        if let Some(kind) = &link.kind {
            self.hardware = kind.is_empty() && !link.loopback;
        }
    }
}

/// Interfaces by name.
pub(super) type Known = BTreeMap<String, Interface>;

/// All interfaces, by the kernel's index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interfaces(BTreeMap<u32, Interface>);

impl Interfaces {
    pub(super) fn from_dump(messages: &[NetlinkMessage]) -> Interfaces {
        let mut interfaces = Interfaces::default();
        for message in messages {
            interfaces.apply(message);
        }
        interfaces
    }

    /// Takes a message in.
    pub(super) fn apply(&mut self, message: &NetlinkMessage) {
        match message {
            NetlinkMessage::Link(link) => self.apply_link(link),
            NetlinkMessage::LinkGone(index) => _ = self.0.remove(index),
            // Not usable yet, and perhaps never; or in use, and checked again after the link was down.
            NetlinkMessage::Address(address) if address.tentative => {}
            NetlinkMessage::Address(address) => {
                if let Some(interface) = self.0.get_mut(&address.index)
                    && interface.addresses.len() < ADDRESSES_MAX
                {
                    interface.addresses.insert(address.ip);
                }
            }
            NetlinkMessage::AddressGone(address) => {
                if let Some(interface) = self.0.get_mut(&address.index) {
                    interface.addresses.remove(&address.ip);
                }
            }
        }
    }

    fn apply_link(&mut self, link: &Link) {
        if let Some(interface) = self.0.get_mut(&link.index) {
            interface.update(link);
        } else if self.0.len() < INTERFACES_MAX
            && let Some(interface) = Interface::new(link)
        {
            self.0.insert(link.index, interface);
        }
    }

    /// Those whose names these patterns do not match.
    pub(super) fn without(&self, exclude: &Patterns) -> Known {
        let others = self.0.values().filter(|interface| !exclude.matches(&interface.name));
        others.map(|interface| (interface.name.clone(), interface.clone())).gather()
    }
}
