//! What holds for every store, proved on each of them.

use std::{future::Future, sync::Arc};

use prost::Message;

use super::*;
use crate::{
    event::Filter,
    schema::{Payload, events},
};

#[cfg(feature = "sqlite")]
mod broken;

const NOW: i64 = 1_800_000_000_000;

/// Runs a test on every store that there is.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Arc<dyn Store>) -> F) {
    test(Arc::new(MemoryStore::default())).await;
    #[cfg(feature = "sqlite")]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(SqliteStore::open(&directory.path().join("new/events.db")).expect("a database"));
        test(Arc::clone(&store) as Arc<dyn Store>).await;
        store.close().await;
    }
}

fn record(id: &str) -> Record {
    let pool = events::StoragePoolPayload { pool_name: format!("pool-{id}"), ..Default::default() };
    let event = events::Event {
        event_id: id.to_owned(),
        level: events::EventLevel::Warn as i32,
        timestamp: NOW,
        event_payload: Some(pool.into_event_payload()),
        ..Default::default()
    };
    Record::read(event.encode_to_vec().into()).expect("an event")
}

fn numbered(node: &str, first: u64, ids: &[&str]) -> Arrival {
    let numbering = Numbering::new("epoch", "routine", first, first + ids.len() as u64 - 1).expect("a row of numbers");
    Arrival { numbering: Some(numbering), ..unnumbered(node, ids) }
}

fn unnumbered(node: &str, ids: &[&str]) -> Arrival {
    Arrival {
        node: node.to_owned(),
        organisation: "acme".to_owned(),
        numbering: None,
        records: ids.iter().map(|id| record(id)).collect(),
        received_at: NOW,
    }
}

async fn all(store: &dyn Store) -> EventPage {
    let query = Query { filter: Filter::default(), from: i64::MIN, node: None, since: None, limit: usize::MAX };
    store.query(&query).await.expect("a page")
}

/// Identifiers of all that is stored, in order.
async fn ids(store: &dyn Store) -> Vec<String> {
    all(store).await.events.iter().map(|event| event.view().expect("an event").id().to_owned()).collect()
}

fn receipt(stored: usize, repeated: usize) -> Receipt {
    Receipt { stored, repeated }
}

#[tokio::test]
async fn a_node_begins_no_more_numberings_than_are_kept_and_goes_on_with_those_that_it_has() {
    on_each(|store| async move {
        let begin = async |node: &str, epoch: usize| {
            let numbering = Numbering::new(&epoch.to_string(), "routine", 1, 1);
            store.store(Arrival { numbering, ..unnumbered(node, &["a"]) }).await
        };
        for epoch in 0..EPOCHS_MAX {
            begin("many", epoch).await.expect("stored");
        }
        assert!(matches!(begin("many", EPOCHS_MAX).await, Err(StoreError::TooManyEpochs)));
        assert_eq!(begin("many", 7).await.expect("known"), receipt(0, 1));
        begin("other", EPOCHS_MAX).await.expect("another node");
        let nodes = store.nodes().await.expect("nodes");
        assert_eq!(nodes.iter().map(|node| node.streams.len()).collect::<Vec<_>>(), [EPOCHS_MAX, 1]);
    })
    .await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_node_that_has_stored_what_it_may_is_refused_and_others_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = |node_bytes| {
        let quota = Quota { node_bytes, reserve: Some(0) };
        SqliteStore::open_with(&directory.path().join("events.db"), quota).expect("a database")
    };
    let store = open(Some(1));
    assert_eq!(store.store(numbered("n", 1, &["a", "b"])).await.expect("it had nothing"), receipt(2, 0));
    assert!(matches!(store.store(numbered("n", 3, &["c"])).await, Err(StoreError::NodeFull)));
    store.store(unnumbered("n", &[])).await.expect("it is seen all the same");
    store.store(numbered("m", 1, &["a"])).await.expect("another node");
    assert_eq!(store.trouble(), None);
    store.close().await;
    let store = open(None);
    assert_eq!(store.store(numbered("n", 3, &["c"])).await.expect("there is no limit"), receipt(1, 0));
    store.close().await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn when_there_is_nothing_free_but_the_reserve_each_node_gets_its_share_and_the_store_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    // More than any disk has, of which a share is nothing.
    let quota = Quota { node_bytes: None, reserve: Some(u64::MAX) };
    let full = SqliteStore::open_with(&directory.path().join("events.db"), quota).expect("a database");
    full.store(numbered("n", 1, &["a"])).await.expect("a share of so much is enough");
    assert_eq!(full.trouble(), Some("the store has little room left"));
    full.close().await;
}

