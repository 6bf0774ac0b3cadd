//! What holds at the bounds, and of files that are not as they were written.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use super::*;
use crate::event::{Catalogue, EventView, KindBloom};

#[test]
fn of_ten_thousand_things_the_wrong_ones_stay_and_those_that_are_well_are_forgotten() {
    let mut told = Told::nothing();
    for number in 0..10_000 {
        let line = match number % 10 {
            0 => format!("error service.status.failed s{number}"),
            _ => format!("info service.status.started s{number}"),
        };
        told.take(Lane::Routine, &event(number + 1, &line, "service"));
        assert!(told.fold.len() <= SUBJECTS_MAX);
    }
    let counts = told.fold.problems();
    assert_eq!((counts.error, counts.warn, counts.critical), (1_000, 0, 0), "each that is wrong");
    let folding = told.fold.folding();
    assert_eq!((folding.left_out, folding.subjects + folding.forgotten), (0, 10_000));
    assert_eq!(told.fold.of_subject("s9999").count(), 1, "the newest");
    assert_eq!(told.fold.of_subject("s1").count(), 0, "quiet for longest");
    assert_eq!(told.clone().again().fold, told.fold);
}

#[test]
fn when_everything_is_wrong_the_worse_stay_and_the_others_are_counted() {
    let mut told = Told::nothing();
    for number in 0..SUBJECTS_MAX as i64 {
        told.take(Lane::Routine, &event(number + 1, &format!("warn network.interface.down s{number}"), "network"));
    }
    let time = SUBJECTS_MAX as i64 + 1;
    told.take(Lane::Routine, &event(time, "warn network.interface.down one-more", "service"));
    assert_eq!(told.fold.of_subject("one-more").count(), 0);
    told.take(Lane::Urgent, &event(time + 1, "critical storage.pool.faulted tank", "storage"));
    assert_eq!(told.fold.of_subject("tank").count(), 1);
    let (counts, folding) = (told.fold.problems(), told.fold.folding());
    assert_eq!((counts.critical, counts.warn), (1, SUBJECTS_MAX as u64 - 1));
    assert_eq!((folding.left_out, folding.forgotten, told.fold.left_out()), (2, 0, 2));
}

#[test]
fn what_only_other_programs_tell_has_a_quarter_and_gives_way_to_what_is_as_bad() {
    let (mut told, mut time) = (Told::nothing(), 0);
    let mut tell = |told: &mut Told, line: String, source: &str| {
        time += 1;
        told.take(Lane::Urgent, &event(time, &line, source));
    };
    for number in 0..SUBJECTS_MAX {
        tell(&mut told, format!("critical service.status.failed s{number}"), "local");
    }
    assert_eq!(told.fold.len(), SUBJECTS_MAX / 4);
    tell(&mut told, "info service.status.started s1".to_owned(), "local");
    tell(&mut told, "critical service.status.failed one-more".to_owned(), "local");
    assert_eq!(
        (told.fold.len(), told.fold.of_subject("s1").count()),
        (SUBJECTS_MAX / 4, 0),
        "their own are first to go"
    );
    for number in 0..SUBJECTS_MAX {
        tell(&mut told, format!("critical network.interface.down d{number}"), "network");
    }
    let kept = told.fold.subjects.keys().filter(|(subject, _)| subject.starts_with('d')).count();
    assert_eq!((kept, told.fold.len()), (SUBJECTS_MAX, SUBJECTS_MAX));
}

