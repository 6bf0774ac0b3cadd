//! Whether and where the agent shows how it is over HTTP, and what it counts beyond that.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    pipeline::{COUNTERS_MAX, CounterFault, CounterSettings, FieldCounter},
    settings::Table,
};

/// Next to the controller's own port, and outside the range 9100 to 9999, which exporters of Prometheus share out among
/// themselves: there another program of the appliance may be.
const PORT: u16 = 7444;

/// What the section `metrics` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where `/metrics`, `/livez` and `/readyz` are answered; nowhere when `None`.
    pub listen: Option<SocketAddr>,
}

impl MetricsSettings {
    /// Reads the section out of the root. Off unless it is there: an appliance opens no port that nobody has asked for. What
    /// is counted goes into `counters`; nothing where nobody is shown it.
    pub(super) fn read(root: &mut Table, counters: &mut Vec<CounterSettings>) -> MetricsSettings {
        let is_named = root.has("metrics");
        let switch = root.switch("metrics", is_named, "whether metrics and health are answered over HTTP");
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let mut table = switch.table;
        let listen = table.address("listen", default, "where; anybody who can connect can read them");
        let counted = read_counters(&mut table);
        if switch.on {
            *counters = counted;
        }
        MetricsSettings { listen: switch.on.then_some(listen) }
    }
}

fn read_counters(table: &mut Table) -> Vec<CounterSettings> {
    let about = "events that are counted, by what they say of themselves";
    let mut counters: Vec<CounterSettings> = Vec::new();
    for mut part in table.parts("counters", about, COUNTERS_MAX) {
        let name = part.string("name", "", "what the counter is called, with `_total` at its end");
        let on = part
            .texts("on", "which events: kinds, or conditions as `rodent events` takes them; one of a list suffices");
        let about = "what they are told apart by: `level`, `kind`, `source`, `meta.KEY`, fields of the payload";
        let by = part.texts("by", about);
        if on.is_empty() {
            part.fault(
                "on",
                "missing; expected kinds of events, such as \"storage.pool.*\", or `*` for all".to_owned(),
            );
            continue;
        }
        let settings = CounterSettings { name, on, by };
        if let Err(CounterFault { key, message }) = FieldCounter::new(settings.clone()) {
            part.fault(key, message);
        } else if counters.iter().any(|other| other.name == settings.name) {
            part.fault("name", "another counter is called so".to_owned());
        } else {
            counters.push(settings);
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use crate::agent::config::Config;

    fn listen(text: &str) -> Option<String> {
        let loaded = Config::parse("rodent.yml", text).unwrap_or_else(|faults| panic!("{faults}"));
        loaded.config.metrics.listen.map(|address| address.to_string())
    }

    #[test]
    fn counters_are_read_where_metrics_are_shown_and_faults_are_told_in_their_place() {
        let counters = |text: &str| Config::parse("f", text).map(|loaded| loaded.config.counters.len());
        let one = "{name: logins_total, on: security.auth, by: [level, source]}";
        assert_eq!(counters(&format!("metrics: {{counters: [{one}]}}")).expect("valid"), 1);
        assert_eq!(counters(&format!("metrics: {{enabled: false, counters: [{one}]}}")).expect("valid"), 0);
        for (wrong, says) in [
            (
                "{name: logins, on: security.auth}",
                "f:1:29: metrics.counters[0].name: logins: what counts ends in `_total`",
            ),
            ("{name: x_total, on: secruity}", "metrics.counters[0].on: secruity: no kind is called \"secruity\""),
            ("{name: x_total}", "metrics.counters[0].on: missing"),
            ("{name: x_total, on: storage.pool, by: pool_nam}", "did you mean \"pool_name\"?"),
            ("{name: x_total, on: storage.pool, bi: pool_name}", "counters[0].bi: unknown key; did you mean `by`?"),
            (&format!("{one}, {one}"), "counters[1].name: logins_total: another counter is called so"),
        ] {
            let faults = counters(&format!("metrics: {{counters: [{wrong}]}}")).expect_err("refused").to_string();
            assert!(faults.contains(says), "{faults}\n{says}");
        }
    }

    #[test]
    fn nothing_listens_unless_it_is_asked_for_and_then_on_the_loopback() {
        assert_eq!(listen(""), None);
        assert_eq!(listen("metrics: off"), None);
        assert_eq!(listen("metrics: {enabled: false, listen: '0.0.0.0:1'}"), None);
        let default = Some("127.0.0.1:7444".to_owned());
        assert_eq!(listen("metrics: on"), default);
        assert_eq!(listen("metrics: {enabled: true}"), default);
        assert_eq!(listen("metrics: {listen: '0.0.0.0:7444'}").as_deref(), Some("0.0.0.0:7444"));
        assert_eq!(listen("metrics: {listen: '[::1]:80'}").as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn where_to_listen_is_an_address_and_a_port() {
        for wrong in ["7444", "localhost:7444", "127.0.0.1", "127.0.0.1:99999", "''"] {
            let faults = Config::parse("rodent.yml", &format!("metrics: {{listen: {wrong}}}")).expect_err("refused");
            let fault = faults.to_string();
            assert!(fault.contains("metrics.listen") && fault.contains("such as 127.0.0.1:7444"), "{fault}");
        }
    }
}
