//! How much the log keeps, and for how long, changes while it is open.

use super::*;

async fn fill(log: &EventLog, events: u64) {
    for n in 0..events / 100 {
        append(log, &(0..100).map(|m| noise(n * 100 + m, 8000)).collect::<Vec<_>>()).await;
    }
    log.commit(Lane::Routine, log.next_sequence(Lane::Routine)).await.expect("durable");
}

#[tokio::test]
async fn history_that_is_not_wanted_any_more_goes_at_once_and_silently() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let cursor = log.cursor("uplink").expect("room for a cursor");
    fill(&log, 2000).await;
    cursor.commit(Lane::Routine, 2001);
    assert!(log.status().lanes[1].generations > 1, "it is kept");
    log.set_room(Room { history_bytes: None, ..settings(directory.path()).room() });
    eventually(|| log.status().lanes[1].generations == 1).await;
    assert!(losses(&log).is_empty(), "nothing was lost");
    log.close();
}

#[tokio::test]
async fn less_room_lets_the_oldest_go_with_a_record_and_more_room_keeps_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let _cursor = log.cursor("uplink").expect("room for a cursor");
    fill(&log, 8000).await;
    assert_eq!(log.bounds(Lane::Routine).0, 1);
    let room = Room { disk_bytes_max: 48 << 20, urgent_share: 10, ..settings(directory.path()).room() };
    log.set_room(room);
    eventually(|| log.status().disk_bytes <= 48 << 20 && log.bounds(Lane::Routine).0 > 1).await;
    let status = log.status();
    assert_eq!((status.disk_bytes_max, status.urgent_share), (48 << 20, 10));
    assert!(status.lanes[1].lost_events > 0 && !losses(&log).is_empty());
    // One generation goes after the other.
    let mut first = log.bounds(Lane::Routine).0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match log.bounds(Lane::Routine).0 {
            same if same == first => break,
            later => first = later,
        }
    }
    log.set_room(Room { disk_bytes_max: 1 << 30, ..room });
    fill(&log, 3000).await;
    assert_eq!(log.bounds(Lane::Routine).0, first, "there is room again");
    log.close();
}

#[tokio::test]
async fn what_is_too_old_goes_when_an_age_is_set_and_stays_when_it_is_not_any_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let _cursor = log.cursor("uplink").expect("room for a cursor");
    append(&log, &[b"old".to_vec()]).await;
    let room = settings(directory.path()).room();
    log.set_room(Room { age_max: Some(Duration::from_millis(300)), ..room });
    eventually(|| log.bounds(Lane::Routine).0 == 2).await;
    assert_eq!(losses(&log).len(), 1);
    log.close();
}

#[tokio::test]
async fn an_event_may_wait_longer_only_when_the_room_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let long = Duration::from_secs(3600);
    // Not by itself: the next start would not know.
    log.set_memory(5000, 4000, long);
    append(&log, &[b"soon".to_vec()]).await;
    log.durable(Lane::Routine, 2).await.expect("durable within the interval of the start");
    log.set_room(Room { flush_interval: long, ..settings(directory.path()).room() });
    log.set_memory(5000, 4000, long);
    append(&log, &[b"later".to_vec()]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(log.bounds(Lane::Routine).1, 2, "it waits");
    log.close();
}