#[test]
fn names_and_sentences_are_cut_and_gaps_are_counted() {
    let mut told = Told::nothing();
    let long = "語".repeat(500);
    told.take(Lane::Urgent, &event(1, &format!("error service.status.failed {long}"), "service"));
    let state = told.fold.worst(1)[0].clone();
    assert!(state.subject.len() <= 300 && state.changes[0].text.len() <= 300 && state.subject.ends_with('…'));
    for _ in 0..40 {
        told.lose(Lane::Routine, 2);
        told.take(Lane::Routine, &event(2, "info system.host.heartbeat nas", "system"));
    }
    let folding = told.fold.folding();
    assert_eq!(folding.gaps.len() as u64 + folding.older_gaps, 40);
    assert_eq!((folding.gaps.len(), folding.known_since), (16, 2), "where it began stays known");
    let mut story = Told::nothing();
    for time in 0..100 {
        let kind = if time % 2 == 0 { "error storage.pool.degraded" } else { "info storage.pool.online" };
        story.take(Lane::Urgent, &event(time + 1, &format!("{kind} tank"), "storage"));
    }
    assert_eq!(story.state("tank", "pool health").changes.len(), 5);
}

#[test]
fn no_cut_and_no_flip_of_a_checkpoint_passes_for_another() {
    let mut told = Told::nothing();
    told.take(Lane::Urgent, &event(1, "error storage.pool.degraded tank", "storage"));
    let bytes = checkpoint::bytes(told.fold.clone(), 77);
    for end in 0..bytes.len() {
        assert!(Checkpoint::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(Checkpoint::parse(&flipped).is_err(), "bit {at}");
    }
    assert_eq!(Checkpoint::parse(&bytes).expect("whole").fold, told.fold);
}

#[test]
fn a_file_that_is_not_there_is_no_damage_and_what_was_written_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("below/states");
    assert!(Checkpoint::read(&path).expect("nothing is wrong").is_none());
    let mut told = Told::nothing();
    told.take(Lane::Urgent, &event(1, "error storage.pool.degraded tank", "storage"));
    Checkpoint::write(&path, told.fold.clone(), 5).expect("written");
    let read = Checkpoint::read(&path).expect("read").expect("there");
    assert_eq!((read.fold, read.written_at, read.is_current), (told.fold, 5, true));
}

/// Whoever reads the log passes over frames whose kinds are none of the marks.
#[test]
fn what_bears_none_of_the_marks_changes_nothing_but_the_place() {
    let marks = Fold::marks();
    let (mut passed, mut looked_at) = (0, 0);
    for kind in Catalogue::compiled().kinds() {
        let text = serde_json::json!({"kind": kind.as_str(), "id": id(5, 0), "time": 5}).to_string();
        let known = json::view_from_str(&text).expect("an event").into_message().encode_to_vec();
        // The last operation counts: one that this version has no name for.
        let unnamed = {
            let mut event = EventView::decode(&known).expect("an event").into_message();
            set_operation(&mut event, 9_999);
            event.encode_to_vec()
        };
        for bytes in [known, unnamed] {
            let head = Head::read(&bytes).expect("an event");
            let bloom = KindBloom::of([Some(head.kind_mark())]);
            let is_marked = marks.iter().any(|mark| bloom.may_hold(*mark));
            let mut fold = Fold::new([1, 1]);
            let is_news = fold.event(LaneAt { lane: Lane::Urgent, epoch: EPOCH, sequence: 1 }, Some(&head), &bytes);
            assert!(is_marked || !is_news, "{kind}");
            *if is_marked { &mut looked_at } else { &mut passed } += 1;
            if !is_marked {
                let mut other = Fold::new([1, 1]);
                other.pass(Lane::Urgent, 2);
                let without_epoch = |fold: &Fold| Fold { lanes: other.lanes.clone(), ..fold.clone() };
                assert_eq!((fold.next_sequence(Lane::Urgent), without_epoch(&fold)), (2, other.clone()), "{kind}");
            }
        }
    }
    assert!(passed > 50 && looked_at > 50, "{passed} {looked_at}");
}

fn set_operation(event: &mut DynamicMessage, number: i32) {
    let fields: Vec<_> = event.fields().map(|(field, _)| field).collect();
    for field in fields {
        if let Value::Message(inner) = event.get_field_mut(&field) {
            if let Some(operation) = inner.descriptor().get_field_by_name("operation") {
                inner.set_field(&operation, Value::EnumNumber(number));
            }
            set_operation(inner, number);
        }
    }
}
