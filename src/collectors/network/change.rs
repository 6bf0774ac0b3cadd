//! From one look at an interface to the next: which events that makes. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use super::interface::{Interface, LinkState};
use crate::{
    event::{Level, Metadata},
    schema::events::{
        NetworkInterfacePayload, SystemHostPayload, network_interface_payload::NetworkInterfaceOperation as Operation,
        system_host_payload::SystemHostOperation,
    },
};

/// The longest inventory, bytes; interfaces beyond it are only counted.
const INVENTORY_BYTES_MAX: usize = 4096;

/// An event to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) level: Level,
    pub(super) payload: NetworkInterfacePayload,
    pub(super) metadata: Metadata,
}

/// What happened to one interface between two looks. An interface that is excluded counts as absent, so that one
/// renamed out of the excluded names appears.
pub(super) fn diff(before: Option<&Interface>, after: Option<&Interface>) -> Vec<Change> {
    match (before, after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => {
            let mut changes = vec![change(Level::Info, Operation::Added, after)];
            changes.extend(after.addresses.iter().map(|ip| address(Operation::AddressAdded, after, ip)));
            changes
        }
        (Some(before), None) => {
            let gone = Interface { state: LinkState::Disabled, ..before.clone() };
            let mut changes: Vec<_> =
                before.addresses.iter().map(|ip| address(Operation::AddressRemoved, &gone, ip)).collect();
            // A device that is pulled out or dies is news; software interfaces come and go.
            let level = if before.hardware { Level::Warn } else { Level::Info };
            changes.push(change(level, Operation::Removed, &gone));
            changes
        }
        (Some(before), Some(after)) => {
            let mut changes = Vec::from_iter(configured(before, after));
            changes.extend(link(before, after));
            let gone = before.addresses.difference(&after.addresses);
            changes.extend(gone.map(|ip| address(Operation::AddressRemoved, after, ip)));
            let new = after.addresses.difference(&before.addresses);
            changes.extend(new.map(|ip| address(Operation::AddressAdded, after, ip)));
            changes
        }
    }
}

/// What happened while nobody looked. Of what was left out then only faults are told: it may have been there all along.
pub(super) fn diff_remembered(
    before: &BTreeMap<String, Interface>,
    was_left_out: impl Fn(&str) -> bool,
    after: BTreeMap<&str, &Interface>,
) -> Vec<Change> {
    let is_first_sight = |name: &str| !before.contains_key(name) && was_left_out(name);
    let (first_seen, followed): (BTreeMap<_, _>, BTreeMap<_, _>) =
        after.into_iter().partition(|(name, _)| is_first_sight(name));
    let mut changes = diff_by_name(before, &followed);
    changes.extend(faults(&first_seen));
    changes
}

/// Interfaces are told apart by name: the kernel's indexes do not outlive a boot.
fn diff_by_name(before: &BTreeMap<String, Interface>, after: &BTreeMap<&str, &Interface>) -> Vec<Change> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(name.as_str()));
    let gone = gone.flat_map(|(_, interface)| diff(Some(interface), None));
    gone.chain(after.iter().flat_map(|(name, interface)| diff(before.get(*name), Some(interface)))).collect()
}

/// Bad states at first sight: enabled hardware without carrier.
pub(super) fn faults(interfaces: &BTreeMap<&str, &Interface>) -> Vec<Change> {
    let bad = interfaces.values().filter(|interface| interface.hardware && interface.state == LinkState::NoCarrier);
    bad.map(|interface| change(Level::Warn, Operation::Down, interface)).collect()
}

/// What there is, in one line.
pub(super) fn inventory(interfaces: &BTreeMap<&str, &Interface>) -> SystemHostPayload {
    let plural = if interfaces.len() == 1 { "" } else { "s" };
    let mut detail = format!("{} interface{plural}", interfaces.len());
    for (place, interface) in interfaces.values().enumerate() {
        let addresses: String = interface.addresses.iter().map(|ip| format!(" {ip}")).collect();
        let item = format!("; {} {}{addresses}", interface.name, interface.state.text());
        if detail.len() + item.len() > INVENTORY_BYTES_MAX {
            detail.push_str(&format!("; and {} more", interfaces.len() - place));
            break;
        }
        detail.push_str(&item);
    }
    SystemHostPayload {
        subject: "network".into(),
        detail,
        operation: SystemHostOperation::Inventory.into(),
        ..Default::default()
    }
}

