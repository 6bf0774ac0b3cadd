//! From one look at the interfaces to the next: which events that makes. Pure.

use crate::order::Gather as _;
use std::{collections::BTreeMap, net::IpAddr};

use super::interface::{Interface, Known, LinkState};
use crate::{
    collectors::finding::Finding,
    event::Level,
    schema::events::{NetworkInterfacePayload, network_interface_payload::NetworkInterfaceOperation as Operation},
};

/// The longest inventory, bytes; interfaces beyond it are only counted.
const INVENTORY_BYTES_MAX: usize = 4096;

/// What happened between two looks. Interfaces are told apart by the kernel's index, so that one may change its name; by
/// name where some are only remembered. One that is excluded counts as absent: renamed out of the excluded names it appears.
pub(super) fn diff(before: &Known, after: &Known) -> Vec<Finding> {
    let by_name = before.values().any(|interface| interface.index == 0);
    let (before, after) = (keyed(before, by_name), keyed(after, by_name));
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let gone = gone.flat_map(|(_, interface)| diff_one(Some(interface), None));
    gone.chain(after.iter().flat_map(|(key, interface)| diff_one(before.get(key).copied(), Some(interface)))).collect()
}

fn keyed(known: &Known, by_name: bool) -> BTreeMap<(u32, &str), &Interface> {
    let key = |name, interface: &Interface| if by_name { (0, name) } else { (interface.index, "") };
    known.iter().map(|(name, interface)| (key(name.as_str(), interface), interface)).gather()
}

fn diff_one(before: Option<&Interface>, after: Option<&Interface>) -> Vec<Finding> {
    match (before, after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => {
            let mut findings = vec![finding(Level::Info, payload(Operation::Added, after))];
            findings.extend(after.addresses.iter().map(|ip| address(Operation::AddressAdded, after, ip)));
            findings
        }
        (Some(before), None) => {
            let gone = Interface { state: LinkState::Disabled, ..before.clone() };
            let mut findings: Vec<_> =
                before.addresses.iter().map(|ip| address(Operation::AddressRemoved, &gone, ip)).collect();
            // A device that is pulled out or dies is news; software interfaces come and go.
            let level = if before.hardware { Level::Warn } else { Level::Info };
            findings.push(finding(level, payload(Operation::Removed, &gone)));
            findings
        }
        (Some(before), Some(after)) => {
            let mut findings = Vec::from_iter(configured(before, after));
            findings.extend(link(before, after));
            let gone = before.addresses.difference(&after.addresses);
            findings.extend(gone.map(|ip| address(Operation::AddressRemoved, after, ip)));
            let new = after.addresses.difference(&before.addresses);
            findings.extend(new.map(|ip| address(Operation::AddressAdded, after, ip)));
            findings
        }
    }
}

/// Bad states at first sight: enabled hardware without carrier.
pub(super) fn faults(interfaces: &Known) -> Vec<Finding> {
    let bad = interfaces.values().filter(|interface| interface.hardware && interface.state == LinkState::NoCarrier);
    bad.map(|interface| finding(Level::Warn, payload(Operation::Down, interface))).collect()
}

/// What there is, in one line.
pub(super) fn inventory(interfaces: &Known) -> String {
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
    detail
}

fn configured(before: &Interface, after: &Interface) -> Option<Finding> {
    let mut told = payload(Operation::Configured, after);
    if before.name != after.name {
        told.previous_name.clone_from(&before.name);
    }
    if before.mac != after.mac {
        told.previous_mac_address.clone_from(&before.mac);
    }
    if before.mtu != after.mtu {
        (told.mtu, told.previous_mtu) = (after.mtu, before.mtu);
    }
    let same = (&before.name, &before.mac, before.mtu) == (&after.name, &after.mac, after.mtu);
    (!same).then(|| finding(Level::Info, told))
}

fn link(before: &Interface, after: &Interface) -> Option<Finding> {
    let (level, operation) = match (before.state, after.state) {
        (old, new) if old == new => return None,
        (_, LinkState::Up) => (Level::Info, Operation::Up),
        (LinkState::Up, _) => (Level::Warn, Operation::Down),
        // Somebody has switched it off: what was wrong with its link is over.
        (_, LinkState::Disabled) => (Level::Info, Operation::Down),
        _ => (Level::Info, Operation::LinkChanged),
    };
    Some(finding(level, payload(operation, after)))
}

fn address(operation: Operation, interface: &Interface, ip: &IpAddr) -> Finding {
    let payload = NetworkInterfacePayload { ip_address: ip.to_string(), ..payload(operation, interface) };
    finding(Level::Info, payload)
}

fn payload(operation: Operation, interface: &Interface) -> NetworkInterfacePayload {
    NetworkInterfacePayload {
        interface_name: interface.name.clone(),
        mac_address: interface.mac.clone(),
        is_up: interface.state == LinkState::Up,
        operation: operation.into(),
        link_state: interface.state.text().into(),
        ..Default::default()
    }
}

