//! The tables, and how a connection to them is opened. The version stands in `user_version`. The writer brings a file of
//! an earlier version to this one; a file of a later version or of another program is refused, not touched.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, refused, signed, upgrade};

/// Version of the tables below; raised with every change, together with the step that leads there.
const VERSION: i64 = 4;

/// Marks the file as ours ("Rdnt").
const APPLICATION: i64 = 0x5264_6e74;

/// How long a connection waits for another process that writes.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(10);

/// Times are Unix milliseconds. An event without numbering has the stream with empty epoch and lane, and no sequence.
/// `node.bytes` are those of its events in clear. `received.since` is when the first event of the range came. A loss is what its report says; without `first` and
/// `last` the events were never numbered.
const TABLES: &str = "
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    organisation TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node,
    epoch TEXT NOT NULL,
    lane TEXT NOT NULL,
    events INTEGER NOT NULL DEFAULT 0,
    UNIQUE (node, epoch, lane)
) STRICT;
CREATE TABLE received (
    stream INTEGER NOT NULL REFERENCES stream,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE loss (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node,
    event_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    lane TEXT NOT NULL,
    consumer TEXT NOT NULL,
    operation TEXT NOT NULL,
    first INTEGER,
    last INTEGER,
    count INTEGER NOT NULL,
    exact INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    UNIQUE (node, event_id)
) STRICT;
";

/// Where events are. A row of `run` is its first event's, and so is its sequence; `clear_bytes` is what the bytes come to
/// when they are not compressed. Only events without a number are known by their identifiers.
pub(super) const EVENT_TABLES: &str = "
CREATE TABLE run (
    row INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream,
    sequence INTEGER,
    events INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    clear_bytes INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX run_by_sequence ON run (stream, sequence, events) WHERE sequence IS NOT NULL;
CREATE TABLE identifier (
    stream INTEGER NOT NULL REFERENCES stream,
    event_id TEXT NOT NULL,
    PRIMARY KEY (stream, event_id)
) STRICT, WITHOUT ROWID;
";

/// Bytes of the log at which they are brought into the database, and this part of a small file system; each time costs a
/// sync of the whole database.
const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024;
const CHECKPOINT_PART: u64 = 256;

/// As SQLite makes them.
const PAGE_BYTES: u64 = 4096;

/// The one connection that writes; creates the tables in an empty file. `total` are the bytes of the file system.
pub(super) fn open_writer(path: &Path, total: u64) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(refused("open"))?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(refused("open"))?;
    check(&connection, path)?;
    prepare(&mut connection, total).map_err(refused("prepare"))?;
    Ok(connection)
}

/// A connection that only reads; the file must be there.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(refused("open"))?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(refused("open"))?;
    match check(&connection, path)? {
        0 => Err(StoreError::Missing { path: path.to_owned() }),
        VERSION => Ok(connection),
        earlier => Err(StoreError::Foreign {
            path: path.to_owned(),
            found: format!("version {earlier} of its tables; `rodent-controller serve` brings it to version {VERSION}"),
        }),
    }
}

/// The version of the tables, 0 for an empty file.
fn check(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let foreign = |found: String| StoreError::Foreign { path: path.to_owned(), found };
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let tables = match number("SELECT count(*) FROM sqlite_schema") {
        Ok(tables) => tables,
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(foreign("not a database".to_owned()));
        }
        Err(error) => return Err(refused("read")(error)),
    };
    if tables == 0 {
        return Ok(0);
    }
    let application = number("PRAGMA application_id").map_err(refused("read"))?;
    let version = number("PRAGMA user_version").map_err(refused("read"))?;
    match (application, version) {
        (APPLICATION, 1..=VERSION) => Ok(version),
        (APPLICATION, later) => Err(foreign(format!("version {later} of its tables; this program knows {VERSION}"))),
        _ => Err(foreign("a database of another program".to_owned())),
    }
}

fn prepare(connection: &mut Connection, total: u64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode FULL syncs the log at every commit: what was answered survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    let checkpoint = signed(CHECKPOINT_BYTES.min(total / CHECKPOINT_PART).max(PAGE_BYTES));
    connection.pragma_update(None, "wal_autocheckpoint", checkpoint / signed(PAGE_BYTES))?;
    connection.pragma_update(None, "journal_size_limit", checkpoint * 4)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        tx.execute_batch(TABLES)?;
        tx.execute_batch(EVENT_TABLES)?;
        tx.pragma_update(None, "application_id", APPLICATION)?;
    }
    if version == 1 {
        upgrade::from_1(&tx)?;
    }
    if version == 1 || version == 2 {
        upgrade::from_2(&tx)?;
    }
    if (1..=3).contains(&version) {
        upgrade::from_3(&tx, EVENT_TABLES)?;
    }
    if version != VERSION {
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    tx.commit()
}
