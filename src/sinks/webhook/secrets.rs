//! What a webhook proves the node with: keys that sign, a bearer token. Read from files, and again when those change.
//!
//! Always holds: what could be used stays in use until the files hold something else that can be.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::signature::Key;
use crate::settings::Secret;

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

/// The files, and what they held.
pub(super) struct Secrets {
    key_files: Vec<PathBuf>,
    bearer_file: Option<PathBuf>,
    last: Option<(Proof, Instant)>,
    /// The trouble that was told.
    told: Option<String>,
}

impl Secrets {
    pub(super) fn new(key_files: Vec<PathBuf>, bearer_file: Option<PathBuf>) -> Secrets {
        Secrets { key_files, bearer_file, last: None, told: None }
    }

    /// What to send the next request with.
    ///
    /// # Errors
    /// In words, when a file cannot be used and there never was one that could.
    pub(super) async fn read(&mut self) -> Result<Proof, String> {
        if let Some((proof, at)) = &self.last
            && at.elapsed() < LOOK_INTERVAL
        {
            return Ok(proof.clone());
        }
        match (self.look().await, &self.last) {
            (Ok(proof), _) => {
                self.told = None;
                self.last = Some((proof.clone(), Instant::now()));
                Ok(proof)
            }
            (Err(error), None) => Err(error),
            (Err(error), Some((proof, _))) => {
                let proof = proof.clone();
                if self.told.as_ref() != Some(&error) {
                    tracing::warn!(error, "a changed secret cannot be used; what it was before stays in use");
                    self.told = Some(error);
                }
                self.last = Some((proof.clone(), Instant::now()));
                Ok(proof)
            }
        }
    }

    /// Waits until the files hold something else that can be used. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Ok(proof) = self.look().await
                && self.last.as_ref().is_none_or(|(last, _)| *last != proof)
            {
                self.last = Some((proof, Instant::now()));
                return;
            }
        }
    }

    async fn look(&self) -> Result<Proof, String> {
        let (key_files, bearer_file) = (self.key_files.clone(), self.bearer_file.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let key = |path: &PathBuf| {
                Key::parse(&word(path)?).map_err(|error| format!("{} holds no key: {error}", path.display()))
            };
            let keys = key_files.iter().map(key).collect::<Result<_, _>>()?;
            let bearer = bearer_file.as_deref().map(|path| word(path).map(Secret::new)).transpose()?;
            Ok(Proof { keys, bearer })
        });
        reading.await.map_err(|error| error.to_string())?
    }
}

/// The one word that a file holds.
fn word(path: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("read {}: {error}", path.display());
    let file = fs::File::open(path).map_err(|error| failed(&error))?;
    if !file.metadata().map_err(|error| failed(&error))?.is_file() {
        return Err(failed(&"not an ordinary file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    let word = text.trim();
    match word {
        _ if text.len() as u64 > FILE_BYTES_MAX => Err(failed(&format!("longer than {FILE_BYTES_MAX} bytes"))),
        "" => Err(failed(&"it is empty")),
        word if word.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(word.to_owned()),
        _ => Err(failed(&"expected one word of printable characters")),
    }
}
