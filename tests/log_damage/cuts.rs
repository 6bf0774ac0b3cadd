//! The newest generation cut short, at every page and at every byte of the last frame.

use std::{collections::BTreeSet, fs, thread};

use rodent::event_log::Lane;

use crate::store::{Original, frames, read, settings};

/// Where to cut.
fn lengths(db: &[u8]) -> Vec<usize> {
    let last = frames(db).last().expect("a frame").bytes.clone();
    let pages = (0..db.len()).step_by(4096);
    pages.chain(last.start..=last.end).collect()
}

/// Cuts a copy and checks what is left. Gives how many events are gone.
fn cut(original: &Original, closed: bool, lane: Lane, db: &[u8], length: usize) -> usize {
    let copy = original.copy();
    let path = copy.path().join(original.newest(lane));
    fs::File::options().write(true).open(path).expect("a file").set_len(length as u64).expect("cut");
    let found = read(settings(copy.path()));
    let past = frames(db).into_iter().filter(|frame| frame.bytes.end > length);
    let expected: BTreeSet<u64> = past.clone().flat_map(|frame| frame.sequences).collect();
    let missing = found.missing(original, lane);
    assert_eq!(missing, expected, "cut at {length}: only frames past the cut are lost");
    let recorded: BTreeSet<u64> = found.recorded[lane as usize].iter().copied().collect();
    if closed {
        assert_eq!(recorded, missing, "cut at {length}: what is gone is recorded");
        return missing.len();
    }
    // What a killed process wrote last nothing tells but a piece of it.
    assert!(recorded.is_subset(&missing), "cut at {length}");
    let begun = past.into_iter().any(|frame| frame.bytes.start + 8 <= length);
    assert!(!begun || found.epoch != original.epoch, "cut at {length}: the end is not proved, so the epoch is new");
    missing.len()
}

fn cuts(closed: bool) {
    let original = Original::new(closed);
    for lane in Lane::ALL {
        let copy = original.copy();
        let db = fs::read(copy.path().join(original.newest(lane))).expect("readable");
        let lengths = lengths(&db);
        assert!(lengths.len() > 200, "{} lengths", lengths.len());
        thread::scope(|scope| {
            for part in lengths.chunks(lengths.len().div_ceil(2)) {
                let (original, db) = (&original, &db);
                scope.spawn(move || part.iter().for_each(|length| _ = cut(original, closed, lane, db, *length)));
            }
        });
        assert!(cut(&original, closed, lane, &db, 0) > 4, "a cut at the very beginning loses several frames");
    }
}

#[test]
fn a_closed_log_cut_short_loses_only_what_lies_past_the_cut_and_records_it() {
    cuts(true);
}

#[test]
fn the_log_of_a_killed_process_cut_short_loses_only_what_lies_past_the_cut() {
    cuts(false);
}
