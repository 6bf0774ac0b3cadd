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

use super::der::{Der, tag};

/// A certificate chain and the key that belongs to it. Cheap to copy; `Debug` shows no key.
#[derive(Clone)]
pub struct Identity {
    /// Both, as rustls takes them.
    pub key: Arc<CertifiedKey>,
    /// From when on and until when it is valid.
    pub validity: (SystemTime, SystemTime),
    /// SHA-256 of what it was read from.
    digest: Digest,
}

/// Why a certificate and a key are none. Shows nothing of what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate.
    #[error("no certificate in PEM form")]
    Certificate,
    /// There is no key, or one that needs a passphrase.
    #[error("no private key in PEM form, or one that is encrypted")]
    Key,
    /// There is a key of another kind.
    #[error("a private key of a kind that is not known; RSA, ECDSA and Ed25519 are")]
    KeyKind,
    /// They are not of one pair.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

impl Identity {
    /// Reads both. `key` may hold the certificates too.
    ///
    /// # Errors
    /// When one of them is unreadable or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
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
    pub fn has_expired(&self, now: SystemTime) -> bool {
        now > self.validity.1
    }

    /// When a new one is to be asked for: with a third of its time left.
    pub fn renewal(&self) -> SystemTime {
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
pub fn certificates_of(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

/// From when on and until when a certificate is valid. Of X.509 only as much is read as lies before that.
pub fn validity(certificate: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let mut body = Der(certificate).enter(tag::SEQUENCE)?.enter(tag::SEQUENCE)?;
    // A version, where it is not the first.
    let _ = body.next(tag::CONTEXT_0);
    for before in [tag::INTEGER, tag::SEQUENCE, tag::SEQUENCE] {
        body.next(before)?;
    }
    let mut times = body.enter(tag::SEQUENCE)?;
    Some((time(&mut times)?, time(&mut times)?))
}

/// RFC 5280: two digits of the year until 2049, and everything in UTC to the second.
fn time(times: &mut Der<'_>) -> Option<SystemTime> {
    let (text, century) = match times.next(tag::UTC_TIME) {
        Some(text) => (text, if text.first()? < &b'5' { "20" } else { "19" }),
        None => (times.next(tag::GENERALIZED_TIME)?, ""),
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let digits = text.strip_suffix('Z').filter(|text| text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit()))?;
    let (date, time) = digits.split_at_checked(8)?;
    let [year, month, day] = [date.get(..4)?, date.get(4..6)?, date.get(6..)?];
    let [hour, minute, second] = [time.get(..2)?, time.get(2..4)?, time.get(4..)?];
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
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

    /// As much of a certificate as is looked at.
    fn written(version: bool, end: &[u8]) -> Vec<u8> {
        let wrap =
            |tag: u8, content: Vec<u8>| [vec![tag, u8::try_from(content.len()).expect("short")], content].concat();
        let start = wrap(tag::UTC_TIME, b"200101000000Z".to_vec());
        let validity = wrap(tag::SEQUENCE, [start, end.to_vec()].concat());
        let version = if version { wrap(tag::CONTEXT_0, vec![2, 1, 2]) } else { Vec::new() };
        let rest = [vec![2, 1, 9], wrap(tag::SEQUENCE, vec![]), wrap(tag::SEQUENCE, vec![]), validity].concat();
        let tbs = wrap(tag::SEQUENCE, [version, rest].concat());
        wrap(tag::SEQUENCE, tbs)
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_of_its_forms() {
        let ends_at = |der: &[u8]| Some(validity(der)?.1.duration_since(UNIX_EPOCH).expect("later").as_secs());
        let utc = |text: &str| [&[tag::UTC_TIME, 13], text.as_bytes()].concat();
        let general = |text: &str| [&[tag::GENERALIZED_TIME, 15], text.as_bytes()].concat();
        assert_eq!(ends_at(&written(true, &utc("271231235959Z"))), Some(1_830_297_599));
        assert_eq!(ends_at(&written(false, &utc("700101000000Z"))), Some(0));
        assert_eq!(ends_at(&written(true, &general("20500101000000Z"))), Some(2_524_608_000));
        assert_eq!(ends_at(&written(true, &utc("27123123595XZ"))), None);
        assert_eq!(ends_at(&written(true, b"")), None);
        assert_eq!(ends_at(&[]), None);
    }
}
