//! What a webhook proves the node with and whom it trusts: keys that sign, a bearer token, the receiver's authority.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::header::HeaderName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use super::signature::Key;
use crate::{
    files::{self, Followed},
    settings::Secret,
    sinks::credentials::{self, FILE_BYTES_MAX, edition, look},
    tls::{self, Identity},
};

/// The longest file of a key or token, bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// What a request is signed and sent with.
#[derive(Clone, Default)]
pub(super) struct Proof {
    /// The one in use, and the next.
    pub(super) keys: Vec<Key>,
    /// The value of `authorization`.
    pub(super) authorization: Option<Secret>,
    /// Headers that are secret.
    pub(super) headers: Vec<(HeaderName, Secret)>,
    /// What the free form puts where it is asked for by name.
    pub(super) words: Vec<(String, Secret)>,
    pub(super) trust: Trust,
}

/// What a connection is secured with.
#[derive(Clone, Default)]
pub(super) struct Trust {
    /// Of the files: grows when one of them has changed.
    pub(super) edition: u64,
    /// Where the receiver's authority is known; otherwise those are trusted that the system trusts.
    pub(super) own: Option<Arc<ClientConfig>>,
    /// What the node proves itself with.
    pub(super) identity: Option<Identity>,
}

pub(super) type Credentials = credentials::Credentials<Files>;

/// Where what a webhook proves the node with stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) keys: Vec<PathBuf>,
    /// Whether the keys are what their files hold, and not the base64 of Standard Webhooks.
    pub(super) has_plain_keys: bool,
    pub(super) bearer: Option<PathBuf>,
    /// Of user and password.
    pub(super) basic: Option<PathBuf>,
    pub(super) headers: Vec<(HeaderName, PathBuf)>,
    pub(super) words: Vec<(String, PathBuf)>,
    pub(super) authority: Option<PathBuf>,
    /// Of the node's certificate and its key.
    pub(super) identity: Option<[PathBuf; 2]>,
}

impl Credentials {
    pub(super) fn new(places: Places) -> Credentials {
        let headers = places.headers.iter().map(|(_, path)| path);
        let words = places.words.iter().map(|(_, path)| path);
        Credentials::of(Files {
            secrets: Followed::new(
                places
                    .keys
                    .iter()
                    .chain(&places.bearer)
                    .chain(&places.basic)
                    .chain(headers)
                    .chain(words)
                    .cloned()
                    .collect(),
            ),
            authority: places.authority.clone().map(|path| (path.clone(), Followed::new(vec![path]))),
            identity: places.identity.clone().map(|files| (files.clone(), Followed::new(files.to_vec()))),
            own: None,
            places,
        })
    }
}

/// The files, and what was read from them.
pub(super) struct Files {
    places: Places,
    secrets: Followed<Secrets>,
    authority: Option<(PathBuf, Followed<Vec<CertificateDer<'static>>>)>,
    identity: Option<([PathBuf; 2], Followed<Identity>)>,
    /// What is secured with the authority and the certificate of this edition.
    own: Option<(u64, Arc<ClientConfig>)>,
}

#[derive(Clone)]
struct Secrets {
    keys: Vec<Key>,
    authorization: Option<Secret>,
    headers: Vec<(HeaderName, Secret)>,
    words: Vec<(String, Secret)>,
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Secrets) -> bool {
        let words = |secrets: &Secrets| {
            let headers = secrets.headers.iter().map(|(_, secret)| secret);
            let words = secrets.words.iter().map(|(_, secret)| secret);
            secrets
                .authorization
                .iter()
                .chain(headers)
                .chain(words)
                .map(|secret| secret.reveal().to_owned())
                .collect::<Vec<_>>()
        };
        self.keys == other.keys && words(self) == words(other)
    }
}

impl credentials::Files for Files {
    type Proof = Proof;

    fn look(&mut self) -> Result<Proof, String> {
        let Secrets { keys, authorization, headers, words } =
            look("keys and token of the webhook", &mut self.secrets, || read(&self.places))?;
        Ok(Proof { keys, authorization, headers, words, trust: self.trust()? })
    }

    fn have_changed(&self) -> bool {
        self.secrets.has_changed()
            || self.authority.as_ref().is_some_and(|(_, followed)| followed.has_changed())
            || self.identity.as_ref().is_some_and(|(_, followed)| followed.has_changed())
    }

    fn edition(&self) -> u64 {
        edition(&self.secrets) + self.edition_of_trust()
    }
}

impl Files {
    fn edition_of_trust(&self) -> u64 {
        let authority = self.authority.as_ref().map_or(0, |(_, followed)| edition(followed));
        authority + self.identity.as_ref().map_or(0, |(_, followed)| edition(followed))
    }

