//! A certificate with its key, as the node proves itself with: read from PEM and found to belong together.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ring::digest::{Digest, SHA256, digest};
use tokio_rustls::rustls::{
    self,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

/// A certificate chain and the key that belongs to it. Cheap to copy; `Debug` shows no key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// From when on and until when it is valid.
    pub(super) validity: (SystemTime, SystemTime),
    /// SHA-256 of what it was read from.
    digest: Digest,
}

/// Why a certificate and a key are none. Shows nothing of what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IdentityError {
    #[error("no certificate in PEM form")]
    Certificate,
    #[error("no private key in PEM form, or one that is encrypted")]
    Key,
    #[error("a private key of a kind that is not known; RSA, ECDSA and Ed25519 are")]
    KeyKind,
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

impl Identity {
    /// Reads both. `key` may hold the certificates too.
    ///
    /// # Errors
    /// When one of them is unreadable or they do not belong together.
    pub(super) fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
        let digest = digest(&SHA256, &[certificates, key].concat());
        let chain = certificates_of(certificates).ok_or(IdentityError::Certificate)?;
        let validity = chain.first().and_then(|leaf| validity(leaf)).ok_or(IdentityError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
            rustls::Error::InvalidCertificate(_) => IdentityError::Certificate,
            _ => IdentityError::KeyKind,
        })?;
        Ok(Identity { key: Arc::new(key), validity, digest })
    }

    /// Whether it has expired at `now`.
    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        now > self.validity.1
    }

    /// When a new one is to be asked for: with a third of its time left.
    pub(super) fn renewal(&self) -> SystemTime {
        let life = self.validity.1.duration_since(self.validity.0).unwrap_or(Duration::ZERO);
        self.validity.0 + life.mul_f64(2.0 / 3.0)
    }
}

/// Read from the same bytes.
impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.digest.as_ref() == other.digest.as_ref()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("validity", &self.validity).finish_non_exhaustive()
    }
}

/// The certificates of a PEM text; `None` when there is none or one is cut short.
pub(super) fn certificates_of(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

/// From when on and until when a certificate is valid. Of X.509 only as much is read as lies before that.
pub(super) fn validity(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut body, _) = element(certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        body = element(body, VERSION)?.1;
    }
    for before in [INTEGER, SEQUENCE, SEQUENCE] {
        body = element(body, before)?.1;
    }
    let (times, _) = element(body, SEQUENCE)?;
    let (from, times) = time(times)?;
    Some((from, time(times)?.0))
}

/// Tags of DER.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Content of the first element, which must have this tag, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // More than four bytes of length are no certificate.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(length)).flatten()
}

fn time(input: &[u8]) -> Option<(SystemTime, &[u8])> {
    let tag = *input.first()?;
    let (text, rest) = element(input, tag)?;
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            (if year < "50" { format!("20{year}") } else { format!("19{year}") }, text)
        }
        GENERALIZED_TIME => text.split_at_checked(4).map(|(year, text)| (year.to_owned(), text))?,
        _ => return None,
    };
    let two = |at: usize| text.get(at..at + 2);
    let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    let moment = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    Some((humantime::parse_rfc3339(&moment).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["node".to_owned()]).expect("names");
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().expect("a key");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_says_from_when_until_when_it_is_valid() {
        let (pem, key) = certificate((2020, 2, 29), (2050, 1, 1));
        let identity = Identity::from_pem(pem.as_bytes(), key.as_bytes()).expect("they belong together");
        let day = |text: &str| humantime::parse_rfc3339(text).expect("a time");
        // Before 2050 with two digits of the year, from then on with four.
        assert_eq!(identity.validity, (day("2020-02-29T00:00:00Z"), day("2050-01-01T00:00:00Z")));
        assert!(!identity.has_expired(day("2049-12-31T23:59:59Z")));
        assert!(identity.has_expired(day("2050-01-01T00:00:01Z")));
        assert_eq!(humantime::format_rfc3339_seconds(identity.renewal()).to_string(), "2040-01-21T00:00:00Z");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_and_so_is_what_is_cut_short() {
        let ((pem, key), (_, other)) =
            (certificate((2020, 1, 1), (2040, 1, 1)), certificate((2020, 1, 1), (2040, 1, 1)));
        let read = |certificate: &str, key: &str| Identity::from_pem(certificate.as_bytes(), key.as_bytes()).err();
        assert_eq!(read(&pem, &other), Some(IdentityError::Mismatch));
        assert_eq!(read("", &key), Some(IdentityError::Certificate));
        assert_eq!(read(&pem, ""), Some(IdentityError::Key));
        for length in 0..pem.len() - 26 {
            assert_eq!(read(&pem[..length], &key), Some(IdentityError::Certificate), "{length}");
        }
        for length in 0..key.len() - 26 {
            assert_eq!(read(&pem, &key[..length]), Some(IdentityError::Key), "{length}");
        }
        assert_eq!(read(&pem, &key), None);
    }

    #[test]
    fn rubbish_is_no_certificate() {
        let (pem, _) = certificate((2020, 1, 1), (2040, 1, 1));
        let der = certificates_of(pem.as_bytes()).expect("one").remove(0).to_vec();
        assert!(validity(&der).is_some_and(|(from, _)| from > UNIX_EPOCH));
        for length in 0..100 {
            assert_eq!(validity(&der[..length]), None);
        }
        for at in 0..der.len() {
            let mut bytes = der.clone();
            bytes[at] ^= 0xff;
            let _ = validity(&bytes);
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
