//! Who is calling: bearer tokens (JWT) whose claims name the node (`rid`), the organisation (`sub`) and whether it sits
//! in a private network (`prv`). Taken by `ingest`; the command line, `try` and tests issue tokens here too.
//!
//! What holds: the algorithm is the key's, never the token's choice; several keys may be valid at once, so that they can
//! be changed one after the other; `exp` and `nbf` are honoured where they stand (a token without `exp` is valid until
//! the key changes); a token for an audience is refused, for none is ours, and so is one with a critical extension, for
//! none is known; names show what they are, so that two of them never look the same for what nobody sees; no secret and no token is ever part of a message.

mod provider;
mod public_key;
mod secret;
mod signing;

use std::{path::PathBuf, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

pub use public_key::PublicKeyError;
pub use secret::{SECRET_BYTES_MIN, SecretError, SigningSecret};
pub use signing::{SigningKey, SigningKeyError};

use super::fresh::{Fresh, Refreshed};
use public_key::PublicKey;

/// A longer token is refused unread.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The longest node and organisation name, bytes.
const NAME_BYTES_MAX: usize = 128;

/// By how much the clocks of who issued a token and of the controller may differ, seconds.
const CLOCK_SKEW_MAX: i64 = 60;

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node: claim `rid`.
    pub node: String,
    /// The organisation: claim `sub`; empty where the token names none.
    pub organisation: String,
    /// Whether the node sits in a private network: claim `prv`.
    pub private: bool,
}

/// Why a token is refused. The messages go to the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64 and JSON, too long, or claims of a wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with an algorithm that no key of ours has.
    #[error("the token's algorithm is none that this controller has a key for")]
    Algorithm,
    /// Signed with another key, or changed since.
    #[error("the token's signature does not match")]
    Signature,
    /// Its header demands what is not known here (RFC 7515, 4.1.11).
    #[error("the token has a critical extension, and this controller knows none")]
    Critical,
    /// Made for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// `exp` lies behind.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet; compare the clocks")]
    NotYet,
    /// `rid` is absent, too long, or not printable.
    #[error("the token names no node: claim `rid` must be 1 to 128 printable characters")]
    Node,
    /// `sub` is too long or not printable.
    #[error("the token's claim `sub` must be at most 128 printable characters")]
    Organisation,
}

/// The keys that tokens are verified with, each pinned to its algorithm.
#[derive(Clone)]
pub struct Keys {
    keys: Arc<Fresh<Vec<Key>>>,
}

/// The files that keys are read from, and read again when they change.
#[derive(Clone, Debug, Default)]
pub struct KeyFiles {
    /// Secrets for HS256.
    pub secrets: Vec<PathBuf>,
    /// Public keys (PEM) for EdDSA and RS256.
    pub public_keys: Vec<PathBuf>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A public key cannot be used.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
}

struct Key {
    validation: Validation,
    decoding: DecodingKey,
}

impl Keys {
    /// Accepts tokens that were signed with this secret, by HS256.
    pub fn hs256(secret: &SigningSecret) -> Keys {
        Keys { keys: Arc::new(Fresh::fixed(vec![Key::secret(secret)])) }
    }

    /// Accepts tokens that were signed with any of these keys; they follow their files while the controller serves.
    /// Blocks.
    ///
    /// # Errors
    /// When one of the files cannot be used.
    pub fn read(files: KeyFiles) -> Result<Keys, KeysError> {
        let paths = files.secrets.iter().chain(&files.public_keys).cloned().collect();
        Ok(Keys { keys: Arc::new(Fresh::read("token keys", paths, move || files.keys())?) })
    }

    /// Reads the files again if they have changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        self.keys.refresh()
    }

    /// Verifies a token at `now` (Unix seconds).
    ///
    /// # Errors
    /// When the token is not valid; the message may go to the caller.
    pub fn verify(&self, token: &str, now: i64) -> Result<NodeIdentity, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        provider::install();
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let mut refused = TokenError::Algorithm;
        for key in self.keys.current().iter().filter(|key| key.validation.algorithms == [header.alg]) {
            match jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation) {
                Ok(verified) => return verified.claims.identity(now),
                Err(error) => refused = TokenError::from_kind(error.kind()),
            }
        }
        Err(refused)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.keys.current().len())
    }
}

impl KeyFiles {
    fn keys(&self) -> Result<Vec<Key>, KeysError> {
        let mut keys = Vec::new();
        for path in &self.secrets {
            keys.push(Key::secret(&SigningSecret::read(path)?));
        }
        for path in &self.public_keys {
            keys.extend(PublicKey::read(path)?.into_iter().map(|public| Key::new(public.algorithm, public.key)));
        }
        Ok(keys)
    }
}

impl Key {
    fn secret(secret: &SigningSecret) -> Key {
        Key::new(Algorithm::HS256, DecodingKey::from_secret(secret.bytes()))
    }

    fn new(algorithm: Algorithm, decoding: DecodingKey) -> Key {
        let mut validation = Validation::new(algorithm);
        // Times are checked by `Claims::identity`, against the clock that is handed in.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Key { validation, decoding }
    }
}

impl TokenError {
    fn from_kind(kind: &ErrorKind) -> TokenError {
        match kind {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
            ErrorKind::InvalidAudience => TokenError::Audience,
            _ => TokenError::Malformed,
        }
    }
}

/// Makes a token for a node, signed by HS256. `expires_at` is in Unix seconds; without it the token is valid until the
/// secret changes.
///
/// # Errors
/// When a name is none that [`Keys::verify`] would accept.
pub fn issue(secret: &SigningSecret, identity: &NodeIdentity, expires_at: Option<i64>) -> Result<String, TokenError> {
    SigningKey::from(secret).issue(identity, expires_at)
}

/// The claims that we read. RFC 7519 allows fractions of a second.
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(default)]
    rid: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    prv: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
}

impl Claims {
    fn identity(self, now: i64) -> Result<NodeIdentity, TokenError> {
        if self.exp.is_some_and(|end| now.saturating_sub(CLOCK_SKEW_MAX) as f64 >= end) {
            return Err(TokenError::Expired);
        }
        if self.nbf.is_some_and(|start| start > now.saturating_add(CLOCK_SKEW_MAX) as f64) {
            return Err(TokenError::NotYet);
        }
        let identity = NodeIdentity { node: self.rid, organisation: self.sub, private: self.prv };
        identity.check().map(|()| identity)
    }
}

impl NodeIdentity {
    /// Whether its names may be a node's and an organisation's.
    fn check(&self) -> Result<(), TokenError> {
        let NodeIdentity { node, organisation, .. } = self;
        let is_unclear = |c: char| c.is_control() || is_invisible(c);
        if !(1..=NAME_BYTES_MAX).contains(&node.len()) || node.chars().any(|c| is_unclear(c) || c.is_whitespace()) {
            return Err(TokenError::Node);
        }
        // Of the line ends these two are no control characters.
        let is_line_end = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
        if organisation.len() > NAME_BYTES_MAX || organisation.chars().any(|c| is_unclear(c) || is_line_end(c)) {
            return Err(TokenError::Organisation);
        }
        Ok(())
    }
}

/// Whether a character is not to be seen, or turns the direction of others: Unicode's Default_Ignorable_Code_Point,
/// which has those of Bidi_Control in it, and the marks of annotation.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
