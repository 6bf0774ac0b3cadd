//! A second thread that waits for the disk, so that the writer can compress what comes next meanwhile.
//!
//! Takes one flush at a time from the writer and gives its outcome back. Between the two the writer puts nothing, so
//! what is handed to sled ahead of a flush stays bounded. A single commit does without it: a thread more to wake
//! would only make it slower.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use crate::event_log::{disk::generation::Generation, error::LogError};

/// The thread, as the writer sees it. It ends with this.
pub(in crate::event_log) struct FlushThread {
    orders: SyncSender<Arc<Generation>>,
    outcomes: Receiver<Result<(), LogError>>,
}

impl FlushThread {
    /// # Errors
    /// When there can be no thread.
    pub(in crate::event_log) fn start() -> io::Result<FlushThread> {
        let (orders, taken) = sync_channel::<Arc<Generation>>(1);
        let (given, outcomes) = sync_channel(1);
        thread::Builder::new().name("event-log-flush".to_owned()).spawn(move || {
            for generation in taken {
                let flushed = catch_unwind(AssertUnwindSafe(|| generation.flush()));
                // The writer may drop its handle for good as soon as it has the outcome.
                drop(generation);
                if given.send(flushed.unwrap_or_else(|_| Err(interrupted()))).is_err() {
                    return;
                }
            }
        })?;
        Ok(FlushThread { orders, outcomes })
    }

    /// Begins a flush; gives false when that cannot be.
    pub(in crate::event_log) fn begin(&self, generation: &Arc<Generation>) -> bool {
        self.orders.send(Arc::clone(generation)).is_ok()
    }

    /// Waits for the flush that was begun.
    ///
    /// # Errors
    /// When the storage failed.
    pub(in crate::event_log) fn finish(&self) -> Result<(), LogError> {
        self.outcomes.recv().unwrap_or_else(|_| Err(interrupted()))
    }
}

fn interrupted() -> LogError {
    LogError::io("flush", Path::new("the event log"), io::Error::from(io::ErrorKind::Interrupted))
}
