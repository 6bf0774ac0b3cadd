//! What a collector remembers between runs of the agent, a small file each.
//!
//! Always holds: what is remembered reaches the disk only after every event that was emitted before it. After a crash a
//! collector thus finds an older state and reports a change once more; it never finds a change reported that is not.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    event_log::{EventLog, Lane},
    files,
    lock::lock,
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
    /// What is not on the disk yet. An entry goes only after its file has been replaced.
    pending: Mutex<BTreeMap<&'static str, Pending>>,
    /// Held while a file is replaced: a write that was not waited for may still be at work.
    writing: Mutex<()>,
    changed: Notify,
}

struct Pending {
    json: Arc<Vec<u8>>,
    /// What must be durable before: sequences after the last event of each lane.
    after: [u64; 2],
}

impl Memory {
    /// The most that may be remembered, bytes of JSON. More is not written, and said so.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;

    /// Another one beside it, of which the first knows nothing.
    pub fn beside(&self, name: &'static str) -> Memory {
        Memory { shared: Arc::clone(&self.shared), name }
    }

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
        self.shared.lock().insert(self.name, Pending { json: Arc::new(json), after });
        self.shared.changed.notify_one();
    }
}

impl MemoryKeeper {
    /// Keeps files in `directory`, which is made when the first one is written.
    pub fn new(directory: PathBuf, log: EventLog) -> MemoryKeeper {
        let shared =
            Shared { directory, log, pending: Mutex::default(), writing: Mutex::default(), changed: Notify::new() };
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

    /// Writes what is pending as soon as its events are durable. What is dropped half-way or cannot be written stays
    /// pending: it is tried again when anything else is remembered, and at the end.
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
            let shared = Arc::clone(&self.shared);
            let written = tokio::task::spawn_blocking(move || shared.write_down(name, after)).await;
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

    /// Writes what is pending, if it is still what was waited for. Until its file is replaced it can be recalled from here.
    fn write_down(&self, name: &'static str, after: [u64; 2]) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let Some(json) = self.ready(name, after) else { return Ok(()) };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        files::replace(&self.path(name), &json)?;
        let mut pending = self.lock();
        if pending.get(name).is_some_and(|found| Arc::ptr_eq(&found.json, &json)) {
            pending.remove(name);
        }
        Ok(())
    }

    /// A newer state may have come meanwhile; its events may not be durable yet, so it waits for its own turn.
    fn ready(&self, name: &'static str, after: [u64; 2]) -> Option<Arc<Vec<u8>>> {
        let pending = self.lock();
        let found = pending.get(name)?;
        if found.after != after {
            self.changed.notify_one();
            return None;
        }
        Some(Arc::clone(&found.json))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Pending>> {
        lock(&self.pending)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::event_log::Settings;

    #[tokio::test]
    async fn what_cannot_be_written_is_still_recalled_and_written_when_it_can_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let place = directory.path().join("memory");
        fs::write(&place, "in the way").expect("write a file");
        let keeper = MemoryKeeper::new(place.clone(), log.clone());
        let memory = keeper.memory("disks");
        memory.remember(&1);
        keeper.write(true).await;
        assert_eq!(memory.recall::<u32>(), Some(1), "kept here for want of a file");

        fs::remove_file(&place).expect("remove a file");
        keeper.write(true).await;
        assert_eq!(fs::read_to_string(place.join("disks.json")).expect("written"), "1");
        assert!(keeper.shared.lock().is_empty(), "the file has it now");
        log.close();
    }

    #[tokio::test]
    async fn a_state_can_be_recalled_while_it_is_being_written_and_a_newer_one_is_not_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(Settings::new(directory.path().join("log"))).expect("a log");
        let keeper = MemoryKeeper::new(directory.path().join("memory"), log.clone());
        let memory = keeper.memory("disks");
        memory.remember(&1);
        keeper.write(true).await;
        memory.remember(&2);
        // The disk is slow: the file is still the older one.
        let slow = keeper.shared.writing.lock().expect("nobody panicked");
        let mut write = Box::pin(keeper.write(true));
        assert!((&mut write).now_or_never().is_none());
        assert_eq!(memory.recall::<u32>(), Some(2));
        memory.remember(&3);
        drop(slow);
        write.await;
        keeper.write(true).await;
        assert_eq!(fs::read_to_string(directory.path().join("memory/disks.json")).expect("written"), "3");
        log.close();
    }
}
