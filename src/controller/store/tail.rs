//! Following a store while it takes events. A reader that is too slow misses the oldest and is told how many: it
//! never holds the store back.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::ArrivedEvent;

/// Events that wait for the slowest reader; beyond them the oldest are missed.
const TAIL_EVENTS_MAX: usize = 4096;

/// The end that a store writes to.
#[derive(Debug)]
pub(super) struct TailSender(broadcast::Sender<Arc<ArrivedEvent>>);

impl TailSender {
    pub(super) fn new() -> TailSender {
        TailSender(broadcast::Sender::new(TAIL_EVENTS_MAX))
    }

    pub(super) fn tail(&self) -> Tail {
        Tail(self.0.subscribe())
    }

    /// Whether somebody follows: if not, events need not be gathered.
    pub(super) fn is_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(super) fn send(&self, event: Arc<ArrivedEvent>) {
        // Err means that nobody follows any more.
        let _ = self.0.send(event);
    }
}

/// A reader of what a store takes.
#[derive(Debug)]
pub struct Tail(broadcast::Receiver<Arc<ArrivedEvent>>);

/// What a [`Tail`] has to tell.
#[derive(Clone, Debug)]
pub enum Tailed {
    /// The next event.
    Event(Arc<ArrivedEvent>),
    /// So many events went by unread; they are in the store.
    Missed(u64),
}

impl Tail {
    /// Waits for the next event; `None` when the store is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Tailed> {
        match self.0.recv().await {
            Ok(event) => Some(Tailed::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Tailed::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
