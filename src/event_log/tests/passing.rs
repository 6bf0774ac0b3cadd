//! Readers that pass over what they have no use for.

use super::*;

#[tokio::test]
async fn frames_that_hold_nothing_for_a_reader_are_passed_over_and_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    for (level, category, timestamp) in [(3, 2, 10), (6, 2, 20), (3, 4, 30), (3, 2, 40)] {
        let event = noise(timestamp as u64, 100);
        let next = log
            .append(Lane::Routine, &[Draft { event: &event, level, category, timestamp, kind: None }; 3])
            .await
            .expect("room");
        log.commit(Lane::Routine, next).await.expect("durable");
    }
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
    log.close();
}
