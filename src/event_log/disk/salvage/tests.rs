//! Tests of the search: over files made by hand and over what sled has written.

use std::{fs, path::Path};

use uuid::Uuid;

use super::*;
use crate::event_log::{
    clock_state::ClockState,
    disk::frame::{Circumstances, Encoded, Encoder, Entry, Frame, push_event},
    disk::generation::Generation,
};

/// A frame of `count` events that cannot be compressed.
fn frame(first_sequence: u64, count: u64) -> Vec<u8> {
    encoded(first_sequence, count, 300).bytes
}

/// The same, each event of so many bytes.
fn encoded(first_sequence: u64, count: u64, bytes: usize) -> Encoded {
    let (mut fields, mut entries) = (Vec::new(), Vec::new());
    let mut state = first_sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..count {
        let event = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        push_event(&mut fields, &event.take(bytes).collect::<Vec<_>>());
        entries.push(Entry { end: fields.len() as u32, time: 5, level: 1, category: 2, kind: None });
    }
    let with = Circumstances {
        lane: Lane::Routine,
        epoch: Uuid::from_u128(1),
        boot_id: Uuid::from_u128(2),
        clock: ClockState::Unknown,
    };
    let mut frames = Vec::new();
    Encoder::new().expect("memory").encode(with, first_sequence, &fields, 0, &entries, &mut frames).expect("memory");
    frames.remove(0)
}

fn search(db: &[u8]) -> Salvage {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("db"), db).expect("written");
    Salvage::search(directory.path(), Lane::Routine).expect("a file")
}

fn sequences(salvage: &Salvage) -> Vec<Range<u64>> {
    let header = |number| Header::parse(&salvage.frame(number).expect("readable")).expect("a frame");
    (0..salvage.frames()).map(header).map(|header| header.first_sequence..header.next_sequence()).collect()
}

#[test]
fn frames_of_both_versions_are_found_and_their_headers_read_to_the_end_of_the_file() {
    // The last is shorter than a header of version 2.
    let db = [encoded(1, 10, 300).of_version_1(), frame(11, 10), encoded(21, 1, 3).of_version_1()].concat();
    let salvage = search(&db);
    assert_eq!(sequences(&salvage), [1..11, 11..21, 21..22]);
    let firsts = (0..3).map(|number| salvage.header(number).expect("a header").first_sequence);
    assert_eq!(firsts.collect::<Vec<_>>(), [1, 11, 21]);
    assert!(!salvage.is_broken());
}

#[test]
fn frames_are_found_in_order_and_once_whatever_lies_between_them() {
    let mut db = MAGIC[..3].to_vec();
    for first in [11, 1, 41, 21, 11] {
        db.extend(frame(first, 10));
        db.extend(MAGIC.iter().take(first as usize % 4));
    }
    let salvage = search(&db);
    assert_eq!(sequences(&salvage), [1..11, 11..21, 21..31, 41..51]);
    assert_eq!(salvage.missing(5..55), [31..41, 51..55]);
    assert_eq!(salvage.missing(1..60), [31..41, 51..60]);
    assert_eq!((salvage.next_sequence(), salvage.is_broken()), (51, false));
}

#[test]
fn a_frame_at_every_place_relative_to_the_window_is_found() {
    let one = frame(1, 60);
    for before in (WINDOW_BYTES - 2 * one.len()..WINDOW_BYTES + 20).step_by(997) {
        let mut db = vec![MAGIC[0]; before];
        db.extend(&one);
        db.extend(frame(61, 5));
        assert_eq!(sequences(&search(&db)), [1..61, 61..66], "{before} bytes before it");
    }
}

#[test]
fn a_broken_frame_is_left_out_and_told_and_its_numbers_are_known_when_its_header_is_intact() {
    let (first, last) = (frame(1, 10), frame(11, 10));
    let mut db = [first.clone(), last.clone()].concat();
    let cut = search(&db[..db.len() - 1]);
    assert_eq!((sequences(&cut).len(), cut.is_broken(), cut.next_sequence()), (1, true, 21));
    db[first.len() + 40] ^= 1;
    let flipped = search(&db);
    assert_eq!((sequences(&flipped).len(), flipped.is_broken(), flipped.next_sequence()), (1, true, 11));
    db[first.len() + 40] ^= 1;
    db[first.len() + 2] ^= 1;
    assert!(search(&db).is_broken(), "a frame whose beginning is damaged leaves a trace");
    let other_lane = Salvage::search(Path::new("/nowhere"), Lane::Urgent);
    assert!(other_lane.is_err());
}

#[test]
fn what_lies_in_another_lane_is_no_frame_of_this_one() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("db"), frame(1, 10)).expect("written");
    let salvage = Salvage::search(directory.path(), Lane::Urgent).expect("a file");
    assert_eq!((salvage.frames(), salvage.is_broken()), (0, true));
}

#[test]
fn what_sled_has_written_is_found_to_the_last_frame() {
    let directory = tempfile::tempdir().expect("a directory");
    let generation = Generation::create(directory.path(), 1).expect("made");
    let frames: Vec<_> = (0..200).map(|n| frame(1 + n * 30, 30)).collect();
    for frame in &frames {
        generation.put(frame.as_slice().into()).expect("put");
    }
    generation.flush().expect("flushed");
    let salvage = Salvage::search(&directory.path().join("gen-0000000001"), Lane::Routine).expect("a file");
    assert_eq!((salvage.frames(), salvage.is_broken()), (200, false));
    for (number, frame) in (0..).zip(&frames) {
        assert_eq!(salvage.frame(number).expect("readable"), *frame);
        Frame::decode(frame).expect("intact");
    }
}