#[tokio::test]
async fn what_is_stored_comes_back_in_order_with_its_place_and_its_bytes() {
    on_each(|store| async move {
        let arrival = numbered("n", 7, &["a", "b"]);
        let bytes: Vec<_> = arrival.records.iter().map(|record| record.bytes.clone()).collect();
        assert_eq!(store.store(arrival).await.expect("stored"), receipt(2, 0));
        assert_eq!(store.store(unnumbered("m", &["c"])).await.expect("stored"), receipt(1, 0));
        let page = all(&*store).await;
        let place = |sequence| Some(Place { lane: "routine".into(), sequence });
        let expected = [("n", place(7)), ("n", place(8)), ("m", None)];
        let found: Vec<_> = page.events.iter().map(|event| (&*event.node, event.place.clone())).collect();
        assert_eq!(found, expected);
        assert_eq!(page.events[..2].iter().map(|event| event.bytes.clone()).collect::<Vec<_>>(), bytes);
        assert_eq!(
            page.events.iter().map(|event| (event.row, event.received_at)).collect::<Vec<_>>(),
            [(1, NOW), (2, NOW), (3, NOW)]
        );
        assert_eq!(page.last_row, 3);
    })
    .await;
}

#[tokio::test]
async fn repeats_are_dropped_whole_or_in_part() {
    on_each(|store| async move {
        store.store(numbered("n", 1, &["a", "b", "c"])).await.expect("stored");
        assert_eq!(store.store(numbered("n", 1, &["a", "b", "c"])).await.expect("a repeat"), receipt(0, 3));
        assert_eq!(store.store(numbered("n", 3, &["c", "d"])).await.expect("half a repeat"), receipt(1, 1));
        assert_eq!(store.store(unnumbered("n", &["x", "y", "x"])).await.expect("stored"), receipt(2, 1));
        assert_eq!(store.store(unnumbered("n", &["y", "z"])).await.expect("half a repeat"), receipt(1, 1));
        assert_eq!(ids(&*store).await, ["a", "b", "c", "d", "x", "y", "z"]);
    })
    .await;
}

#[tokio::test]
async fn the_same_identifier_is_another_event_for_another_node_lane_or_epoch() {
    on_each(|store| async move {
        let other = |epoch, lane| {
            let numbering = Numbering::new(epoch, lane, 1, 1);
            Arrival { numbering, ..unnumbered("n", &["a"]) }
        };
        let arrivals = [
            numbered("n", 1, &["a"]),
            numbered("n", 2, &["a"]),
            numbered("m", 1, &["a"]),
            other("epoch", "urgent"),
            other("next", "routine"),
            unnumbered("n", &["a"]),
            unnumbered("m", &["a"]),
        ];
        for arrival in arrivals {
            assert_eq!(store.store(arrival).await.expect("stored"), receipt(1, 0));
        }
    })
    .await;
}

#[tokio::test]
async fn a_fork_is_refused_and_nothing_of_its_batch_is_stored() {
    on_each(|store| async move {
        store.store(numbered("n", 5, &["e"])).await.expect("stored");
        let error = store.store(numbered("n", 3, &["c", "d", "other", "f"])).await.expect_err("a fork");
        assert!(matches!(error, StoreError::Fork { sequence: 5, .. }), "{error}");
        assert_eq!(ids(&*store).await, ["e"]);
        let nodes = store.nodes().await.expect("nodes");
        assert_eq!(nodes[0].streams[0].received.iter().collect::<Vec<_>>(), [5..=5]);
        assert_eq!(store.store(numbered("n", 3, &["c", "d", "e", "f"])).await.expect("the true ones"), receipt(3, 1));
    })
    .await;
}