fn configured(before: &Interface, after: &Interface) -> Option<Change> {
    let mut told = change(Level::Info, Operation::Configured, after);
    if before.name != after.name {
        told.payload.previous_name.clone_from(&before.name);
    }
    if before.mac != after.mac {
        told.payload.previous_mac_address.clone_from(&before.mac);
    }
    if before.mtu != after.mtu {
        (told.payload.mtu, told.payload.previous_mtu) = (after.mtu, before.mtu);
    }
    let same = (&before.name, &before.mac, before.mtu) == (&after.name, &after.mac, after.mtu);
    (!same).then_some(told)
}

fn link(before: &Interface, after: &Interface) -> Option<Change> {
    match (before.state, after.state) {
        (old, new) if old == new => None,
        (_, LinkState::Up) => Some(change(Level::Info, Operation::Up, after)),
        (LinkState::Up, _) => Some(change(Level::Warn, Operation::Down, after)),
        _ => Some(change(Level::Info, Operation::LinkChanged, after)),
    }
}

fn address(operation: Operation, interface: &Interface, ip: &IpAddr) -> Change {
    let mut change = change(Level::Info, operation, interface);
    change.payload.ip_address = ip.to_string();
    change
}

fn change(level: Level, operation: Operation, interface: &Interface) -> Change {
    Change {
        level,
        payload: NetworkInterfacePayload {
            interface_name: interface.name.clone(),
            ip_address: String::new(),
            mac_address: interface.mac.clone(),
            is_up: interface.state == LinkState::Up,
            operation: operation.into(),
            link_state: interface.state.text().into(),
            ..Default::default()
        },
        metadata: Metadata::from([("component".into(), "network".into()), ("action".into(), action(operation))]),
    }
}

