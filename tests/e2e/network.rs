//! Network interfaces, changed by iproute2: in the container's own network, and in one of a test's own thread.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use rodent::host::netlink::{Monitor, NetlinkMessage, Notice, dump};

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

#[test]
fn a_carrier_that_is_away_for_a_millisecond_is_told_and_comes_back() {
    let appliance = Appliance::start("flap", &[]);
    appliance.run("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; ip link add lan7 type veth peer name lan8");
    appliance.run("ip link set lan7 up; ip link set lan8 up; sleep 1; ip link set lan8 down; ip link set lan8 up");

    let kinds = appliance.kinds(5, |event| event["payload"]["interface_name"] == "lan7");
    let expected = ["added", "link_changed", "up", "down", "up"];
    assert_eq!(kinds, expected.map(|operation| format!("network.interface.{operation}")));
}

#[test]
fn what_changed_while_the_agent_was_down_is_told_once_and_a_restart_tells_nothing() {
    let appliance = Appliance::start("network-down", &[]);
    appliance.run("systemctl stop rodent; ip link add name lan9 type bridge");
    appliance.run("systemctl start rodent; sleep 1; systemctl restart rodent");

    let kinds = appliance.kinds(1, |event| event["payload"]["interface_name"] == "lan9");
    assert_eq!(kinds, ["network.interface.added"]);
    let inventories = appliance.stored().iter().filter(|event| event["payload"]["subject"] == "network").count();
    assert_eq!(inventories, 1, "the inventory is for the first sight");
}

#[test]
fn when_the_kernel_has_dropped_changes_the_monitor_says_so_after_all_that_it_kept() {
    in_a_network_of_its_own(async {
        let mut monitor = Monitor::subscribe().expect("rtnetlink is there");
        ip(["link add busy type bridge".to_owned()]);
        ip((0..4000).map(|step| format!("link set busy mtu {}", 1400 + step % 2)));
        ip(["link add last type bridge".to_owned()]);

        let mut kept = 0;
        while let Notice::Changed(message) = monitor.next().await.expect("the kernel answers") {
            kept += 1;
            assert!(!is_of(&message, "last"), "the buffer is larger than the test assumes");
        }
        assert!(kept > 100, "only {kept} changes were kept");
        assert!(dump().await.expect("the kernel answers").iter().any(|message| is_of(message, "last")));

        ip(["link add after type bridge".to_owned()]);
        let next = monitor.next().await.expect("the kernel answers");
        assert!(matches!(&next, Notice::Changed(message) if is_of(message, "after")), "{next:?}");
    });
}

#[test]
fn a_dump_tells_every_interface_and_address_of_a_large_machine() {
    in_a_network_of_its_own(async {
        ip((0..300)
            .map(|index| format!("link add b{index} type bridge\naddress add 10.0.{}.1/24 dev b{index}", index % 256)));
        let messages = dump().await.expect("the kernel answers");
        let links = messages.iter().filter(|message| matches!(message, NetlinkMessage::Link(_))).count();
        let addresses = messages.iter().filter(|message| matches!(message, NetlinkMessage::Address(_))).count();
        assert_eq!((links, addresses), (301, 300), "with the loopback");
    });
}

fn is_of(message: &NetlinkMessage, name: &str) -> bool {
    matches!(message, NetlinkMessage::Link(link) if link.name.as_deref() == Some(name))
}

/// Runs commands of iproute2 in the network of the calling thread.
fn ip(commands: impl IntoIterator<Item = String>) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("start ip");
    let commands: Vec<_> = commands.into_iter().collect();
    child.stdin.take().expect("standard input is piped").write_all(commands.join("\n").as_bytes()).expect("tell ip");
    assert!(child.wait().expect("wait for ip").success());
}

/// Runs a test on a thread whose network is empty but for the loopback, and goes with it.
fn in_a_network_of_its_own(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
        runtime.block_on(test);
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
