mod keys;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

fn secret(byte: u8) -> SigningSecret {
    SigningSecret::from_bytes(vec![byte; SECRET_BYTES_MIN]).expect("long enough")
}

/// A token made by hand, so that our own issuing is not its own judge.
fn token(header: Value, claims: Value, byte: u8) -> String {
    let body = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret(byte).bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, body.as_bytes())))
}

fn hs256(claims: Value) -> String {
    token(json!({"alg": "HS256", "typ": "JWT"}), claims, 7)
}

fn verify(token: &str) -> Result<NodeIdentity, TokenError> {
    Keys::hs256(&secret(7)).verify(token, NOW)
}

#[test]
fn an_issued_token_names_its_node_until_it_expires() {
    let identity = NodeIdentity { node: "nas-1".into(), organisation: "acme".into(), private: true };
    let token = issue(&secret(7), &identity, Some(NOW + 10)).expect("a token");
    let keys = Keys::hs256(&secret(7));
    assert_eq!(keys.verify(&token, NOW), Ok(identity.clone()));
    assert_eq!(keys.verify(&token, NOW + 9 + CLOCK_SKEW_MAX), Ok(identity.clone()));
    assert_eq!(keys.verify(&token, NOW + 10 + CLOCK_SKEW_MAX), Err(TokenError::Expired));
    let token = issue(&secret(7), &identity, None).expect("a token");
    assert_eq!(keys.verify(&token, i64::MAX), Ok(identity));
}

#[test]
fn a_token_of_others_is_read_with_the_claims_of_the_contract() {
    let minimal = NodeIdentity { node: "n".into(), organisation: String::new(), private: false };
    assert_eq!(verify(&hs256(json!({"rid": "n"}))), Ok(minimal.clone()));
    assert_eq!(verify(&hs256(json!({"rid": "n", "iat": 1, "more": [], "exp": 1_900_000_000.5}))), Ok(minimal));
    let foreign = hs256(json!({"rid": "Лагер-ñ-倉庫", "sub": "Kühn & Söhne"}));
    assert_eq!(verify(&foreign).map(|identity| identity.organisation), Ok("Kühn & Söhne".to_owned()));
    let full = json!({"rid": "n", "sub": "o", "prv": true, "nbf": NOW - 1, "exp": NOW + 1});
    assert_eq!(verify(&hs256(full)), Ok(NodeIdentity { node: "n".into(), organisation: "o".into(), private: true }));
}

#[test]
fn every_kind_of_bad_token_is_refused_by_name() {
    let claims = json!({"rid": "n"});
    let cases = [
        (hs256(json!({"rid": "n", "exp": NOW - 3600})), TokenError::Expired),
        (hs256(json!({"rid": "n", "nbf": NOW + 3600})), TokenError::NotYet),
        (hs256(json!({"rid": "n", "exp": "soon"})), TokenError::Malformed),
        (hs256(json!({"rid": "n", "aud": "others"})), TokenError::Audience),
        (hs256(json!({"sub": "o"})), TokenError::Node),
        (hs256(json!({"rid": "a\nb"})), TokenError::Node),
        (hs256(json!({"rid": "n".repeat(129)})), TokenError::Node),
        (hs256(json!({"rid": "nas-1\u{200b}"})), TokenError::Node),
        (hs256(json!({"rid": "\u{202e}1-san"})), TokenError::Node),
        (hs256(json!({"rid": "n", "sub": "o\u{1b}[2J"})), TokenError::Organisation),
        (hs256(json!({"rid": "n", "sub": "o\r\np"})), TokenError::Organisation),
        (hs256(json!({"rid": "n", "sub": "o\u{2028}"})), TokenError::Organisation),
        (token(json!({"alg": "HS256", "crit": ["b64"], "b64": false}), claims.clone(), 7), TokenError::Critical),
        (token(json!({"alg": "HS256", "crit": []}), claims.clone(), 7), TokenError::Critical),
        (token(json!({"alg": "HS256"}), claims.clone(), 8), TokenError::Signature),
        (token(json!({"alg": "HS512"}), claims.clone(), 7), TokenError::Algorithm),
        (token(json!({"alg": "RS256"}), claims.clone(), 7), TokenError::Algorithm),
        (token(json!({"alg": "none"}), claims.clone(), 7), TokenError::Malformed),
        (hs256(claims.clone()).rsplit_once('.').expect("three parts").0.to_owned() + ".", TokenError::Signature),
        (hs256(json!({"rid": "n"})).replacen('.', "..", 1), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
        ("x".repeat(TOKEN_BYTES_MAX + 1), TokenError::Malformed),
    ];
    for (token, refusal) in cases {
        assert_eq!(verify(&token), Err(refusal), "{token}");
    }
}

#[test]
fn a_secret_is_long_enough_and_never_printed() {
    let error = SigningSecret::from_bytes(b"short\n".to_vec()).expect_err("too short");
    assert!(error.to_string().contains("5 bytes") && error.to_string().contains("at least 32"), "{error}");
    assert!(matches!(SigningSecret::from_bytes(vec![b'x'; 70_000]), Err(SecretError::TooLong)));
    let text = "0123456789abcdef0123456789abcdef";
    for end in ["", "\n", "\r\n"] {
        let secret = SigningSecret::from_bytes(format!("{text}{end}").into_bytes()).expect("32 bytes");
        assert_eq!(secret.bytes(), text.as_bytes());
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }
}
