//! Makes a stream to a controller: finds it, connects, and secures the connection. Each failure says which of these it
//! was, and what to do where somebody can do something.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, RootCertStore, pki_types::ServerName},
};
use tonic::codegen::http::Uri;
use tower::ServiceExt as _;

use super::{
    credentials::{Authorities, TlsProof},
    refusal::Refusal,
    stream::Stream,
};
use crate::tls::{client, system_authorities};

/// What gRPC is spoken over.
const HTTP2: &[u8] = b"h2";

/// How the connection is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain text; only because the configuration says so.
    Off,
    /// TLS with the system's roots or a CA of one's own.
    On {
        /// PEM of the CA; the system's roots when absent. Read again when it changes, like the other files.
        ca_file: Option<PathBuf>,
        /// PEM of the node's own certificate, with `key_file`. Without, the node uses what the controller issues.
        cert_file: Option<PathBuf>,
        /// PEM of its key.
        key_file: Option<PathBuf>,
        /// The name that the controller's certificate must carry, when it is not the address's.
        server_name: Option<String>,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the controller's address `{0}` is not host:port")]
    Address(String),
    #[error("connect to {address}")]
    Reach {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("connect to {address}: {refusal}")]
    Refused { address: String, refusal: Refusal },
    #[error("secure the connection to {address}")]
    Secure {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("this system trusts no authorities at all (ca-certificates is missing?); set `controller.tls.ca_file`")]
    NoAuthorities,
    #[error("`{0}` is no name that a certificate could carry; correct `controller.tls.server_name`")]
    ServerName(String),
    #[error("configure TLS")]
    Configure(#[source] rustls::Error),
}

/// A stream to `address` (`host:port`), secured with `proof` where there is one. Finding and reaching the controller, all its
/// addresses together, may take as long as `patience`, and agreeing on TLS as long again.
///
/// # Errors
/// When the controller cannot be reached or not be trusted, or does not trust the node.
pub(super) async fn connect(
    address: &str,
    proof: Option<&TlsProof>,
    patience: Duration,
) -> Result<Stream, ConnectError> {
    let stream = reach(address, patience).await?;
    match proof {
        None => Ok(Stream::plain(stream)),
        Some(proof) => secure(address, stream, proof, patience).await.map(Stream::encrypted),
    }
}

/// Agrees on TLS over a stream that is open, within `patience`.
///
/// # Errors
/// When the controller cannot be trusted, or does not trust the node.
pub(super) async fn secure(
    address: &str,
    stream: TcpStream,
    proof: &TlsProof,
    patience: Duration,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    // A disk that hangs gives no certificates either.
    let slow = |_| {
        let source = io::Error::new(io::ErrorKind::TimedOut, "reading the system's certificates takes too long");
        ConnectError::Secure { address: address.to_owned(), source }
    };
    let config = tokio::time::timeout(patience, configuration(proof)).await.map_err(slow)??;
    let name = server_name(address, proof)?;
    let securing = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let address = || address.to_owned();
    let stream = match tokio::time::timeout(patience, securing).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(why_not_secured(address(), error)),
        Err(_) => {
            let source = io::Error::new(io::ErrorKind::TimedOut, "no answer to the TLS handshake");
            return Err(ConnectError::Secure { address: address(), source });
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => Ok(stream),
        _ => Err(ConnectError::Refused { address: address(), refusal: Refusal::no_http2() }),
    }
}

/// Tries the addresses of both families side by side.
pub(super) async fn reach(address: &str, patience: Duration) -> Result<TcpStream, ConnectError> {
    let uri = Uri::try_from(format!("http://{address}")).map_err(|_| ConnectError::Address(address.to_owned()))?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(patience));
    let reached = tokio::time::timeout(patience, connector.oneshot(uri)).await;
    let failed = |source| ConnectError::Reach { address: address.to_owned(), source };
    match reached {
        Ok(reached) => reached.map(TokioIo::into_inner).map_err(|error| failed(error.into())),
        Err(_) => Err(failed(format!("no answer within {}", humantime::format_duration(patience)).into())),
    }
}

/// The name that the controller's certificate must carry.
fn server_name(address: &str, proof: &TlsProof) -> Result<ServerName<'static>, ConnectError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = proof.server_name.as_deref().unwrap_or(host);
    let name = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::ServerName(name.to_owned()))
}

async fn configuration(proof: &TlsProof) -> Result<ClientConfig, ConnectError> {
    let authorities = match &proof.authorities {
        Authorities::File(certificates, _) => {
            let mut authorities = RootCertStore::empty();
            authorities.add_parsable_certificates(certificates.iter().cloned());
            authorities
        }
        Authorities::System => {
            let loading = tokio::task::spawn_blocking(system_authorities);
            loading.await.unwrap_or_else(|_| RootCertStore::empty())
        }
    };
    if authorities.is_empty() {
        return Err(ConnectError::NoAuthorities);
    }
    let mut config = client(authorities, proof.identity.as_ref()).map_err(ConnectError::Configure)?;
    config.alpn_protocols.push(HTTP2.to_vec());
    Ok(config)
}

fn why_not_secured(address: String, error: io::Error) -> ConnectError {
    let refusal = match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(error) => Refusal::of(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::hung_up(),
        None => return ConnectError::Secure { address, source: error },
    };
    ConnectError::Refused { address, refusal }
}
