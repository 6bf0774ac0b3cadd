//! What the node proves itself with towards a controller, and whom it trusts: token, certificates, authorities.
//!
//! Gives a [`Proof`] for each call. A changed token is simply in the next one. A changed certificate or authority makes
//! [`Connection::is_outdated`] true of connections made before, once.
//!
//! [`Connection::is_outdated`]: super::connection::Connection::is_outdated

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio_rustls::rustls::{RootCertStore, pki_types::CertificateDer};

use super::{
    Tls, TokenSource,
    issued::{self, IssuedError},
    token::{NodeTokenError, Token},
};
use crate::{
    files::{self, Followed},
    schema::wire::RegisterResponse,
    sinks::credentials::{self, FILE_BYTES_MAX, edition, look},
    telemetry::{ErrorChain, message},
    tls::{Identity, IdentityError, certificates_of},
};

/// What a call is made with. Cheap to copy; has no `Debug`.
#[derive(Clone)]
pub(super) struct Proof {
    pub(super) token: Token,
    /// `None` where the connection is not encrypted.
    pub(super) tls: Option<Arc<TlsProof>>,
}

impl Proof {
    /// When the node's own certificate expires, Unix milliseconds; `None` where it has none.
    pub(super) fn certificate_expires_at(&self) -> Option<i64> {
        let end = self.tls.as_ref()?.identity.as_ref()?.validity.1;
        i64::try_from(end.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
    }
}

/// What a connection is secured with.
pub(super) struct TlsProof {
    /// Of the files that the configuration names: grows when one of them has changed.
    pub(super) edition: u64,
    pub(super) authorities: Authorities,
    pub(super) identity: Option<Identity>,
    /// Whether the controller has issued the identity, rather than the configuration named it.
    pub(super) is_issued: bool,
    pub(super) server_name: Option<String>,
    /// The wall clock when the files were looked at; certificates are valid or not by it.
    pub(super) looked_at: SystemTime,
}

/// Who may vouch for the controller.
#[derive(Clone, PartialEq)]
pub(super) enum Authorities {
    /// Those that the system trusts; read for each connection.
    System,
    /// Those of a file: its certificates, at least one of which can be used.
    File(Arc<Vec<CertificateDer<'static>>>, PathBuf),
}

/// Why a certificate or an authority cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} holds no certificate of an authority in PEM form")]
    Authority(String),
    #[error("certificate {certificate} with key {key}")]
    Identity {
        certificate: String,
        key: String,
        #[source]
        source: IdentityError,
    },
    #[error("the certificate that the controller issued, {path}")]
    Issued {
        path: String,
        #[source]
        source: IdentityError,
    },
}

/// The credentials of one uplink. Cheap to copy.
pub(super) type Credentials = credentials::Credentials<Files>;

impl Credentials {
    /// Nothing is read yet.
    pub(super) fn new(token: TokenSource, tls: &Tls) -> Credentials {
        Credentials::of(Files::new(token, tls))
    }

    /// Keeps what the controller issues in `directory`, and proves the node with it where the configuration names no
    /// certificate.
    pub(super) fn keep_issued_in(&self, directory: PathBuf) {
        self.prepare(|files| files.keep_issued_in(directory));
    }

    /// What a connection is to be secured with, whatever the token is like; `None` where it is not encrypted.
    ///
    /// # Errors
    /// When a certificate or the authorities cannot be used.
    pub(super) async fn read_tls(&self) -> Result<Option<TlsProof>, String> {
        self.blocking(|files| files.tls.as_mut().map(TlsFiles::look).transpose()).await?
    }

    /// Keeps the certificate in what the controller answered to `Register`, if there is one, where it is to be kept.
    pub(super) async fn keep(&self, response: &RegisterResponse) {
        if response.certificate.is_empty() && response.private_key.is_empty() {
            return;
        }
        let (certificate, key) = (response.certificate.clone(), response.private_key.clone());
        match self.blocking(move |files| files.keep(&certificate, &key)).await {
            Ok(Ok(true)) => {
                self.forget();
                tracing::info!("the controller has issued a certificate to this node");
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    message_id = %message::CREDENTIALS_REFUSED,
                    error = %ErrorChain(&error),
                    "the certificate that the controller issued is not used"
                );
            }
            Ok(Ok(false)) | Err(_) => {}
        }
    }
}

/// The files, and what was read from them.
pub(super) struct Files {
    token: TokenFile,
    tls: Option<TlsFiles>,
    /// Whether a certificate was issued that is not kept, and that was told.
    told_plain: bool,
}

enum TokenFile {
    Inline(Result<Token, NodeTokenError>),
    File(PathBuf, Followed<Token>),
}

struct TlsFiles {
    authorities: Option<(PathBuf, Followed<Authorities>)>,
    identity: Option<([PathBuf; 2], Followed<Identity>)>,
    issued: Option<Issued>,
    server_name: Option<String>,
}

struct Issued {
    directory: PathBuf,
    followed: Followed<Option<Identity>>,
    /// The edition that has expired, or the trouble, as it was told.
    told: Option<String>,
}

impl Files {
    fn new(token: TokenSource, tls: &Tls) -> Files {
        let token = match token {
            TokenSource::Inline(token) => {
                TokenFile::Inline(Token::parse(token.reveal(), || "the configured token".to_owned()))
            }
            TokenSource::File(path) => TokenFile::File(path.clone(), Followed::new(vec![path])),
        };
        let tls = match tls {
            Tls::Off => None,
            Tls::On { ca_file, cert_file, key_file, server_name } => Some(TlsFiles {
                authorities: ca_file.clone().map(|path| (path.clone(), Followed::new(vec![path]))),
                identity: cert_file.clone().zip(key_file.clone()).map(|(certificate, key)| {
                    let files = [certificate, key];
                    (files.clone(), Followed::new(files.to_vec()))
                }),
                issued: None,
                server_name: server_name.clone(),
            }),
        };
        Files { token, tls, told_plain: false }
    }

