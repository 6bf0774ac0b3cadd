//! The bearer token and what it says of the node. Read again whenever its file changes; never shown.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::metadata::{Ascii, MetadataValue};

use crate::settings::Secret;

/// The longest token that is read, bytes.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Where the token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file that holds nothing else, read again when it changes.
    File(PathBuf),
    /// The configuration itself.
    Inline(Secret),
}

/// What the controller put into the token. Read without a check of the signature: the controller checks it, the node only
/// needs to know its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Claims {
    /// Node.
    pub rid: Option<String>,
    /// Organisation.
    pub sub: Option<String>,
    /// Whether the node lives in a private network.
    pub prv: Option<bool>,
}

/// A token ready for use.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: MetadataValue<Ascii>,
    pub(super) claims: Claims,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("read the token from {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("{place} holds no token: expected one line of printable characters")]
    Malformed {
        /// The file, or the configuration key.
        place: String,
    },
}

/// Reads the token, and again when the file is another one.
pub(super) struct TokenReader {
    source: TokenSource,
    read: Option<(Version, Token)>,
}

/// Tells one content of a file from another without reading it.
type Version = (u64, i64, i64, u64);

impl TokenReader {
    pub(super) fn new(source: TokenSource) -> TokenReader {
        TokenReader { source, read: None }
    }

    /// The token as it is now. A `stat` when nothing has changed.
    ///
    /// # Errors
    /// When the file cannot be read or holds no token.
    pub(super) fn token(&mut self) -> Result<Token, TokenError> {
        let path = match &self.source {
            TokenSource::Inline(token) => return Token::parse(token.reveal(), || "the configured token".to_owned()),
            TokenSource::File(path) => path.clone(),
        };
        let failed = |source| TokenError::Read { path: path.display().to_string(), source };
        let metadata = fs::metadata(&path).map_err(failed)?;
        let version = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
        if let Some((read, token)) = &self.read
            && *read == version
        {
            return Ok(token.clone());
        }
        if metadata.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed { place: path.display().to_string() });
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        let token = Token::parse(&text, || path.display().to_string())?;
        self.read = Some((version, token.clone()));
        Ok(token)
    }
}

impl Token {
    fn parse(text: &str, place: impl Fn() -> String) -> Result<Token, TokenError> {
        let token = text.trim();
        let malformed = || TokenError::Malformed { place: place() };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let mut header = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| malformed())?;
        // Keeps it out of debug output and of HTTP/2's compression tables.
        header.set_sensitive(true);
        Ok(Token { header, claims: claims(token).unwrap_or_default() })
    }
}

/// The claims of a JWT; `None` for an opaque token.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_node_is_named_by_the_token() {
        let mut reader = TokenReader::new(TokenSource::Inline(Secret::new(jwt(
            r#"{"rid":"nas-7","sub":"acme","prv":true,"exp":1}"#,
        ))));
        let claims = reader.token().expect("a token").claims;
        assert_eq!(claims, Claims { rid: Some("nas-7".into()), sub: Some("acme".into()), prv: Some(true) });
    }

    #[test]
    fn an_opaque_token_is_sent_all_the_same() {
        let token = TokenReader::new(TokenSource::Inline(Secret::new("s3cret"))).token().expect("a token");
        assert_eq!(token.claims, Claims::default());
        assert_eq!(token.header.to_str().ok(), Some("Bearer s3cret"));
        assert!(!format!("{:?}", token.header).contains("s3cret"));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        fs::write(&path, "one\n").expect("written");
        let mut reader = TokenReader::new(TokenSource::File(path.clone()));
        assert_eq!(reader.token().expect("a token").header.to_str().ok(), Some("Bearer one"));
        fs::write(&path, "three\n").expect("written");
        assert_eq!(reader.token().expect("a token").header.to_str().ok(), Some("Bearer three"));
        fs::write(&path, "two\nlines\n").expect("written");
        let error = reader.token().err().expect("refused").to_string();
        assert!(error.contains("token") && !error.contains("lines"));
        fs::remove_file(&path).expect("removed");
        assert!(matches!(reader.token(), Err(TokenError::Read { .. })));
    }
}
