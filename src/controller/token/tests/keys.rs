//! Keys of every kind: what each accepts, what none accepts, and how they follow their files. The keys are OpenSSL's.

use std::fs;

use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};

use super::*;

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/keys", name].iter().collect()
}

fn keys(secrets: &[PathBuf], public_keys: &[&str]) -> Result<Keys, KeysError> {
    let public_keys = public_keys.iter().map(|name| fixture(name)).collect();
    Keys::read(KeyFiles { secrets: secrets.to_vec(), public_keys })
}

/// A secret in a file, as [`super::secret`] has it.
fn secret_file(directory: &tempfile::TempDir, byte: u8) -> PathBuf {
    let path = directory.path().join(format!("secret-{byte}"));
    fs::write(&path, [byte; SECRET_BYTES_MIN]).expect("a file");
    path
}

/// A token for node `n` under this algorithm's name, signed as told.
fn signed(algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let parts = [json!({"alg": algorithm, "kid": "whatever"}), json!({"rid": "n"})];
    let body = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(sign(body.as_bytes())))
}

fn private_key(name: &str) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from_pem_file(fixture(name)).expect("a private key")
}

fn ed25519(algorithm: &str) -> String {
    let pair =
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(private_key("ed25519.key").secret_pkcs8_der()).expect("a key");
    signed(algorithm, |body| pair.sign(body).as_ref().to_vec())
}

fn rsa(algorithm: &str) -> String {
    let pair = RsaKeyPair::from_pkcs8(private_key("rsa.key").secret_pkcs8_der()).expect("a key");
    signed(algorithm, |body| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), body, &mut signature).expect("signed");
        signature
    })
}

fn hmac(algorithm: &str, secret: &[u8]) -> String {
    signed(algorithm, |body| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body).as_ref().to_vec())
}

#[test]
fn each_key_accepts_what_was_signed_with_its_algorithm_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = secret_file(&directory, 7);
    let tokens = [hmac("HS256", &[7; SECRET_BYTES_MIN]), ed25519("EdDSA"), rsa("RS256")];
    let (ok, algorithm) = (Ok("n".to_owned()), Err(TokenError::Algorithm));
    let cases = [
        (keys(std::slice::from_ref(&secret), &[]), [ok.clone(), algorithm.clone(), algorithm.clone()]),
        (keys(&[], &["ed25519.pub"]), [algorithm.clone(), ok.clone(), algorithm.clone()]),
        (keys(&[], &["rsa.pub"]), [algorithm.clone(), algorithm.clone(), ok.clone()]),
        (keys(&[secret], &["ed25519.pub", "rsa.pub"]), [ok.clone(), ok.clone(), ok]),
    ];
    for (keys, expected) in cases {
        let keys = keys.expect("keys");
        let verified = [0, 1, 2].map(|at| keys.verify(&tokens[at], NOW).map(|identity| identity.node));
        assert_eq!(verified, expected, "{keys:?}");
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["ed25519.pub", "rsa.pub"] {
        let pem = fs::read(fixture(name)).expect("a file");
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).expect("a key").to_vec();
        let raw = der[12..].to_vec();
        let public = keys(&[], &[name]).expect("keys");
        let both = keys(&[secret_file(&directory, 7)], &[name]).expect("keys");
        for guess in [&pem, &der, &raw] {
            let forged = hmac("HS256", guess);
            assert_eq!(public.verify(&forged, NOW), Err(TokenError::Algorithm), "{name}");
            assert_eq!(both.verify(&forged, NOW), Err(TokenError::Signature), "{name}");
        }
        for bytes in [pem, der] {
            assert!(matches!(SigningSecret::from_bytes(bytes), Err(SecretError::Key)), "{name}");
        }
    }
}

