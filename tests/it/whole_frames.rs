//! What the log has stored goes to a controller that speaks our dialect as it lies there.

use std::time::Duration;

use rodent::{consumers::Threshold, event_log::Lane};
use tonic::{codec::CompressionEncoding, transport::Server};

use super::uplink::{Scene, answers, identifiers, numbered};

#[tokio::test]
async fn to_a_controller_that_speaks_our_dialect_whole_frames_go_and_the_size_of_batches_says_only_when() {
    let threshold = Threshold { batch_size: 100, batch_timeout: Duration::from_millis(50) };
    let script = (0..1000).map(|_| answers(1, |_| Ok(()))).collect();
    let scene = Scene::behind(Server::builder(), &[CompressionEncoding::Zstd], threshold, script).await;
    // How the controller speaks is known with its first answer.
    scene.append(Lane::Routine, 0..1).await;
    scene.delivered(2).await;
    for part in 0..3 {
        scene.append(Lane::Routine, 1 + part * 2_000..1 + (part + 1) * 2_000).await;
    }
    scene.delivered(6_002).await;
    let mut seen = scene.seen();
    seen.sort_by_key(|batch| batch.first_sequence);
    assert_eq!(identifiers(&seen), numbered(0..6_001), "each event once, in its place");
    let counts: Vec<_> = seen.iter().map(|batch| batch.events.len()).collect();
    assert!(counts.len() < 10 && counts.iter().all(|count| *count == 1 || *count >= 100), "{counts:?}");
    scene.end().await;
}
