//! The room with real files, a full disk among them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::{letter::LETTER_BYTES_MAX, *};
use crate::event_log::{ClockState, Lane};

fn letter(lane: Lane, sequence: u64) -> Letter {
    Letter {
        event: Bytes::from(format!("event {sequence}")),
        lane,
        epoch: Uuid::from_u128(7),
        sequence,
        boot_id: Uuid::from_u128(8),
        clock: ClockState::Synchronised,
        refused_at: 1_762_767_000_000,
        refusals: 3,
        code: "InvalidArgument".to_owned(),
        message: "the payload is not understood".to_owned(),
        controller: "ctl:8443".to_owned(),
    }
}

fn file_of(directory: &Path, letter: &Letter) -> PathBuf {
    directory.join(format!("{}.letter", letter.id()))
}

fn ids(letters: &DeadLetters) -> Vec<LetterId> {
    letters.list().expect("readable").into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_letter_is_there_after_the_next_start_as_it_was_added() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("dead-letters");
    let letters = DeadLetters::open(&place).expect("made");
    for sequence in [10, 9] {
        letters.add(&letter(Lane::Routine, sequence)).expect("added");
    }
    letters.add(&letter(Lane::Urgent, 11)).expect("added");
    let again = DeadLetters::open(&place).expect("opened");
    assert_eq!((again.count(), again.bytes()), (3, letters.bytes()));
    let sequences: Vec<_> = ids(&again).iter().map(|id| (id.lane, id.sequence)).collect();
    assert_eq!(sequences, [(Lane::Urgent, 11), (Lane::Routine, 9), (Lane::Routine, 10)]);
    for id in ids(&again) {
        assert_eq!(again.get(&id).expect("readable"), letter(id.lane, id.sequence));
    }
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&file_of(&place, &letter(Lane::Urgent, 11)))), (0o700, 0o600));
}

#[test]
fn a_letter_that_is_added_again_after_a_crash_is_there_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let letters = DeadLetters::open(directory.path()).expect("made");
    letters.add(&letter(Lane::Urgent, 1)).expect("added");
    let (count, bytes) = (letters.count(), letters.bytes());
    // What a crash left unfinished is in nobody's way.
    fs::write(directory.path().join("unfinished"), "half").expect("written");
    let letters = DeadLetters::open(directory.path()).expect("opened");
    letters.add(&Letter { refusals: 99, ..letter(Lane::Urgent, 1) }).expect("it is there");
    assert_eq!((letters.count(), letters.bytes()), (count, bytes));
    assert_eq!(letters.get(&letter(Lane::Urgent, 1).id()).expect("readable").refusals, 3);
    assert!(!directory.path().join("unfinished").exists());
}

#[test]
fn beyond_the_bound_of_bytes_no_letter_is_taken_until_one_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) = (letter(Lane::Routine, 1), letter(Lane::Routine, 2));
    // Damaged ones take their room too.
    fs::write(file_of(directory.path(), &first), "x".repeat(1000)).expect("written");
    fs::write(file_of(directory.path(), &second), "x".repeat(LETTERS_BYTES_MAX as usize - 1100)).expect("written");
    let letters = DeadLetters::open(directory.path()).expect("opened");
    let refused = letters.add(&letter(Lane::Urgent, 3)).expect_err("full");
    assert!(matches!(refused, DeadLetterError::Full { letters: 2, .. }), "{refused}");
    assert_eq!(letters.remove(&[first.id(), first.id()]).expect("removed"), 1);
    letters.add(&letter(Lane::Urgent, 3)).expect("there is room again");
    assert!(letters.bytes() <= LETTERS_BYTES_MAX);
    let after = DeadLetters::open(directory.path()).expect("opened");
    assert_eq!((after.count(), after.bytes()), (letters.count(), letters.bytes()));
}

#[test]
fn there_are_never_more_letters_than_their_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    for sequence in 1..=LETTERS_MAX {
        fs::write(file_of(directory.path(), &letter(Lane::Routine, sequence)), "x").expect("written");
    }
    let letters = DeadLetters::open(directory.path()).expect("opened");
    assert_eq!(letters.count(), LETTERS_MAX);
    let refused = letters.add(&letter(Lane::Urgent, 1)).expect_err("full");
    assert_eq!(refused.kind(), "full");
}

