//! The store of a fleet: a stream of NATS JetStream, which any number of controllers write to. They keep no state of
//! their own; `message` says how an event lies in the stream.
//!
//! What holds: a batch is answered after the servers have acknowledged each of its events. What is acknowledged is as
//! durable as the stream: a server alone syncs its files every two minutes unless it is told otherwise, so against power
//! cuts it takes replicas, or `sync_interval: always`. While the servers are away or slow, batches are refused and
//! agents keep them; nothing waits here for longer than a call.
//!
//! Two things differ from the other stores, for a stream takes messages one by one and knows their names only within
//! its window. Repeats that come later are stored, and dropped by whoever reads. And of a batch that is refused, as a
//! fork or because the servers went away, a part may be stored: a repeat of it is dropped, and after a renumbering
//! `gaps` tells how much is there twice. A fork is found within the window, by looking at the event that is there;
//! beyond it `gaps` tells of two events under one number, and both are kept.
//!
//! The client has a runtime of its own, so that the store can be opened where none is running yet.

mod connection;
mod kept;
mod message;
mod publish;
mod read;
mod settings;
mod survey;

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::{self, Runtime};

pub use settings::NatsSettings;

use self::{
    connection::Connection,
    kept::{Charged, Kept},
};
use super::{Arrival, EventPage, Node, Query, Quota, Receipt, Store, StoreError, Tail, tail::TailSender};
use crate::telemetry::ErrorChain;

/// How long a batch may take until it is acknowledged; less than a call may.
const BATCH_MAX: Duration = Duration::from_secs(30);

/// A store in one stream.
pub struct NatsStore {
    settings: NatsSettings,
    connection: Arc<Connection>,
    kept: Arc<Kept>,
    tail: TailSender,
    closed: AtomicBool,
    /// Whether the last batch was refused: the log gets the change, not every retry.
    failing: AtomicBool,
    /// Taken when dropped.
    runtime: Option<Runtime>,
}

impl NatsStore {
    /// Connects to a stream to write and read, and creates it where there is none. Blocks; not for async threads.
    ///
    /// # Errors
    /// When no server answers, or JetStream refuses.
    pub fn open(settings: &NatsSettings) -> Result<NatsStore, StoreError> {
        NatsStore::open_with(settings, Quota::default())
    }

    /// The same, with what nodes may fill. Blocks; not for async threads.
    ///
    /// # Errors
    /// As [`NatsStore::open`].
    pub fn open_with(settings: &NatsSettings, quota: Quota) -> Result<NatsStore, StoreError> {
        let store = NatsStore::connect(settings, true, quota)?;
        let (connection, kept) = (Arc::clone(&store.connection), Arc::clone(&store.kept));
        if let Some(runtime) = &store.runtime {
            runtime.block_on(kept.look(&connection));
            // Ends with the runtime.
            runtime.spawn(async move { kept.follow(&connection).await });
        }
        Ok(store)
    }

    /// Connects to a stream that is there, to read. Blocks; not for async threads.
    ///
    /// # Errors
    /// When no server answers, or there is no such stream.
    pub fn find(settings: &NatsSettings) -> Result<NatsStore, StoreError> {
        NatsStore::connect(settings, false, Quota::default())
    }

    fn connect(settings: &NatsSettings, create: bool, quota: Quota) -> Result<NatsStore, StoreError> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("nats")
            .enable_all()
            .build()
            .map_err(refused("start a runtime for"))?;
        let connection = Arc::new(runtime.block_on(Connection::open(settings, create))?);
        Ok(NatsStore {
            settings: settings.clone(),
            connection,
            kept: Arc::new(Kept::new(quota)),
            tail: TailSender::new(),
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            runtime: Some(runtime),
        })
    }

    /// Waits for an answer of the store. Blocks; not for async threads.
    pub fn wait<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.runtime.as_ref().map_or(Err(StoreError::Closed), |runtime| runtime.block_on(answer))
    }

    /// One node, if it was ever seen.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn node(&self, name: &str) -> Result<Option<Node>, StoreError> {
        Ok(self.survey(Some(name)).await?.into_iter().next())
    }

    /// Charges a batch before it is sent.
    fn charge(&self, arrival: &Arrival) -> Result<Charged, StoreError> {
        if arrival.records.is_empty() {
            return Ok(Charged::default());
        }
        let (charged, count) = self.kept.charge(arrival, Instant::now());
        if let Some(runtime) = self.runtime.as_ref().filter(|_| count) {
            let (connection, kept, node) = (Arc::clone(&self.connection), Arc::clone(&self.kept), arrival.node.clone());
            runtime.spawn(async move { kept.count(&connection, &node).await });
        }
        charged
    }

    /// Logs when batches begin and cease to be refused.
    fn note(&self, stored: &Result<Receipt, StoreError>) {
        match stored {
            Ok(_) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the event stream takes batches again");
                }
            }
            Err(StoreError::Closed) => {}
            Err(error) if !error.is_of_store() => {}
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(error = %ErrorChain(error), "batches are refused until this ends");
                }
            }
        }
    }
}

#[tonic::async_trait]
impl Store for NatsStore {
    async fn store(&self, arrival: Arrival) -> Result<Receipt, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        let charged = self.charge(&arrival)?;
        // Acknowledgements that a lost connection has taken along would be waited for in vain.
        let mut losses = self.connection.losses.clone();
        losses.mark_unchanged();
        let stored = tokio::select! {
            stored = self.publish(&arrival) => stored,
            _ = losses.changed() => Err(refused("write to")(Away)),
            () = tokio::time::sleep(BATCH_MAX) => Err(refused("write to")(Slow)),
        };
        if stored.as_ref().is_err_and(StoreError::is_of_store) {
            self.kept.take_back(&arrival.node, &charged);
        }
        self.note(&stored);
        stored
    }

    async fn query(&self, query: &Query) -> Result<EventPage, StoreError> {
        self.page(query).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.survey(None).await
    }

    /// What this controller stores; of what others store it knows nothing.
    fn tail(&self) -> Tail {
        self.tail.tail()
    }

    fn trouble(&self) -> Option<&'static str> {
        self.kept.is_scarce().then_some("the store has little room left")
    }

    fn about(&self) -> String {
        format!("NATS JetStream at {}", self.settings)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Err: the servers are away, and whatever waited for them was refused.
        let _ = self.connection.client.drain().await;
    }
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for NatsStore {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed where the last owner is an async task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the servers are away")]
struct Away;

#[derive(Debug, thiserror::Error)]
#[error("no answer within {BATCH_MAX:?}")]
struct Slow;

/// A refusal of the servers while doing something with the stream.
fn refused<E: Into<Box<dyn Error + Send + Sync>>>(action: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::Nats { action, source: Arc::from(source.into()) }
}