/// The operation's name without the schema's prefix, in lower case.
fn action(operation: Operation) -> String {
    operation.as_str_name().trim_start_matches("NETWORK_INTERFACE_OPERATION_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        collectors::network::interface::Interfaces,
        host::netlink::{Address, Link, Message},
    };

    fn link(name: &str, enabled: bool, carrier: bool) -> Message {
        Message::Link(Link {
            index: 2,
            name: Some(name.into()),
            mac: Some("52:54:00:12:34:56".into()),
            mtu: Some(1500),
            kind: Some(String::new()),
            loopback: false,
            enabled,
            carrier,
            running: carrier,
            dormant: false,
        })
    }

    fn address(ip: &str, tentative: bool) -> Address {
        Address { index: 2, ip: ip.parse().unwrap(), tentative }
    }

    /// What each message makes of what was before it.
    fn story(messages: &[Message]) -> Vec<(Level, Operation, String)> {
        let mut interfaces = Interfaces::default();
        let mut told = Vec::new();
        for message in messages {
            let (before, after) = interfaces.apply(message);
            for change in diff(before.as_ref(), after.as_ref()) {
                told.push((change.level, change.payload.operation(), change.payload.ip_address));
            }
        }
        told
    }

    fn sentence(change: &Change) -> String {
        let payload = crate::schema::Payload::into_event_payload(change.payload.clone());
        let event = crate::schema::events::Event { event_payload: Some(payload), ..Default::default() };
        crate::event::Summary::of(&crate::event::EventView::from(&event)).text
    }

    #[test]
    fn each_change_is_a_sentence_with_what_was_before() {
        let mut interfaces = Interfaces::default();
        let mut read = Vec::new();
        let Message::Link(eth0) = link("eth0", true, false) else { unreachable!() };
        for message in [
            Message::Link(eth0.clone()),
            link("eth0", true, true),
            Message::Address(address("10.0.0.5", false)),
            Message::Link(Link { mtu: Some(9000), mac: Some("52:54:00:00:00:01".into()), ..eth0 }),
            Message::LinkGone(2),
        ] {
            let (before, after) = interfaces.apply(&message);
            read.extend(diff(before.as_ref(), after.as_ref()).iter().map(sentence));
        }
        assert_eq!(
            read,
            [
                "Interface eth0 was added: no carrier, MAC address 52:54:00:12:34:56",
                "Interface eth0 is up",
                "Interface eth0 has a new address: 10.0.0.5",
                "Interface eth0 was reconfigured, MTU 9000 instead of 1500, MAC address 52:54:00:00:00:01 instead of 52:54:00:12:34:56",
                "Interface eth0 is down: no carrier",
                "Interface eth0 has lost an address: 10.0.0.5",
                "Interface eth0 was removed, MAC address 52:54:00:00:00:01",
            ]
        );
    }

    #[test]
    fn a_carrier_away_for_a_moment_is_two_events() {
        let told = story(&[link("eth0", true, true), link("eth0", true, false), link("eth0", true, true)]);
        let operations: Vec<_> = told.iter().map(|(level, operation, _)| (*level, *operation)).collect();
        let expected = [(Level::Info, Operation::Added), (Level::Warn, Operation::Down), (Level::Info, Operation::Up)];
        assert_eq!(operations, expected);
    }

    #[test]
    fn an_address_is_added_when_it_is_usable_and_removed_when_it_is_gone() {
        let told = story(&[
            link("eth0", true, true),
            Message::Address(address("fe80::1", true)),
            Message::Address(address("fe80::1", false)),
            // Its lifetime is renewed.
            Message::Address(address("fe80::1", false)),
            Message::AddressGone(address("fe80::1", false)),
            // The check finds that another machine has it.
            Message::Address(address("fe80::2", true)),
            Message::AddressGone(address("fe80::2", true)),
        ]);
        let expected = [
            (Level::Info, Operation::Added, String::new()),
            (Level::Info, Operation::AddressAdded, "fe80::1".into()),
            (Level::Info, Operation::AddressRemoved, "fe80::1".into()),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn enabling_without_a_carrier_is_a_change_of_the_link_and_not_down_again() {
        let told = story(&[link("eth0", false, false), link("eth0", true, false), link("eth0", false, false)]);
        let operations: Vec<_> = told.iter().map(|(_, operation, _)| *operation).collect();
        assert_eq!(operations, [Operation::Added, Operation::LinkChanged, Operation::LinkChanged]);
    }

    #[test]
    fn hardware_that_vanishes_is_a_warning_and_its_addresses_go_first() {
        let told =
            story(&[link("eth0", true, true), Message::Address(address("10.0.0.5", false)), Message::LinkGone(2)]);
        let expected = [
            (Level::Info, Operation::AddressRemoved, "10.0.0.5".into()),
            (Level::Warn, Operation::Removed, String::new()),
        ];
        assert_eq!(told[2..], expected);
    }

    #[test]
    fn a_renamed_interface_is_configured_and_tells_its_old_name() {
        let mut interfaces = Interfaces::default();
        interfaces.apply(&link("eth0", true, true));
        let (before, after) = interfaces.apply(&link("lan0", true, true));
        let changes = diff(before.as_ref(), after.as_ref());
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(change.payload.operation(), Operation::Configured);
        assert_eq!(change.payload.interface_name, "lan0");
        assert_eq!(sentence(change), "Interface lan0 was reconfigured: its name was eth0");
    }

    #[test]
    fn only_enabled_hardware_without_a_carrier_is_a_fault_at_first_sight() {
        let of = |message: Message| Interfaces::from_dump(&[message]);
        assert_eq!(faults(&of(link("eth0", true, false)).by_name()).len(), 1);
        assert_eq!(faults(&of(link("eth0", false, false)).by_name()).len(), 0);
        let Message::Link(bridge) = link("br0", true, false) else { unreachable!() };
        let bridge = Message::Link(Link { kind: Some("bridge".into()), ..bridge });
        assert_eq!(faults(&of(bridge).by_name()).len(), 0);
    }

    #[test]
    fn what_was_excluded_before_is_no_news_but_its_faults_are() {
        let of = |name: &str, carrier| {
            let interfaces = Interfaces::from_dump(&[link(name, true, carrier)]);
            interfaces.by_name().into_values().next().cloned().unwrap()
        };
        let (well, broken, new) = (of("lan0", true), of("lan1", false), of("eth9", true));
        let after = BTreeMap::from([("lan0", &well), ("lan1", &broken), ("eth9", &new)]);
        let told = |was_left_out: &dyn Fn(&str) -> bool| -> Vec<_> {
            let changes = diff_remembered(&BTreeMap::new(), was_left_out, after.clone());
            changes.iter().map(|it| (it.payload.interface_name.clone(), it.payload.operation())).collect()
        };
        let expected = [("eth9".to_owned(), Operation::Added), ("lan1".to_owned(), Operation::Down)];
        assert_eq!(told(&|name| name.starts_with("lan")), expected);
        assert_eq!(told(&|_| false).len(), 3, "what was left out is not known of older memories");
        let before = BTreeMap::from([("lan0".to_owned(), broken.clone())]);
        let changes = diff_remembered(&before, |_| true, BTreeMap::from([("lan0", &well)]));
        assert!(!changes.is_empty(), "what is remembered was not left out");
    }

    #[test]
    fn the_inventory_names_every_interface_until_it_is_too_long() {
        let mut interfaces = Interfaces::from_dump(&[link("eth0", true, true)]);
        interfaces.apply(&Message::Address(address("10.0.0.5", false)));
        assert_eq!(inventory(&interfaces.by_name()).detail, "1 interface; eth0 up 10.0.0.5");
        let many: Vec<_> = (0..1000)
            .map(|index| {
                let Message::Link(link) = link(&format!("eth{index}"), true, true) else { unreachable!() };
                Message::Link(Link { index, ..link })
            })
            .collect();
        let detail = inventory(&Interfaces::from_dump(&many).by_name()).detail;
        assert!(detail.len() < INVENTORY_BYTES_MAX + 32 && detail.ends_with(" more"), "{detail}");
    }

    prop_compose! {
        fn any_interface()(
            name in "[a-z]{1,3}", mac in "[0-9a-f]{0,2}", mtu in 0_u32..3, hardware in any::<bool>(), state in 0..4,
            addresses in prop::collection::btree_set(any::<u8>().prop_map(|last| IpAddr::from([10, 0, 0, last])), 0..4),
        ) -> Interface {
            let states = [LinkState::Disabled, LinkState::NoCarrier, LinkState::Dormant, LinkState::Up];
            Interface { name, mac, mtu, hardware, state: states[usize::try_from(state).unwrap()], addresses }
        }
    }

    proptest! {
        #[test]
        fn what_did_not_change_makes_no_event(interface in any_interface()) {
            prop_assert_eq!(diff(Some(&interface), Some(&interface)), Vec::new());
        }

        #[test]
        fn what_is_remembered_comes_back_the_same(interface in any_interface()) {
            let json = serde_json::to_string(&interface).unwrap();
            prop_assert_eq!(serde_json::from_str::<Interface>(&json).unwrap(), interface);
        }

        #[test]
        fn the_last_state_told_is_the_state(before in any_interface(), after in any_interface()) {
            let changes = diff(Some(&before), Some(&after));
            prop_assert!(changes.iter().all(|change| change.payload.is_up == (after.state == LinkState::Up)));
            let toggled = changes.iter().filter(|change| matches!(change.payload.operation(), Operation::Up | Operation::Down));
            let expected = usize::from((before.state == LinkState::Up) != (after.state == LinkState::Up));
            prop_assert_eq!(toggled.count(), expected);
        }
    }
}