#[test]
fn an_algorithm_that_the_token_only_claims_is_refused() {
    let all = keys(&[], &["ed25519.pub", "rsa.pub"]).expect("keys");
    let refused = [ed25519("RS256"), rsa("EdDSA"), rsa("RS512"), rsa("PS256"), ed25519("HS256"), ed25519("none")];
    let refused = refused.map(|token| all.verify(&token, NOW).expect_err("refused"));
    use TokenError::{Algorithm, Malformed, Signature};
    assert_eq!(refused, [Signature, Signature, Algorithm, Algorithm, Algorithm, Malformed]);
    let unsigned = signed("EdDSA", |_| Vec::new());
    assert_eq!(all.verify(&unsigned, NOW), Err(Signature));
}

#[test]
fn keys_are_changed_one_after_the_other_while_both_are_valid() {
    let directory = tempfile::tempdir().expect("a directory");
    let (old, new) = (secret_file(&directory, 7), secret_file(&directory, 8));
    let tokens = [7, 8].map(|byte| hmac("HS256", &[byte; SECRET_BYTES_MIN]));
    let both = keys(&[old, new.clone()], &[]).expect("keys");
    assert!(tokens.iter().all(|token| both.verify(token, NOW).is_ok()));
    let one = keys(&[new], &[]).expect("keys");
    assert_eq!(tokens.map(|token| one.verify(&token, NOW).is_ok()), [false, true]);
    // Several public keys may also stand in one file.
    let path = directory.path().join("issuers.pub");
    let pems = ["ed25519.pub", "rsa.pub"].map(|name| fs::read_to_string(fixture(name)).expect("a file"));
    fs::write(&path, pems.concat()).expect("a file");
    let several = Keys::read(KeyFiles { secrets: Vec::new(), public_keys: vec![path] }).expect("keys");
    assert!([ed25519("EdDSA"), rsa("RS256")].iter().all(|token| several.verify(token, NOW).is_ok()));
}

#[test]
fn keys_follow_their_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = secret_file(&directory, 7);
    let keys = keys(std::slice::from_ref(&path), &[]).expect("keys");
    let accepts = || [7, 8].map(|byte| keys.verify(&hmac("HS256", &[byte; SECRET_BYTES_MIN]), NOW).is_ok());
    assert_eq!((keys.refresh(), accepts()), (Refreshed::Same, [true, false]));
    fs::write(&path, "short").expect("a file");
    assert_eq!((keys.refresh(), accepts()), (Refreshed::Same, [true, false]));
    assert_eq!((keys.refresh(), accepts()), (Refreshed::Failed, [true, false]));
    fs::rename(secret_file(&directory, 8), &path).expect("it is there");
    assert_eq!((keys.refresh(), accepts()), (Refreshed::Renewed, [false, true]));
}

#[test]
fn what_is_no_public_key_is_told_what_to_do() {
    let refusal = |name: &str| keys(&[], &[name]).expect_err("no key").to_string();
    assert!(refusal("ed25519.key").contains("openssl pkey -in FILE -pubout"));
    assert!(refusal("p256.pub").contains("neither Ed25519 nor RSA"));
    assert!(refusal("rsa_1024.pub").contains("2048 to 8192 bits"));
    assert!(refusal("no.pub").starts_with("read token key"));
    let secret = keys(&[fixture("ed25519.key")], &[]).expect_err("no secret").to_string();
    assert!(secret.contains("--token-key"), "{secret}");
}

#[test]
fn a_token_that_a_private_key_signed_is_verified_with_the_public_one() {
    let identity = NodeIdentity { node: "nas-1".into(), organisation: "acme".into(), private: true };
    let key = SigningKey::read(&fixture("ed25519.key")).expect("a key");
    let token = key.issue(&identity, Some(NOW + 10)).expect("a token");
    assert_eq!(keys(&[], &["ed25519.pub"]).expect("keys").verify(&token, NOW), Ok(identity));
    assert!(!format!("{key:?}").contains('['), "no bytes: {key:?}");
    for other in ["rsa.key", "ed25519.pub"] {
        assert!(matches!(SigningKey::read(&fixture(other)), Err(SigningKeyError::Foreign { .. })), "{other}");
    }
}
