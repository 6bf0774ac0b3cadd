//! A file that is replaced: every storage call of it fails once, and then the power does.

use std::fs;

use rodent::files;

use super::storage::{Disk, Fault};

/// More calls than one replacement makes.
const CALLS_MAX: u64 = 50;

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one_whichever_call_fails_and_when_the_power_does() {
    for fault in [Fault::Io, Fault::Full, Fault::Short, Fault::Sync] {
        assert!((1..CALLS_MAX).any(|nth| !is_struck(fault, nth)), "{fault:?}: a replacement makes fewer calls");
    }
}

/// Whether the fault has struck.
fn is_struck(fault: Fault, nth: u64) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let root = fs::canonicalize(directory.path()).expect("it is there");
    let path = root.join("node-id");
    fs::write(&path, "old").expect("written");
    let disk = Disk::new(&root, Some(fault), nth, false);
    let replaced = files::replace(&path, b"renewed");
    disk.repair();
    disk.lose_power();
    let found = fs::read_to_string(&path).expect("there is always one");
    match replaced {
        Ok(()) => assert_eq!(found, "renewed", "{fault:?} {nth}"),
        Err(_) => assert!(["old", "renewed"].contains(&found.as_str()), "{fault:?} {nth}: {found:?}"),
    }
    disk.struck()
}
