//! One flipped bit anywhere in a small log.

use std::{
    env, fs,
    os::unix::fs::FileExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rodent::event_log::Lane;

use crate::store::{Found, Original, frames, read, settings};

/// Flips for each of the two ways in which a log is left; a quarter more than the least that is asked for.
const FLIPS: u64 = 1250;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// SplitMix64.
fn dice(seed: u64, throw: u64) -> u64 {
    let mut z = seed.wrapping_add(throw.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Flips a bit of a copy, the throw says which; gives where.
fn flip(original: &Original, root: &Path, throw: u64) -> String {
    let files = original.files();
    let mut at = throw % files.iter().map(|(_, bytes)| bytes * 8).sum::<u64>();
    let (path, bytes) = files
        .iter()
        .find(|(_, bytes)| {
            let here = at < bytes * 8;
            at -= if here { 0 } else { bytes * 8 };
            here
        })
        .expect("below the sum");
    let file = fs::File::options().read(true).write(true).open(root.join(path)).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at / 8).expect("below its length");
    byte[0] ^= 1 << (at % 8);
    file.write_all_at(&byte, at / 8).expect("written");
    format!("bit {} of byte {} of {} in {}", at % 8, at / 8, bytes, path.display())
}

/// Frames of the last generation of a lane, the last first: where a kill leaves open what was written last.
fn last_frame(original: &Original, lane: Lane) -> u64 {
    let copy = original.copy();
    let db = fs::read(copy.path().join(original.newest(lane))).expect("readable");
    frames(&db).last().expect("a frame").sequences.start
}

/// At most a frame is lost, and exactly what is lost is recorded, once.
fn check(original: &Original, closed: bool, found: &Found, last: [u64; 2]) -> u64 {
    let mut lost = 0;
    for lane in Lane::ALL {
        let missing = found.missing(original, lane);
        let mut recorded = found.recorded[lane as usize].clone();
        recorded.sort_unstable();
        let span = missing.first().map_or(0..=0, |first| (first - 1) / 4 * 4 + 1..=(first - 1) / 4 * 4 + 4);
        assert!(missing.iter().all(|sequence| span.contains(sequence)), "{lane:?}: {missing:?} is more than a frame");
        // Nothing tells what a killed process wrote last: then the numbers after it are not proved, and new.
        let unknown = !closed && missing.first() == Some(&last[lane as usize]) && recorded.is_empty();
        if unknown {
            assert_ne!(found.epoch, original.epoch, "{lane:?}: the end is not proved, so the epoch is new");
        } else {
            assert_eq!(recorded, missing.iter().copied().collect::<Vec<_>>(), "{lane:?}: what is gone is recorded");
        }
        lost += missing.len() as u64;
    }
    assert!(found.unnumbered <= 1);
    lost
}

fn trial(original: &Original, closed: bool, last: [u64; 2], seed: u64, number: u64) -> u64 {
    let copy = original.copy();
    let place = flip(original, copy.path(), dice(seed, number));
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let open = || settings(copy.path());
        let found = read(open());
        let lost = check(original, closed, &found, last);
        let again = read(open());
        assert_eq!((again.events, again.gone), (found.events, found.gone), "the second opening finds the same");
        assert_eq!(again.recorded, found.recorded, "nothing is recorded twice");
        lost
    }));
    tried.unwrap_or_else(|_| panic!("flip {number}: {place}"))
}

#[expect(clippy::print_stderr, reason = "a failed run can be replayed only by who knows its seed")]
fn flips(closed: bool) {
    let seed = number("RODENT_SEED").unwrap_or_else(|| dice(uuid::Uuid::new_v4().as_u128() as u64, 1));
    let flips = number("RODENT_TRIALS").unwrap_or(FLIPS);
    eprintln!("RODENT_SEED={seed}");
    let original = Original::new(closed);
    let last = Lane::ALL.map(|lane| last_frame(&original, lane));
    let (next, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let players = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..players {
            scope.spawn(|| {
                // As long as none has hit anything, more than were asked for.
                let more = || if lost.load(Ordering::Relaxed) == 0 { FLIPS } else { 0 };
                let is_wanted = |number: &u64| *number < flips + more();
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(is_wanted) {
                    lost.fetch_add(trial(&original, closed, last, seed, number), Ordering::Relaxed);
                }
            });
        }
    });
    let lost = lost.into_inner();
    // Each player has drawn one that was not wanted any more.
    eprintln!("{} flips lost {lost} events", next.into_inner() - players as u64);
    assert!(lost > 0, "no flip hit anything: nothing was tried");
}

#[test]
fn a_flipped_bit_in_a_log_that_was_closed_loses_at_most_a_frame_and_the_record_is_exact() {
    flips(true);
}

#[test]
fn a_flipped_bit_in_a_log_whose_process_was_killed_loses_at_most_a_frame_and_the_record_is_exact() {
    flips(false);
}
