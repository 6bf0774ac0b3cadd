//! The key that tokens are issued with: a secret (HS256), or an Ed25519 private key (EdDSA), whose public half is all
//! that the controller needs to know.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::signature::Ed25519KeyPair;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use super::{Claims, NodeIdentity, SigningSecret, TokenError, provider};
use crate::{controller::KEY_BYTES_MAX, files};

/// Issues tokens.
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// Why a file gives no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read.
    #[error("read private key {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else.
    #[error("{path} is no Ed25519 private key; make one with: openssl genpkey -algorithm ed25519 -out FILE")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
}

impl SigningKey {
    /// An Ed25519 private key in PEM ("BEGIN PRIVATE KEY").
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<SigningKey, SigningKeyError> {
        let pem = files::read_secret(path, KEY_BYTES_MAX)
            .map_err(|source| SigningKeyError::Read { path: path.to_owned(), source })?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok();
        // Tried once here, so that signing cannot fail later.
        let key = key.filter(|key| Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).is_ok());
        let key = key.ok_or_else(|| SigningKeyError::Foreign { path: path.to_owned() })?;
        Ok(SigningKey { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(key.secret_pkcs8_der()) })
    }

    /// Makes a token for a node. `expires_at` is in Unix seconds; without it the token is valid until the key changes.
    ///
    /// # Errors
    /// When a name is none that [`super::Keys::verify`] would accept.
    pub fn issue(&self, identity: &NodeIdentity, expires_at: Option<i64>) -> Result<String, TokenError> {
        identity.check()?;
        provider::install();
        let claims = Claims {
            rid: identity.node.clone(),
            sub: identity.organisation.clone(),
            prv: identity.private,
            exp: expires_at.map(|seconds| seconds as f64),
            nbf: None,
        };
        let token = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.key);
        Ok(token.expect("our claims are JSON, and the key has been tried"))
    }
}

impl From<&SigningSecret> for SigningKey {
    fn from(secret: &SigningSecret) -> SigningKey {
        SigningKey { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret.bytes()) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, …)", self.algorithm)
    }
}
