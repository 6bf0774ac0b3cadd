//! What a sink proves the node with, and whom it trusts: read from files, and read again when those change, off the async
//! threads.
//!
//! Always holds: what could be used stays in use until the files hold something else that can be. A change is in use after
//! [`LOOK_INTERVAL`] at the latest; in between, asking costs nothing. Deliberately absent: watches on directories; files may be
//! links into directories that are swapped, on file systems that tell nothing, and a `stat` every few seconds finds every
//! change.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    files::{Followed, Look},
    lock::lock,
    telemetry::message,
};

/// How often the files are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The longest file that is read, bytes: four times the bundle of all public authorities.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The files of a sink, and what was read from them. Blocking.
pub(super) trait Files: Send + 'static {
    /// What they give.
    type Proof: Clone + Send + 'static;

    /// What they hold now, or what could be used last.
    ///
    /// # Errors
    /// In words, when one cannot be used and never could.
    fn look(&mut self) -> Result<Self::Proof, String>;

    /// Whether one of them is another than at the last look.
    fn have_changed(&self) -> bool;

    /// How often what can be used has changed.
    fn edition(&self) -> u64;
}

/// The credentials of one sink. Cheap to copy.
pub(super) struct Credentials<F: Files> {
    shared: Arc<Shared<F>>,
}

struct Shared<F: Files> {
    /// Held while files are read: on blocking threads only.
    files: Mutex<F>,
    /// What was read last; never held for long.
    last: Mutex<Last<F::Proof>>,
}

struct Last<P> {
    /// With when it was looked at; none where it is to be read again.
    proof: Option<(P, Instant)>,
    /// Of the files, when they were looked at for somebody.
    edition: u64,
}

impl<F: Files> Clone for Credentials<F> {
    fn clone(&self) -> Credentials<F> {
        Credentials { shared: Arc::clone(&self.shared) }
    }
}

impl<F: Files> Credentials<F> {
    /// Nothing is read yet.
    pub(super) fn of(files: F) -> Credentials<F> {
        let last = Mutex::new(Last { proof: None, edition: 0 });
        Credentials { shared: Arc::new(Shared { files: Mutex::new(files), last }) }
    }

    /// What to prove the node with now.
    ///
    /// # Errors
    /// In words, when something cannot be used and never could.
    pub(super) async fn read(&self) -> Result<F::Proof, String> {
        let looked_at = Instant::now();
        if let Some((proof, at)) = &lock(&self.shared.last).proof
            && looked_at.duration_since(*at) < LOOK_INTERVAL
        {
            return Ok(proof.clone());
        }
        let (proof, edition) = self.blocking(|files| (files.look(), files.edition())).await?;
        let mut last = lock(&self.shared.last);
        last.edition = edition;
        let proof = proof?;
        last.proof = Some((proof.clone(), looked_at));
        Ok(proof)
    }

    /// Waits until the files hold something else that can be used; the next [`Credentials::read`] then gives it.
    ///
    /// # Cancel safety
    /// Nothing is missed: what counts is what was read, not when this was called.
    pub(super) async fn changed(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let looking = self.blocking(|files| {
                if files.have_changed() {
                    // What is wrong with them is told by whoever needs them.
                    let _ = files.look();
                }
                files.edition()
            });
            let Ok(edition) = looking.await else { continue };
            if lock(&self.shared.last).edition != edition {
                return self.forget();
            }
        }
    }

    /// What is asked for next is read again.
    pub(super) fn forget(&self) {
        lock(&self.shared.last).proof = None;
    }

    /// Does something with the files.
    ///
    /// # Errors
    /// In words, when that has panicked.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut F) -> T + Send + 'static,
    ) -> Result<T, String> {
        let shared = Arc::clone(&self.shared);
        let running = tokio::task::spawn_blocking(move || job(&mut lock(&shared.files)));
        running.await.map_err(|_| "read the credentials: the thread that reads them has panicked".to_owned())
    }

    /// Does something with the files before anybody reads them.
    pub(super) fn prepare(&self, job: impl FnOnce(&mut F)) {
        job(&mut lock(&self.shared.files));
    }
}

/// The value that stands in files; read anew with `read` when they have changed or could not be used. `what` it is, for the
/// log.
///
/// # Errors
/// When they cannot be used and never could: in one line, why.
pub(super) fn look<T: Clone + PartialEq, E: Error + 'static>(
    what: &'static str,
    followed: &mut Followed<T>,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    // Reading again what was told would only tell what else is wrong with it.
    let look = if followed.is_settled() { Look::Same } else { followed.look(read) };
    match look {
        Look::Same | Look::Renewed => {}
        Look::Mended => tracing::info!(what, "the changed file can be used"),
        Look::Refused(error) => tracing::warn!(
            message_id = %message::CREDENTIALS_REFUSED,
            what,
            error,
            "a changed file cannot be used; what it held before stays in use"
        ),
    }
    followed.value().map(|(value, _)| value.clone())
}

/// How often the value has changed.
pub(super) fn edition<T: PartialEq>(followed: &Followed<T>) -> u64 {
    followed.value().map_or(0, |(_, edition)| edition)
}
