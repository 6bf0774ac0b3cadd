//! Which stream of which servers: the value of `--store nats://…`. Secrets are not in it, only where they are.

use std::{fmt, path::PathBuf, str::FromStr};

use async_nats::ServerAddr;

use crate::words::parse_size;

/// The stream when none is named.
const STREAM_DEFAULT: &str = "RODENT";

/// The most copies that JetStream keeps of a stream.
const REPLICAS_MAX: usize = 5;

/// `nats://HOST:PORT[,HOST:PORT…][/STREAM][?credentials=FILE&ca=FILE&replicas=N&bytes=SIZE]`; `tls://` demands
/// TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsSettings {
    scheme: String,
    hosts: Vec<String>,
    /// Name of the stream.
    pub(super) stream: String,
    /// A file with credentials.
    pub(super) credentials: Option<PathBuf>,
    /// A file with the certificates of authorities (PEM), besides those of the system.
    pub(super) ca: Option<PathBuf>,
    /// Copies that a cluster keeps of the stream, where this program creates it.
    pub(super) replicas: usize,
    /// Bytes that the stream may have, where this program creates it; no bound when `None`.
    pub(super) bytes: Option<u64>,
}

impl NatsSettings {
    /// First part of every subject: the stream's name in lower case.
    pub(super) fn prefix(&self) -> String {
        self.stream.to_ascii_lowercase()
    }

    /// Any of them will do.
    pub(super) fn servers(&self) -> Vec<ServerAddr> {
        self.addresses().filter_map(|address| address.parse().ok()).collect()
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().map(|host| format!("{}://{host}", self.scheme))
    }
}

impl FromStr for NatsSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<NatsSettings, String> {
        let (scheme, rest) = text.split_once("://").ok_or("use nats://HOST:PORT or tls://HOST:PORT")?;
        if !["nats", "tls"].contains(&scheme) {
            return Err(format!("{scheme}:// is neither nats:// nor tls://"));
        }
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, stream) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.contains('@') {
            return Err(
                "everybody on the machine can read arguments: put USER:PASSWORD into a file and name it with ?credentials=FILE"
                    .to_owned(),
            );
        }
        let stream = if stream.is_empty() { STREAM_DEFAULT } else { stream };
        if !stream.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(format!("{stream:?} is no name for a stream: use letters, digits, `_` and `-`"));
        }
        let mut settings = NatsSettings {
            scheme: scheme.to_owned(),
            hosts: hosts.split(',').map(str::to_owned).collect(),
            stream: stream.to_owned(),
            credentials: None,
            ca: None,
            replicas: 1,
            bytes: None,
        };
        for address in settings.addresses() {
            if address.ends_with("://") {
                return Err("a server has no name".to_owned());
            }
            address.parse::<ServerAddr>().map_err(|error| format!("{address}: {error}"))?;
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("credentials", file)) if !file.is_empty() => settings.credentials = Some(file.into()),
                Some(("ca", file)) if !file.is_empty() => settings.ca = Some(file.into()),
                Some(("replicas", number)) => {
                    let replicas = number.parse().ok().filter(|number| (1..=REPLICAS_MAX).contains(number));
                    settings.replicas = replicas.ok_or(format!("replicas={number}: use 1 to {REPLICAS_MAX}"))?;
                }
                Some(("bytes", size)) => {
                    let bytes = parse_size(size).map_err(|error| format!("bytes={size}: {error}"))?;
                    settings.bytes = Some(bytes).filter(|bytes| *bytes > 0);
                }
                _ => return Err(format!("{option:?} is none of credentials=FILE, ca=FILE, replicas=N, bytes=SIZE")),
            }
        }
        Ok(settings)
    }
}

impl fmt::Display for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme, self.hosts.join(","), self.stream)?;
        let path = |name: &str, path: &Option<PathBuf>| path.as_ref().map(|path| format!("{name}={}", path.display()));
        let replicas = (self.replicas > 1).then(|| format!("replicas={}", self.replicas));
        let bytes = self.bytes.map(|bytes| format!("bytes={bytes}"));
        let options = [path("credentials", &self.credentials), path("ca", &self.ca), replicas, bytes];
        let options: Vec<_> = options.into_iter().flatten().collect();
        if options.is_empty() { Ok(()) } else { write!(f, "?{}", options.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_printed_as_it_is_understood() {
        for (text, printed) in [
            ("nats://one", "nats://one/RODENT"),
            ("nats://one:4222,two:4223/", "nats://one:4222,two:4223/RODENT"),
            ("tls://[::1]:4222/Nas_2?ca=/etc/ca.pem&replicas=3", "tls://[::1]:4222/Nas_2?ca=/etc/ca.pem&replicas=3"),
            ("nats://one/X?credentials=/run/nats.creds&replicas=1", "nats://one/X?credentials=/run/nats.creds"),
            ("nats://one/X?bytes=2KiB", "nats://one/X?bytes=2048"),
        ] {
            let settings: NatsSettings = text.parse().expect(text);
            assert_eq!(settings.to_string(), printed);
            assert_eq!(settings.servers().len(), settings.hosts.len());
        }
        assert_eq!("nats://one/Nas_2".parse::<NatsSettings>().expect("settings").prefix(), "nas_2");
    }

    #[test]
    fn what_is_no_stream_is_refused_and_a_password_is_not_repeated() {
        let cases = [
            ("one:4222", "nats://HOST:PORT"),
            ("ws://one", "neither nats:// nor tls://"),
            ("nats://", "no name"),
            ("nats://one,", "no name"),
            ("nats://one:port", "nats://one:port"),
            ("nats://one/a.b", "no name for a stream"),
            ("nats://one/A?replicas=6", "1 to 5"),
            ("nats://one/A?user=x", "none of"),
            ("nats://one/A?bytes=much", "bytes=much"),
            ("nats://joe:secret@one", "credentials=FILE"),
        ];
        for (text, part) in cases {
            let refusal = text.parse::<NatsSettings>().expect_err(text);
            assert!(refusal.contains(part) && !refusal.contains("secret"), "{text}: {refusal}");
        }
    }
}
