//! Where a webhook goes: the URL as it is configured, and which addresses it may lead to.
//!
//! Root writes the URL, so it may lead into private networks; never to where only this machine or its hypervisor answers
//! (loopback, link-local and with it the metadata services of clouds, unspecified, multicast), unless just that address, or
//! `localhost`, is written. Every address that a name has is judged, and the connection goes to one that was judged.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A URL, taken apart. Shows itself without path and query, which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_encrypted: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, byte for byte.
    pub(super) path: String,
}

impl Target {
    /// # Errors
    /// What is wrong with the URL, without quoting it.
    pub(super) fn parse(url: &str) -> Result<Target, String> {
        let (is_encrypted, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some(_) => return Err("only http:// and https:// are spoken".to_owned()),
            None => return Err("expected a URL, such as https://example.com/hook".to_owned()),
        };
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains('#') {
            return Err("blanks, control characters, `#` and letters beyond ASCII have no place in a URL".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a user or password in a URL ends in logs; use `bearer_file`".to_owned());
        }
        let (host, port) = split_authority(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = port.unwrap_or(if is_encrypted { 443 } else { 80 });
        Ok(Target { is_encrypted, host: host.to_owned(), port, path })
    }

    /// Host and port, as a proxy is asked for them.
    pub(super) fn place(&self) -> String {
        let Target { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The value of the header `host`.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_encrypted, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether the connection may go to this address, one of those that the host has.
    pub(super) fn may_reach(&self, address: IpAddr) -> bool {
        let is_local = self.host.eq_ignore_ascii_case("localhost") && address.is_loopback();
        is_local || self.host.parse() == Ok(address) || is_of_a_network(unwrapped(address))
    }

    /// Whether it is written that it leads into a private network, or to this machine: by an address, or as `localhost`.
    pub(super) fn is_written_near(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(Target::is_near)
    }

    /// Whether an address that it may reach is one of a private network, or of this machine: nobody beyond can listen.
    pub(super) fn is_near(address: IpAddr) -> bool {
        match unwrapped(address) {
            IpAddr::V4(v4) => {
                let [first, second, ..] = v4.octets();
                v4.is_private() || v4.is_loopback() || v4.is_link_local() || first == 100 && second & 0xc0 == 64
            }
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_encrypted { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("an address that begins with `[` ends with `]`")?;
            host.parse::<Ipv6Addr>().map_err(|_| "between brackets stands an IPv6 address")?;
            match port.strip_prefix(':') {
                None if !port.is_empty() => {
                    return Err("behind an address in brackets comes `:PORT` or nothing".to_owned());
                }
                port => (host, port),
            }
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address stands in brackets".to_owned()),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    let wrong = || "the port is a number from 1 to 65535".to_owned();
    let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)).transpose()?;
    Ok((host, port))
}

/// What an address stands for: IPv4 in IPv6, as such, by 6to4 and by NAT64's well-known prefix.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            v4(high, low)
        }
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => address,
    }
}

/// Whether somebody else's machine may be behind it.
fn is_of_a_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let is_this_network = v4.octets().first() == Some(&0);
            !(v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || is_this_network)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shows_nothing_of_its_path() {
        let target = Target::parse("https://hooks.example.com/services/T0/SECRET?x=1").expect("a URL");
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("hooks.example.com", 443, "/services/T0/SECRET?x=1")
        );
        assert_eq!(
            (target.to_string(), format!("{target:?}")),
            ("https://hooks.example.com".to_owned(), "https://hooks.example.com".to_owned())
        );
        let target = Target::parse("http://[fd00::7]:8080?topic=nas").expect("a URL");
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("fd00::7", 8080, "/?topic=nas"));
        assert_eq!(target.to_string(), "http://[fd00::7]:8080");
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_quoted() {
        for url in [
            "example.com/hook",
            "ftp://example.com",
            "https://user:pass@example.com",
            "https://",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://fd00::7/",
            "https://[fd00::7/",
            "https://[fd00::7]x/",
            "https://[example.com]/",
            "https://example.com/a b",
            "https://example.com/a\r\nx: y",
            "https://exämple.com/",
            "https://example.com/#part",
        ] {
            let error = Target::parse(url).expect_err(url);
            assert!(!error.contains("user:pass") && !error.contains("exämple"), "{error}");
        }
        let error = Target::parse("https://user@example.com").expect_err("a user");
        assert!(error.contains("use `bearer_file`"), "{error}");
    }

    #[test]
    fn only_what_is_written_leads_to_this_machine_or_its_hypervisor() {
        let named = Target::parse("https://example.com/").expect("a URL");
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
        ] {
            assert!(!named.may_reach(address.parse().expect("an address")), "{address}");
        }
        for address in ["10.0.0.7", "192.168.1.5", "172.16.0.1", "100.64.0.1", "fd00::7", "93.184.216.34", "2606::1"] {
            assert!(named.may_reach(address.parse().expect("an address")), "{address}");
        }
        let written = Target::parse("http://127.0.0.1:9/").expect("a URL");
        assert!(written.may_reach("127.0.0.1".parse().expect("an address")));
        assert!(!written.may_reach("127.0.0.2".parse().expect("an address")), "another one than is written");
        let local = Target::parse("http://localhost/").expect("a URL");
        assert!(local.may_reach("::1".parse().expect("an address")));
        assert!(!local.may_reach("169.254.169.254".parse().expect("an address")), "that is no loopback");
    }

    #[test]
    fn beyond_private_networks_anybody_may_listen() {
        for near in ["10.0.0.7", "192.168.1.5", "100.64.0.1", "127.0.0.1", "fd00::7", "::ffff:10.0.0.1"] {
            assert!(Target::is_near(near.parse().expect("an address")), "{near}");
        }
        for far in ["93.184.216.34", "100.128.0.1", "2606::1", "64:ff9b::808:808"] {
            assert!(!Target::is_near(far.parse().expect("an address")), "{far}");
        }
    }
}
