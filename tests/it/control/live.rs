//! What a profile sets can change while log and delivery run.

use std::time::Duration;

use prost::Message as _;
use rodent::{
    consumers::{Delivery, Threshold},
    event_log::{Draft, EventLog, Lane, Settings},
    schema::events::Event,
    sinks::uplink::UplinkPacking,
};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

async fn append(log: &EventLog, count: usize) {
    let event = Event { event_id: "event".to_owned(), timestamp: 1, ..Event::default() }.encode_to_vec();
    let draft = Draft { event: &event, level: 1, category: 1, timestamp: 1, kind: None };
    log.append(Lane::Routine, &vec![draft; count]).await.expect("appended");
}

fn log(directory: &tempfile::TempDir, flush_interval: Duration) -> EventLog {
    let settings =
        Settings { flush_interval, boot_id: uuid::Uuid::from_u128(5), ..Settings::new(directory.path().join("log")) };
    EventLog::open(settings).expect("a log")
}

/// Sequence after the last event that can be read: that is on the disk.
fn durable(log: &EventLog) -> u64 {
    log.bounds(Lane::Routine).1
}

#[tokio::test]
async fn batches_have_another_size_and_wait_for_another_time_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = log(&directory, Duration::from_millis(10));
    let cursor = log.cursor("uplink").expect("room for a cursor");
    let mut delivery =
        Delivery::<UplinkPacking>::new(&log, &cursor, Threshold { batch_size: 1000, batch_timeout: HOUR });
    let threshold = delivery.threshold();
    append(&log, 5).await;
    while durable(&log) < 6 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for other in [
        Threshold { batch_size: 5, batch_timeout: HOUR },
        Threshold { batch_size: 1000, batch_timeout: Duration::from_millis(1) },
    ] {
        threshold.send_replace(Threshold { batch_size: 1000, batch_timeout: HOUR });
        assert!(!delivery.is_due(Lane::Routine, false));
        let waiting = tokio::time::timeout(Duration::from_millis(100), delivery.changed(true, true));
        assert!(waiting.await.is_err(), "nothing is due");
        let setting = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            threshold.send_replace(other);
        };
        let changed = tokio::time::timeout(PATIENCE, delivery.changed(true, true));
        assert!(tokio::join!(setting, changed).1.is_ok(), "whoever waits is woken");
        assert!(delivery.is_due(Lane::Routine, false), "{other:?}");
    }
    log.close();
}

#[tokio::test]
async fn events_that_wait_in_memory_are_written_when_the_bounds_say_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = log(&directory, HOUR);
    append(&log, 5).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(durable(&log), 1);
    log.set_memory(20_000, 18_000, Duration::from_millis(10));
    let start = tokio::time::Instant::now();
    while durable(&log) < 6 {
        assert!(start.elapsed() < PATIENCE, "written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    log.set_memory(20_000, 3, HOUR);
    append(&log, 3).await;
    while durable(&log) < 9 {
        assert!(start.elapsed() < PATIENCE, "written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    log.close();
}
