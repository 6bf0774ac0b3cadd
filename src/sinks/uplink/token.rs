//! The bearer token and what it says of the node. Never shown.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::metadata::{Ascii, MetadataValue};

use crate::{files, settings::Secret, sinks::credentials::FILE_BYTES_MAX};

/// The longest token that is read, bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Where the token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// When a token is valid, by its own word. Read without a check of the signature, as [`Claims`] are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenTimes {
    /// When it was issued.
    pub issued: Option<SystemTime>,
    /// From when on it is valid.
    pub not_before: Option<SystemTime>,
    /// Until when; never-ending, or an opaque token, where it says nothing.
    pub expires: Option<SystemTime>,
    /// It says nothing at all: no JWT, or one whose times cannot be read.
    pub is_opaque: bool,
}

impl TokenTimes {
    /// Of the token of a source. Blocking. An opaque token tells nothing.
    ///
    /// # Errors
    /// When there is no token.
    pub fn read(source: &TokenSource) -> Result<TokenTimes, NodeTokenError> {
        let token = Token::of(source)?;
        let times = token.header.to_str().ok().and_then(times);
        Ok(times.unwrap_or(TokenTimes { is_opaque: true, ..TokenTimes::default() }))
    }
}

/// Seconds since 1970, with a fraction or without, as RFC 7519 has them.
#[derive(serde::Deserialize)]
struct NumericDates {
    iat: Option<f64>,
    nbf: Option<f64>,
    exp: Option<f64>,
}

fn times(token: &str) -> Option<TokenTimes> {
    let NumericDates { iat, nbf, exp } = serde_json::from_slice(&payload(token)?).ok()?;
    let time = |seconds: Option<f64>| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds?).ok()?);
    Some(TokenTimes { issued: time(iat), not_before: time(nbf), expires: time(exp), is_opaque: false })
}

/// A token ready for use.
#[derive(Clone, PartialEq)]
pub(super) struct Token {
    pub(super) header: MetadataValue<Ascii>,
    pub(super) claims: Claims,
    /// Unix milliseconds; `None` where it does not say.
    pub(super) expires_at: Option<i64>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum NodeTokenError {
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

impl Token {
    /// The token of a source. Blocking.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub(super) fn of(source: &TokenSource) -> Result<Token, NodeTokenError> {
        match source {
            TokenSource::File(path) => Token::read(path),
            TokenSource::Inline(token) => Token::parse(token.reveal(), || "the configured token".to_owned()),
        }
    }

    /// Reads the token in a file. Blocking.
    ///
    /// # Errors
    /// When it cannot be read or holds no token.
    pub(super) fn read(path: &Path) -> Result<Token, NodeTokenError> {
        let place = || path.display().to_string();
        let bytes = files::read_bounded(path, FILE_BYTES_MAX)
            .map_err(|source| NodeTokenError::Read { path: place(), source })?;
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= TOKEN_BYTES_MAX);
        text.ok_or_else(|| NodeTokenError::Malformed { place: place() }).and_then(|text| Token::parse(&text, place))
    }

    /// Takes a text for a token; `place` says where it stands, for the error.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn parse(text: &str, place: impl Fn() -> String) -> Result<Token, NodeTokenError> {
        // Some editors begin a file with a byte order mark.
        let token = text.trim_start_matches('\u{feff}').trim();
        let malformed = || NodeTokenError::Malformed { place: place() };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let mut header = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| malformed())?;
        // Keeps it out of debug output and of HTTP/2's compression tables.
        header.set_sensitive(true);
        let payload = payload(token).unwrap_or_default();
        let claims = serde_json::from_slice(&payload).unwrap_or_default();
        Ok(Token { header, claims, expires_at: expiry(&payload) })
    }
}

/// What stands in a JWT; `None` for an opaque token.
fn payload(token: &str) -> Option<Vec<u8>> {
    let payload = token.split('.').nth(1)?;
    URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()
}

/// When a JWT expires, Unix milliseconds. Apart from the other claims: one that cannot be read hides none of them.
fn expiry(payload: &[u8]) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Expiry {
        /// Unix seconds; RFC 7519 allows fractions.
        exp: f64,
    }
    let Expiry { exp } = serde_json::from_slice(payload).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates")]
    Some((exp * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn parse(text: &str) -> Result<Token, NodeTokenError> {
        Token::parse(text, || "/token".to_owned())
    }

    #[test]
    fn the_node_is_named_by_the_token() {
        let claims = parse(&jwt(r#"{"rid":"nas-7","sub":"acme","prv":true,"exp":1}"#)).expect("a token").claims;
        assert_eq!(claims, Claims { rid: Some("nas-7".into()), sub: Some("acme".into()), prv: Some(true) });
    }

    #[test]
    fn when_a_token_expires_stands_apart_from_what_it_says_of_the_node() {
        let token = |exp: &str| parse(&jwt(&format!(r#"{{"rid":"nas-7","exp":{exp}}}"#))).expect("a token");
        assert_eq!(token("1800000000").expires_at, Some(1_800_000_000_000));
        assert_eq!(token("1800000000.25").expires_at, Some(1_800_000_000_250));
        assert_eq!(token("1e300").expires_at, Some(i64::MAX));
        let odd = token("\"tomorrow\"");
        assert_eq!((odd.expires_at, odd.claims.rid.as_deref()), (None, Some("nas-7")));
    }

    #[test]
    fn a_token_says_when_it_is_valid_where_it_does() {
        let read = |claims: &str| TokenTimes::read(&TokenSource::Inline(Secret::new(jwt(claims)))).expect("a token");
        let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds));
        let all = TokenTimes { issued: at(100.0), not_before: at(200.5), expires: at(300.0), is_opaque: false };
        assert_eq!(read(r#"{"rid":"nas-7","iat":100,"nbf":200.5,"exp":300}"#), all);
        assert_eq!(read(r#"{"rid":"nas-7"}"#), TokenTimes::default());
        assert_eq!(read(r#"{"exp":-5}"#).expires, None);
        assert_eq!(read(r#"{"exp":1e300}"#).expires, None);
        let opaque = TokenTimes::read(&TokenSource::Inline(Secret::new("s3cret".to_owned())));
        assert_eq!(opaque.expect("a token"), TokenTimes { is_opaque: true, ..TokenTimes::default() });
    }

    #[test]
    fn an_opaque_token_is_sent_all_the_same() {
        let token = parse("s3cret\n").expect("a token");
        assert_eq!(token.claims, Claims::default());
        assert_eq!(token.header.to_str().ok(), Some("Bearer s3cret"));
        assert!(!format!("{:?}", token.header).contains("s3cret"));
    }

    #[test]
    fn what_is_no_token_is_not_shown() {
        for text in ["", " \n", "two\nlines", "umlaut\u{e4}"] {
            let error = parse(text).err().expect("refused").to_string();
            assert!(error.starts_with("/token holds no token") && !error.contains("two"), "{error}");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        let read = || Token::read(&path).map(|token| token.header.to_str().ok().map(str::to_owned));
        assert!(matches!(read(), Err(NodeTokenError::Read { .. })));
        std::fs::write(&path, "one\n").expect("written");
        assert_eq!(read().expect("a token").as_deref(), Some("Bearer one"));
        std::fs::write(&path, "x".repeat(TOKEN_BYTES_MAX + 1)).expect("written");
        assert!(matches!(read(), Err(NodeTokenError::Malformed { .. })));
    }
}
