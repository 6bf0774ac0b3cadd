//! What a webhook proves the node with: keys that sign, a bearer token. Read from files, and again when those change.
//!
//! Always holds: what could be used stays in use until the files hold something else that can be.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::signature::Key;
use crate::{
    files::{self, Followed, Look},
    lock::lock,
    settings::Secret,
};

/// How often the files are looked at while events are sent.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The longest file of a key or token, bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// What a request is signed and sent with.
#[derive(Clone, Default)]
pub(super) struct Proof {
    /// The one in use, and the next.
    pub(super) keys: Vec<Key>,
    pub(super) bearer: Option<Secret>,
}

impl PartialEq for Proof {
    fn eq(&self, other: &Proof) -> bool {
        let bearer = |proof: &Proof| proof.bearer.as_ref().map(|bearer| bearer.reveal().to_owned());
        self.keys == other.keys && bearer(self) == bearer(other)
    }
}

/// The files, and what was given of them last.
pub(super) struct Secrets {
    files: Arc<Mutex<Files>>,
    /// With its edition, and when the files were looked at for it.
    last: Option<(Proof, u64, Instant)>,
}

impl Secrets {
    pub(super) fn new(key_files: Vec<PathBuf>, bearer_file: Option<PathBuf>) -> Secrets {
        Secrets { files: Arc::new(Mutex::new(Files::new(key_files, bearer_file))), last: None }
    }

    /// What to send the next request with.
    ///
    /// # Errors
    /// In words, when a file cannot be used and there never was one that could.
    pub(super) async fn read(&mut self) -> Result<Proof, String> {
        if let Some((proof, _, at)) = &self.last
            && at.elapsed() < LOOK_INTERVAL
        {
            return Ok(proof.clone());
        }
        let (proof, edition) = self.blocking(Files::look).await??;
        self.last = Some((proof.clone(), edition, Instant::now()));
        Ok(proof)
    }

    /// Waits until the files hold something else that can be used. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let given = self.last.as_ref().map(|(_, edition, _)| *edition);
            if let Ok(Some(edition)) = self.blocking(Files::edition).await
                && given != Some(edition)
            {
                self.last = None;
                return;
            }
        }
    }

    async fn blocking<T: Send + 'static>(&self, job: fn(&mut Files) -> T) -> Result<T, String> {
        let files = Arc::clone(&self.files);
        tokio::task::spawn_blocking(move || job(&mut lock(&files))).await.map_err(|error| error.to_string())
    }
}

struct Files {
    keys: Vec<PathBuf>,
    bearer: Option<PathBuf>,
    proof: Followed<Proof>,
}

impl Files {
    fn new(keys: Vec<PathBuf>, bearer: Option<PathBuf>) -> Files {
        let proof = Followed::new(keys.iter().chain(&bearer).cloned().collect());
        Files { keys, bearer, proof }
    }

    /// What could be used last, and its edition.
    fn look(&mut self) -> Result<(Proof, u64), String> {
        // Reading again what was told would only warn again of what else is wrong with it.
        if !self.proof.is_settled()
            && let Look::Refused(error) = self.proof.look(|| read(&self.keys, self.bearer.as_deref()))
        {
            tracing::warn!(error, "a changed secret cannot be used; what it was before stays in use");
        }
        self.proof.value().map(|(proof, edition)| (proof.clone(), edition))
    }

    /// Of what the files hold now, or could be used last; `None` where nothing ever could. Reads them only when they are others.
    fn edition(&mut self) -> Option<u64> {
        if self.proof.has_changed() {
            return self.look().ok().map(|(_, edition)| edition);
        }
        self.proof.value().ok().map(|(_, edition)| edition)
    }
}

fn read(keys: &[PathBuf], bearer: Option<&Path>) -> io::Result<Proof> {
    let key = |path: &PathBuf| Key::parse(&word(path)?).map_err(|error| unusable(path, &format!("no key: {error}")));
    let keys = keys.iter().map(key).collect::<Result<_, _>>()?;
    let bearer = bearer.map(|path| word(path).map(Secret::new)).transpose()?;
    Ok(Proof { keys, bearer })
}

/// The one word that a file holds.
fn word(path: &Path) -> io::Result<String> {
    let bytes = files::read_secret(path, FILE_BYTES_MAX).map_err(|error| unusable(path, &error))?;
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

    use super::*;

    const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    async fn is_seen(secrets: &mut Secrets) -> bool {
        tokio::time::timeout(LOOK_INTERVAL * 2, secrets.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_be_used_stays_in_use_until_the_files_hold_something_else_that_can_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let [key, bearer] = ["key", "bearer"].map(|name| directory.path().join(name));
        let mut secrets = Secrets::new(vec![key.clone()], Some(bearer.clone()));
        fs::write(&key, KEY).expect("written");
        assert!(secrets.read().await.err().expect("no token yet").contains("bearer: No such file"));

        fs::write(&bearer, "first\n").expect("written");
        assert!(is_seen(&mut secrets).await);
        let token = |proof: Proof| proof.bearer.map(|bearer| bearer.reveal().to_owned());
        assert_eq!(token(secrets.read().await.expect("both are there")).as_deref(), Some("first"));

        fs::write(&bearer, "two words").expect("written");
        for _ in 0..3 {
            assert!(!is_seen(&mut secrets).await, "it cannot be used");
            assert_eq!(token(secrets.read().await.expect("the last")).as_deref(), Some("first"));
        }

        fs::write(&bearer, "second").expect("written");
        assert!(is_seen(&mut secrets).await);
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
            let error = read(std::slice::from_ref(&path), None).err().expect("no key").to_string();
            assert_eq!(error, format!("read {}: {why}", path.display()));
        }
    }
}
