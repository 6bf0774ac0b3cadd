//! What the log writes to the disk for each byte it stores. A program of its own, because it counts what its whole
//! process writes.

use std::{fs, path::Path};

use rodent::event_log::{Draft, EventLog, Lane, Settings};

/// Bytes that this process has caused to be written to storage.
fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").expect("the kernel counts I/O");
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("write_bytes");
    line.trim().parse().expect("a number")
}

/// Bytes that zstd cannot shrink.
fn noise(state: &mut u64, length: usize) -> Vec<u8> {
    let next = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn settings(directory: &Path) -> Settings {
    Settings { history_bytes: Some(1 << 29), ..Settings::new(directory.join("log")) }
}

/// Sums the sizes of everything below a directory named `blobs`.
fn blobs(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).expect("a directory").flatten().filter(|entry| entry.path().is_dir());
    entries
        .map(|entry| match entry.file_name() == "blobs" {
            true => fs::read_dir(entry.path()).expect("a directory").count(),
            false => blobs(&entry.path()),
        })
        .sum()
}

#[tokio::test]
async fn a_stored_byte_is_written_once_and_takes_its_place_on_the_disk_once() {
    // On the disk under test and not in memory: a temporary file system counts no writes.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let log = EventLog::open(settings(directory.path())).expect("a log");
    let before = written_bytes();
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut next = 1;
    for _ in 0..400 {
        let events: Vec<_> = (0..100).map(|_| noise(&mut state, 1000)).collect();
        let drafts: Vec<_> =
            events.iter().map(|event| Draft { event, level: 1, category: 2, timestamp: 1, kind: None }).collect();
        next = log.append(Lane::Routine, &drafts).await.expect("appended");
    }
    log.commit(Lane::Routine, next).await.expect("durable");
    let written = written_bytes() - before;
    let status = log.status();
    let stored: u64 = status.lanes.iter().map(|lane| lane.stored_bytes).sum();
    log.close();
    assert!(stored > 40_000_000, "{stored} bytes stored");
    assert!(written > stored, "{written} bytes written for {stored} stored: this file system does not count writes");
    let (writes, disk) = (written as f64 / stored as f64, status.disk_bytes as f64 / stored as f64);
    println!("written per stored byte {writes:.3}, on the disk {disk:.3}");
    assert!(writes < 1.1, "{writes:.3} bytes written per stored byte");
    assert!(disk < 1.1, "{disk:.3} bytes on the disk per stored byte");
    assert_eq!(blobs(directory.path()), 0, "sled never syncs its blobs");
}
