//! Network interfaces, changed by iproute2 in the container's own network.

use crate::appliance::Appliance;

/// A pair of interfaces that are each other's cable: the other end stays up, so that only this end's state moves.
#[test]
fn an_interface_is_told_from_its_appearance_to_its_removal() {
    let appliance = Appliance::start("network", &[]);
    for step in [
        "ip link add lan7 type veth peer name lan8 && ip link set lan8 up",
        "ip link set lan7 up",
        "ip address add 192.0.2.7/24 dev lan7",
        "ip address del 192.0.2.7/24 dev lan7",
        "ip link set lan7 down",
        "ip link delete lan7",
    ] {
        // IPv6 would add an address of its own; the order of what is asked for is the test.
        appliance.run(&format!("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; {step} && sleep 0.5"));
    }

    let kinds = appliance.kinds(6, |event| event["payload"]["interface_name"] == "lan7");
    let expected = ["added", "up", "address_added", "address_removed", "down", "removed"];
    assert_eq!(kinds, expected.map(|operation| format!("network.interface.{operation}")));
    let added = appliance.wait_for_event("the address", |event| event["kind"] == "network.interface.address_added");
    assert_eq!(added["payload"]["ip_address"], "192.0.2.7", "{added}");
}
