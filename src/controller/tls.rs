//! Certificates: what the controller shows, and what it asks of those who connect. Read again when the files change;
//! connections that are open keep what they began with.
//!
//! With `client_ca` a connection needs a client certificate of that authority, and its DNS names (subject alternative
//! names; the common name is not looked at) say which nodes may speak on it.

mod certificate;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};

use super::{
    KEY_BYTES_MAX,
    fresh::{Fresh, Refreshed},
};
use crate::{files, tls::certificates_of};

/// Bytes of a file of certificates.
const CERTIFICATES_BYTES_MAX: u64 = 16 * KEY_BYTES_MAX;

/// A certificate that ends sooner is worth a warning when it is read.
const END_NEAR: Duration = Duration::from_secs(14 * 24 * 3600);

/// The files that certificates are read from, all PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The controller's certificate, then those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates. Where it is given, every connection needs one.
    pub client_ca: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {what} {path}")]
    Read {
        /// Certificate, key or authority.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM")]
    Empty {
        /// Certificate, key or authority.
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("use certificate {cert} with private key {key}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The authorities are no authorities.
    #[error("ask for client certificates of {path}")]
    ClientCa {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: VerifierBuilderError,
    },
}

/// The encrypting end of connections.
#[derive(Clone)]
pub struct ServerTls {
    loaded: Arc<Fresh<Loaded>>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    ends_at: Option<i64>,
    asks: bool,
}

impl ServerTls {
    /// Reads the files; they are followed while the controller serves. Blocks.
    ///
    /// # Errors
    /// When a file cannot be used, or they do not go together.
    pub fn read(files: TlsFiles) -> Result<ServerTls, TlsError> {
        let paths = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
        let paths = paths.into_iter().flatten().cloned().collect();
        Ok(ServerTls { loaded: Arc::new(Fresh::read("TLS certificates", paths, move || files.load())?) })
    }

    /// Reads the files again if they have changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        self.loaded.refresh()
    }

    /// When the certificate ends, Unix seconds; `None` when it does not say so in a way that we read.
    pub(super) fn ends_at(&self) -> Option<i64> {
        self.loaded.current().ends_at
    }

    /// Encrypts a connection; gives the names in the peer's certificate where one was asked for.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<Vec<String>>)> {
        let loaded = self.loaded.current();
        let stream = TlsAcceptor::from(Arc::clone(&loaded.config)).accept(stream).await?;
        let names = loaded.asks.then(|| {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            certificates.first().map(certificate::dns_names).unwrap_or_default()
        });
        Ok((stream, names))
    }
}

impl TlsFiles {
    fn load(&self) -> Result<Loaded, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certificates = certificates("certificate", &self.cert)?;
        let ends_at = certificates.first().and_then(certificate::ends_at);
        if ends_at.is_some_and(is_near) {
            tracing::warn!(path = %self.cert.display(), "the certificate has ended or ends within two weeks");
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| self.pair(source))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
        };
        let mut config =
            builder.with_single_cert(certificates, private_key(&self.key)?).map_err(|source| self.pair(source))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if self.client_ca.is_some() {
            // Who resumes a session is taken at the word of its first connection: its certificate may have ended since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { config: Arc::new(config), ends_at, asks: self.client_ca.is_some() })
    }

    fn pair(&self, source: rustls::Error) -> TlsError {
        TlsError::Pair { cert: self.cert.clone(), key: self.key.clone(), source }
    }
}

fn is_near(end: i64) -> bool {
    let soon = SystemTime::now() + END_NEAR;
    let soon = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    end < i64::try_from(soon).unwrap_or(i64::MAX)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = files::read_bounded(path, CERTIFICATES_BYTES_MAX).map_err(|source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    certificates_of(&pem).ok_or_else(|| TlsError::Empty { what, path: path.to_owned() })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "private key";
    let pem = files::read_secret(path, KEY_BYTES_MAX).map_err(|source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    // One that is encrypted is none to us: nobody is there to type its passphrase.
    let what = "private key that needs no passphrase";
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Empty { what, path: path.to_owned() })
}

fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let what = "certificate authority";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        roots.add(certificate).map_err(|_| TlsError::Empty { what, path: path.to_owned() })?;
    }
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    built.map_err(|source| TlsError::ClientCa { path: path.to_owned(), source })
}
