//! How what the log has stored goes to a controller: as it lies there where the dialect is ours, otherwise compressed in the best way
//! that it reads.

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

/// Drains so many events into a server that reads what is compressed in these ways; gives how it came and its bytes.
async fn drained(encodings: &[CompressionEncoding], events: u64, batch_size: usize) -> (String, u64) {
    let threshold = Threshold { batch_size, batch_timeout: Duration::from_millis(50) };
    let scene = Scene::behind(Server::builder(), encodings, threshold, Vec::new()).await;
    scene.append(Lane::Routine, 0..events).await;
    scene.delivered(events + 1).await;
    let mut seen = scene.seen();
    seen.sort_by_key(|batch| batch.first_sequence);
    assert_eq!(identifiers(&seen), numbered(0..events), "each event once, in its place");
    let excess = batch_size + batch_size.div_ceil(4);
    assert!(seen.iter().all(|batch| batch.events.len() <= excess), "no batch is much larger than it was set");
    let status = scene.state.status();
    scene.end().await;
    (status.compression, status.delivered_bytes)
}

#[tokio::test]
async fn batches_are_compressed_in_the_best_way_that_the_controller_reads() {
    const EVENTS: u64 = 4_000;
    use CompressionEncoding::{Gzip, Zstd};
    let (way, plain) = drained(&[], EVENTS, 1_000).await;
    assert_eq!(way, "none");
    let (way, gzip) = drained(&[Gzip], EVENTS, 1_000).await;
    assert!(way == "gzip" && 2 * gzip < plain, "{way}: {gzip} of {plain}");
    // Smaller than the log's frames, and as large as several of them: cut, and passed on as they are stored.
    for batch_size in [100, 3_000] {
        let (way, zstd) = drained(&[Gzip, Zstd], EVENTS, batch_size).await;
        assert!(way == "zstd" && 2 * zstd < plain, "{way}: {zstd} of {plain}");
    }
}
