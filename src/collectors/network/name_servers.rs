//! The name servers of the machine, as a domain: `resolv.conf`, and behind systemd-resolved's own address those that it asks.
//!
//! A change is believed when two looks see the same: whoever writes the file may be halfway through.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::listed, settling::Settling},
    event::Level,
    host::Host,
    schema::events::{NetworkDnsPayload, network_dns_payload::NetworkDnsOperation},
};

const INTERVAL: Duration = Duration::from_secs(15);
/// Between the look that sees a change and the one that believes it.
const SETTLE: Duration = Duration::from_secs(3);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// Where systemd-resolved listens.
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// In the order in which they are asked.
    servers: Vec<String>,
    search: Vec<String>,
}

/// The look at them.
#[derive(Default)]
pub(super) struct NameServers {
    settling: Settling<Known>,
}

impl Domain for NameServers {
    const NAME: &'static str = "name servers";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let seen = context.look("read the name servers", |host| Ok(look(host))).await?;
        Ok(self.settling.believed(before, seen))
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        if before == after {
            return Vec::new();
        }
        let payload = NetworkDnsPayload {
            servers: listed(after.servers.iter().cloned()),
            search_domains: listed(after.search.iter().cloned()),
            operation: NetworkDnsOperation::Changed.into(),
        };
        vec![Finding::new(Level::Info, payload, "name servers", "changed")]
    }

    fn inventory(&self, known: &Known) -> String {
        let servers = listed(known.servers.iter().cloned()).join(", ");
        if servers.is_empty() { String::new() } else { format!("name servers: {servers}") }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        self.settling.in_doubt(SETTLE).await;
        Ok(())
    }
}

fn look(host: &Host) -> Known {
    let known = parse(&host.read(RESOLV_CONF).unwrap_or_default());
    if known.servers.iter().any(|server| STUBS.contains(&server.as_str()))
        && let Ok(text) = host.read(RESOLVED)
    {
        return Known { search: known.search, ..parse(&text) };
    }
    known
}

/// `nameserver 10.0.0.1`, `search example.org lan`; of several lines with domains the last counts.
fn parse(text: &str) -> Known {
    let mut known = Known::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => known.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => known.search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{finding::sentences, tests::Machine};

    fn machine(resolv: &str, resolved: &str) -> Known {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("etc/resolv.conf", resolv), ("run/systemd/resolve/resolv.conf", resolved)] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        look(&Host::at(root.path()))
    }

    #[test]
    fn other_name_servers_are_told_also_behind_the_address_of_systemd_resolved() {
        let look = NameServers::default();
        let before = machine("# by hand\nsearch old\nnameserver 10.0.0.1\n", "nameserver 9.9.9.9\n");
        let after = machine("nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch lan example.org\n", "");
        let expected = "Name servers have changed: 10.0.0.1, 10.0.0.2, search domains lan, example.org";
        assert_eq!(sentences(&look.diff(&before, &after)), [expected]);
        assert_eq!(look.inventory(&before), "name servers: 10.0.0.1");
        let stub = machine("nameserver 127.0.0.53\nsearch lan\n", "nameserver 10.0.0.3\n");
        assert_eq!(look.inventory(&stub), "name servers: 10.0.0.3");
        assert_eq!(look.diff(&after, &after), vec![]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_written_in_two_steps_is_believed_when_it_is_seen_twice() {
        let machine = Machine::new();
        let (context, _log) = machine.ground("network").await;
        let mut look = NameServers::default();
        machine.write("etc/resolv.conf", "nameserver 10.0.0.1\n");
        let first = look.look(&context, None).await.unwrap().unwrap();
        machine.write("etc/resolv.conf", "");
        assert_eq!(look.look(&context, Some(&first)).await.unwrap(), None);
        machine.write("etc/resolv.conf", "nameserver 10.0.0.2\n");
        assert_eq!(look.look(&context, Some(&first)).await.unwrap(), None);
        let second = look.look(&context, Some(&first)).await.unwrap().unwrap();
        assert_eq!(second.servers, ["10.0.0.2"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_server_is_there_that_was_not_named(text in "(nameserver|search|domain| |\n|[0-9.:]{0,9}|.){0,40}") {
            let known = parse(&text);
            prop_assert!(known.servers.iter().all(|server| text.contains(server.as_str())));
        }
    }
}
