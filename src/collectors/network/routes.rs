//! Routes through a gateway, as a domain, from the kernel's tables below `/proc/net`. Those to networks that an interface is in
//! itself come and go with its addresses, and are not told.
//!
//! A change is believed when two looks see the same: an address that is renewed takes its routes away for a moment.

use crate::order::Gather as _;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, pattern::Patterns, settling::Settling},
    event::Level,
    host::Host,
    schema::events::{NetworkRoutePayload, network_route_payload::NetworkRouteOperation as Operation},
};

const INTERVAL: Duration = Duration::from_secs(10);
/// Between the look that sees a change and the one that believes it.
const SETTLE: Duration = Duration::from_secs(3);
/// The most that are followed: a machine that routes for others has thousands, which say nothing of its own network.
const ROUTES_MAX: usize = 256;
const GATEWAY: u32 = 2;
/// Of the sixth version: a route that the kernel has learnt for one peer alone.
const CACHE: u32 = 0x0100_0000;

/// Destination, gateway, interface.
type Known = BTreeSet<(String, String, String)>;

/// The look at them.
pub(super) struct Routes {
    exclude: Patterns,
    settling: Settling<Known>,
}

impl Routes {
    pub(super) fn new(exclude: Patterns) -> Routes {
        Routes { exclude, settling: Settling::default() }
    }
}

impl Domain for Routes {
    const NAME: &'static str = "routes";
    type Known = Known;
    /// What is excluded.
    type Choice = Patterns;

    fn choice(&self) -> Patterns {
        self.exclude.clone()
    }

    fn split(known: Known, exclude: &Patterns) -> (Known, Option<Known>) {
        let (left_out, taken) = known.into_iter().partition(|(_, _, interface)| exclude.matches(interface));
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let mut seen = context.look("read the routes", |host| Ok(look(host))).await?;
        seen.retain(|(_, _, interface)| !self.exclude.matches(interface));
        let beyond = seen.len().saturating_sub(ROUTES_MAX);
        let why =
            (beyond > 0).then(|| format!("more than {ROUTES_MAX} go through gateways, {beyond} are not followed"));
        context.note("all routes", why).await?;
        let seen: Known = seen.into_iter().take(ROUTES_MAX).gather();
        Ok(self.settling.believed(before, seen))
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    /// One that goes and one that comes to the same destination are one change, where there is one of each.
    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let (mut gone, come): (Vec<_>, Vec<_>) =
            (before.difference(after).collect(), after.difference(before).collect());
        let mut findings = Vec::new();
        for route in &come {
            let same = gone.iter().position(|other| other.0 == route.0);
            let is_alone = come.iter().filter(|other| other.0 == route.0).count() == 1;
            let operation = match same.filter(|_| is_alone) {
                Some(place) => {
                    gone.remove(place);
                    Operation::Changed
                }
                None => Operation::Added,
            };
            findings.push(finding(route, operation));
        }
        let gone = gone.into_iter().map(|route| finding(route, Operation::Removed));
        gone.chain(findings).collect()
    }

    fn inventory(&self, known: &Known) -> String {
        let way = |(to, by, on): &(String, String, String)| format!("route to {to} via {by} on {on}");
        known.iter().filter(|(to, _, _)| to == DEFAULT).map(way).collect::<Vec<_>>().join("; ")
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        self.settling.in_doubt(SETTLE).await;
        Ok(())
    }
}

const DEFAULT: &str = "default";

fn finding((to, by, on): &(String, String, String), operation: Operation) -> Finding {
    let payload = NetworkRoutePayload {
        destination: to.clone(),
        gateway: by.clone(),
        interface_name: on.clone(),
        operation: operation.into(),
    };
    let action = match operation {
        Operation::Added => "added",
        Operation::Removed => "removed",
        _ => "changed",
    };
    Finding::new(Level::Info, payload, "routes", action)
}

fn look(host: &Host) -> Known {
    let fourth = host.read("/proc/net/route").unwrap_or_default();
    let sixth = host.read("/proc/net/ipv6_route").unwrap_or_default();
    fourth.lines().filter_map(route4).chain(sixth.lines().filter_map(route6)).gather()
}

