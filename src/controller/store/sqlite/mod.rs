//! The durable store: SQLite in WAL mode with `synchronous=FULL`, written by one thread, read by connections of their
//! own, also of other processes (`rodent-controller events` while `serve` runs).
//!
//! What holds: a batch is answered after its transaction is on disk, and the database file's name is too. Batches that
//! wait while one transaction is written share the next.

mod loss;
mod nodes;
mod reader;
mod run;
mod schema;
mod upgrade;
mod writer;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use tokio::sync::{mpsc, oneshot};

pub use reader::SqliteReader;

use super::{
    Arrival, EventPage, Node, Query, Quota, Receipt, Store, StoreError, Tail,
    space::{Room, Space, disk},
    tail::TailSender,
};
use crate::lock::lock;

/// Batches that wait for the writer; beyond them senders wait, and their agents with them.
const WAITING_MAX: usize = 64;

/// A store in one SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
    tail: Arc<TailSender>,
    space: Arc<Space>,
}

/// What the writer is asked to do.
#[derive(Debug)]
enum Job {
    Store { arrival: Arrival, answer: oneshot::Sender<Result<Receipt, StoreError>> },
    Close,
}

impl SqliteStore {
    /// Opens the database, and creates it with its directory when it is not there. Blocks.
    ///
    /// # Errors
    /// When the file cannot be opened, or is another program's.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path, Quota::default())
    }

    /// The same, with what nodes may fill.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, quota: Quota) -> Result<SqliteStore, StoreError> {
        create(path)?;
        let directory = directory_of(path).to_owned();
        let log = log_of(path);
        let look = move || {
            let room = disk(&directory)?;
            // What stands in the log has yet to find a place in the database.
            let pending = fs::metadata(&log).map_or(0, |log| log.len());
            Some(Room { free: room.free.saturating_sub(pending), ..room })
        };
        let total = look().map_or(u64::MAX, |room| room.total);
        let space = Arc::new(Space::seen(quota, Box::new(look)));
        let connection = schema::open_writer(path, total)?;
        let tail = Arc::new(TailSender::new());
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let packer = run::Packer::new().map_err(at("compress for", path))?;
        let writer = writer::Writer::new(connection, packer, Arc::clone(&tail), Arc::clone(&space));
        let thread = thread::Builder::new()
            .name("event-store".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(|source| at("start a thread for", path)(source))?;
        Ok(SqliteStore { path: path.to_owned(), jobs, writer: Mutex::new(Some(thread)), tail, space })
    }

    #[cfg(test)]
    pub(super) fn used_of_share(&self, node: &str) -> u64 {
        self.space.used(node)
    }

    /// Reads on a thread where waiting is allowed.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SqliteReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&SqliteReader::open(&path)?));
        reading.await.unwrap_or(Err(StoreError::Closed))
    }
}

#[tonic::async_trait]
impl Store for SqliteStore {
    async fn store(&self, arrival: Arrival) -> Result<Receipt, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Store { arrival, answer }).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn query(&self, query: &Query) -> Result<EventPage, StoreError> {
        let query = query.clone();
        self.read(move |reader| reader.query(&query)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.read(SqliteReader::nodes).await
    }

    fn tail(&self) -> Tail {
        self.tail.tail()
    }

    fn trouble(&self) -> Option<&'static str> {
        self.space.scarce().map(|_| "the store has little room left")
    }

    fn about(&self) -> String {
        format!("SQLite at {}", self.path.display())
    }

    async fn close(&self) {
        // Err means that the writer has ended already.
        let _ = self.jobs.send(Job::Close).await;
        let thread = lock(&self.writer).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// Makes the file before SQLite does, readable by owner and group only, and makes its name durable: SQLite syncs what
/// it writes, not the directory that the name stands in.
fn create(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(at("create directory", directory))?;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
    match opened {
        Ok(_) => File::open(directory).and_then(|entry| entry.sync_all()).map_err(at("sync directory", directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at("create", path)(error)),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where SQLite writes first (WAL).
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { action, path: path.to_owned(), source: Arc::new(source) }
}

/// A refusal of the database while doing something with it.
fn refused(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { action, source: Arc::new(source) }
}

/// A number as SQLite keeps it. Sequences never exceed its range ([`Numbering`](super::Numbering)); a count that does is
/// kept as the highest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The opposite. No number of ours is negative; if the file was damaged, it is still a number.
fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