/// Its action is the operation's name without the schema's prefix, in lower case.
fn finding(level: Level, payload: NetworkInterfacePayload) -> Finding {
    let action = payload.operation().as_str_name().trim_start_matches("NETWORK_INTERFACE_OPERATION_").to_lowercase();
    Finding::new(level, payload, "network", &action)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        collectors::{
            driver::compare,
            network::{Settings, interface::Interfaces, watch::Watch},
            pattern::Patterns,
        },
        host::netlink::{Address, Link, NetlinkMessage},
    };

    fn link(name: &str, enabled: bool, carrier: bool) -> NetlinkMessage {
        NetlinkMessage::Link(Link {
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

    fn indexed(index: u32, message: NetlinkMessage) -> NetlinkMessage {
        let NetlinkMessage::Link(link) = message else { unreachable!() };
        NetlinkMessage::Link(Link { index, ..link })
    }

    fn address(ip: &str, tentative: bool) -> Address {
        Address { index: 2, ip: ip.parse().unwrap(), tentative }
    }

    fn all(interfaces: &Interfaces) -> Known {
        interfaces.without(&Patterns::new(Vec::new()))
    }

    fn dump(messages: &[NetlinkMessage]) -> Known {
        all(&Interfaces::from_dump(messages))
    }

    /// What a message makes of what was before it.
    fn step(interfaces: &mut Interfaces, message: &NetlinkMessage) -> Vec<Finding> {
        let before = all(interfaces);
        interfaces.apply(message);
        diff(&before, &all(interfaces))
    }

    /// The same of each of several.
    fn story(messages: &[NetlinkMessage]) -> Vec<(Level, Operation, String)> {
        let mut interfaces = Interfaces::default();
        let findings: Vec<_> = messages.iter().flat_map(|message| step(&mut interfaces, message)).collect();
        findings.iter().map(|finding| (finding.level, told(finding).operation(), told(finding).ip_address)).collect()
    }

    fn told(finding: &Finding) -> NetworkInterfacePayload {
        finding.payload()
    }

    #[test]
    fn each_change_is_a_sentence_with_what_was_before() {
        let mut interfaces = Interfaces::default();
        let mut read = Vec::new();
        let NetlinkMessage::Link(eth0) = link("eth0", true, false) else { unreachable!() };
        for message in [
            NetlinkMessage::Link(eth0.clone()),
            link("eth0", true, true),
            NetlinkMessage::Address(address("10.0.0.5", false)),
            NetlinkMessage::Link(Link { mtu: Some(9000), mac: Some("52:54:00:00:00:01".into()), ..eth0 }),
            NetlinkMessage::LinkGone(2),
        ] {
            read.extend(step(&mut interfaces, &message).iter().map(Finding::sentence));
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
    fn a_link_without_a_carrier_that_somebody_switches_off_is_well_again() {
        let told = story(&[link("eth0", true, true), link("eth0", true, false), link("eth0", false, false)]);
        let operations: Vec<_> = told.iter().map(|(level, operation, _)| (*level, *operation)).skip(1).collect();
        assert_eq!(operations, [(Level::Warn, Operation::Down), (Level::Info, Operation::Down)]);
    }

    #[test]
    fn a_carrier_of_which_the_kernel_has_yet_to_say_what_it_makes_is_none_on_the_way_down_and_waited_for_on_the_way_up()
    {
        let NetlinkMessage::Link(up) = link("eth0", true, true) else { unreachable!() };
        let half = NetlinkMessage::Link(Link { running: false, ..up });
        let of = |messages: &[NetlinkMessage]| story(messages).iter().map(|told| told.1).collect::<Vec<_>>();
        assert_eq!(of(&[link("eth0", true, true), half.clone()]), [Operation::Added, Operation::Down]);
        assert_eq!(of(&[link("eth0", true, false), half]), [Operation::Added]);
    }

    #[test]
    fn an_address_is_added_when_it_is_usable_and_removed_when_it_is_gone() {
        let told = story(&[
            link("eth0", true, true),
            NetlinkMessage::Address(address("fe80::1", true)),
            NetlinkMessage::Address(address("fe80::1", false)),
            // Its lifetime is renewed.
            NetlinkMessage::Address(address("fe80::1", false)),
            NetlinkMessage::AddressGone(address("fe80::1", false)),
            // The check finds that another machine has it.
            NetlinkMessage::Address(address("fe80::2", true)),
            NetlinkMessage::AddressGone(address("fe80::2", true)),
        ]);
        let expected = [
            (Level::Info, Operation::Added, String::new()),
            (Level::Info, Operation::AddressAdded, "fe80::1".into()),
            (Level::Info, Operation::AddressRemoved, "fe80::1".into()),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn enabling_without_a_carrier_is_a_change_of_the_link_and_disabling_it_again_is_no_fault() {
        let told = story(&[link("eth0", false, false), link("eth0", true, false), link("eth0", false, false)]);
        let operations: Vec<_> = told.iter().map(|(_, operation, _)| *operation).collect();
        assert_eq!(operations, [Operation::Added, Operation::LinkChanged, Operation::Down]);
        assert!(told.iter().all(|(level, ..)| *level == Level::Info), "nobody has lost anything: {told:?}");
    }

    #[test]
    fn hardware_that_vanishes_is_a_warning_and_its_addresses_go_first() {
        let told = story(&[
            link("eth0", true, true),
            NetlinkMessage::Address(address("10.0.0.5", false)),
            NetlinkMessage::LinkGone(2),
        ]);
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
        let findings = step(&mut interfaces, &link("lan0", true, true));
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(told(finding).operation(), Operation::Configured);
        assert_eq!(told(finding).interface_name, "lan0");
        assert_eq!(finding.sentence(), "Interface lan0 was reconfigured: its name was eth0");
    }

    #[test]
    fn only_enabled_hardware_without_a_carrier_is_a_fault_at_first_sight() {
        let of = |message: NetlinkMessage| dump(&[message]);
        assert_eq!(faults(&of(link("eth0", true, false))).len(), 1);
        assert_eq!(faults(&of(link("eth0", false, false))).len(), 0);
        let NetlinkMessage::Link(bridge) = link("br0", true, false) else { unreachable!() };
        let bridge = NetlinkMessage::Link(Link { kind: Some("bridge".into()), ..bridge });
        assert_eq!(faults(&of(bridge)).len(), 0);
    }

    #[test]
    fn what_was_excluded_before_is_no_news_but_its_faults_are() {
        let patterns = |text: &str| Patterns::new(vec![text.to_owned()]);
        let domain = Watch::new(Settings { exclude: patterns("lo") });
        let after = dump(&[
            indexed(1, link("lan0", true, true)),
            indexed(2, link("lan1", true, false)),
            indexed(3, link("eth9", true, true)),
        ]);
        let compared = |exclude: &str| -> Vec<_> {
            let findings = compare(&domain, Some(&Known::new()), Some(&patterns(exclude)), &after);
            findings.iter().map(|finding| (told(finding).interface_name, told(finding).operation())).collect()
        };
        let expected = [("eth9".to_owned(), Operation::Added), ("lan1".to_owned(), Operation::Down)];
        assert_eq!(compared("lan*"), expected);
        assert_eq!(compared("veth*").len(), 3, "they were not left out");
    }

    #[test]
    fn the_inventory_names_every_interface_until_it_is_too_long() {
        let mut interfaces = Interfaces::from_dump(&[link("eth0", true, true)]);
        interfaces.apply(&NetlinkMessage::Address(address("10.0.0.5", false)));
        assert_eq!(inventory(&all(&interfaces)), "1 interface; eth0 up 10.0.0.5");
        let many: Vec<_> = (0..1000).map(|index| indexed(index, link(&format!("eth{index}"), true, true))).collect();
        let detail = inventory(&dump(&many));
        assert!(detail.len() < INVENTORY_BYTES_MAX + 32 && detail.ends_with(" more"), "{detail}");
    }

    prop_compose! {
        fn any_interface()(
            name in "[a-z]{1,3}", mac in "[0-9a-f]{0,2}", mtu in 0_u32..3, hardware in any::<bool>(), state in 0..4,
            addresses in prop::collection::btree_set(any::<u8>().prop_map(|last| IpAddr::from([10, 0, 0, last])), 0..4),
        ) -> Interface {
            let index = 0;
            let states = [LinkState::Disabled, LinkState::NoCarrier, LinkState::Dormant, LinkState::Up];
            Interface { index, name, mac, mtu, hardware, state: states[usize::try_from(state).unwrap()], addresses }
        }
    }

    proptest! {
        #[test]
        fn what_did_not_change_makes_no_event(interface in any_interface()) {
            prop_assert_eq!(diff_one(Some(&interface), Some(&interface)), Vec::new());
        }

        #[test]
        fn what_is_remembered_comes_back_the_same(interface in any_interface()) {
            let json = serde_json::to_string(&interface).unwrap();
            prop_assert_eq!(serde_json::from_str::<Interface>(&json).unwrap(), interface);
        }

        #[test]
        fn the_last_state_told_is_the_state(before in any_interface(), after in any_interface()) {
            let findings = diff_one(Some(&before), Some(&after));
            prop_assert!(findings.iter().all(|finding| told(finding).is_up == (after.state == LinkState::Up)));
            let toggled = findings.iter().filter(|it| matches!(told(it).operation(), Operation::Up | Operation::Down));
            let is_off = before.state != after.state && after.state == LinkState::Disabled;
            let expected = is_off || (before.state == LinkState::Up) != (after.state == LinkState::Up);
            prop_assert_eq!(toggled.count(), usize::from(expected));
        }
    }
}
