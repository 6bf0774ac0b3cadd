//! What becomes of batches: the same cases on every store, each through a real connection.

use std::{future::Future, sync::Arc};

use rodent::{
    controller::store::MemoryStore,
    schema::wire::{EventBatch, EventBatchResponse},
};
use tonic::{Code, codec::CompressionEncoding};

use super::peer::{Controller, batch, event, token};

/// Runs a test on a controller over each of its stores.
async fn on_each<F: Future<Output = Controller>>(test: impl Fn(Controller) -> F) {
    test(Controller::start(Arc::new(MemoryStore::default())).await).await.stop().await;
    #[cfg(feature = "sqlite")]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let store = rodent::controller::store::SqliteStore::open(&directory.path().join("events.db"));
        test(Controller::start(Arc::new(store.expect("a database"))).await).await.stop().await;
    }
}

fn accepted(answer: &EventBatchResponse) -> bool {
    answer.success && answer.dialect == 1
}

#[tokio::test]
async fn a_batch_is_stored_once_however_often_it_is_sent_and_in_whatever_order() {
    on_each(|controller| async move {
        let agent = controller.agent(&token("nas-1")).await;
        for first in [11, 1, 11, 21, 1] {
            assert!(accepted(&agent.send(&batch(first, 10)).await.expect("stored")));
        }
        // Cut anew, as after a restart of the agent.
        let answer = agent.send(&batch(5, 30)).await.expect("stored");
        assert_eq!(answer.message, "4 stored, 26 repeated");
        let nodes = controller.store.nodes().await.expect("nodes");
        assert_eq!((nodes[0].node.as_str(), nodes[0].organisation.as_str(), nodes[0].events), ("nas-1", "acme", 34));
        assert_eq!(nodes[0].streams[0].received.iter().collect::<Vec<_>>(), [1..=34]);
        controller
    })
    .await;
}

#[tokio::test]
async fn the_events_of_two_agents_at_once_are_all_there() {
    on_each(|controller| async move {
        let (left, right) = (controller.agent(&token("left")).await, controller.agent(&token("right")).await);
        for first in (1..=401).step_by(100) {
            let batch = batch(first, 100);
            let (one, two) = tokio::join!(left.send(&batch), right.send(&batch));
            assert!(accepted(&one.expect("stored")) && accepted(&two.expect("stored")));
        }
        let nodes = controller.store.nodes().await.expect("nodes");
        let found: Vec<_> = nodes.iter().map(|node| (node.node.as_str(), node.events)).collect();
        assert_eq!(found, [("left", 500), ("right", 500)]);
        controller
    })
    .await;
}

#[tokio::test]
async fn another_event_under_a_number_that_is_taken_is_a_fork() {
    on_each(|controller| async move {
        let agent = controller.agent(&token("nas-1")).await;
        agent.send(&batch(1, 3)).await.expect("stored");
        let mut forked = batch(3, 2);
        forked.events[0].event_id = "another".into();
        let refusal = agent.send(&forked).await.expect_err("a fork");
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        assert!(refusal.message().contains("routine 3 of epoch e1"), "{}", refusal.message());
        assert_eq!(controller.stored_ids().await, ["n1", "n2", "n3"]);
        // Renumbered under a new epoch, it is taken.
        let renumbered = EventBatch { log_epoch: "e2".into(), first_sequence: 1, last_sequence: 2, ..forked };
        assert!(accepted(&agent.send(&renumbered).await.expect("stored")));
        controller
    })
    .await;
}

#[tokio::test]
async fn events_of_an_agent_that_does_not_number_are_told_apart_by_their_identifier() {
    on_each(|controller| async move {
        let agent = controller.agent(&token("plain")).await;
        let plain =
            |ids: &[&str]| EventBatch { events: ids.iter().map(|id| event(id)).collect(), ..Default::default() };
        assert!(accepted(&agent.send(&plain(&["a", "b"])).await.expect("stored")));
        assert!(accepted(&agent.send(&plain(&["b", "c"])).await.expect("stored")));
        let refusal = agent.send(&plain(&["d", ""])).await.expect_err("no identifier");
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert!(refusal.message().contains("event 1 of the batch has no event_id"), "{}", refusal.message());
        assert_eq!(controller.stored_ids().await, ["a", "b", "c"]);
        controller
    })
    .await;
}

#[tokio::test]
async fn bytes_are_kept_as_they_came_plain_or_compressed() {
    on_each(|controller| async move {
        let plain = controller.agent(&token("nas-1")).await;
        let agents = [
            plain.clone(),
            plain.clone().compressing(CompressionEncoding::Zstd),
            plain.compressing(CompressionEncoding::Gzip),
        ];
        let mut sent = Vec::new();
        for (index, agent) in agents.iter().enumerate() {
            use prost::Message;
            // A level, a field and a payload that this version does not know; fields in an order that nobody writes.
            let mut bytes = vec![0xfa, 0x7f, 3, b'n', b'e', b'w', 0x10, 0x6b, 0xfa, 0x06, 1, 0];
            bytes.extend(event(&format!("n{index}")).encode_to_vec());
            let mut request = vec![0x0a, u8::try_from(bytes.len()).expect("short")];
            request.extend(&bytes);
            request.extend(EventBatch { events: Vec::new(), ..batch(index as u64 + 1, 1) }.encode_to_vec());
            assert!(accepted(&agent.send_bytes(request).await.expect("stored")));
            sent.push(bytes);
        }
        let stored: Vec<_> = controller.stored().await.events.iter().map(|event| event.bytes.to_vec()).collect();
        assert_eq!(stored, sent);
        controller
    })
    .await;
}