#[tokio::test]
async fn nodes_tell_what_has_arrived_and_what_is_missing() {
    on_each(|store| async move {
        for arrival in [numbered("n", 1, &["a", "b"]), numbered("n", 6, &["f"]), numbered("n", 4, &["d", "e"])] {
            store.store(arrival).await.expect("stored");
        }
        store.store(Arrival { received_at: NOW + 5, ..unnumbered("silent", &[]) }).await.expect("seen");
        let nodes = store.nodes().await.expect("nodes");
        assert_eq!(nodes.len(), 2);
        assert_eq!((nodes[0].node.as_str(), nodes[0].events, nodes[0].organisation.as_str()), ("n", 5, "acme"));
        let stream = &nodes[0].streams[0];
        assert_eq!((stream.epoch.as_str(), stream.lane.as_str(), stream.events), ("epoch", "routine", 5));
        assert_eq!(stream.received.iter().collect::<Vec<_>>(), [1..=2, 4..=6]);
        assert_eq!(stream.received.holes(6), [3..=3]);
        assert_eq!(stream.received.since_above(3), Some(NOW));
        let silent = Node {
            node: "silent".into(),
            organisation: "acme".into(),
            seen_at: NOW + 5,
            events: 0,
            streams: Vec::new(),
            losses: Vec::new(),
            overlaps: Vec::new(),
        };
        assert_eq!(nodes[1], silent);
    })
    .await;
}

#[tokio::test]
async fn a_node_was_seen_when_it_came_last_also_after_a_clock_was_set_back() {
    on_each(|store| async move {
        for (first, received_at) in [(1, NOW + 1_000_000), (2, NOW)] {
            store.store(Arrival { received_at, ..numbered("n", first, &["a"]) }).await.expect("stored");
            assert_eq!(store.nodes().await.expect("nodes")[0].seen_at, received_at);
        }
    })
    .await;
}

/// A report of the log that routine 2 and 3 of `epoch` are lost, as the urgent event of a sequence in an epoch.
fn report(id: &str, epoch: &str, sequence: u64) -> Arrival {
    let loss = events::EventLossPayload {
        lane: "routine".into(),
        log_epoch: "epoch".into(),
        first_sequence: 2,
        last_sequence: 3,
        count: 2,
        count_exact: true,
        operation: events::event_loss_payload::EventLossOperation::Retention.into(),
        ..Default::default()
    };
    let event = events::Event {
        event_id: id.to_owned(),
        source: "event_log".into(),
        event_payload: Some(loss.into_event_payload()),
        ..Default::default()
    };
    let records = vec![Record::read(event.encode_to_vec().into()).expect("an event")];
    Arrival { records, numbering: Numbering::new(epoch, "urgent", sequence, sequence), ..unnumbered("n", &[]) }
}

#[tokio::test]
async fn a_report_of_a_loss_is_known_once_however_often_it_comes() {
    on_each(|store| async move {
        store.store(numbered("n", 1, &["a"])).await.expect("stored");
        store.store(numbered("n", 4, &["d"])).await.expect("stored");
        assert_eq!(Account::of(&store.nodes().await.expect("nodes")[0]).missing(), 2);
        for (epoch, sequence) in [("epoch", 1), ("epoch", 1), ("renumbered", 1)] {
            store.store(report("r", epoch, sequence)).await.expect("stored");
        }
        let node = store.nodes().await.expect("nodes").remove(0);
        let loss = Loss {
            event_id: "r".into(),
            received_at: NOW,
            epoch: "epoch".into(),
            lane: "routine".into(),
            consumer: String::new(),
            operation: "retention".into(),
            range: Some((2, 3)),
            count: 2,
            exact: true,
            first_time: 0,
            last_time: 0,
        };
        assert_eq!(node.losses, [loss]);
        let account = Account::of(&node);
        assert_eq!((account.missing(), account.lanes[0].lost, account.lanes[1].repeated), (0, 2, 1));
    })
    .await;
}

