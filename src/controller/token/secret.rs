//! The secret that tokens are signed with, from a file. Never printed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::public_key::PublicKey;
use crate::{controller::KEY_BYTES_MAX, files};

/// As many bytes as the hash has: a shorter secret could be guessed more easily than the signature.
pub const SECRET_BYTES_MIN: usize = 32;

/// A secret for HS256.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("read token secret {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too little to be one.
    #[error(
        "token secret has {bytes} bytes, and at least {SECRET_BYTES_MIN} are needed; \
         make one with: head -c 32 /dev/urandom | base64 > FILE"
    )]
    TooShort {
        /// How many there are, without the line end.
        bytes: usize,
    },
    /// Too much to be one.
    #[error("token secret is larger than {KEY_BYTES_MAX} bytes: is it the right file?")]
    TooLong,
    /// A key, which may well be public: who knows it could sign as if it were a secret.
    #[error("a key is no token secret; public keys go to --token-key")]
    Key,
    /// The operating system gives no randomness.
    #[error("draw a random secret")]
    Random,
}

impl SigningSecret {
    /// Reads a file: all of its bytes, less one line end at the end, which editors and `echo` leave.
    ///
    /// # Errors
    /// When the file cannot be read, is too short or too long for a secret, or holds a key of another kind.
    pub fn read(path: &Path) -> Result<SigningSecret, SecretError> {
        let bytes = files::read_secret(path, KEY_BYTES_MAX).map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => SecretError::TooLong,
            _ => SecretError::Read { path: path.to_owned(), source },
        })?;
        SigningSecret::from_bytes(bytes)
    }

    /// The secret in these bytes, less one line end.
    ///
    /// # Errors
    /// As [`SigningSecret::read`].
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<SigningSecret, SecretError> {
        if bytes.starts_with(b"-----BEGIN ") || PublicKey::from_der(&bytes).is_some() {
            return Err(SecretError::Key);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            bytes.pop_if(|byte| *byte == b'\r');
        }
        match bytes.len() {
            0..SECRET_BYTES_MIN => Err(SecretError::TooShort { bytes: bytes.len() }),
            length if length as u64 > KEY_BYTES_MAX => Err(SecretError::TooLong),
            _ => Ok(SigningSecret(bytes)),
        }
    }

    /// A secret that nobody knows: for a controller that lives as long as its process.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn random() -> Result<SigningSecret, SecretError> {
        let mut bytes = vec![0; SECRET_BYTES_MIN];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
            .map_err(|_| SecretError::Random)?;
        Ok(SigningSecret(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}