    fn trust(&mut self) -> Result<Trust, String> {
        let authority = self
            .authority
            .as_mut()
            .map(|(path, followed)| look("authority of the webhook's receiver", followed, || read_authority(path)));
        let identity = self
            .identity
            .as_mut()
            .map(|(files, followed)| look("certificate and key for the webhook", followed, || read_identity(files)));
        let (authority, identity) = (authority.transpose()?, identity.transpose()?);
        let edition = self.edition_of_trust();
        let Some(certificates) = authority else { return Ok(Trust { edition, own: None, identity }) };
        let own = match self.own.take().filter(|(of, _)| *of == edition) {
            Some((_, own)) => own,
            None => {
                let mut authorities = RootCertStore::empty();
                authorities.add_parsable_certificates(certificates);
                secured_by(authorities, identity.as_ref()).map_err(|error| error.to_string())?
            }
        };
        self.own = Some((edition, Arc::clone(&own)));
        Ok(Trust { edition, own: Some(own), identity })
    }
}

/// Secures connections to whom these authorities vouch for.
pub(super) fn secured_by(authorities: RootCertStore, identity: Option<&Identity>) -> io::Result<Arc<ClientConfig>> {
    tls::client(authorities, identity)
        .map(Arc::new)
        .map_err(|error| io::Error::other(format!("configure TLS: {error}")))
}

fn read_authority(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = files::read_bounded(path, FILE_BYTES_MAX).map_err(|error| unusable(path, &error))?;
    let certificates = tls::certificates_of(&pem).ok_or_else(|| unusable(path, &"no certificate in PEM form"))?;
    let mut authorities = RootCertStore::empty();
    let mut added = certificates.iter().cloned().map(|certificate| authorities.add(certificate));
    added.try_for_each(|added| added).map_err(|error| unusable(path, &error))?;
    Ok(certificates)
}

fn read_identity([certificate, key]: &[PathBuf; 2]) -> io::Result<Identity> {
    let certificates =
        files::read_bounded(certificate, FILE_BYTES_MAX).map_err(|error| unusable(certificate, &error))?;
    let secret = files::read_secret(key, FILE_BYTES_MAX).map_err(|error| unusable(key, &error))?;
    Identity::from_pem(&certificates, &secret).map_err(|error| {
        io::Error::other(format!("certificate {} with key {}: {error}", certificate.display(), key.display()))
    })
}

fn read(places: &Places) -> io::Result<Secrets> {
    let key = |path: &PathBuf| match places.has_plain_keys {
        true => Ok(Key::of(word(path)?.into_bytes())),
        false => Key::parse(&word(path)?).map_err(|error| unusable(path, &format!("no key: {error}"))),
    };
    let keys = places.keys.iter().map(key).collect::<Result<_, _>>()?;
    let secret = |path: &PathBuf| word(path).map(Secret::new);
    let header = |(name, path): &(HeaderName, PathBuf)| Ok((name.clone(), secret(path)?));
    let headers = places.headers.iter().map(header).collect::<io::Result<_>>()?;
    let bearer = |path: &PathBuf| word(path).map(|token| Secret::new(format!("Bearer {token}")));
    let authorization = places.bearer.as_ref().map(bearer).or_else(|| places.basic.as_ref().map(|path| basic(path)));
    let words = places.words.iter().map(|(name, path)| Ok((name.clone(), secret(path)?)));
    let words = words.collect::<io::Result<_>>()?;
    Ok(Secrets { keys, authorization: authorization.transpose()?, headers, words })
}

/// The user and the password that a file holds, as RFC 7617 has them.
fn basic(path: &Path) -> io::Result<Secret> {
    let bytes = files::read_secret(path, SECRET_BYTES_MAX).map_err(|error| unusable(path, &error))?;
    match str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n'])) {
        Ok(line) if line.contains(':') && !line.contains(char::is_control) => {
            Ok(Secret::new(format!("Basic {}", STANDARD.encode(line))))
        }
        _ => Err(unusable(path, &"expected one line, `USER:PASSWORD`")),
    }
}

/// The one word that a file holds.
fn word(path: &Path) -> io::Result<String> {
    let bytes = files::read_secret(path, SECRET_BYTES_MAX).map_err(|error| unusable(path, &error))?;
    match str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err(unusable(path, &"it is empty")),
        Ok(word) if word.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(word.to_owned()),
        _ => Err(unusable(path, &"expected one word of printable characters")),
    }
}

