//! A connection to a controller: made, authenticated and registered before the first batch goes over it.
//!
//! It is made once: when it has ended, calls over it fail, and the uplink makes another one with what then proves the
//! node. One that is let go ends after the calls that are still under way on it.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    codegen::http::Uri,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

pub(super) use super::tls::ConnectError;
use super::{credentials::Proof, patience::Patience, refusal::Refusal, stream::Stream, tls};
use crate::{
    backoff::random,
    schema::wire::{RegisterRequest, RegisterResponse, SystemInfo, rodent_service_client::RodentServiceClient},
};

/// The largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Over how long nodes whose certificates change together spread their new connections.
const RECONNECT_SPREAD_MAX: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) struct Connection {
    channel: Channel,
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
    /// When a certificate that the controller issued is to be renewed, if that lies ahead.
    renewal: Option<SystemTime>,
    /// When the node's certificate expired, if it had.
    expired: Option<SystemTime>,
}

impl Connection {
    /// # Errors
    /// When the address or the certificates cannot be used, or nobody answers.
    pub(super) async fn open(address: &str, proof: &Proof, patience: &Patience) -> Result<Connection, ConnectError> {
        let wrong = || ConnectError::Address(address.to_owned());
        let origin = Uri::try_from(match &proof.tls {
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
        let stream = tls::connect(address, proof.tls.as_deref(), patience.connect_timeout()).await?;
        let refusal = stream.refusal();
        let reach = |source: tonic::transport::Error| ConnectError::Reach {
            address: address.to_owned(),
            source: source.into(),
        };
        let channel = endpoint.connect_with_connector(once(stream)).await.map_err(reach)?;
        let security = proof.tls.as_ref().map(|proof| Security {
            edition: proof.edition,
            has_identity: proof.identity.is_some(),
            renewal: proof
                .identity
                .as_ref()
                .filter(|_| proof.is_issued)
                .map(|identity| identity.renewal())
                .filter(|renewal| *renewal > proof.looked_at),
            expired: proof
                .identity
                .as_ref()
                .filter(|identity| identity.has_expired(proof.looked_at))
                .map(|own| own.validity.1),
        });
        Ok(Connection {
            channel,
            call_timeout: patience.call_timeout,
            refusal,
            security,
            replacement: Mutex::default(),
        })
    }

    /// The way to the controller, for calls of one's own. A copy keeps the connection.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Whether calls are to go over a new connection, because what it was secured with has changed or is to be renewed.
    /// Some time after that, so that not every node comes anew at once.
    pub(super) fn is_outdated(&self, proof: &Proof) -> bool {
        let mut replacement = self.replacement.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.security.as_ref().zip(proof.tls.as_ref()).is_some_and(|(own, proof)| {
            own.edition != proof.edition
                // One more certificate from the controller is used when there is a new connection anyway.
                || !own.has_identity && proof.identity.is_some()
                || own.renewal.is_some_and(|renewal| proof.looked_at >= renewal)
        }) {
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

    /// Introduces the node. `None` from a controller that has no such method.
    ///
    /// # Errors
    /// What the controller answers.
    pub(super) async fn register(
        &self,
        token: &MetadataValue<Ascii>,
        system_info: SystemInfo,
    ) -> Result<Option<RegisterResponse>, Status> {
        let mut client = RodentServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let request = with_token(RegisterRequest { system_info: Some(system_info) }, token);
        let registering = tokio::time::timeout(self.call_timeout, client.register(request)).await;
        match registering.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
            Ok(response) => Ok(Some(response.into_inner())),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
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
