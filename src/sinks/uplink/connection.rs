//! A connection to a controller: made, authenticated and registered before the first batch goes over it.
//!
//! It is made once: when it has ended, calls over it fail, and the uplink makes another one with what then proves the
//! node. One that is let go ends after the calls that are still under way on it.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    codegen::http::Uri,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};

pub(super) use super::tls::ConnectError;
use super::{
    call::accepted,
    compression::Compression,
    credentials::{Proof, TlsProof},
    patience::Patience,
    refusal::Refusal,
    stream::Stream,
    tls,
    way::Way,
};
use crate::{
    backoff::random,
    lock::lock,
    schema::wire::{RegisterRequest, RegisterResponse, SystemInfo, rodent_service_client::RodentServiceClient},
    tls::Identity,
};

/// The largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Over how long nodes whose certificates change together spread their new connections.
const RECONNECT_SPREAD_MAX: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) struct Connection {
    way: Way,
    /// How long the controller may take to answer a call. Beyond it the attempt counts as failed; a batch that arrived all
    /// the same is recognised by its sequences when it comes again. Not the channel's: the control stream has no end.
    pub(super) call_timeout: Duration,
    /// Why the controller ended it, once it has said so.
    refusal: Arc<OnceLock<Refusal>>,
    security: Option<Security>,
    /// When a connection that is outdated is to be replaced.
    replacement: Mutex<Option<Instant>>,
}

/// What it was secured with.
struct Security {
    edition: u64,
    has_identity: bool,
    opened_at: SystemTime,
    /// When the node's certificate expired, if it had.
    expired: Option<SystemTime>,
}

impl Security {
    fn of(proof: &TlsProof) -> Security {
        let expired = proof.identity.as_ref().filter(|own| own.has_expired(proof.looked_at));
        Security {
            edition: proof.edition,
            has_identity: proof.identity.is_some(),
            opened_at: proof.looked_at,
            expired: expired.map(|own| own.validity.1),
        }
    }

    fn is_outdated(&self, now: &TlsProof) -> bool {
        // Asked for by registering anew, once: a controller that gives no other one is not asked again and again.
        let is_to_renew = |own: &Identity| now.is_issued && (self.opened_at..now.looked_at).contains(&own.renewal());
        self.edition != now.edition
            // One more certificate from the controller is used when there is a new connection anyway.
            || !self.has_identity && now.identity.is_some()
            || now.identity.as_ref().is_some_and(is_to_renew)
    }
}

impl Connection {
    /// # Errors
    /// When the address or the certificates cannot be used, or nobody answers.
    pub(super) async fn open(address: &str, proof: &Proof, patience: &Patience) -> Result<Connection, ConnectError> {
        let stream = tls::connect(address, proof.tls.as_deref(), patience.connect_timeout()).await?;
        Connection::over(stream, address, proof.tls.as_deref(), patience).await
    }

    /// Over a stream that is open, and secured with `tls` where there is one.
    ///
    /// # Errors
    /// When the address cannot be used, or what answers does not speak HTTP/2.
    pub(super) async fn over(
        stream: Stream,
        address: &str,
        tls: Option<&TlsProof>,
        patience: &Patience,
    ) -> Result<Connection, ConnectError> {
        let wrong = || ConnectError::Address(address.to_owned());
        let origin = Uri::try_from(match tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://{address}"),
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .and_then(|endpoint| endpoint.user_agent(concat!("rodent/", env!("CARGO_PKG_VERSION"))))
            .map_err(|_| wrong())?
            .origin(origin.map_err(|_| wrong())?)
            .http2_keep_alive_interval(patience.keepalive)
            .keep_alive_timeout(patience.probe_timeout())
            .keep_alive_while_idle(true);
        let refusal = stream.refusal();
        let reach = |source: tonic::transport::Error| ConnectError::Reach {
            address: address.to_owned(),
            source: source.into(),
        };
        let channel = endpoint.connect_with_connector(once(stream)).await.map_err(reach)?;
        let security = tls.map(Security::of);
        Ok(Connection {
            way: Way(channel),
            call_timeout: patience.call_timeout,
            refusal,
            security,
            replacement: Mutex::default(),
        })
    }

    /// The way to the controller, for calls of one's own. A copy keeps the connection.
    pub(super) fn way(&self) -> Way {
        self.way.clone()
    }

    /// Whether calls are to go over a new connection, because what it was secured with has changed or is to be renewed.
    /// Some time after that, so that not every node comes anew at once.
    pub(super) fn is_outdated(&self, proof: &Proof) -> bool {
        let mut replacement = lock(&self.replacement);
        let outdated = self.security.as_ref().zip(proof.tls.as_deref()).is_some_and(|(own, now)| own.is_outdated(now));
        if !outdated {
            *replacement = None;
            return false;
        }
        let spread = || Instant::now() + RECONNECT_SPREAD_MAX.mul_f64(random());
        Instant::now() >= *replacement.get_or_insert_with(spread)
    }

    /// Why the controller ended the connection, in one line; `None` when it did not, or did not say.
    pub(super) fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.get()?;
        let expired = self.security.as_ref().and_then(|security| security.expired);
        Some(match expired.map(humantime::format_rfc3339_seconds) {
            Some(expired) => format!("{refusal} (this node's certificate expired at {expired})"),
            None => refusal.to_string(),
        })
    }

