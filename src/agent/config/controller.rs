//! Where events are uploaded to, and as whom.

use crate::{
    settings::Table,
    sinks::uplink::{Tls, TokenSource},
};

/// The controller: where it is, and how the agent proves who it is.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// `host:port`, the host a name or an address (IPv6 in brackets).
    pub address: String,
    /// What is sent as bearer token.
    pub token: TokenSource,
    /// How the connection is protected.
    pub tls: Tls,
}

impl ControllerSettings {
    /// Reads the part `controller` of the root; none where it is absent, or refused.
    pub(super) fn read(root: &mut Table) -> Option<ControllerSettings> {
        let configured = root.has("controller");
        let mut table = root.table("controller", "where events are uploaded to");
        table.alias("address", "rpcaddr");
        let expects = "host:port, such as controller.example.com:443";
        let address = table.parsed("address", expects, "the controller, as host:port", |text| {
            if is_address(text) { Ok(text.to_owned()) } else { Err(format!("expected {expects}")) }
        });
        let token = read_token(&mut table);
        let tls = read_tls(&mut table);
        if !configured {
            return None;
        }
        if address.is_none() {
            table.fault("address", format!("missing; expected {expects}"));
        }
        if token.is_none() {
            table.fault("token_file", "missing; expected the path of the file that holds this node's token".to_owned());
        }
        Some(ControllerSettings { address: address?, token: token?, tls })
    }
}

fn read_token(table: &mut Table) -> Option<TokenSource> {
    let file = table.optional_path("token_file", "the file that holds this node's token");
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

fn read_tls(table: &mut Table) -> Tls {
    let switch = table.switch("tls", true, "whether the connection is encrypted and the controller's name checked");
    let mut table = switch.table;
    let ca_file = table.optional_path("ca_file", "trusted authorities (PEM); those of the system if not set");
    let cert_file = table.optional_path("cert_file", "this node's own certificate (PEM), if the controller wants one");
    let key_file = table.optional_path("key_file", "the key of cert_file (PEM)");
    let server_name = table.optional_string("server_name", "the name in the controller's certificate, if another");
    match (&cert_file, &key_file) {
        (Some(_), None) => table.fault("cert_file", "useless without `key_file`; set both or neither".to_owned()),
        (None, Some(_)) => table.fault("key_file", "useless without `cert_file`; set both or neither".to_owned()),
        _ => {}
    }
    if switch.on { Tls::On { ca_file, cert_file, key_file, server_name } } else { Tls::Off }
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
