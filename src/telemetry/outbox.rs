//! Between who logs and who reads it (journald, or whoever has standard error): a bounded queue, and the thread that sends
//! from it.
//!
//! Always holds: putting an entry in never waits. Entries stay in order, and where some are missing an entry says how
//! many. At the end what is left is waited for a moment, and never longer.

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use crate::lock::{self, lock};

/// The most entries that wait for journald.
pub const LINES_MAX: usize = 1024;
/// The most bytes of them.
pub const BYTES_MAX: usize = 1 << 20;
/// How long the end of the process is held up for entries that journald has not read.
const ENDING_MAX: Duration = Duration::from_millis(500);

/// Entries that journald did not take. The process has one journal, as it has one subscriber of its messages.
static MISSING: AtomicU64 = AtomicU64::new(0);

/// Lines of this process that are missing in the journal, for metrics.
pub fn missing_lines() -> u64 {
    MISSING.load(Ordering::Relaxed)
}

/// Until an attempt is repeated that took no time.
const PAUSE: Duration = Duration::from_millis(250);

/// Where entries are sent to.
pub(super) trait Target: Send + 'static {
    /// Sends one; may take its time.
    fn send(&self, entry: &[u8]) -> Sent;
}

/// What came of an attempt.
pub(super) enum Sent {
    /// It has arrived.
    Yes,
    /// It is not read now, or nobody is there: again. The attempt has taken time only when this is true.
    Later { has_waited: bool },
    /// It will not be taken.
    Never,
}

/// Where entries are put in.
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

/// Waits at most half a second for what is not sent when it is dropped.
pub struct Ending {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something has been put in, or sent, or the end has come.
    changed: Condvar,
    /// Says in an entry how many are missing.
    missing: fn(u64) -> Vec<u8>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Entries that found no room since the last one that did.
    dropped: u64,
    /// Entries that journald will never take, as yet untold. Told with the next one, and not by themselves: what tells it
    /// may be of that kind, too.
    refused: u64,
    /// One is on its way.
    sending: bool,
    ending: bool,
}

impl Outbox {
    pub(super) fn start(target: impl Target, missing: fn(u64) -> Vec<u8>) -> io::Result<(Outbox, Ending)> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), missing });
        let sender = Arc::clone(&shared);
        thread::Builder::new().name("journal".to_owned()).spawn(move || sender.send_all(&target))?;
        Ok((Outbox { shared: Arc::clone(&shared) }, Ending { shared }))
    }

    /// Drops the entry, and counts it, when there is no room.
    pub(super) fn put(&self, entry: Vec<u8>) {
        let mut queue = self.shared.queue();
        queue.put(entry, self.shared.missing);
        drop(queue);
        self.shared.changed.notify_all();
    }
}

impl Queue {
    fn put(&mut self, entry: Vec<u8>, missing: fn(u64) -> Vec<u8>) {
        let untold = self.dropped + self.refused;
        let note = (untold > 0).then(|| missing(untold));
        let (entries, bytes) = (1 + usize::from(note.is_some()), entry.len() + note.as_ref().map_or(0, Vec::len));
        if self.entries.len() + entries > LINES_MAX || self.bytes + bytes > BYTES_MAX {
            self.dropped += 1;
            MISSING.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Some(note) = note {
            (self.dropped, self.refused) = (0, 0);
            self.push(note);
        }
        self.push(entry);
    }

    fn push(&mut self, entry: Vec<u8>) {
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    /// The next to send; at the end of the queue, how many are missing.
    fn take(&mut self, missing: fn(u64) -> Vec<u8>) -> Option<Vec<u8>> {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.len();
            return Some(entry);
        }
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| missing(dropped + std::mem::take(&mut self.refused)))
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dropped == 0 && !self.sending
    }
}

impl Shared {
    /// A panic while it is held leaves a queue that can be used.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn send_all(&self, target: &impl Target) {
        while let Some(entry) = self.next() {
            let is_taken = loop {
                match target.send(&entry) {
                    Sent::Yes => break true,
                    Sent::Never => break false,
                    Sent::Later { has_waited: true } => {}
                    Sent::Later { has_waited: false } => thread::sleep(PAUSE),
                }
            };
            let mut queue = self.queue();
            queue.sending = false;
            queue.refused += u64::from(!is_taken);
            MISSING.fetch_add(u64::from(!is_taken), Ordering::Relaxed);
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// Waits for an entry; `None` at the end.
    fn next(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue();
        loop {
            if let Some(entry) = queue.take(self.missing) {
                queue.sending = true;
                return Some(entry);
            }
            if queue.ending {
                return None;
            }
            queue = lock::whole(self.changed.wait(queue));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let deadline = Instant::now() + ENDING_MAX;
        let mut queue = self.shared.queue();
        queue.ending = true;
        self.shared.changed.notify_all();
        while !queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.changed.wait_timeout(queue, left);
            queue = lock::whole(woken).0;
        }
    }
}
