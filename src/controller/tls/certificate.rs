//! What we want to know of a certificate beyond its validity, which rustls has checked: names and end.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::controller::der::{Der, tag};

/// The DNS names among the subject alternative names.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    EndEntityCert::try_from(certificate)
        .map(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// When the certificate ends, Unix seconds.
pub(super) fn ends_at(certificate: &CertificateDer<'_>) -> Option<i64> {
    let mut tbs = Der(certificate).enter(tag::SEQUENCE)?.enter(tag::SEQUENCE)?;
    // A version, where it is not the first; serial number, signature algorithm, issuer.
    if tbs.next(tag::CONTEXT_0).is_none() && tbs.is_empty() {
        return None;
    }
    tbs.skip()?;
    tbs.skip()?;
    tbs.skip()?;
    let mut validity = tbs.enter(tag::SEQUENCE)?;
    validity.skip()?;
    // RFC 5280: two digits of the year until 2049, and everything in UTC to the second.
    let (text, century) = match validity.next(tag::UTC_TIME) {
        Some(text) => (text, if text.first()? < &b'5' { "20" } else { "19" }),
        None => (validity.next(tag::GENERALIZED_TIME)?, ""),
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let text = text.strip_suffix('Z').filter(|text| text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit()))?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Some((days_since_1970(year, month, day) * 24 + hour) * 3600 + minute * 60 + second)
}

/// In the Gregorian calendar; the year begins in March, so that its last day is the one that is not always there.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        let days = [(1970, 1, 1), (1970, 3, 1), (2000, 2, 29), (2000, 3, 1), (2026, 11, 21), (2100, 3, 1)];
        let counted = days.map(|(year, month, day)| days_since_1970(year, month, day));
        assert_eq!(counted, [0, 59, 11_016, 11_017, 20_778, 47_541]);
    }

    /// As much of a certificate as is looked at.
    fn certificate(version: bool, end: &[u8]) -> CertificateDer<'static> {
        let wrap =
            |tag: u8, content: Vec<u8>| [vec![tag, u8::try_from(content.len()).expect("short")], content].concat();
        let start = wrap(tag::UTC_TIME, b"200101000000Z".to_vec());
        let validity = wrap(tag::SEQUENCE, [start, end.to_vec()].concat());
        let version = if version { wrap(tag::CONTEXT_0, vec![2, 1, 2]) } else { Vec::new() };
        let rest = [vec![2, 1, 9], wrap(tag::SEQUENCE, vec![]), wrap(tag::SEQUENCE, vec![]), validity].concat();
        let tbs = wrap(tag::SEQUENCE, [version, rest].concat());
        CertificateDer::from(wrap(tag::SEQUENCE, tbs))
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_of_its_forms() {
        let utc = |text: &str| [&[tag::UTC_TIME, 13], text.as_bytes()].concat();
        let general = |text: &str| [&[tag::GENERALIZED_TIME, 15], text.as_bytes()].concat();
        assert_eq!(ends_at(&certificate(true, &utc("271231235959Z"))), Some(1_830_297_599));
        assert_eq!(ends_at(&certificate(false, &utc("700101000000Z"))), Some(0));
        assert_eq!(ends_at(&certificate(true, &general("20500101000000Z"))), Some(2_524_608_000));
        assert_eq!(ends_at(&certificate(true, &utc("27123123595XZ"))), None);
        assert_eq!(ends_at(&certificate(true, b"")), None);
        assert_eq!(ends_at(&CertificateDer::from(vec![])), None);
    }
}
