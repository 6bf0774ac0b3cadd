//! Where events are uploaded to, and as whom.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    settings::Table,
    sinks::uplink::{Patience, Tls, TokenSource},
};

/// Below a second a busy controller would be taken for one that is gone; beyond ten minutes nobody would notice.
const CALL_TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// More often is a burden for nothing; beyond an hour every firewall has forgotten the connection.
const KEEPALIVE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Shorter would be a herd at the controller's door; longer, and a controller that is back would not be noticed.
const BACKOFF_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Asks how the node is.
pub const MAY_STATUS: &str = "status";
/// Has the node examine itself. No controller can ask for it yet.
const MAY_DOCTOR: &str = "doctor";
/// Sets which events are kept, over a floor, and how they are sent.
pub const MAY_SET: &str = "set";

/// The controller: where it is, and how the agent proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSettings {
    /// `host:port`, the host a name or an address (IPv6 in brackets).
    pub address: String,
    /// What is sent as bearer token.
    pub token: TokenSource,
    /// How the connection is protected.
    pub tls: Tls,
    /// How long is waited for what.
    pub patience: Patience,
    /// What it may do on this node besides taking its events: some of `status`, `doctor` and `set`.
    pub may: Vec<String>,
}

/// What systemd gives the service, by the names that are looked for where the settings say nothing.
pub(super) struct Credentials {
    directory: Option<PathBuf>,
}

/// Where systemd puts what it gives the service `rodent`, below the root: so `rodent config` finds it too.
const CREDENTIALS_DIRECTORY: &str = "run/credentials/rodent.service";

/// Said of a value in `rodent config show`.
const FROM_CREDENTIALS: &str = "systemd credential";

impl Credentials {
    /// None at all.
    pub(super) const NONE: Credentials = Credentials { directory: None };

    /// Those of this process where it runs as a service, else of the service on the machine at `root`.
    pub(super) fn of_service(root: &Path) -> Credentials {
        let own = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Credentials { directory: Some(own.unwrap_or_else(|| root.join(CREDENTIALS_DIRECTORY))) }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(name)).filter(|path| path.is_file())
    }
}

impl ControllerSettings {
    /// What is wrong with a connection to another machine that is not encrypted. Goes by the address as it is written: a name
    /// of this machine may be another's tomorrow.
    pub fn in_clear(&self) -> Option<String> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let is_here = address.is_ok_and(|address| address.is_loopback()) || host.eq_ignore_ascii_case("localhost");
        (self.tls == Tls::Off && !is_here).then(|| {
            format!("`controller.tls` is off: the token and all events go to {host} in clear, for everyone on the way")
        })
    }

    /// Reads the part `controller` of the root; none where it is absent, or refused.
    pub(super) fn read(root: &mut Table, credentials: &Credentials) -> Option<ControllerSettings> {
        let configured = root.has("controller");
        let mut table = root.table("controller", "where events are uploaded to");
        table.alias("address", "rpcaddr");
        let expects = "host:port, such as controller.example.com:443";
        let address = table.parsed("address", expects, "the controller, as host:port", |text| match is_address(text) {
            true => Ok(text.to_owned()),
            false if text.starts_with('[') && text.contains('%') => {
                Err("an address with a zone (`%eth0`) is not taken; give one that is reached without".to_owned())
            }
            false => Err(format!("expected {expects}")),
        });
        let token = read_token(&mut table, credentials);
        let tls = read_tls(&mut table, credentials);
        let patience = read_patience(&mut table);
        let (usual, all) = ([MAY_STATUS, MAY_DOCTOR], [MAY_STATUS, MAY_DOCTOR, MAY_SET]);
        let may = table.several_of("may", &usual, &all, "what the controller may do here besides taking events");
        if !configured {
            return None;
        }
        if address.is_none() {
            table.fault("address", format!("missing; expected {expects}"));
        }
        if token.is_none() && !table.has("token_file") && !table.has("jwt") {
            let message = "missing; expected the path of the file that holds this node's token, or the credential \
                           `rodent-token` of the service";
            table.fault("token_file", message.to_owned());
        }
        Some(ControllerSettings { address: address?, token: token?, tls, patience, may })
    }
}

fn read_token(table: &mut Table, credentials: &Credentials) -> Option<TokenSource> {
    let given = if table.has("jwt") { None } else { credentials.find("rodent-token") };
    let file = read_secret_file(table, "token_file", given, "the file that holds this node's token");
    let inline = table.secret("jwt", "the token itself; better use token_file");
    match (file, inline) {
        (Some(_), Some(_)) => {
            table.conflict("jwt", "token_file", "a second token beside");
            None
        }
        (Some(path), None) => Some(TokenSource::File(path)),
        (None, Some(token)) => Some(TokenSource::Inline(token)),
        (None, None) => None,
    }
}

