//! What a database that is damaged, or refuses, costs.

use super::*;

#[tokio::test]
async fn what_is_damaged_costs_its_own_events_and_is_stored_anew_when_it_comes_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.db");
    let names: Vec<String> = (1..=200).map(|n| format!("id-{n}")).collect();
    let part = |from: usize, to: usize| {
        let ids: Vec<_> = names[from - 1..to].iter().map(String::as_str).collect();
        numbered("n", from as u64, &ids)
    };
    let store = SqliteStore::open(&path).expect("a database");
    store.store(part(1, 100)).await.expect("stored");
    store.store(part(101, 200)).await.expect("stored");
    store.close().await;
    let database = rusqlite::Connection::open(&path).expect("a database");
    let mut bytes: Vec<u8> =
        database.query_row("SELECT bytes FROM run WHERE row = 1", [], |row| row.get(0)).expect("a run");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    database.execute("UPDATE run SET bytes = ?1 WHERE row = 1", [bytes]).expect("written");
    drop(database);

    let store = SqliteStore::open(&path).expect("a database");
    assert_eq!(ids(&store).await, names[100..]);
    assert_eq!(store.store(part(51, 150)).await.expect("a repeat"), receipt(50, 50));
    assert_eq!(store.store(part(1, 200)).await.expect("a repeat"), receipt(50, 150));
    assert_eq!(store.store(part(1, 200)).await.expect("a repeat"), receipt(0, 200));
    let mut all = ids(&store).await;
    all.sort();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(store.nodes().await.expect("nodes").len(), 1);
    store.close().await;
}

#[tokio::test]
async fn a_transaction_that_fails_costs_a_node_nothing_of_its_share() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.db");
    // More than any disk has.
    let bytes = record("a").bytes.len() as u64;
    let quota = Quota { node_bytes: None, reserve: Some(u64::MAX) };
    let store = SqliteStore::open_with(&path, quota).expect("a database");
    store.store(numbered("n", 1, &["a"])).await.expect("stored");
    let database = rusqlite::Connection::open(&path).expect("a database");
    let stop = "CREATE TABLE owed (node INTEGER REFERENCES node DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER stop AFTER UPDATE OF bytes ON node BEGIN INSERT INTO owed VALUES (-1); END;";
    database.execute_batch(stop).expect("a trigger");
    assert!(matches!(store.store(numbered("n", 2, &["b"])).await, Err(StoreError::Database { .. })));
    assert_eq!(store.used_of_share("n"), bytes);
    database.execute_batch("DROP TRIGGER stop").expect("no trigger");
    store.store(numbered("n", 2, &["b"])).await.expect("stored");
    assert_eq!(store.used_of_share("n"), 2 * bytes);
    store.close().await;
}
