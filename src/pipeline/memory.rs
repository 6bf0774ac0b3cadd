//! What a collector remembers between runs of the agent, a small file each.
//!
//! Always holds: what is remembered reaches the disk only after every event that was emitted before it. After a crash a
//! collector thus finds an older state and reports a change once more; it never finds a change reported that is not.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    event_log::{EventLog, Lane},
    telemetry::ErrorChain,
};

/// A collector's own small store.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
    name: &'static str,
}

/// Writes down what the collectors remember. Cheap to copy; one of them is run.
#[derive(Clone)]
pub struct MemoryKeeper {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    log: EventLog,
    pending: Mutex<BTreeMap<&'static str, Pending>>,
    changed: Notify,
}

struct Pending {
    json: Vec<u8>,
    /// What must be durable before: sequences after the last event of each lane.
    after: [u64; 2],
}

impl Memory {
    /// The most that may be remembered, bytes of JSON. More is not written, and said so.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;

    /// What was remembered last, if it can be read as `T`. Blocking, one small file.
    pub fn recall<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let path = self.shared.path(self.name);
        // A collector that starts again within one run may find that its last state is not written yet.
        if let Some(pending) = self.shared.lock().get(self.name) {
            return serde_json::from_slice(&pending.json).ok();
        }
        let text = match fs::read(&path) {
            Ok(text) if text.len() <= Memory::BYTES_MAX => text,
            Ok(_) => return None,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "what the collector remembered cannot be read; it looks anew");
                }
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "what the collector remembered is not understood; it looks anew");
            })
            .ok()
    }

    /// Replaces what is remembered. Returns at once; written in the background after the events emitted so far are
    /// durable. Of several in a row the last one wins.
    pub fn remember<T: serde::Serialize>(&self, state: &T) {
        let json = match serde_json::to_vec(state) {
            Ok(json) if json.len() <= Memory::BYTES_MAX => json,
            Ok(json) => {
                tracing::warn!(
                    collector = self.name,
                    bytes = json.len(),
                    "too much to remember; changes while the agent is down will not be seen"
                );
                return;
            }
            Err(error) => {
                tracing::error!(collector = self.name, %error, "what the collector remembers has no JSON form");
                return;
            }
        };
        let after = Lane::ALL.map(|lane| self.shared.log.next_sequence(lane));
        self.shared.lock().insert(self.name, Pending { json, after });
        self.shared.changed.notify_one();
    }
}

impl MemoryKeeper {
    /// Keeps files in `directory`, which is made when the first one is written.
    pub fn new(directory: PathBuf, log: EventLog) -> MemoryKeeper {
        let shared = Shared { directory, log, pending: Mutex::default(), changed: Notify::new() };
        MemoryKeeper { shared: Arc::new(shared) }
    }

    /// The memory of one collector.
    pub fn memory(&self, name: &'static str) -> Memory {
        Memory { shared: Arc::clone(&self.shared), name }
    }

    /// Writes whatever comes, until `shutdown`; then what is left, for which it makes the log commit.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = self.shared.changed.notified() => {}
                () = shutdown.cancelled() => break,
            }
            tokio::select! {
                () = self.write(false) => {}
                () = shutdown.cancelled() => break,
            }
        }
        self.write(true).await;
    }

    /// Writes what is pending as soon as its events are durable. What is dropped half-way stays pending.
    async fn write(&self, hurry: bool) {
        let names: Vec<_> = self.shared.lock().keys().copied().collect();
        for name in names {
            let Some(after) = self.shared.lock().get(name).map(|pending| pending.after) else { continue };
            for (lane, next) in Lane::ALL.into_iter().zip(after) {
                let log = &self.shared.log;
                let durable = if hurry { log.commit(lane, next).await } else { log.durable(lane, next).await };
                if durable.is_err() {
                    return;
                }
            }
            // A newer state may have come meanwhile; its events may not be durable yet, so it waits for its own turn.
            let Some(pending) = self.shared.take(name, after) else { continue };
            let path = self.shared.path(name);
            let written = tokio::task::spawn_blocking(move || replace(&path, &pending.json)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(collector = name, error = %ErrorChain(&error), "what the collector remembers cannot be written");
            }
        }
    }
}

impl Shared {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// What is pending, if it is still what was waited for.
    fn take(&self, name: &'static str, after: [u64; 2]) -> Option<Pending> {
        let mut pending = self.lock();
        match pending.get(name) {
            Some(found) if found.after == after => pending.remove(name),
            Some(_) => {
                self.changed.notify_one();
                None
            }
            None => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces a file durably, or leaves it as it was.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = path.with_extension("json.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(directory)?.sync_all()
}