fn read_patience(table: &mut Table) -> Patience {
    let Patience { call_timeout, keepalive, backoff_max } = Patience::default();
    let mut duration = |key, default, bounds, about| table.duration(key, default, bounds, about);
    Patience {
        call_timeout: duration("call_timeout", call_timeout, CALL_TIMEOUT_BOUNDS, "how long an answer may take"),
        keepalive: duration("keepalive", keepalive, KEEPALIVE_BOUNDS, "silence after which the connection is probed"),
        backoff_max: duration("backoff_max", backoff_max, BACKOFF_BOUNDS, "the longest pause between two attempts"),
    }
}

fn read_tls(table: &mut Table, credentials: &Credentials) -> Tls {
    let switch = table.switch("tls", true, "whether the connection is encrypted and the controller's name checked");
    let mut table = switch.table;
    let credentials = if switch.on { credentials } else { &Credentials::NONE };
    let given = credentials.find("rodent-ca");
    let ca_file = read_file(&table, "ca_file", given, "trusted authorities (PEM); those of the system if not set");
    // One without the other is of no use, and one of each would not belong together.
    let pair = credentials.find("rodent-cert").zip(credentials.find("rodent-key"));
    let (certificate, key) = pair.filter(|_| !table.has("cert_file") && !table.has("key_file")).unzip();
    let about = "this node's own certificate (PEM); else what the controller issues";
    let cert_file = read_file(&table, "cert_file", certificate, about);
    let key_file = read_secret_file(&table, "key_file", key, "the key of cert_file (PEM)");
    let server_name = table.optional_string("server_name", "the name in the controller's certificate, if another");
    match (&cert_file, &key_file) {
        (Some(_), None) => table.fault("cert_file", "useless without `key_file`; set both or neither".to_owned()),
        (None, Some(_)) => table.fault("key_file", "useless without `cert_file`; set both or neither".to_owned()),
        _ => {}
    }
    if switch.on { Tls::On { ca_file, cert_file, key_file, server_name } } else { Tls::Off }
}

/// A path that is set, or that of a credential.
fn read_file(table: &Table, key: &'static str, given: Option<PathBuf>, about: &'static str) -> Option<PathBuf> {
    let origin = given.as_ref().map(|_| FROM_CREDENTIALS.to_owned());
    table.defaults_from(origin).path_or(key, given, about)
}

/// The same of a file that holds a secret.
fn read_secret_file(table: &Table, key: &'static str, given: Option<PathBuf>, about: &'static str) -> Option<PathBuf> {
    let origin = given.as_ref().map(|_| FROM_CREDENTIALS.to_owned());
    table.defaults_from(origin).secret_path_or(key, given, about)
}

/// `host:port`, `192.0.2.1:443`, `[2001:db8::1]:443`.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port_is_right = !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port != 0);
    let host_is_right = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 253 && host.split('.').all(is_label),
    };
    port_is_right && host_is_right
}

fn is_label(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Config;

    #[test]
    fn a_connection_in_clear_to_another_machine_is_told_and_one_that_stays_here_is_not() {
        let told = |address: &str, tls: &str| {
            let text = format!("controller: {{address: '{address}', token_file: /t, tls: {tls}}}");
            let loaded = Config::parse("f", &text).unwrap_or_else(|faults| panic!("{faults}"));
            loaded.config.controller.and_then(|controller| controller.in_clear())
        };
        for away in ["ctl.example.com:443", "192.0.2.1:443", "[2001:db8::1]:443"] {
            assert!(told(away, "off").is_some_and(|text| text.contains("in clear")), "{away}");
            assert_eq!(told(away, "on"), None);
        }
        for here in ["localhost:7443", "127.0.0.1:7443", "127.9.0.1:1", "[::1]:7443"] {
            assert_eq!(told(here, "off"), None, "{here}");
        }
    }

    #[test]
    fn a_secret_that_stands_in_place_of_its_path_is_not_shown() {
        for key in ["token_file: hunter2", "tls: {cert_file: /c, key_file: hunter2}", "token_file: [hunter2]"] {
            let text = format!("controller: {{address: 'c:1', {key}}}");
            let faults = Config::parse("f", &text).expect_err("no path").to_string();
            assert!(faults.contains("an absolute path") && !faults.contains("hunter2"), "{faults}");
        }
        let text = "controller: {address: eyJhbGciOiJIUzI1NiJ9.eyJyaWQiOiJuYXMifQ.c2ln, token_file: /t}";
        let faults = Config::parse("f", text).expect_err("no address").to_string();
        assert!(faults.contains("expected host:port") && !faults.contains("eyJ"), "{faults}");
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for right in ["localhost:443", "c.example.com:65535", "192.0.2.1:1", "[2001:db8::1]:443", "toggle_1:5000"] {
            assert!(is_address(right), "{right}");
        }
        for wrong in [
            "",
            ":443",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "https://host:443",
            "2001:db8::1:443",
            "[::1]",
            "a..b:1",
            "ho st:1",
            "host:443/path",
            "user@host:1",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
