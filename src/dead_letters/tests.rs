//! The room with real files, a full disk among them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::{letter::LETTER_BYTES_MAX, *};
use crate::event_log::{ClockState, Lane};

fn letter(lane: Lane, sequence: u64) -> Letter {
    Letter {
        consumer: "uplink".into(),
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
        target: "ctl:8443".to_owned(),
    }
}

/// Where a letter is or would be, in a directory that is there.
fn file_of(directory: &Path, letter: &Letter) -> PathBuf {
    fs::create_dir_all(directory.join(&*letter.consumer)).expect("made");
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
    let of = letter(Lane::Urgent, 11);
    assert_eq!((mode(&place), mode(&place.join("uplink")), mode(&file_of(&place, &of))), (0o700, 0o700, 0o600));
}

#[test]
fn a_letter_that_is_added_again_after_a_crash_is_there_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let letters = DeadLetters::open(directory.path()).expect("made");
    letters.add(&letter(Lane::Urgent, 1)).expect("added");
    let (count, bytes) = (letters.count(), letters.bytes());
    // What a crash left unfinished is in nobody's way.
    let unfinished = directory.path().join("uplink/unfinished");
    fs::write(&unfinished, "half").expect("written");
    let letters = DeadLetters::open(directory.path()).expect("opened");
    letters.add(&Letter { refusals: 99, ..letter(Lane::Urgent, 1) }).expect("it is there");
    assert_eq!((letters.count(), letters.bytes()), (count, bytes));
    assert_eq!(letters.get(&letter(Lane::Urgent, 1).id()).expect("readable").refusals, 3);
    assert!(!unfinished.exists());
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
fn what_one_consumer_refuses_takes_no_room_from_another_and_the_same_event_has_a_letter_of_each() {
    let directory = tempfile::tempdir().expect("a directory");
    for sequence in 1..=LETTERS_MAX {
        fs::write(file_of(directory.path(), &letter(Lane::Routine, sequence)), "x").expect("written");
    }
    let letters = DeadLetters::open(directory.path()).expect("opened");
    let of_phone = |sequence| Letter { consumer: "phone".into(), ..letter(Lane::Routine, sequence) };
    let full = letters.add(&letter(Lane::Urgent, 1)).expect_err("full").to_string();
    assert!(full.contains("of uplink are full: 1000 letters") && full.contains("rodent dead-letters"), "{full}");
    letters.add(&of_phone(1)).and_then(|()| letters.add(&of_phone(2))).expect("there is room for another's");
    let counts: Vec<_> = letters.counts().iter().map(|its| (its.consumer.to_string(), its.letters)).collect();
    assert_eq!(counts, [("phone".to_owned(), 2), ("uplink".to_owned(), LETTERS_MAX)]);
    assert_eq!(letters.remove(&[of_phone(1).id()]).expect("removed"), 1, "and not the uplink's of the same number");
    let again = DeadLetters::open(directory.path()).expect("opened");
    assert_eq!((again.counts(), again.get(&of_phone(2).id()).expect("there")), (letters.counts(), of_phone(2)));
    assert_eq!(letters.remove(&[of_phone(2).id()]).expect("removed"), 1);
    assert!(!directory.path().join("phone").exists(), "nothing is left of who has none");
    let nowhere = Letter { consumer: "../etc".into(), ..letter(Lane::Urgent, 1) };
    assert_eq!(letters.add(&nowhere).expect_err("no place").kind(), "absent");
}

#[test]
fn letters_of_too_many_programs_are_not_taken_until_those_of_one_are_gone_and_the_agents_own_always_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let letters = DeadLetters::open(directory.path()).expect("made");
    let of = |number: usize| Letter { consumer: format!("program.c{number}").into(), ..letter(Lane::Urgent, 1) };
    for number in 0..CONSUMERS_MAX {
        fs::write(file_of(directory.path(), &of(number)), "x").expect("written");
    }
    let full = DeadLetters::open(directory.path()).expect("opened");
    let refused = full.add(&of(CONSUMERS_MAX)).expect_err("full");
    assert_eq!((refused.kind(), full.count()), ("full", CONSUMERS_MAX as u64), "{refused}");
    full.add(&letter(Lane::Urgent, 1))
        .and_then(|()| full.remove(&[letter(Lane::Urgent, 1).id()]))
        .expect("the uplink's");
    full.remove(&[of(7).id()]).and_then(|_| full.add(&of(CONSUMERS_MAX))).expect("there is room again");
    assert_eq!(letters.count(), 0, "each that is open sees what it has itself");
}

#[test]
fn letters_of_an_earlier_version_are_the_uplinks() {
    let directory = tempfile::tempdir().expect("a directory");
    let early = letter(Lane::Routine, 3);
    DeadLetters::open(directory.path()).and_then(|letters| letters.add(&early)).expect("added");
    let name = file_of(directory.path(), &early);
    let before = directory.path().join(name.file_name().expect("a name"));
    fs::rename(&name, &before).expect("moved");
    fs::remove_dir(directory.path().join("uplink")).expect("empty");
    let letters = DeadLetters::open(directory.path()).expect("opened");
    assert_eq!((letters.get(&early.id()).expect("there"), before.exists(), name.exists()), (early, false, true));
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
    let id = id.trim_start_matches("uplink/");
    let strange =
        ["notes.txt", "urgent-05.letter", "urgent-5-.letter", &format!("{}.letter", id.replace("-5-", "-05-"))];
    for name in strange {
        fs::write(directory.path().join(name), "x").expect("written");
    }
    let strange_place = directory.path().join("lost+found");
    fs::create_dir(&strange_place).expect("made");
    let place = directory.path().join("uplink");
    fs::create_dir(&place).expect("made");
    for name in strange {
        fs::write(place.join(name), "x").expect("written");
    }
    fs::create_dir(directory.path().join(format!("{id}.letter"))).expect("made");
    let letters = DeadLetters::open(directory.path()).expect("opened");
    assert_eq!((letters.count(), letters.bytes()), (0, 0));
    letters.add(&letter(Lane::Urgent, 6)).and_then(|()| letters.remove(&ids(&letters))).expect("added and removed");
    let is_there = |name: &&str| directory.path().join(name).exists() && place.join(name).exists();
    assert!(strange.iter().all(is_there) && strange_place.exists());
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
    assert_eq!(id.to_string().parse(), Ok(id.clone()));
    assert_eq!(names(&id.to_string()), Ok(true));
    assert_eq!(names("routine-4711"), Ok(true));
    assert_eq!(names("routine-4711-0000"), Ok(true));
    assert_eq!(names("routine-47"), Ok(false));
    assert_eq!(names("urgent-4711"), Ok(false));
    assert_eq!(names("routine-4711-1"), Ok(false));
    assert_eq!((names("uplink/routine-4711"), names("phone/routine-4711")), (Ok(true), Ok(false)));
    for wrong in ["", "routine", "routine-x", "../routine-1", "4711", "/routine-1", "uplink/", "UP/routine-1"] {
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
        let files = fs::read_dir(directory.path().join("uplink")).expect("readable").count() as u64;
        assert_eq!((files, letters.count()), (taken, taken), "nothing half-written stays");
        assert!(ids(&letters).iter().all(|id| letters.get(id).is_ok()));
        letters.remove(&[large(1).id()]).expect("removing needs no space");
        letters.add(&large(taken + 1)).expect("there is room again");
    }
}
