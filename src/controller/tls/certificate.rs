//! What we want to know of a certificate beyond its validity, which rustls has checked: names and end.

use std::time::UNIX_EPOCH;

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::tls::validity;

/// The DNS names among the subject alternative names.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    EndEntityCert::try_from(certificate)
        .map(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// When the certificate ends, Unix seconds.
pub(super) fn ends_at(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, end) = validity(certificate)?;
    i64::try_from(end.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}