/// `eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0`, with tabs: the bytes of addresses as they lie in memory.
fn route4(line: &str) -> Option<(String, String, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, to, by, flags, _, _, _, mask, ..] = fields.as_slice() else { return None };
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    if number(flags)? & GATEWAY == 0 {
        return None;
    }
    let address = |text: &str| Some(Ipv4Addr::from(number(text)?.to_ne_bytes()));
    let to = match number(mask)?.count_ones() {
        0 => DEFAULT.to_owned(),
        bits => format!("{}/{bits}", address(to)?),
    };
    Some((to, address(by)?.to_string(), (*interface).to_owned()))
}

/// `00…00 00 00…00 00 fe80…01 00000400 00000001 00000000 00000003 eth0`
fn route6(line: &str) -> Option<(String, String, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [to, bits, _, _, by, _, _, _, flags, interface] = fields.as_slice() else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    if flags & GATEWAY == 0 || flags & CACHE != 0 {
        return None;
    }
    let address = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from_bits);
    let to = match u8::from_str_radix(bits, 16).ok()? {
        0 => DEFAULT.to_owned(),
        bits => format!("{}/{bits}", address(to)?),
    };
    Some((to, address(by)?.to_string(), (*interface).to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{finding::sentences, tests::Machine};

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                          eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                          eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
                          eth0\t0000A8C0\t0200000A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const ROUTES6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
                           fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";

    fn machine(fourth: &str, sixth: &str) -> Known {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/net")).unwrap();
        std::fs::write(root.path().join("proc/net/route"), fourth).unwrap();
        std::fs::write(root.path().join("proc/net/ipv6_route"), sixth).unwrap();
        look(&Host::at(root.path()))
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_route_through_a_gateway_is_told_when_it_comes_goes_or_changes() {
        let routes = Routes::new(Patterns::new(Vec::new()));
        let known = machine(ROUTES, ROUTES6);
        assert_eq!(
            routes.inventory(&known),
            "route to default via 10.0.0.1 on eth0; route to default via fe80::1 on eth0"
        );
        let moved = machine(&ROUTES.replace("0200000A", "0300000A"), ROUTES6);
        assert_eq!(
            sentences(&routes.diff(&known, &moved)),
            ["Route to 192.168.0.0/16 was changed, via 10.0.0.3, on eth0"]
        );
        let learnt = ROUTES6.replace(" 00000003 ", " 01000003 ");
        assert_eq!(machine("", &learnt), Known::new(), "for one peer alone");
        let none = machine("", "");
        let expected = [
            "Route to 192.168.0.0/16 was removed, via 10.0.0.2, on eth0",
            "Route to default was removed, via 10.0.0.1, on eth0",
            "Route to default was removed, via fe80::1, on eth0",
        ];
        assert_eq!(sentences(&routes.diff(&known, &none)), expected);
        assert_eq!(routes.diff(&none, &known).len(), 3);
        assert_eq!((routes.diff(&known, &known), routes.first_sight(&known)), (vec![], vec![]));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_route_is_believed_when_it_is_seen_twice_and_of_too_many_and_those_left_out_none_is() {
        let machine = Machine::new();
        let (context, _log) = machine.ground("network").await;
        let mut routes = Routes::new(Patterns::new(vec!["veth*".to_owned()]));
        machine.write("proc/net/route", &format!("{ROUTES}{}", ROUTES.replace("eth0", "veth1")));
        let first = routes.look(&context, None).await.unwrap().unwrap();
        assert_eq!(first.len(), 2);
        machine.write("proc/net/route", "");
        assert_eq!(routes.look(&context, Some(&first)).await.unwrap(), None);
        assert_eq!(routes.look(&context, Some(&first)).await.unwrap(), Some(Known::new()));
        let many = |number: usize| format!("eth0\t{number:08X}\t0200000A\t0003\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n");
        machine.write("proc/net/route", &(0..ROUTES_MAX + 2).map(many).collect::<String>());
        let all = routes.look(&context, None).await.unwrap().unwrap();
        assert_eq!((all.len(), context.sight.blind_to("")), (ROUTES_MAX, vec!["all routes".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic_and_the_same_again_is_no_news(fourth in "([0-9A-F]{0,9}|\t|eth0|\n|.){0,40}", sixth in "([0-9a-f]{0,33}| |eth0|\n){0,30}") {
            let known: Known = fourth.lines().filter_map(route4).chain(sixth.lines().filter_map(route6)).collect();
            prop_assert_eq!(Routes::new(Patterns::new(Vec::new())).diff(&known, &known), vec![]);
        }
    }
}