#[tokio::test]
async fn two_epochs_of_a_lane_are_compared_where_both_have_numbers() {
    on_each(|store| async move {
        let under = |epoch: &str, first: u64, ids: &[&str]| {
            let numbering = Numbering::new(epoch, "routine", first, first + ids.len() as u64 - 1);
            Arrival { numbering, ..unnumbered("n", ids) }
        };
        let arrivals = [
            under("e1", 1, &["a", "b", "c", "d", "e"]),
            under("e2", 3, &["c", "d", "other", "more"]),
            under("e3", 7, &["later"]),
        ];
        for arrival in arrivals {
            store.store(arrival).await.expect("stored");
        }
        let node = store.nodes().await.expect("nodes").remove(0);
        let epochs = ["e1".to_owned(), "e2".to_owned()];
        assert_eq!(node.overlaps, [Overlap { lane: "routine".into(), epochs, same: 2, differs_at: Some(5) }]);
        assert_eq!(Account::of(&node).missing(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_page_shows_a_lane_by_its_sequences_and_its_last_ones_are_the_highest() {
    on_each(|store| async move {
        for first in [1, 21, 11, 41, 31] {
            let ids: Vec<_> = (first..first + 10).map(|id: u64| id.to_string()).collect();
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            store.store(numbered("n", first, &ids)).await.expect("stored");
        }
        let sequences = async |since, limit| {
            let query = Query { filter: Filter::default(), from: i64::MIN, node: None, since, limit };
            let page = store.query(&query).await.expect("a page");
            let sequence = |event: &ArrivedEvent| event.place.as_ref().map_or(0, |place| place.sequence);
            (page.events.iter().map(sequence).collect::<Vec<_>>(), page.last_row)
        };
        assert_eq!(sequences(None, 100).await, ((1..=50).collect(), 50));
        assert_eq!(sequences(None, 15).await, ((36..=50).collect(), 50));
        assert_eq!(sequences(Some(10), 20).await, ((11..=30).collect(), 30));
        assert_eq!(sequences(Some(35), 100).await, ((31..=50).filter(|n| !(41..=45).contains(n)).collect(), 50));
    })
    .await;
}

#[tokio::test]
async fn the_highest_numbers_are_kept_too() {
    on_each(|store| async move {
        let top = i64::MAX as u64;
        store.store(numbered("n", top - 1, &["a", "b"])).await.expect("stored");
        assert_eq!(store.store(numbered("n", top, &["b"])).await.expect("a repeat"), receipt(0, 1));
        let nodes = store.nodes().await.expect("nodes");
        assert_eq!(nodes[0].streams[0].received.iter().collect::<Vec<_>>(), [top - 1..=top]);
        assert_eq!(Numbering::new("e", "l", top, top + 1), None);
        assert_eq!(Numbering::new("e", "l", 0, 1), None);
        assert_eq!(Numbering::new("e", "l", 2, 1), None);
    })
    .await;
}

#[tokio::test]
async fn a_query_finds_the_last_ones_and_goes_on_behind_a_row() {
    on_each(|store| async move {
        store.store(numbered("n", 1, &["a", "b", "c", "d"])).await.expect("stored");
        store.store(numbered("m", 1, &["e"])).await.expect("stored");
        let query = async |conditions: &[&str], node: Option<&str>, since, limit| {
            let filter = Filter::parse(conditions).expect("a filter");
            let query = Query { filter, from: i64::MIN, node: node.map(str::to_owned), since, limit };
            let page = store.query(&query).await.expect("a page");
            let ids: Vec<_> = page.events.iter().map(|e| e.view().expect("an event").id().to_owned()).collect();
            (ids.concat(), page.last_row)
        };
        assert_eq!(query(&[], None, None, 2).await, ("de".into(), 5));
        assert_eq!(query(&[], Some("n"), None, 2).await, ("cd".into(), 5));
        assert_eq!(query(&["pool_name=pool-b"], None, None, 2).await, ("b".into(), 5));
        assert_eq!(query(&[], None, Some(1), 2).await, ("bc".into(), 3));
        assert_eq!(query(&[], None, Some(3), 2).await, ("de".into(), 5));
        assert_eq!(query(&["level>=error"], None, Some(1), 2).await, (String::new(), 5));
        assert_eq!(query(&[], None, Some(5), 2).await, (String::new(), 5));
    })
    .await;
}

#[tokio::test]
async fn a_tail_tells_what_is_stored_and_how_much_it_missed() {
    on_each(|store| async move {
        let mut tail = store.tail();
        store.store(numbered("n", 1, &["a"])).await.expect("stored");
        store.store(numbered("n", 1, &["a", "b"])).await.expect("stored");
        for row in [1, 2] {
            let Some(Tailed::Event(event)) = tail.next().await else { panic!("an event") };
            assert_eq!(event.row, row);
        }
        let ids: Vec<_> = (0..5000).map(|n| n.to_string()).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        store.store(numbered("n", 3, &ids)).await.expect("stored");
        let Some(Tailed::Missed(missed)) = tail.next().await else { panic!("some were missed") };
        let Some(Tailed::Event(event)) = tail.next().await else { panic!("and then it goes on") };
        assert_eq!(event.row, 3 + missed);
    })
    .await;
}

#[tokio::test]
async fn batches_that_come_at_once_are_all_stored_and_none_twice() {
    on_each(|store| async move {
        let senders = (0..8).map(|sender: u64| {
            let store = Arc::clone(&store);
            async move {
                for batch in 0..20 {
                    // Two senders each with the same numbers: one of them only repeats.
                    let first = 1 + batch * 2;
                    let ids = [first.to_string(), (first + 1).to_string()];
                    let arrival = numbered(&format!("n{}", sender / 2), first, &[&ids[0], &ids[1]]);
                    store.store(arrival).await.expect("stored");
                }
            }
        });
        futures_util::future::join_all(senders).await;
        let nodes = store.nodes().await.expect("nodes");
        assert_eq!(nodes.len(), 4);
        for node in nodes {
            assert_eq!((node.events, Account::of(&node).missing()), (40, 0));
        }
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_refuses_batches() {
    on_each(|store| async move {
        store.close().await;
        assert!(matches!(store.store(numbered("n", 1, &["a"])).await, Err(StoreError::Closed)));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_memory_store_lets_the_oldest_go_and_still_knows_their_numbers() {
    let store = MemoryStore::bounded(2);
    store.store(numbered("n", 1, &["a", "b", "c"])).await.expect("stored");
    assert_eq!(ids(&store).await, ["b", "c"]);
    assert_eq!(store.gone(), 1);
    assert!(store.about().contains("1 older"), "{}", store.about());
    assert_eq!(store.store(numbered("n", 1, &["a"])).await.expect("a repeat"), receipt(0, 1));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn ranges_that_touch_are_one_row_of_the_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.db");
    let store = SqliteStore::open(&path).expect("a database");
    for first in [1, 2, 9, 8, 5, 3, 4, 6, 7, 12, 14, 16, 20] {
        store.store(numbered("n", first, &["x"])).await.expect("stored");
    }
    store.store(numbered("n", 13, &["x"; 5])).await.expect("stored");
    store.close().await;
    let database = rusqlite::Connection::open(&path).expect("a database");
    let mut statement = database.prepare("SELECT first, last FROM received ORDER BY first").expect("SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let rows: Vec<(i64, i64)> = rows.map(|row| row.expect("a row")).collect();
    assert_eq!(rows, [(1, 9), (12, 17), (20, 20)]);
}

#[tokio::test]
async fn a_batch_that_overlaps_what_is_there_stores_only_what_is_new_and_pages_begin_within_it() {
    on_each(|store| async move {
        let names: Vec<String> = (1..=40).map(|n| format!("id-{n}")).collect();
        let part = |from: usize, to: usize| {
            let ids: Vec<_> = names[from - 1..to].iter().map(String::as_str).collect();
            numbered("n", from as u64, &ids)
        };
        assert_eq!(store.store(part(10, 20)).await.expect("stored"), receipt(11, 0));
        assert_eq!(store.store(part(25, 30)).await.expect("stored"), receipt(6, 0));
        assert_eq!(store.store(part(1, 40)).await.expect("stored"), receipt(23, 17));
        assert_eq!(store.store(part(5, 35)).await.expect("known"), receipt(0, 31));
        let mut seen = Vec::new();
        let mut since = 0;
        while since < 40 {
            let query = Query { filter: Filter::default(), from: i64::MIN, node: None, since: Some(since), limit: 7 };
            let page = store.query(&query).await.expect("a page");
            assert!(page.events.len() <= 7 && page.last_row > since);
            since = page.last_row;
            seen.extend(page.events.iter().map(|event| event.place.as_ref().expect("a place").sequence));
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=40).collect::<Vec<_>>());
        let last = Query { filter: Filter::default(), from: i64::MIN, node: None, since: None, limit: 3 };
        let last = store.query(&last).await.expect("a page").events;
        let ids: Vec<_> = last.iter().map(|event| event.view().expect("an event").id().to_owned()).collect();
        assert_eq!(ids, ["id-38", "id-39", "id-40"]);
        let mut forked = part(15, 16);
        forked.records[1] = record("another");
        assert!(matches!(store.store(forked).await, Err(StoreError::Fork { sequence: 16, .. })));
        let one = Filter::parse(&["pool_name=pool-id-17"]).expect("a filter");
        let one = Query { filter: one, from: i64::MIN, node: Some("n".into()), since: None, limit: 9 };
        let found = store.query(&one).await.expect("a page").events;
        assert_eq!(found.iter().map(|event| event.place.as_ref().expect("a place").sequence).collect::<Vec<_>>(), [17]);
    })
    .await;
}
