//! Public keys that tokens are verified with, from PEM files ("BEGIN PUBLIC KEY", as `openssl pkey -pubout` writes
//! them): Ed25519 for EdDSA, RSA for RS256. The algorithm is the key's.

use std::{
    io,
    path::{Path, PathBuf},
};

use jsonwebtoken::{Algorithm, DecodingKey};
use tokio_rustls::rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

use crate::{
    controller::KEY_BYTES_MAX,
    files,
    tls::{Der, tag},
};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED25519_BYTES: usize = 32;

/// Bits of an RSA modulus: what is shorter can be broken, what is longer only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a file gives no public key.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeyError {
    /// The file cannot be read.
    #[error("read token key {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else, or nothing.
    #[error("token key {path} is no public key in PEM (\"BEGIN PUBLIC KEY\"); {hint}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// How to get one.
        hint: &'static str,
    },
    /// A key that we have no use for.
    #[error("token key {path} is neither Ed25519 nor RSA of 2048 to 8192 bits")]
    Algorithm {
        /// Which file.
        path: PathBuf,
    },
}

/// A public key and the one algorithm that it is good for.
pub(super) struct PublicKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// The keys of a file, at least one: a file may hold the old one and the new one.
    pub(super) fn read(path: &Path) -> Result<Vec<PublicKey>, PublicKeyError> {
        let foreign = |hint| PublicKeyError::Foreign { path: path.to_owned(), hint };
        let pem = files::read_bounded(path, KEY_BYTES_MAX).map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => foreign("the file is too large"),
            _ => PublicKeyError::Read { path: path.to_owned(), source },
        })?;
        let keys: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(&pem).collect();
        let keys = keys.ok().filter(|keys| !keys.is_empty()).ok_or_else(|| foreign(hint(&pem)))?;
        let usable = |key: &SubjectPublicKeyInfoDer| {
            PublicKey::from_der(key).ok_or_else(|| PublicKeyError::Algorithm { path: path.to_owned() })
        };
        keys.iter().map(usable).collect()
    }

    /// From a SubjectPublicKeyInfo; `None` when it is none or of another kind.
    pub(super) fn from_der(bytes: &[u8]) -> Option<PublicKey> {
        let mut outer = Der(bytes);
        let mut der = outer.enter(tag::SEQUENCE).filter(|_| outer.is_empty())?;
        let algorithm = der.enter(tag::SEQUENCE)?.next(tag::OBJECT_IDENTIFIER)?;
        // The first byte counts the bits that are not used: none, for keys are bytes.
        let (&0, key) = der.next(tag::BIT_STRING)?.split_first()? else { return None };
        if !der.is_empty() {
            return None;
        }
        match algorithm {
            ED25519 if key.len() == ED25519_BYTES => {
                Some(PublicKey { algorithm: Algorithm::EdDSA, key: DecodingKey::from_ed_der(key) })
            }
            RSA if RSA_BITS.contains(&modulus_bits(key)?) => {
                Some(PublicKey { algorithm: Algorithm::RS256, key: DecodingKey::from_rsa_der(key) })
            }
            _ => None,
        }
    }
}

fn modulus_bits(key: &[u8]) -> Option<usize> {
    let modulus = Der(key).enter(tag::SEQUENCE)?.next(tag::INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = modulus.get(zeros..)?;
    Some(significant.len() * 8 - significant.first()?.leading_zeros() as usize)
}

/// What somebody who gave another file may want to do.
fn hint(pem: &[u8]) -> &'static str {
    let holds = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
    if holds("PRIVATE KEY-----") {
        "this is a private key: openssl pkey -in FILE -pubout gives the public one"
    } else if holds("BEGIN CERTIFICATE-----") {
        "this is a certificate: openssl x509 -in FILE -pubkey -noout gives its key"
    } else if holds("BEGIN RSA PUBLIC KEY-----") {
        "openssl rsa -RSAPublicKey_in -in FILE -pubout makes it one"
    } else {
        "a secret for HS256 goes to --token-secret"
    }
}