    /// Introduces the node. No answer from a controller that has no such method; and the best compression that it says it
    /// accepts, if it says so.
    ///
    /// # Errors
    /// What the controller answers.
    pub(super) async fn register(
        &self,
        token: &MetadataValue<Ascii>,
        system_info: SystemInfo,
    ) -> Result<(Option<RegisterResponse>, Option<Compression>), Status> {
        let mut client = RodentServiceClient::new(self.way()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let request = with_token(RegisterRequest { system_info: Some(system_info) }, token);
        let registering = tokio::time::timeout(self.call_timeout, client.register(request)).await;
        match registering.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
            Ok(response) => {
                let accepts = accepted(response.metadata().as_ref());
                Ok((Some(response.into_inner()), accepts))
            }
            Err(status) if status.code() == Code::Unimplemented => Ok((None, accepted(status.metadata().as_ref()))),
            Err(status) => Err(status),
        }
    }
}

/// Hands out the stream at the first call. A channel that wants another one is refused: it would not have registered, and
/// what proves the node may have changed.
fn once(
    stream: Stream,
) -> impl tower::Service<
    Uri,
    Response = TokioIo<Stream>,
    Error = io::Error,
    Future = std::future::Ready<io::Result<TokioIo<Stream>>>,
> + Send
+ 'static {
    let mut stream = Some(TokioIo::new(stream));
    tower::service_fn(move |_| {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the connection has ended");
        std::future::ready(stream.take().ok_or_else(ended))
    })
}

fn with_token<T>(message: T, token: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.clone());
    request
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::sinks::uplink::credentials::Authorities;

    /// Valid throughout these years.
    fn identity(years: std::ops::Range<i32>) -> Identity {
        let mut params = CertificateParams::new(vec!["node".to_owned()]).expect("names");
        (params.not_before, params.not_after) = (date_time_ymd(years.start, 1, 1), date_time_ymd(years.end, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Identity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).expect("a pair")
    }

    fn proof(edition: u64, identity: Option<&Identity>, is_issued: bool, year: i32) -> TlsProof {
        TlsProof {
            edition,
            authorities: Authorities::System,
            identity: identity.cloned(),
            is_issued,
            server_name: None,
            looked_at: humantime::parse_rfc3339(&format!("{year}-06-01T00:00:00Z")).expect("a time"),
        }
    }

    #[test]
    fn an_issued_certificate_is_renewed_once_when_a_third_of_its_time_is_left() {
        let (first, second) = (identity(2020..2029), identity(2026..2035));
        let at = |identity, year| proof(1, Some(identity), true, year);
        let opened = Security::of(&at(&first, 2021));
        assert!(!opened.is_outdated(&at(&first, 2025)));
        assert!(opened.is_outdated(&at(&first, 2026)));
        let anew = Security::of(&at(&first, 2026));
        assert!(!anew.is_outdated(&at(&first, 2028)), "the controller gave no other one");
        assert!(!anew.is_outdated(&at(&second, 2031)), "it did, and that need not be renewed yet");
        assert!(anew.is_outdated(&at(&second, 2032)));
        let configured = Security::of(&proof(1, Some(&first), false, 2021));
        assert!(!configured.is_outdated(&proof(1, Some(&first), false, 2030)), "the administrator's are not asked for");
    }

    #[test]
    fn changed_files_and_the_first_certificate_make_a_connection_outdated() {
        let identity = identity(2020..2090);
        let opened = Security::of(&proof(1, None, false, 2026));
        assert!(!opened.is_outdated(&proof(1, None, false, 2026)));
        assert!(opened.is_outdated(&proof(2, None, false, 2026)));
        assert!(opened.is_outdated(&proof(1, Some(&identity), true, 2026)));
    }
}
