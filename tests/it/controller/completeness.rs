//! `rodent-controller gaps` and `nodes` over what a real controller has stored: complete, missing, reported lost.

use rodent::schema::{
    Payload,
    events::{Event, EventLevel, EventLossPayload, event_loss_payload::EventLossOperation},
    wire::EventBatch,
};
use serde_json::json;

use super::{
    peer::{Agent, batch, token},
    process::{Place, text},
};

/// The urgent event of a sequence: a report that these routine ones are lost.
pub(super) fn report(sequence: u64, first_sequence: u64, last_sequence: u64, source: &str) -> EventBatch {
    let loss = EventLossPayload {
        consumer: "uplink".into(),
        lane: "routine".into(),
        log_epoch: "e1".into(),
        first_sequence,
        last_sequence,
        count: last_sequence - first_sequence + 1,
        count_exact: true,
        operation: EventLossOperation::Retention.into(),
        ..EventLossPayload::default()
    };
    let event = Event {
        event_id: format!("u{sequence}"),
        level: EventLevel::Essential.into(),
        source: source.into(),
        event_payload: Some(loss.into_event_payload()),
        ..Event::default()
    };
    EventBatch { events: vec![event], lane: "urgent".into(), ..batch(sequence, 1) }
}

#[tokio::test]
async fn a_node_is_complete_when_all_has_arrived_or_was_reported_lost() {
    let place = Place::new();
    let process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    let gaps = |more: &[&str]| place.run(&[&["gaps", "--node", "nas-1", "--store", &place.store()], more].concat());

    for first in [21, 1] {
        agent.send(&batch(first, 10)).await.expect("stored");
    }
    let output = gaps(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "rodent-controller: 10 events of nas-1 are missing\n");
    let page = text(&output.stdout);
    let row = |what: &str| {
        page.lines().find(|line| line.contains(what)).map(|line| line.split_whitespace().collect::<Vec<_>>())
    };
    assert_eq!(row("awaited").expect("a row")[..6], ["routine", "e1", "awaited", "11", "20", "10"]);
    assert_eq!(gaps(&["--older-than", "1h"]).status.code(), Some(0), "it has only just been overtaken");
    assert_eq!(place.lines(&["nodes"])[0]["missing"], 10);

    // A program of the node cannot cover for the log.
    agent.send(&report(1, 11, 20, "local")).await.expect("stored");
    assert_eq!(gaps(&[]).status.code(), Some(1));
    agent.send(&report(2, 11, 15, "event_log")).await.expect("stored");
    agent.send(&batch(16, 5)).await.expect("stored");
    let output = gaps(&["-o", "json"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let account: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let routine = &account["lanes"][0];
    assert_eq!((&routine["missing"], &routine["lost"], &routine["received"]), (&json!(0), &json!(5), &json!(25)));
    assert_eq!(routine["epochs"][0]["losses"][0]["range"], json!([11, 15]));
    let output = gaps(&[]);
    assert!(text(&output.stdout).contains("routine  all    complete"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn events_are_printed_in_the_order_of_their_lane() {
    let place = Place::new();
    let process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    for first in [1, 31, 11, 21] {
        agent.send(&batch(first, 10)).await.expect("stored");
    }
    let sequences: Vec<_> = place.lines(&["events", "-n", "25"]).iter().map(|e| e["sequence"].as_u64()).collect();
    assert_eq!(sequences, (16..=40).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_renumbered_event_is_told_to_be_there_twice_and_a_node_that_nobody_saw_to_be_none() {
    let place = Place::new();
    let process = place.serve();
    let agent = Agent::connect(process.address, &token("nas-1")).await;
    agent.send(&batch(1, 10)).await.expect("stored");
    agent.send(&EventBatch { log_epoch: "e2".into(), ..batch(8, 13) }).await.expect("stored");
    let output = place.run(&["gaps", "--node", "nas-1", "--store", &place.store()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = text(&output.stdout).lines().find(|line| line.contains("also in e1")).map(str::to_owned);
    assert_eq!(again.expect("a row").split_whitespace().last(), Some("3"));
    let output = place.run(&["gaps", "--node", "nas-2", "--store", &place.store()]);
    assert_eq!(output.status.code(), Some(66));
    assert!(text(&output.stderr).contains("no node \"nas-2\" has been seen"), "{}", text(&output.stderr));
}
