//! Why a connection to a receiver is not secured, in a line that says who is at fault and what to do. Pure.

use std::{error, io};

use tokio_rustls::rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};

use super::target::Target;
use crate::telemetry::ErrorChain;

/// Shows nothing secret.
pub(super) fn of(error: &io::Error, target: &Target) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    let why = match cause {
        Some(Error::InvalidCertificate(cause)) => return of_certificate(cause, target),
        Some(Error::AlertReceived(Alert::CertificateRequired)) => {
            "it wants a certificate of this node; set `cert_file` and `key_file`"
        }
        Some(Error::AlertReceived(Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown)) => {
            "it refuses this node's certificate; see `cert_file`"
        }
        Some(Error::AlertReceived(Alert::CertificateExpired)) => {
            "it says that this node's certificate has expired; put a new one into `cert_file`"
        }
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => {
            "it does not speak TLS there; correct the port, or write http://"
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it hung up; does it speak TLS there, and does it want a certificate of this node (`cert_file`)?"
        }
        _ => return format!("secure the connection to {target}: {}", ErrorChain(error)),
    };
    format!("no secure connection to {target}: {why}")
}

/// The same of a connection that seemed to be secured: who wants a certificate says so behind the handshake. None where an error has
/// nothing to do with TLS.
pub(super) fn within(error: &(dyn error::Error + 'static), target: &Target) -> Option<String> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut told = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    let told = told.find(|error| error.get_ref().is_some_and(|cause| cause.is::<Error>()))?;
    Some(of(told, target))
}

fn of_certificate(error: &Certificate, target: &Target) -> String {
    let until = |time: u64| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        format!(" (at {})", humantime::format_rfc3339_seconds(at))
    };
    let why = match error {
        Certificate::Expired => "has expired; the receiver needs a new one".to_owned(),
        Certificate::ExpiredContext { not_after, .. } => {
            format!("has expired{}; the receiver needs a new one", until(not_after.as_secs()))
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "is not valid yet; is this machine's clock right?".to_owned()
        }
        Certificate::UnknownIssuer => {
            "comes from an authority that is not trusted here; name the file with the authority's own as `ca_file`"
                .to_owned()
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            format!("is not for the name {}; correct `url`", target.host)
        }
        other => format!("cannot be used: {other}"),
    };
    format!("the certificate of {target} {why}")
}
