//! Whether and where the agent shows how it is over HTTP.

use std::net::{Ipv4Addr, SocketAddr};

use crate::settings::Table;

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
    /// Reads the section out of the root. Off unless it is there: an appliance opens no port that nobody has asked for.
    pub(super) fn read(root: &mut Table) -> MetricsSettings {
        let is_named = root.has("metrics");
        let switch = root.switch("metrics", is_named, "whether metrics and health are answered over HTTP");
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let mut table = switch.table;
        let listen = table.address("listen", default, "where; anybody who can connect can read them");
        MetricsSettings { listen: switch.on.then_some(listen) }
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::config::Config;

    fn listen(text: &str) -> Option<String> {
        let loaded = Config::parse("rodent.yml", text).unwrap_or_else(|faults| panic!("{faults}"));
        loaded.config.metrics.listen.map(|address| address.to_string())
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
