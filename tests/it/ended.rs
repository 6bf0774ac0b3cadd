//! Connections that end in good order: another one takes their place, and nobody hears of an outage.

use std::{collections::BTreeSet, time::Duration};

use rodent::{consumers::Threshold, event_log::Lane};
use tonic::transport::Server;

use crate::uplink::Scene;

#[tokio::test]
async fn connections_that_end_at_their_age_are_replaced_at_once_and_nobody_is_told_of_an_outage() {
    let server = Server::builder().max_connection_age(Duration::from_millis(150));
    let threshold = Threshold { batch_size: 5, batch_timeout: Duration::from_millis(5) };
    let scene = Scene::behind(server, &[], threshold, Vec::new()).await;
    scene.append(Lane::Routine, 0..5).await;
    scene.delivered(6).await;
    let first = scene.state.status();
    for number in 1..100 {
        scene.append(Lane::Routine, 5 * number..5 * number + 5).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.delivered(501).await;
    let last = scene.state.status();
    assert_eq!((last.state.as_str(), last.failed_attempts), ("connected", 0), "{}", last.last_error);
    assert_eq!(last.connected_since, first.connected_since);
    assert!(last.failed_attempts_by_reason["unreachable"] > 0, "some call met the end of a connection");
    let sequences = scene.seen().into_iter().flat_map(|batch| batch.first_sequence..=batch.last_sequence);
    let sequences: BTreeSet<_> = sequences.collect();
    assert_eq!(sequences, (1..=500).collect());
    scene.end().await;
}
