//! `rodent bench` at a small size: each part measures, prints a table that fits a terminal, and leaves nothing
//! behind. What it measures is nobody's business here.

use std::process::Command;

/// Runs a part of `rodent bench log`; gives its lines.
fn measure(part: &str) -> Vec<String> {
    let log = ["log", part, "--events", "3000", "--rounds", "1", "--commits", "2"];
    measure_with(&[log.as_slice(), &["--stored", "2000,9000", "--wait", "0s"]].concat())
}

/// Runs `rodent bench` with these words; gives its lines.
fn measure_with(words: &[&str]) -> Vec<String> {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_rodent"))
        .arg("bench")
        .args(words)
        .arg("--directory")
        .arg(place.path())
        .output()
        .expect("the program starts");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    assert_eq!(complaints, "");
    assert_eq!(std::fs::read_dir(place.path()).expect("it is still there").count(), 0, "something is left");
    let lines: Vec<_> = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
    lines
}

/// The numbers of the line that begins with `name`.
fn numbers(lines: &[String], name: &str) -> Vec<f64> {
    let line = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {lines:#?}"));
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn throughput_is_measured_at_three_sizes_of_group_commit() {
    let lines = measure("throughput");
    for size in ["64 KiB", "256 KiB", "512 KiB"] {
        let numbers = numbers(&lines, size);
        assert_eq!(numbers.len(), 6, "{lines:#?}");
        assert!(numbers.iter().all(|number| *number > 0.0), "{lines:#?}");
    }
}

#[test]
fn latency_is_measured_of_one_event_and_of_groups() {
    let lines = measure("latency");
    for name in ["one urgent event", "64 KiB of events", "256 KiB of events", "512 KiB of events"] {
        assert!(numbers(&lines, name).iter().rev().take(5).all(|number| *number > 0.0), "{lines:#?}");
    }
}

#[test]
fn the_way_to_a_program_is_measured_in_each_form_with_its_delay_and_its_rest() {
    let words = ["consume", "--events", "30000", "--rounds", "1", "--emits", "20", "--idle", "100ms"];
    let lines = measure_with(&words);
    for name in ["events ", "frames", "events, 4 workers", "a filter, 1 in 10,000"] {
        assert!(numbers(&lines, name).iter().rev().take(2).all(|number| *number > 0.0), "{lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("p99")).count(), 1, "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("32 idle programs: ")), "{lines:#?}");
}

#[test]
fn space_is_measured_beside_a_plain_file() {
    let lines = measure("space");
    let stored = numbers(&lines, "stored per event byte");
    assert!(stored[0] > 0.0 && stored[0] < 1.0, "{lines:#?}");
    assert!(stored[1] > 1.0, "a plain file holds every byte: {lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("MiB on the disk")), "{lines:#?}");
}

#[test]
fn memory_is_measured_for_each_number_of_stored_events() {
    let lines = measure("memory");
    for stored in ["0 ", "2000 ", "9000 "] {
        assert_eq!(numbers(&lines, stored).len(), 6, "{lines:#?}");
    }
}

#[test]
fn opening_is_measured_for_each_number_of_stored_events() {
    let lines = measure("open");
    for stored in ["2000 ", "9000 "] {
        assert_eq!(numbers(&lines, stored).len(), 6, "{lines:#?}");
    }
}

#[test]
fn reading_is_measured_for_each_way_of_looking() {
    let lines = measure("read");
    for (what, found) in
        [("all", 3001.0), ("level>=error, none", 0.0), ("one, by metadata", 1.0), ("one, by a field", 1.0)]
    {
        let numbers = numbers(&lines, what);
        assert_eq!((numbers.len(), numbers[2]), (3, found), "{lines:#?}");
    }
}

#[test]
fn generations_are_measured_with_each_way_of_the_allocator() {
    let lines = measure("generations");
    for size in ["4020 KiB", "8080 KiB", "16160 KiB"] {
        assert_eq!(lines.iter().filter(|line| line.starts_with(size)).count(), 3, "{lines:#?}");
    }
}

#[test]
fn the_way_in_is_measured_of_streams_and_of_one_event_at_a_time() {
    let lines = measure_with(&["ingest", "--events", "1000", "--rounds", "1", "--emits", "3"]);
    for name in ["100 a request", "1 a request", "an event and its answer"] {
        assert!(numbers(&lines, name).iter().any(|number| *number > 0.0), "{lines:#?}");
    }
}