/// Quotes nothing of what the file holds.
fn unusable(path: &Path, why: &dyn fmt::Display) -> io::Error {
    io::Error::other(format!("read {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::super::credentials::LOOK_INTERVAL, *};

    const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    async fn is_seen(secrets: &Credentials) -> bool {
        tokio::time::timeout(LOOK_INTERVAL * 2, secrets.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_be_used_stays_in_use_until_the_files_hold_something_else_that_can_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let [key, bearer] = ["key", "bearer"].map(|name| directory.path().join(name));
        let secrets =
            Credentials::new(Places { keys: vec![key.clone()], bearer: Some(bearer.clone()), ..Places::default() });
        fs::write(&key, KEY).expect("written");
        assert!(secrets.read().await.err().expect("no token yet").contains("bearer: No such file"));

        fs::write(&bearer, "first\n").expect("written");
        assert!(is_seen(&secrets).await);
        let token = |proof: Proof| proof.authorization.map(|bearer| bearer.reveal().to_owned());
        assert_eq!(token(secrets.read().await.expect("both are there")).as_deref(), Some("Bearer first"));

        fs::write(&bearer, "two words").expect("written");
        for _ in 0..3 {
            assert!(!is_seen(&secrets).await, "it cannot be used");
            assert_eq!(token(secrets.read().await.expect("the last")).as_deref(), Some("Bearer first"));
        }

        fs::write(&bearer, "second").expect("written");
        assert!(is_seen(&secrets).await);
        assert_eq!(token(secrets.read().await.expect("another")).as_deref(), Some("Bearer second"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_secret_is_followed_those_in_headers_and_in_the_free_form_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let [header, word] = ["header", "word"].map(|name| directory.path().join(name));
        let places = Places {
            headers: vec![(HeaderName::from_static("x-key"), header.clone())],
            words: vec![("token".to_owned(), word.clone())],
            ..Places::default()
        };
        let write = |path: &Path, text: &str| fs::write(path, text).expect("written");
        write(&header, "one");
        write(&word, "one");
        let secrets = Credentials::new(places);
        let read = async || {
            let proof = secrets.read().await.expect("both are there");
            [proof.headers[0].1.reveal().to_owned(), proof.words[0].1.reveal().to_owned()]
        };
        assert_eq!(read().await, ["one", "one"]);
        for (path, expected) in [(&header, ["another", "one"]), (&word, ["another", "another"])] {
            write(path, "another");
            assert!(is_seen(&secrets).await);
            assert_eq!(read().await, expected);
        }
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_and_not_quoted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        let long = "s".repeat(5000);
        let cases = [
            ("", "it is empty"),
            ("secret word", "expected one word of printable characters"),
            ("s\u{e9}cret", "expected one word of printable characters"),
            (long.as_str(), "longer than 4096 bytes"),
            ("secret", "no key: expected `whsec_` and the base64 of 24 to 64 bytes"),
        ];
        for (content, why) in cases {
            fs::write(&path, content).expect("written");
            let error =
                read(&Places { keys: vec![path.clone()], ..Places::default() }).err().expect("no key").to_string();
            assert_eq!(error, format!("read {}: {why}", path.display()));
        }
    }

    #[test]
    fn user_and_password_are_one_line_and_not_quoted_when_they_are_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("basic");
        let read = |text: &str| {
            fs::write(&path, text).expect("written");
            let places = Places { basic: Some(path.clone()), ..Places::default() };
            read(&places).map(|secrets| secrets.authorization.expect("set").reveal().to_owned())
        };
        assert_eq!(read("Aladdin:open sesame\n").expect("RFC 7617's own"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for text in ["", "no colon", "a:b\nc:d", "a:b\0"] {
            let error = read(text).expect_err("none").to_string();
            assert_eq!(error, format!("read {}: expected one line, `USER:PASSWORD`", path.display()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_certificate_of_the_node_makes_connections_anew_and_a_wrong_one_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = ["cert", "key"].map(|name| directory.path().join(name));
        let issue = || {
            let issued = rcgen::generate_simple_self_signed(vec!["nas".to_owned()]).expect("a certificate");
            fs::write(&files[0], issued.cert.pem()).expect("written");
            fs::write(&files[1], issued.signing_key.serialize_pem()).expect("written");
        };
        issue();
        let credentials = Credentials::new(Places { identity: Some(files.clone()), ..Places::default() });
        let first = credentials.read().await.expect("a certificate").trust;
        assert!(first.identity.is_some() && first.own.is_none());
        fs::write(&files[1], "none").expect("written");
        assert!(!is_seen(&credentials).await, "it cannot be used");
        assert_eq!(credentials.read().await.expect("the last").trust.edition, first.edition);
        issue();
        assert!(is_seen(&credentials).await);
        assert_ne!(credentials.read().await.expect("the next").trust.edition, first.edition);
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_could_be_used_is_trusted_until_its_file_holds_another_that_can_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let pem = || rcgen::generate_simple_self_signed(vec!["nas".to_owned()]).expect("a certificate").cert.pem();
        fs::write(&path, pem()).expect("written");
        let credentials = Credentials::new(Places { authority: Some(path.clone()), ..Places::default() });
        let config = async || credentials.read().await.ok().and_then(|proof| proof.trust.own).expect("an authority");
        let first = config().await;
        fs::write(&path, "half of").expect("written");
        for _ in 0..3 {
            assert!(!is_seen(&credentials).await, "it cannot be used");
            assert!(Arc::ptr_eq(&first, &config().await));
        }
        fs::write(&path, pem()).expect("written");
        assert!(is_seen(&credentials).await);
        assert!(!Arc::ptr_eq(&first, &config().await));
    }
}
