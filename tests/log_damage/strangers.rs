//! Files that are not the log's, wherever they lie, and files of the log that are not what they should be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rodent::event_log::{EventLog, Lane, Settings};

use crate::store::{Original, read, settings};

/// Below the log's directory; a name that ends with `/` is a directory with a file in it.
const STRANGERS: &[&str] = &[
    "notes.txt",
    "old/",
    "gen-0000000001/",
    "tmp-probe-mine/",
    "meta/readme",
    "quarantine/letter",
    "quarantine/routine-gen-1-1/",
    "routine/notes.txt",
    "routine/gen-1/",
    "routine/gen-00000000001/",
    "routine/gen-9999999999",
    "routine/gen-18446744073709551615",
    "routine/gen-0000000001/readme",
    "routine/gen-0000000001/blobs/readme",
    "routine/tmp-mine/",
    "routine/tmp-1/",
    "routine/del-mine",
    "urgent/gen-old",
    "repair/routine/mine/",
];

fn plant(log: &Path) {
    for (number, name) in STRANGERS.iter().enumerate() {
        let path = log.join(name);
        let path = if name.ends_with('/') { path.join("inside") } else { path };
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, format!("stranger {number}")).expect("written");
    }
}

/// Texts of all files below that are strangers.
fn strangers(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().is_dir() {
            strangers(&entry.path(), found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.extend(Some(text).filter(|text| text.starts_with("stranger ")));
        }
    }
}

fn assert_all_there(log: &Path, when: &str) {
    let mut found = Vec::new();
    strangers(log, &mut found);
    found.sort();
    let mut planted: Vec<_> = (0..STRANGERS.len()).map(|number| format!("stranger {number}")).collect();
    planted.sort();
    assert_eq!(found, planted, "{when}");
}

#[test]
fn what_is_not_the_logs_is_never_changed_and_never_deleted() {
    let original = Original::new(false);
    let copy = original.copy();
    let log = copy.path().join("log");
    plant(&log);
    for time in ["the first opening", "the second opening"] {
        let found = read(settings(copy.path()));
        assert!(Lane::ALL.iter().all(|lane| found.missing(&original, *lane).is_empty()), "{time}");
        assert_all_there(&log, time);
    }
    // Everything goes that every consumer has, and what is damaged is moved away.
    fs::write(log.join("ledger"), "damaged").expect("written");
    let opened = EventLog::open(Settings { history_bytes: None, ..settings(copy.path()) }).expect("a log");
    let cursor = opened.cursor("uplink").expect("room");
    Lane::ALL.into_iter().for_each(|lane| cursor.commit(lane, u64::MAX));
    opened.close();
    drop(opened);
    let drained = EventLog::open(Settings { history_bytes: None, ..settings(copy.path()) }).expect("a log");
    drained.close();
    assert!(!log.join("routine/gen-0000000001/db").exists(), "what every consumer has is gone");
    assert_all_there(&log, "after draining");
}

#[test]
fn the_log_opens_whatever_lies_where_its_files_should_be() {
    let original = Original::new(true);
    let generation = original.newest(Lane::Routine);
    let generation = generation.parent().expect("a directory");
    let places = [
        PathBuf::from("log/ledger"),
        PathBuf::from("log/routine"),
        PathBuf::from("log/urgent"),
        PathBuf::from("log/quarantine"),
        PathBuf::from("log/repair"),
        PathBuf::from("log/ballast"),
        generation.to_owned(),
        generation.join("db"),
        generation.join("manifest"),
    ];
    for place in places {
        for (what, put) in PUTS {
            let copy = original.copy();
            let path = copy.path().join(&place);
            // Whether it is there or not, and a directory or a file.
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            put(&path);
            let found = read(settings(copy.path()));
            let again = read(settings(copy.path()));
            assert_eq!(found.events, again.events, "{what} at {}", place.display());
            for lane in Lane::ALL.into_iter().filter(|lane| !place.starts_with(Path::new("log").join(lane.name()))) {
                assert!(found.missing(&original, lane).is_empty(), "{what} at {}", place.display());
            }
            if let Some("db") =
                place.file_name().and_then(|name| name.to_str()).filter(|_| place.starts_with("log/routine"))
            {
                let missing: Vec<_> = found.missing(&original, Lane::Routine).into_iter().collect();
                assert!(!missing.is_empty());
                assert_eq!(found.recorded[1], missing, "{what}: a generation without its file is lost, and recorded");
            }
        }
    }
}

type Put = (&'static str, fn(&Path));
const PUTS: [Put; 6] = [
    ("nothing", |_| ()),
    ("an empty file", |path| fs::write(path, "").expect("written")),
    ("a text", |path| fs::write(path, "something else entirely").expect("written")),
    ("a directory", |path| fs::create_dir(path).expect("made")),
    ("a full directory", |path| {
        fs::create_dir(path).expect("made");
        fs::write(path.join("letter"), "mine").expect("written");
    }),
    ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("made")),
];
