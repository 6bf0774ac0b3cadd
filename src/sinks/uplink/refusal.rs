//! Why a connection cannot be secured, in words that say who is at fault and what to do.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio_rustls::rustls::{AlertDescription as Alert, CertificateError, Error, OtherError, pki_types::UnixTime};

/// The most names of a certificate that are listed.
const NAMES_MAX: usize = 5;

/// Why it cannot be. Shows nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Refusal {
    /// What TLS says.
    pub(super) fn of(error: &Error) -> Refusal {
        Refusal(match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::AlertReceived(alert) => of_alert(*alert),
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
                "the controller does not speak TLS there; correct the port in `controller.address`, or set \
                 `controller.tls: off` if it is meant to be plaintext"
                    .to_owned()
            }
            Error::PeerIncompatible(_) => {
                format!("the controller's TLS is too old or too different; it needs TLS 1.2 or 1.3 ({error})")
            }
            Error::NoApplicationProtocol => Refusal::no_http2().0,
            other => format!("TLS with the controller failed: {other}"),
        })
    }

    /// What the first bytes of a connection without TLS say, when they are not HTTP/2.
    pub(super) fn in_plain(first: &[u8]) -> Option<Refusal> {
        // A record of TLS: an alert or a handshake, of version 3.x.
        let is_tls = matches!(first, [0x15 | 0x16, 3, ..]);
        let is_http1 = first.starts_with(b"HTTP/");
        match (is_tls, is_http1) {
            (true, _) => Some("the controller wants TLS, but `controller.tls` is off; remove that line"),
            (_, true) => Some(
                "what answers speaks HTTP/1 and no gRPC; correct `controller.address`, or remove \
                 `controller.tls: off` if it wants TLS",
            ),
            _ => None,
        }
        .map(|words| Refusal(words.to_owned()))
    }

    /// The handshake succeeded, but not for HTTP/2.
    pub(super) fn no_http2() -> Refusal {
        Refusal(
            "the controller's TLS does not offer HTTP/2 (ALPN h2), which gRPC needs; correct the port in \
             `controller.address`, or what stands before the controller"
                .to_owned(),
        )
    }

    /// The connection ended in the middle of the handshake.
    pub(super) fn hung_up() -> Refusal {
        Refusal(
            "the controller hung up during the TLS handshake; does it speak TLS there (`controller.address`, \
             `controller.tls`)?"
                .to_owned(),
        )
    }
}

fn of_certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    let unusable = |why: &str| format!("the controller's certificate cannot be used: {why}");
    match error {
        E::Expired => "the controller's certificate has expired; it needs a new one".to_owned(),
        E::ExpiredContext { time, not_after } => format!(
            "the controller's certificate expired at {}; it needs a new one (this machine's clock says {})",
            moment(*not_after),
            moment(*time)
        ),
        E::NotValidYet => "the controller's certificate is not valid yet; is this machine's clock right?".to_owned(),
        E::NotValidYetContext { time, not_before } => format!(
            "the controller's certificate is valid from {} on; is this machine's clock right, which says {}?",
            moment(*not_before),
            moment(*time)
        ),
        E::UnknownIssuer => "the controller's certificate comes from an authority that is not trusted here; name the \
                             file with the authority's certificate as `controller.tls.ca_file`"
            .to_owned(),
        E::NotValidForName => "the controller's certificate is for another name; correct `controller.address` or set \
                               `controller.tls.server_name`"
            .to_owned(),
        E::NotValidForNameContext { expected, presented } => format!(
            "the controller's certificate is not for {} but for {}; correct `controller.address` or set \
             `controller.tls.server_name`",
            expected.to_str(),
            names(presented)
        ),
        E::Revoked => unusable("it is revoked"),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => unusable("it is not for servers"),
        E::BadSignature => unusable("its signature is not the authority's, or not its own"),
        E::Other(OtherError(cause)) if format!("{cause:?}").contains("CaUsedAsEndEntity") => {
            unusable("it is that of an authority; the authority must issue one to the controller")
        }
        other => unusable(&other.to_string()),
    }
}

fn of_alert(alert: Alert) -> String {
    match alert {
        Alert::CertificateRequired => "the controller wants a certificate of this node; set `controller.tls.cert_file` \
                                       and `controller.tls.key_file`"
            .to_owned(),
        Alert::CertificateExpired => {
            "the controller says that this node's certificate has expired; it needs a new one".to_owned()
        }
        Alert::CertificateRevoked => {
            "the controller says that this node's certificate is revoked; it needs a new one".to_owned()
        }
        Alert::UnknownCA => "the controller does not trust the authority of this node's certificate; it needs one \
                             from an authority of the controller's"
            .to_owned(),
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown | Alert::AccessDenied => {
            format!("the controller refuses this node's certificate ({alert:?})")
        }
        Alert::UnrecognisedName => "the controller does not know the name by which it is called; correct \
                                    `controller.address` or set `controller.tls.server_name`"
            .to_owned(),
        Alert::NoApplicationProtocol => Refusal::no_http2().0,
        Alert::ProtocolVersion => "the controller's TLS is too old; it needs TLS 1.2 or 1.3".to_owned(),
        Alert::HandshakeFailure => "the controller refuses the TLS handshake; it may want a certificate of this node \
                                    (`controller.tls.cert_file`, `controller.tls.key_file`), or have no cipher in common"
            .to_owned(),
        other => format!("the controller ended TLS: {other:?}"),
    }
}

fn names(presented: &[String]) -> String {
    // `DnsName("a.example.com")` and the like, as the verifier has them.
    let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let mut shown: Vec<_> = presented.iter().take(NAMES_MAX).map(plain).collect();
    match presented.len().checked_sub(NAMES_MAX) {
        _ if presented.is_empty() => return "no name at all".to_owned(),
        Some(more) if more > 0 => shown.push(format!("{more} more")),
        _ => {}
    }
    shown.join(", ")
}

fn moment(time: UnixTime) -> String {
    let moment: SystemTime = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_that_are_not_http2_say_what_they_are() {
        let words = |first: &[u8]| Refusal::in_plain(first).map(|refusal| refusal.to_string()).unwrap_or_default();
        assert!(words(&[0x15, 3, 3, 0, 2, 2, 80]).contains("wants TLS"));
        assert!(words(b"HTTP/1.0 400 Bad Request\r\n").contains("HTTP/1"));
        assert_eq!(words(&[0, 0, 18, 4, 0, 0, 0, 0, 0]), "", "settings of HTTP/2");
        assert_eq!(words(b""), "");
    }

    #[test]
    fn names_of_a_certificate_are_listed_as_far_as_they_are_few() {
        let dns = |name: &str| format!("DnsName(\"{name}\")");
        assert_eq!(names(&[]), "no name at all");
        assert_eq!(names(&[dns("a"), dns("b")]), "a, b");
        let many: Vec<_> = (0..7).map(|number| dns(&number.to_string())).collect();
        assert_eq!(names(&many), "0, 1, 2, 3, 4, 2 more");
    }
}
