//! Signatures of Standard Webhooks 1.0.0: `v1,BASE64(HMAC-SHA256(id.timestamp.body))`, one for each key that is valid; and of the
//! whole body, `sha256=HEX(HMAC-SHA256(body))`, as many receivers of their own make have it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

/// What a key as text begins with.
const PREFIX: &str = "whsec_";

/// Bytes of a key, as the specification has them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that both sides know. Never shown.
#[derive(Clone)]
pub(super) struct Key {
    key: hmac::Key,
    /// Tells keys apart without saying anything of them.
    bytes: Vec<u8>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes == other.bytes
    }
}

impl Key {
    /// From its text, `whsec_` and base64.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub(super) fn parse(text: &str) -> Result<Key, String> {
        let expects = || "expected `whsec_` and the base64 of 24 to 64 bytes".to_owned();
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(expects)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| expects())?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(expects());
        }
        Ok(Key::of(bytes))
    }

    /// The bytes themselves.
    pub(super) fn of(bytes: Vec<u8>) -> Key {
        Key { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes }
    }

    /// For whoever has to be told it. Never shown.
    pub(super) fn reveal(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The signature of a whole body.
pub(super) fn of_body(key: &Key, body: &[u8]) -> String {
    let signature = hmac::sign(&key.key, body);
    format!("sha256={}", crate::words::hexadecimal(signature.as_ref()))
}

/// The value of `webhook-signature` of a body that is sent at `timestamp`, Unix seconds.
pub(super) fn signatures(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    let sign = |key: &Key| {
        let mut context = hmac::Context::with_key(&key.key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn a_signature_is_that_of_the_specification() {
        let keys = [Key::parse(TEXT).expect("a key")];
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        assert_eq!(
            signatures(&keys, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body.as_bytes()),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
        let both = [keys[0].clone(), keys[0].clone()];
        assert_eq!(
            signatures(&both, "id", 1, body.as_bytes()).split(' ').count(),
            2,
            "one for each key while they are changed"
        );
    }

    #[test]
    fn a_body_is_signed_as_its_receivers_compute_it() {
        // RFC 4231, test case 2.
        assert_eq!(
            of_body(&Key::of(b"Jefe".to_vec()), b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_quoted() {
        for text in ["", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_", "whsec_AAAA", "whsec_!!!", "whpk_AAAA"] {
            assert!(Key::parse(text).is_err_and(|error| error.starts_with("expected `whsec_`")), "{text}");
        }
    }
}