#[test]
fn a_damaged_letter_is_told_of_and_kept_and_can_be_removed_or_added_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let (damaged, intact) = (letter(Lane::Routine, 1), letter(Lane::Routine, 2));
    let letters = DeadLetters::open(directory.path()).expect("made");
    letters.add(&damaged).and_then(|()| letters.add(&intact)).expect("added");
    let path = file_of(directory.path(), &damaged);
    let written = fs::read(&path).expect("readable");
    let mut flipped = written.clone();
    for bit in 0..written.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).expect("written");
        let told = letters.get(&damaged.id()).expect_err("damaged");
        assert_eq!(told.kind(), "damaged", "bit {bit}");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    for cut in 0..written.len() {
        fs::write(&path, &written[..cut]).expect("written");
        assert_eq!(letters.get(&damaged.id()).expect_err("damaged").kind(), "damaged", "cut at {cut}");
    }
    fs::copy(file_of(directory.path(), &intact), &path).expect("copied");
    assert_eq!(letters.get(&damaged.id()).expect_err("another one").kind(), "damaged");
    fs::write(&path, vec![0; LETTER_BYTES_MAX * 2]).expect("written");
    let letters = DeadLetters::open(directory.path()).expect("opened all the same");
    assert_eq!((letters.count(), letters.get(&intact.id()).expect("readable")), (2, intact));
    assert_eq!(letters.get(&damaged.id()).expect_err("damaged").kind(), "damaged");
    letters.add(&damaged).expect("written anew");
    assert_eq!(letters.get(&damaged.id()).expect("readable"), damaged);
    fs::write(&path, "x").expect("written");
    assert_eq!(letters.remove(&[damaged.id()]).expect("removed"), 1);
    assert_eq!(letters.get(&damaged.id()).expect_err("gone").kind(), "absent");
}

#[test]
fn files_of_others_are_left_alone_and_not_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = letter(Lane::Urgent, 5).id().to_string();
    let strange =
        ["notes.txt", "urgent-05.letter", "urgent-5-.letter", &format!("{}.letter", id.replace("-5-", "-05-"))];
    for name in strange {
        fs::write(directory.path().join(name), "x").expect("written");
    }
    fs::create_dir(directory.path().join(format!("{id}.letter"))).expect("made");
    let letters = DeadLetters::open(directory.path()).expect("opened");
    assert_eq!((letters.count(), letters.bytes()), (0, 0));
    assert!(strange.iter().all(|name| directory.path().join(name).exists()));
}

#[test]
fn a_directory_that_cannot_be_opened_is_tried_again_by_each_call() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("missing/dead-letters");
    let letters = DeadLetters::at(&place);
    assert_eq!(letters.add(&letter(Lane::Urgent, 1)).expect_err("no directory").kind(), "io");
    assert_eq!(letters.count(), 0);
    fs::create_dir(directory.path().join("missing")).expect("made");
    letters.add(&letter(Lane::Urgent, 1)).expect("added");
    assert_eq!(letters.count(), 1);
}

#[test]
fn what_the_controller_says_is_kept_up_to_its_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    let letters = DeadLetters::open(directory.path()).expect("made");
    let talkative = Letter {
        message: format!("a{}", "ä".repeat(100_000)),
        code: "c".repeat(9_999),
        event: vec![b'x'; crate::event::EVENT_BYTES_MAX].into(),
        ..letter(Lane::Urgent, 1)
    };
    letters.add(&talkative).expect("added");
    let kept = letters.get(&talkative.id()).expect("readable");
    assert!(kept.message.starts_with("aää") && (1000..=MESSAGE_BYTES_MAX).contains(&kept.message.len()));
    assert!(kept.code.len() < 999 && kept.event == talkative.event);
}

#[test]
fn a_letter_is_named_by_as_much_of_its_identifier_as_tells_it_apart() {
    let id = letter(Lane::Routine, 4711).id();
    let names = |text: &str| text.parse::<LetterName>().map(|name| name.names(&id));
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(names(&id.to_string()), Ok(true));
    assert_eq!(names("routine-4711"), Ok(true));
    assert_eq!(names("routine-4711-0000"), Ok(true));
    assert_eq!(names("routine-47"), Ok(false));
    assert_eq!(names("urgent-4711"), Ok(false));
    assert_eq!(names("routine-4711-1"), Ok(false));
    for wrong in ["", "routine", "routine-x", "../routine-1", "4711"] {
        assert_eq!(names(wrong), Err(NotALetter), "{wrong}");
    }
}

mod as_root {
    use std::process::Command;

    use super::*;

    /// A small file system that is unmounted however the test ends.
    struct SmallDisk(PathBuf);

    impl SmallDisk {
        fn mounted(path: &Path) -> SmallDisk {
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(path).status();
            assert!(mounted.expect("there is a `mount`").success());
            SmallDisk(path.to_owned())
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }

    #[test]
    fn on_a_full_disk_a_letter_is_refused_and_nothing_of_it_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let _disk = SmallDisk::mounted(directory.path());
        let letters = DeadLetters::open(directory.path()).expect("made");
        let large = |sequence| Letter { event: vec![b'x'; 15_000].into(), ..letter(Lane::Routine, sequence) };
        let taken = (1..).take_while(|sequence| letters.add(&large(*sequence)).is_ok()).count() as u64;
        assert!((1..10).contains(&taken));
        let refused = letters.add(&large(taken + 1)).expect_err("no space");
        assert_eq!(refused.kind(), "io");
        let files = fs::read_dir(directory.path()).expect("readable").count() as u64;
        assert_eq!((files, letters.count()), (taken, taken), "nothing half-written stays");
        assert!(ids(&letters).iter().all(|id| letters.get(id).is_ok()));
        letters.remove(&[large(1).id()]).expect("removing needs no space");
        letters.add(&large(taken + 1)).expect("there is room again");
    }
}
