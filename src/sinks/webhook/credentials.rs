//! What a webhook proves the node with and whom it trusts: keys that sign, a bearer token, the receiver's authority.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper::header::HeaderName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use super::signature::Key;
use crate::{
    files::{self, Followed},
    settings::Secret,
    sinks::credentials::{self, FILE_BYTES_MAX, edition, look},
    tls,
};

/// The longest file of a key or token, bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// What a request is signed and sent with.
#[derive(Clone, Default)]
pub(super) struct Proof {
    /// The one in use, and the next.
    pub(super) keys: Vec<Key>,
    pub(super) bearer: Option<Secret>,
    /// Headers that are secret.
    pub(super) headers: Vec<(HeaderName, Secret)>,
    /// What a connection is secured with; none where those are trusted that the system trusts.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

pub(super) type Credentials = credentials::Credentials<Files>;

/// Where what a webhook proves the node with stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) keys: Vec<PathBuf>,
    /// Whether the keys are what their files hold, and not the base64 of Standard Webhooks.
    pub(super) has_plain_keys: bool,
    pub(super) bearer: Option<PathBuf>,
    pub(super) headers: Vec<(HeaderName, PathBuf)>,
    pub(super) authority: Option<PathBuf>,
}

impl Credentials {
    pub(super) fn new(places: Places) -> Credentials {
        let headers = places.headers.iter().map(|(_, path)| path);
        Credentials::of(Files {
            secrets: Followed::new(places.keys.iter().chain(&places.bearer).chain(headers).cloned().collect()),
            authority: places.authority.clone().map(|path| (path.clone(), Followed::new(vec![path]))),
            places,
        })
    }
}

/// The files, and what was read from them.
pub(super) struct Files {
    places: Places,
    secrets: Followed<Secrets>,
    authority: Option<(PathBuf, Followed<Trusted>)>,
}

#[derive(Clone)]
struct Secrets {
    keys: Vec<Key>,
    bearer: Option<Secret>,
    headers: Vec<(HeaderName, Secret)>,
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Secrets) -> bool {
        let words = |secrets: &Secrets| {
            let headers = secrets.headers.iter().map(|(_, secret)| secret);
            secrets.bearer.iter().chain(headers).map(|secret| secret.reveal().to_owned()).collect::<Vec<_>>()
        };
        self.keys == other.keys && words(self) == words(other)
    }
}

/// Who may vouch for the receiver.
#[derive(Clone)]
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
}

impl PartialEq for Trusted {
    fn eq(&self, other: &Trusted) -> bool {
        self.certificates == other.certificates
    }
}

impl credentials::Files for Files {
    type Proof = Proof;

    fn look(&mut self) -> Result<Proof, String> {
        let Secrets { keys, bearer, headers } =
            look("keys and token of the webhook", &mut self.secrets, || read(&self.places))?;
        let trusted = self
            .authority
            .as_mut()
            .map(|(path, followed)| look("authority of the webhook's receiver", followed, || read_authority(path)));
        Ok(Proof { keys, bearer, headers, tls: trusted.transpose()?.map(|trusted| trusted.config) })
    }

    fn have_changed(&self) -> bool {
        self.secrets.has_changed() || self.authority.as_ref().is_some_and(|(_, followed)| followed.has_changed())
    }

    fn edition(&self) -> u64 {
        edition(&self.secrets) + self.authority.as_ref().map_or(0, |(_, followed)| edition(followed))
    }
}

/// Secures connections to whom these authorities vouch for.
pub(super) fn secured_by(authorities: RootCertStore) -> io::Result<Arc<ClientConfig>> {
    tls::client(authorities, None).map(Arc::new).map_err(|error| io::Error::other(format!("configure TLS: {error}")))
}

fn read_authority(path: &Path) -> io::Result<Trusted> {
    let pem = files::read_bounded(path, FILE_BYTES_MAX).map_err(|error| unusable(path, &error))?;
    let certificates = tls::certificates_of(&pem).ok_or_else(|| unusable(path, &"no certificate in PEM form"))?;
    let mut authorities = RootCertStore::empty();
    let mut added = certificates.iter().cloned().map(|certificate| authorities.add(certificate));
    added.try_for_each(|added| added).map_err(|error| unusable(path, &error))?;
    Ok(Trusted { certificates, config: secured_by(authorities)? })
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
    Ok(Secrets { keys, bearer: places.bearer.as_ref().map(secret).transpose()?, headers })
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
        let token = |proof: Proof| proof.bearer.map(|bearer| bearer.reveal().to_owned());
        assert_eq!(token(secrets.read().await.expect("both are there")).as_deref(), Some("first"));

        fs::write(&bearer, "two words").expect("written");
        for _ in 0..3 {
            assert!(!is_seen(&secrets).await, "it cannot be used");
            assert_eq!(token(secrets.read().await.expect("the last")).as_deref(), Some("first"));
        }

        fs::write(&bearer, "second").expect("written");
        assert!(is_seen(&secrets).await);
        assert_eq!(token(secrets.read().await.expect("another")).as_deref(), Some("second"));
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

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_could_be_used_is_trusted_until_its_file_holds_another_that_can_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let pem = || rcgen::generate_simple_self_signed(vec!["nas".to_owned()]).expect("a certificate").cert.pem();
        fs::write(&path, pem()).expect("written");
        let credentials = Credentials::new(Places { authority: Some(path.clone()), ..Places::default() });
        let config = async || credentials.read().await.ok().and_then(|proof| proof.tls).expect("an authority");
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
