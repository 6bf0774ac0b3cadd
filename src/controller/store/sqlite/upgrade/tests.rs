//! A database as version 1 made it, and what becomes of it.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use rusqlite::{Connection, params};

use crate::{
    controller::store::{
        Account, Arrival, ArrivedEvent, Numbering, Query, Record, SqliteReader, SqliteStore, Store, StoreError,
    },
    event::Filter,
    schema::{
        Payload,
        events::{Event, EventLossPayload, StoragePoolPayload, event_loss_payload::EventLossOperation},
    },
};

/// The tables of version 1, as that version made them.
const TABLES_1: &str = "
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    organisation TEXT NOT NULL,
    seen_at INTEGER NOT NULL
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
    PRIMARY KEY (stream, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
    row INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream,
    sequence INTEGER,
    event_id TEXT NOT NULL,
    time INTEGER NOT NULL,
    level TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_by_sequence ON event (stream, sequence) WHERE sequence IS NOT NULL;
CREATE UNIQUE INDEX event_by_id ON event (stream, event_id) WHERE sequence IS NULL;
CREATE VIEW events AS
    SELECT e.row, n.name AS node, s.epoch, s.lane, e.sequence, e.event_id, e.time, e.level, e.kind, e.source,
        e.received_at, e.bytes
    FROM event e JOIN stream s ON s.id = e.stream JOIN node n ON n.id = s.node;
PRAGMA application_id = 1382313588;
PRAGMA user_version = 1;
";

/// Of `nas-1`: routine 1 and 5, and a report that 2 to 4 are lost.
fn make_version_1(path: &Path) {
    let database = Connection::open(path).expect("a database");
    database.execute_batch(TABLES_1).expect("tables");
    let rows = "INSERT INTO node VALUES (1, 'nas-1', 'acme', 900);
        INSERT INTO stream VALUES (1, 1, 'e1', 'routine', 2), (2, 1, 'e1', 'urgent', 1), (3, 1, '', '', 1);
        INSERT INTO received VALUES (1, 1, 1), (1, 5, 5), (2, 1, 1);";
    database.execute_batch(rows).expect("rows");
    let report = EventLossPayload {
        lane: "routine".into(),
        log_epoch: "e1".into(),
        first_sequence: 2,
        last_sequence: 4,
        count: 3,
        count_exact: true,
        operation: EventLossOperation::Retention.into(),
        ..EventLossPayload::default()
    };
    let pool = || StoragePoolPayload::default().into_event_payload();
    let events = [
        (1, Some(1), "a", "storage.pool", "zfs", 100, pool()),
        (1, Some(5), "b", "storage.pool", "zfs", 300, pool()),
        (2, Some(1), "c", "system.loss.retention", "event_log", 200, report.into_event_payload()),
        (3, None, "u", "storage.pool", "zfs", 250, pool()),
    ];
    for (stream, sequence, id, kind, source, received_at, payload) in events {
        let (event_id, event_payload) = (id.to_owned(), Some(payload));
        let event = Event { event_id, source: source.into(), event_payload, ..Event::default() };
        let sql = "INSERT INTO event (stream, sequence, event_id, time, level, kind, source, received_at, bytes)
            VALUES (?1, ?2, ?3, 0, 'info', ?4, ?5, ?6, ?7)";
        let row = params![stream, sequence, id, kind, source, received_at, event.encode_to_vec()];
        database.execute(sql, row).expect("a row");
    }
}

/// Rows and events as version 1 keeps them.
fn held(path: &Path) -> Vec<(u64, Bytes)> {
    let database = Connection::open(path).expect("a database");
    let mut statement = database.prepare("SELECT row, bytes FROM event ORDER BY row").expect("a table");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Vec<u8>>(1)?.into()));
    statement.query_map([], read).expect("rows").collect::<Result<_, _>>().expect("rows")
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_to_this_one_with_all_that_it_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.db");
    make_version_1(&path);
    let held = held(&path);
    let refusal = SqliteReader::open(&path).expect_err("a reader changes nothing");
    assert!(matches!(refusal, StoreError::Foreign { .. }) && refusal.to_string().contains("serve"), "{refusal}");

    let store = SqliteStore::open(&path).expect("a database");
    let node = store.nodes().await.expect("nodes").remove(0);
    assert_eq!((node.losses.len(), node.losses[0].range, node.losses[0].received_at), (1, Some((2, 4)), 200));
    let routine = node.streams.iter().find(|stream| stream.lane == "routine").expect("a stream");
    let since: Vec<_> = routine.received.iter_since().collect();
    assert_eq!(since, [(1..=1, 100), (5..=5, 300)]);
    assert_eq!(Account::of(&node).missing(), 0);
    let database = Connection::open(&path).expect("a database");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
    let query = Query { filter: Filter::default(), from: i64::MIN, node: None, since: Some(0), limit: usize::MAX };
    let stored = async || store.query(&query).await.expect("a page").events;
    let length = |events: &[ArrivedEvent]| events.iter().map(|event| event.bytes.len() as i64).sum::<i64>();
    let events = stored().await;
    assert_eq!(events.iter().map(|event| (event.row, event.bytes.clone())).collect::<Vec<_>>(), held, "as they were");
    let places: Vec<_> =
        events.iter().map(|it| (it.place.as_ref().map(|place| place.sequence), it.received_at)).collect();
    assert_eq!(places, [(Some(1), 100), (Some(5), 300), (Some(1), 200), (None, 250)]);
    let bytes = count("SELECT bytes FROM node");
    assert!(bytes > 0 && bytes == length(&events), "{bytes}");
    // It is a database like any other now.
    let numbering = Numbering::new("e1", "routine", 6, 6);
    let event = Event { event_id: "d".into(), ..Event::default() };
    let record = Record::read(event.encode_to_vec().into()).expect("an event");
    let arrival = Arrival {
        node: "nas-1".into(),
        organisation: "acme".into(),
        numbering,
        records: vec![record],
        received_at: 400,
    };
    assert_eq!(store.store(arrival).await.expect("stored").stored, 1);
    let events = stored().await;
    assert_eq!((events.last().expect("an event").row, count("SELECT bytes FROM node")), (5, length(&events)));
    for (numbering, id) in [(Numbering::new("e1", "routine", 5, 5), "b"), (None, "u")] {
        let event = Event { event_id: id.into(), ..Event::default() };
        let records = vec![Record::read(event.encode_to_vec().into()).expect("an event")];
        let repeat =
            Arrival { node: "nas-1".into(), organisation: "acme".into(), numbering, records, received_at: 500 };
        assert_eq!(store.store(repeat).await.expect("known").repeated, 1, "{id}");
    }
    store.close().await;
    let again = SqliteStore::open(&path).expect("once is enough");
    assert_eq!(again.nodes().await.expect("nodes")[0].losses.len(), 1);
    again.close().await;
    let nodes = SqliteReader::open(&path).expect("a reader").nodes().expect("nodes");
    let routine = nodes[0].streams.iter().find(|stream| stream.lane == "routine").expect("a stream");
    assert_eq!(routine.received.iter_since().collect::<Vec<_>>(), [(1..=1, 100), (5..=6, 300)]);
}