    fn keep_issued_in(&mut self, directory: PathBuf) {
        if let Some(tls) = self.tls.as_mut().filter(|tls| tls.identity.is_none()) {
            let followed = Followed::new(vec![issued::file_in(&directory)]);
            tls.issued = Some(Issued { directory, followed, told: None });
        }
    }

    fn keep(&mut self, certificate: &str, key: &str) -> Result<bool, IssuedError> {
        match &self.tls {
            Some(TlsFiles { issued: Some(issued), .. }) => issued::keep(&issued.directory, certificate, key),
            // The configuration names another one, or nobody said where to keep it.
            Some(_) => Ok(false),
            None => {
                if !std::mem::replace(&mut self.told_plain, true) {
                    tracing::warn!("the controller has sent a certificate and its key in clear; they are not used");
                }
                Ok(false)
            }
        }
    }
}

impl credentials::Files for Files {
    type Proof = Proof;

    fn look(&mut self) -> Result<Proof, String> {
        let token = match &mut self.token {
            TokenFile::Inline(token) => token.as_ref().map(Clone::clone).map_err(|error| ErrorChain(error).to_string()),
            TokenFile::File(path, followed) => look("token", followed, || Token::read(path)),
        }?;
        let tls = self.tls.as_mut().map(TlsFiles::look).transpose()?;
        Ok(Proof { token, tls: tls.map(Arc::new) })
    }

    fn have_changed(&self) -> bool {
        let token = matches!(&self.token, TokenFile::File(_, followed) if followed.has_changed());
        token || self.tls.as_ref().is_some_and(TlsFiles::have_changed)
    }

    fn edition(&self) -> u64 {
        let token = match &self.token {
            TokenFile::File(_, followed) => edition(followed),
            TokenFile::Inline(_) => 0,
        };
        let issued = self.tls.as_ref().and_then(|tls| tls.issued.as_ref());
        token + self.tls.as_ref().map_or(0, TlsFiles::edition) + issued.map_or(0, |issued| edition(&issued.followed))
    }
}

impl TlsFiles {
    fn look(&mut self) -> Result<TlsProof, String> {
        let authorities = self
            .authorities
            .as_mut()
            .map(|(path, followed)| look("authorities of the controller", followed, || read_authorities(path)));
        let authorities = authorities.transpose()?.unwrap_or(Authorities::System);
        let configured = self
            .identity
            .as_mut()
            .map(|(files, followed)| look("certificate and key of this node", followed, || read_identity(files)));
        let (configured, now) = (configured.transpose()?, SystemTime::now());
        let issued = self.issued.as_mut().and_then(|issued| issued.look(now));
        Ok(TlsProof {
            edition: self.edition(),
            authorities,
            is_issued: issued.is_some(),
            identity: configured.or(issued),
            server_name: self.server_name.clone(),
            looked_at: now,
        })
    }

    /// Of the files that the configuration names.
    fn edition(&self) -> u64 {
        let authorities = self.authorities.as_ref().map_or(0, |(_, followed)| edition(followed));
        authorities + self.identity.as_ref().map_or(0, |(_, followed)| edition(followed))
    }

    fn have_changed(&self) -> bool {
        self.authorities.as_ref().is_some_and(|(_, followed)| followed.has_changed())
            || self.identity.as_ref().is_some_and(|(_, followed)| followed.has_changed())
            || self.issued.as_ref().is_some_and(|issued| issued.followed.has_changed())
    }
}

impl Issued {
    /// The certificate, unless there is none that can be used; that is told once.
    fn look(&mut self, now: SystemTime) -> Option<Identity> {
        let path = issued::file_in(&self.directory);
        let what = "certificate that the controller issued";
        let trouble = match look(what, &mut self.followed, || read_issued(&path)) {
            Ok(None) => return None,
            Ok(Some(identity)) if !identity.has_expired(now) => return Some(identity),
            Ok(Some(identity)) => {
                let expiry = humantime::format_rfc3339_seconds(identity.validity.1);
                format!("the certificate that the controller issued has expired at {expiry}")
            }
            Err(error) => error,
        };
        if self.told.as_ref() != Some(&trouble) {
            tracing::warn!(path = %path.display(), error = trouble, "the node proves itself with its token alone");
            self.told = Some(trouble);
        }
        None
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    files::read_bounded(path, FILE_BYTES_MAX)
        .map_err(|source| FileError::Read { path: path.display().to_string(), source })
}

fn read_authorities(path: &Path) -> Result<Authorities, FileError> {
    let nothing = || FileError::Authority(path.display().to_string());
    let certificates = certificates_of(&read_file(path)?).ok_or_else(nothing)?;
    // A bundle of many may hold old ones that nobody can use any more.
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    if usable == 0 { Err(nothing()) } else { Ok(Authorities::File(Arc::new(certificates), path.to_owned())) }
}

fn read_identity([certificate, key]: &[PathBuf; 2]) -> Result<Identity, FileError> {
    Identity::from_pem(&read_file(certificate)?, &read_file(key)?).map_err(|source| FileError::Identity {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    })
}

fn read_issued(path: &Path) -> Result<Option<Identity>, FileError> {
    if !fs::exists(path).unwrap_or(true) {
        return Ok(None);
    }
    let failed = |source| FileError::Issued { path: path.display().to_string(), source };
    issued::parse(&read_file(path)?).map(Some).map_err(failed)
}
