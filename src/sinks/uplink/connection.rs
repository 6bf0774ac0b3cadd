//! A connection to a controller: made, authenticated and registered before the first batch goes over it.

use std::{path::PathBuf, time::Duration};

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::schema::wire::{RegisterRequest, RegisterResponse, SystemInfo, rodent_service_client::RodentServiceClient};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the controller may take to answer a call. Beyond it the attempt counts as failed; a batch that arrived all the
/// same is recognised by its sequences when it comes again.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How often an idle connection is probed, and how long the answer may take: finds half-open connections.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// The largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How the connection is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain text; only because the configuration says so.
    Off,
    /// TLS with the system's roots or a CA of one's own.
    On {
        /// PEM of the CA; the system's roots when absent.
        ca_file: Option<PathBuf>,
        /// PEM of the node's own certificate, with `key_file`.
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
    #[error("read {path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("configure TLS")]
    Tls(#[source] tonic::transport::Error),
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
}

/// An open connection.
pub(super) struct Connection {
    channel: Channel,
}

impl Connection {
    /// # Errors
    /// When the address or the TLS files cannot be used, or nobody answers.
    pub(super) async fn open(address: &str, tls: &Tls) -> Result<Connection, ConnectError> {
        let scheme = if matches!(tls, Tls::Off) { "http" } else { "https" };
        let endpoint = Endpoint::try_from(format!("{scheme}://{address}"))
            .map_err(|_| ConnectError::Address(address.to_owned()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true)
            .user_agent(concat!("rodent/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| ConnectError::Address(address.to_owned()))?;
        let endpoint = match tls {
            Tls::Off => endpoint,
            Tls::On { ca_file, cert_file, key_file, server_name } => {
                let config = tls_config(ca_file, cert_file.as_ref().zip(key_file.as_ref()), server_name).await?;
                endpoint.tls_config(config).map_err(ConnectError::Tls)?
            }
        };
        let channel =
            endpoint.connect().await.map_err(|source| ConnectError::Connect { address: address.to_owned(), source })?;
        Ok(Connection { channel })
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
        let mut client = RodentServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let request = with_token(RegisterRequest { system_info: Some(system_info) }, token);
        match client.register(request).await {
            Ok(response) => Ok(Some(response.into_inner())),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// The way to the controller, for calls of one's own.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

fn with_token<T>(message: T, token: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.clone());
    request
}

async fn tls_config(
    ca_file: &Option<PathBuf>,
    identity: Option<(&PathBuf, &PathBuf)>,
    server_name: &Option<String>,
) -> Result<ClientTlsConfig, ConnectError> {
    let mut config = ClientTlsConfig::new();
    config = match ca_file {
        Some(path) => config.ca_certificate(Certificate::from_pem(read(path).await?)),
        None => config.with_native_roots(),
    };
    if let Some((cert_file, key_file)) = identity {
        config = config.identity(Identity::from_pem(read(cert_file).await?, read(key_file).await?));
    }
    if let Some(name) = server_name {
        config = config.domain_name(name);
    }
    Ok(config)
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, ConnectError> {
    tokio::fs::read(path).await.map_err(|source| ConnectError::File { path: path.display().to_string(), source })
}
