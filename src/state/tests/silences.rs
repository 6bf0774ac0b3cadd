//! What people have said is not to be told: what counts as a word, and what bounds it.

use super::*;

const MINUTE: i64 = 60_000;

fn silence(told: &mut Told, minute: i64, subject: &str, minutes: i64) {
    let text = format!(
        r#"{{"kind": "system.problem.silenced", "payload": {{"subject": "{subject}", "silenced_seconds": {}, "actor": "root"}}}}"#,
        minutes * 60
    );
    say(told, minute, &text, "agent");
}

fn say(told: &mut Told, minute: i64, text: &str, source: &str) {
    let event = json::from_str(text).expect("an event");
    let event = Event { event_id: id(minute, 3), timestamp: minute * MINUTE, source: source.to_owned(), ..event };
    told.take(Lane::Routine, &event);
}

fn standing(told: &Told, minute: i64) -> Vec<String> {
    let line = |its: local::Silence| format!("{} until {} by {}", its.subject, its.until / MINUTE, its.actor);
    told.fold.silences().standing(minute * MINUTE).into_iter().map(line).collect()
}

#[test]
fn a_silence_holds_until_its_time_and_through_a_restart() {
    let mut told = Told::nothing();
    silence(&mut told, 10, "tank", 120);
    silence(&mut told, 20, "sd*", 30);
    let told = told.again();
    assert_eq!(standing(&told, 30), ["sd* until 50 by root", "tank until 130 by root"]);
    assert_eq!(standing(&told, 50), ["tank until 130 by root"]);
    let until = |subject: &str| told.fold.silences().until(subject, 30 * MINUTE).map(|until| until / MINUTE);
    assert_eq!((until("tank"), until("sdb"), until("pond")), (Some(130), Some(50), None));
    assert_eq!(standing(&told, 130), [""; 0]);
    assert_eq!(told.fold.silences().until("tank", 200 * MINUTE), Some(130 * MINUTE), "when it was over is known");
}

#[test]
fn the_last_word_counts_and_an_end_comes_before_its_time() {
    let mut told = Told::nothing();
    silence(&mut told, 10, "tank", 120);
    silence(&mut told, 11, "tank", 5);
    assert_eq!(standing(&told, 12), ["tank until 16 by root"]);
    silence(&mut told, 12, "", 60);
    say(&mut told, 13, r#"{"kind": "system.problem.silence_ended", "payload": {"subject": ""}}"#, "agent");
    assert_eq!(standing(&told, 13), ["tank until 16 by root"]);
    say(&mut told, 40, r#"{"kind": "system.problem.silence_ended", "payload": {"subject": "tank"}}"#, "agent");
    assert_eq!(told.fold.silences().until("tank", 50 * MINUTE), Some(16 * MINUTE), "what is over is not prolonged");
}

#[test]
fn what_another_program_says_silences_nothing() {
    let mut told = Told::nothing();
    say(&mut told, 1, r#"{"kind": "system.problem.silenced", "payload": {"silenced_seconds": 3600}}"#, "local");
    assert_eq!(standing(&told, 2), [""; 0]);
}

#[test]
fn silences_are_bounded_in_number_and_length_and_one_of_a_wrong_clock_counts_for_nothing() {
    let mut told = Told::nothing();
    let most = i64::try_from(SILENCE_MAX.as_secs() / 60).expect("a number");
    silence(&mut told, 1, "long", 100 * most);
    assert_eq!(standing(&told, 1), [format!("long until {} by root", 1 + most)]);
    for number in 0..2 * SILENCES_MAX {
        silence(&mut told, 2, &format!("p{number}"), 10 + i64::try_from(number).expect("few"));
    }
    let kept = standing(&told, 3);
    assert_eq!(kept.len(), SILENCES_MAX);
    assert_eq!(kept.last().map(String::as_str), Some("long until 10081 by root"), "what is over first goes first");
    silence(&mut told, 900_000, "ahead", 60);
    assert!(!standing(&told, 4).iter().any(|line| line.starts_with("ahead")));
    assert_eq!(told.fold.silences().until("ahead", 4 * MINUTE), None);
}

#[test]
fn what_cannot_be_folded_again_goes_on_to_be_silent() {
    let mut before = Told::nothing();
    silence(&mut before, 10, "tank", 120);
    let fold = Fold::new([1, 2]).carrying(before.fold, 11 * MINUTE);
    assert_eq!(fold.silences().until("tank", 12 * MINUTE), Some(130 * MINUTE));
}
