//! Readers that pass over what they have no use for.

use super::*;
use crate::event_log::disk::generation;

#[tokio::test]
async fn frames_that_hold_nothing_for_a_reader_are_passed_over_and_no_other() {
    for generation_bytes in [generation::GENERATION_BYTES, 1] {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = Settings { generation_bytes, ..settings(directory.path()) };
        let log = EventLog::open(settings.clone()).expect("a log");
        fill(&log).await;
        look(&log);
        log.close();
        // What was sealed says what is in it.
        let log = EventLog::open(settings).expect("a log");
        look(&log);
        log.close();
    }
}

#[tokio::test]
async fn a_generation_of_which_something_is_gone_is_looked_into_whatever_is_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { generation_bytes: 1, ..settings(directory.path()) };
    let log = EventLog::open(settings.clone()).expect("a log");
    fill(&log).await;
    log.close();
    let second = generation::directory(&directory.path().join("log/routine"), 2).join("db");
    let bytes = std::fs::read(&second).expect("a generation").len();
    std::fs::write(&second, vec![0; bytes]).expect("written");
    let log = EventLog::open(settings).expect("a log");
    let nothing = Sieve { levels: 1 << 15, ..Sieve::OPEN };
    let mut reader = log.reader(Lane::Routine, 1);
    // Nobody has looked yet.
    assert!(matches!(reader.read_where(&nothing, 9, 9_999).expect("readable"), Read::End));
    let (events, gaps) = read_all(&log, 1);
    assert_eq!((events.len(), gaps), (9, vec![Gap { from: 4, to: 7 }]));
    reader.seek(1);
    let found = reader.read_where(&nothing, 9, 9_999).expect("readable");
    assert!(matches!(found, Read::Gap(Gap { from: 4, to: 7 })), "{found:?}");
    log.close();
}

async fn fill(log: &EventLog) {
    for (level, category, timestamp) in [(3, 2, 10), (6, 2, 20), (3, 4, 30), (3, 2, 40)] {
        let event = noise(timestamp as u64, 100);
        let next = log
            .append(Lane::Routine, &[Draft { event: &event, level, category, timestamp, kind: None }; 3])
            .await
            .expect("room");
        log.commit(Lane::Routine, next).await.expect("durable");
    }
}

fn look(log: &EventLog) {
    let stops = |sieve: Sieve| {
        let (mut reader, mut stops) = (log.reader(Lane::Routine, 1), Vec::new());
        loop {
            match reader.read_where(&sieve, 1, 1).expect("readable") {
                Read::Run(run) => stops.push(run.first_sequence),
                _ => return stops,
            }
        }
    };
    assert_eq!(stops(Sieve::OPEN), (1..=12).collect::<Vec<_>>());
    assert_eq!(stops(Sieve { levels: 1 << 6, ..Sieve::OPEN }), [4, 5, 6]);
    assert_eq!(stops(Sieve { categories: 1 << 4, ..Sieve::OPEN }), [7, 8, 9]);
    assert_eq!(stops(Sieve { times: (15, 30), ..Sieve::OPEN }), [4, 5, 6, 7, 8, 9]);
    assert_eq!(stops(Sieve { levels: 1 << 6, categories: 1 << 4, ..Sieve::OPEN }), [0u64; 0]);
    let mut reader = log.reader(Lane::Routine, 1);
    reader.until(5);
    let passed = reader.read_where(&Sieve { levels: 1 << 15, ..Sieve::OPEN }, 1, 1).expect("readable");
    assert!(matches!(passed, Read::End), "{passed:?}");
    assert_eq!(reader.position(), 5, "no further than it may read");
}
