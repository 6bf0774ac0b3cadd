//! The stories, and what holds for any.

use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::{told::TOLD_MAX, *};
use crate::{
    event::{Head, json},
    event_log::{BLOB_BYTES_MAX, Lane},
    state::{Fold, LaneAt},
};

const STORIES: &str = include_str!("stories.txt");
const DAY: i64 = 24 * 60;
const MINUTE: i64 = 60_000;
/// Midnight of some day.
const MIDNIGHT: i64 = 1_780_000_000_000 - 1_780_000_000_000 % (DAY * MINUTE);

/// A machine, and somebody who is told of it.
struct Person {
    fold: Fold,
    telling: Telling,
    next: u64,
    least: StateLevel,
    again_at: Option<i64>,
}

fn at(minutes: i64) -> Moment {
    Moment {
        now: MIDNIGHT + minutes * MINUTE,
        minute_of_day: u16::try_from(minutes.rem_euclid(DAY)).expect("a time of day"),
        // A story begins on a Sunday.
        day_of_week: u8::try_from(minutes.div_euclid(DAY).rem_euclid(7)).expect("a day"),
    }
}

impl Person {
    fn new(rules: Rules) -> Person {
        let (fold, telling) = (Fold::new([1, 1]), Telling::new(rules, &[]));
        Person { fold, telling, next: 1, least: StateLevel::Warn, again_at: None }
    }

    fn happens(&mut self, text: &str, minutes: i64) {
        let mut event = json::from_str(text).expect("an event");
        event.timestamp = at(minutes).now;
        event.event_id = format!("{}", self.next);
        let bytes = event.encode_to_vec();
        let place = LaneAt { lane: Lane::Urgent, epoch: Uuid::from_u128(7), sequence: self.next };
        self.fold.event(place, Head::read(&bytes).ok().as_ref(), &bytes);
        self.next += 1;
    }

    fn is_told(&mut self, minutes: i64) -> Vec<Notification> {
        self.is_told_at(at(minutes))
    }

    /// Looks, and is told, until there is nothing more.
    fn is_told_at(&mut self, moment: Moment) -> Vec<Notification> {
        let (least, mut told) = (self.least, Vec::new());
        loop {
            let silenced = |subject: &str| self.fold.silences().until(subject, moment.now);
            let look = self.telling.look(self.fold.worst_first(), |level, _| level >= least, silenced, moment);
            look.notices.iter().for_each(|notice| self.telling.sent(notice, moment));
            if !look.is_held_back {
                self.telling.looked(self.fold.worst_first(), moment);
            }
            self.again_at = look.again_at;
            if look.notices.is_empty() {
                break;
            }
            told.extend(look.notices);
            assert!(told.len() < 100, "the same over and over: {told:?}");
        }
        // As if the agent had been restarted.
        let kept = self.telling.encode();
        assert!(kept.len() <= BLOB_BYTES_MAX);
        let sent_at = self.telling.sent_at.clone();
        self.telling = Telling { sent_at, ..Telling::new(self.telling.rules.clone(), &kept) };
        told
    }
}

fn minutes_of(time: &str) -> i64 {
    let (hour, minute) = time.split_once(':').expect("a time");
    hour.parse::<i64>().expect("an hour") * 60 + minute.parse::<i64>().expect("a minute")
}

/// What a story's title says behind it, `key=value`.
fn person_of(words: &str) -> Person {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    for word in words.split_whitespace().filter(|word| word.contains('=')) {
        let rules = &mut person.telling.rules;
        match word.split_once('=').expect("key and value") {
            ("quiet", hours) => rules.quiet = Some(Quiet::parse(hours).expect("hours")),
            ("critical", _) => rules.is_critical_quiet = true,
            ("repeat", every) => rules.repeat = Some(humantime::parse_duration(every).expect("a duration")),
            ("digest", most) => rules.digest_after = most.parse().expect("a number"),
            ("wants", _) => person.least = StateLevel::Critical,
            ("mirror", _) => rules.is_mirror = true,
            ("weekly", time) => rules.weekly = Some(Weekly::parse(&time.replace('@', " ")).expect("a day and a time")),
            other => panic!("{other:?} is no rule"),
        }
    }
    person
}

#[test]
fn every_story_is_told_as_it_is_written() {
    let mut wrong = Vec::new();
    for story in STORIES.split("\n== ").skip(1) {
        let (title, lines) = story.split_once('\n').expect("a title and lines");
        let mut person = person_of(title);
        let (mut minutes, mut told) = (0, Vec::<String>::new());
        let mut lines = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
        while let Some(line) = lines.next() {
            let (time, event) = line.split_once(' ').unwrap_or((line, ""));
            let time = minutes_of(time);
            while time < minutes % DAY {
                minutes += DAY - minutes % DAY;
            }
            minutes = minutes - minutes % DAY + time;
            if !event.is_empty() {
                person.happens(event, minutes);
            }
            let asked_for = person.again_at.take();
            let is = person.is_told(minutes);
            told.clear();
            while let Some(line) = lines.next_if(|line| line.starts_with("->")) {
                told.push(line.trim_start_matches("-> ").to_owned());
            }
            let is: Vec<_> =
                is.iter().map(|notice| format!("{}: {}", notice.title(), notice.text.replace('\n', "|"))).collect();
            if event.is_empty() && !is.is_empty() && asked_for.is_none_or(|asked_for| asked_for > at(minutes).now) {
                wrong.push(format!("{title}\n  {line}\n  nobody would have looked then, but at {asked_for:?}"));
            }
            if is != told {
                wrong.push(format!("{title}\n  {line}\n  expected {told:#?}\n  told {is:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn degraded(pool: usize) -> String {
    format!(r#"{{"level": "error", "kind": "storage.pool.degraded", "payload": {{"pool_name": "p{pool}"}}}}"#)
}

fn healthy(pool: usize) -> String {
    format!(r#"{{"kind": "storage.pool.online", "payload": {{"pool_name": "p{pool}"}}}}"#)
}

fn silenced(subject: &str, minutes: i64) -> String {
    format!(
        r#"{{"kind": "system.problem.silenced", "payload": {{"subject": "{subject}", "silenced_seconds": {}}}}}"#,
        minutes * 60
    )
}

#[test]
fn more_than_can_be_remembered_is_told_as_a_number_and_what_was_told_ends_one_by_one() {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    (0..TOLD_MAX + 50).for_each(|pool| person.happens(&degraded(pool), 0));
    let told = person.is_told(0);
    assert_eq!(told.len(), 1, "a digest");
    let says = "and 286 more; `rodent problems` lists what is wrong";
    assert!(told[0].text.ends_with(says), "{}", told[0].text);
    assert_eq!(person.telling.told.len(), TOLD_MAX);
    assert_eq!(person.telling.told.more, 50);
    assert_eq!(person.is_told(2), [], "nothing is told twice");
    (0..TOLD_MAX + 50).for_each(|pool| person.happens(&healthy(pool), 3));
    assert_eq!(person.is_told(3).len(), 1);
    assert_eq!((person.telling.told.len(), person.telling.told.more), (0, 0));
    (0..TOLD_MAX + 50).for_each(|pool| person.happens(&degraded(pool), 30));
    let told = person.is_told(30);
    assert!(told[0].text.ends_with(says), "the number is told again: {}", told[0].text);
}

#[test]
fn what_came_and_went_before_anybody_was_to_be_told_is_no_news() {
    let quiet = Some(Quiet::parse("22:00-07:00").expect("hours"));
    let mut person = Person::new(Rules { quiet, digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), DAY - 60);
    person.happens(&healthy(1), DAY + 60);
    assert_eq!(person.is_told(DAY + 8 * 60), []);
}

#[test]
fn what_has_to_wait_at_the_end_of_quiet_hours_is_told_when_it_may_be() {
    let quiet = Some(Quiet::parse("22:00-07:00").expect("hours"));
    let mut person = Person::new(Rules { quiet, digest_after: 1, ..Rules::default() });
    assert_eq!(person.is_told(21 * 60), []);
    person.happens(&degraded(1), 23 * 60);
    person.happens(&healthy(1), DAY + 60);
    let morning = DAY + 7 * 60;
    let seconds_after = |seconds: i64| Moment { now: at(morning).now + seconds * 1000, ..at(morning + seconds / 60) };
    person.happens(
        r#"{"level": "critical", "kind": "storage.pool.faulted", "payload": {"pool_name": "p2"}}"#,
        morning - 1,
    );
    let told = person.is_told_at(Moment { now: at(morning).now - 30_000, ..at(morning - 1) });
    assert_eq!(told.iter().map(|it| it.what).collect::<Vec<_>>(), [What::Problem]);
    assert_eq!(person.is_told_at(seconds_after(0)), [], "more than one a minute");
    assert_eq!(person.again_at, Some(seconds_after(30).now));
    let told = person.is_told_at(seconds_after(30));
    assert_eq!(told.iter().map(|it| it.what).collect::<Vec<_>>(), [What::Healed], "what came and went at night");
    assert_eq!(person.is_told_at(seconds_after(90)), [], "and once");
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_from_being_told() {
    let mut person = Person::new(Rules { digest_after: 1, ..Rules::default() });
    person.happens(&degraded(1), DAY);
    assert_eq!(person.is_told(DAY).len(), 1);
    person.happens(&degraded(2), 60);
    let told = person.is_told(60);
    assert!(told.len() == 1 && told[0].subject == "p2", "what was told tomorrow is no storm: {told:?}");
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    (0..5).for_each(|minute| person.happens(&if minute % 2 == 0 { degraded(1) } else { healthy(1) }, DAY + minute));
    let told = person.is_told(60);
    assert_eq!(told.iter().map(|it| it.what).collect::<Vec<_>>(), [What::Problem], "nor does what will be come and go");
}

#[test]
fn in_the_week_in_which_clocks_go_back_the_weekly_message_comes_once() {
    let weekly = Some(Weekly::parse("sun 2:30").expect("a time"));
    let mut person = Person::new(Rules { weekly, digest_after: 10, ..Rules::default() });
    let shown = |minutes: i64, later: i64| Moment { now: at(minutes + later).now, ..at(minutes) };
    assert_eq!(person.is_told(140), [], "asked for ten minutes before");
    assert_eq!(person.is_told(150).iter().map(|it| it.what).collect::<Vec<_>>(), [What::Well]);
    assert_eq!(person.is_told_at(shown(150, 60)), [], "the clock shows the same hour again");
    assert_eq!(person.is_told_at(shown(DAY + 150, 60)), [], "and from then on it was an hour later");
    let told = person.is_told_at(shown(7 * DAY + 150, 60));
    assert_eq!(told.iter().map(|it| it.what).collect::<Vec<_>>(), [What::Well]);
}

#[test]
fn what_nobody_knows_of_any_more_is_forgotten() {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), 0);
    assert_eq!(person.is_told(0).len(), 1);
    assert!(person.telling.looked([], at(1)) && !person.telling.looked([], at(1)));
    assert_eq!(person.is_told(2).iter().map(|it| it.what).collect::<Vec<_>>(), [What::Problem], "it is there again");
}

#[test]
fn who_wants_less_from_now_on_is_told_of_the_end_of_what_they_know() {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), 0);
    assert_eq!(person.is_told(0).len(), 1);
    person.least = StateLevel::Critical;
    person.happens(&healthy(1), 1);
    assert_eq!(person.is_told(1).iter().map(|it| it.what).collect::<Vec<_>>(), [What::Recovered]);
}

#[test]
fn a_message_says_since_when_it_is_so_and_what_to_do_while_it_is() {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), 0);
    let told = person.is_told(0);
    assert!(
        !told[0].advice.is_empty() && told[0].body() == format!("{}\n{}", told[0].text, told[0].advice),
        "{told:?}"
    );
    person.happens(r#"{"level": "critical", "kind": "storage.pool.faulted", "payload": {"pool_name": "p1"}}"#, 7);
    let told = person.is_told(7);
    assert_eq!((told[0].what, told[0].since), (What::Worse, at(0).now), "since it went wrong");
    person.happens(r#"{"kind": "storage.pool.deleted", "payload": {"pool_name": "p1"}}"#, 9);
    let told = person.is_told(9);
    assert_eq!(
        (told[0].since, told[0].body()),
        (at(9).now, told[0].text.clone()),
        "nothing is to be done about the end"
    );
}

#[test]
fn the_same_look_gives_the_same_identifiers() {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), 0);
    let look = |person: &Person, minutes| {
        person.telling.look(person.fold.worst_first(), |_, _| true, |_| None, at(minutes)).notices
    };
    let (first, later) = (look(&person, 0), look(&person, 9));
    assert_eq!(first[0].id, later[0].id, "a message that is sent again");
    person.happens(&healthy(1), 10);
    person.happens(&degraded(1), 11);
    assert_ne!(look(&person, 11)[0].id, first[0].id, "another time that it is wrong");
    let (repeat, weekly) = (Some(Duration::from_secs(3600)), Some(Weekly::parse("mon 9:00").expect("a time")));
    let mut person = Person::new(Rules { repeat, weekly, digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), 0);
    let ids = [0, 60, 120].map(|minutes| person.is_told(minutes)[0].id.clone());
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "each repeat is another message: {ids:?}");
    let weekly = [0, 1].map(|minutes| look(&person, DAY + 9 * 60 + minutes).pop().expect("it is time").id);
    assert_eq!(weekly[0], weekly[1]);
}

#[test]
fn what_was_being_told_when_the_agent_was_killed_is_told_again_and_so_is_its_end() {
    let killed = || {
        let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
        person.happens(&degraded(1), 0);
        let look = person.telling.look(person.fold.worst_first(), |_, _| true, |_| None, at(0));
        assert_eq!(person.telling.announce(&look.notices[0]).len(), 1);
        assert_eq!(person.telling.announce(&look.notices[0]), [0; 0], "that is known");
        person.telling = Telling::new(person.telling.rules.clone(), &person.telling.encode());
        (person, look.notices[0].clone())
    };
    let (mut person, notice) = killed();
    assert_eq!(person.is_told(1).iter().map(|it| &it.id).collect::<Vec<_>>(), [&notice.id]);
    let (mut person, _) = killed();
    person.happens(&healthy(1), 1);
    assert_eq!(person.is_told(1).iter().map(|it| it.what).collect::<Vec<_>>(), [What::Recovered]);
    let (mut person, notice) = killed();
    let again = person.telling.announce(&notice);
    person.telling.withdraw(&again);
    person.happens(&healthy(1), 1);
    let told = person.is_told(1);
    assert_eq!(told.len(), 1, "that a later attempt certainly did not arrive says nothing of the first");
}

#[test]
fn what_certainly_did_not_arrive_has_no_end() {
    let mut person = Person::new(Rules { digest_after: 10, ..Rules::default() });
    person.happens(&degraded(1), 0);
    let look = person.telling.look(person.fold.worst_first(), |_, _| true, |_| None, at(0));
    let announced = person.telling.announce(&look.notices[0]);
    person.telling.withdraw(&announced);
    person.happens(&healthy(1), 1);
    assert_eq!(person.is_told(1), []);
}

#[test]
fn hours_are_refused_that_are_none() {
    for text in ["", "22:00", "22:00-", "24:00-07:00", "22:60-07:00", "22-7", "07:00-07:00", "+1:00-02:00", "1:0-2:00"]
    {
        assert!(Quiet::parse(text).is_err_and(|error| error.starts_with("expected two times of day")), "{text}");
    }
    assert!(Quiet::parse("9:30 - 17:00").is_ok_and(|quiet| quiet.holds(600) && !quiet.holds(1020)));
}

proptest! {
    /// Whatever happens and whenever somebody looks: what was told and what is remembered agree with how things are, once it is
    /// calm and day.
    #[test]
    fn in_the_end_a_person_knows_what_is_wrong(
        steps in prop::collection::vec((0_usize..4, any::<bool>(), 0_i64..400, 0_usize..9), 1..40),
        is_quiet in any::<bool>(),
        digest_after in 1_usize..5,
    ) {
        let quiet = is_quiet.then(|| Quiet::parse("22:00-07:00").expect("hours"));
        let mut person = Person::new(Rules { quiet, digest_after, ..Rules::default() });
        let mut minutes = 8 * 60;
        let mut knows = std::collections::BTreeSet::new();
        let mut hear = |notices: Vec<Notification>| {
            for notice in notices {
                for mark in &notice.marks {
                    match mark.entry {
                        Some(_) => knows.insert(mark.key),
                        None => knows.remove(&mark.key),
                    };
                }
            }
        };
        for (pool, is_wrong, wait, silence) in steps {
            match silence {
                0 => person.happens(&silenced("", 60), minutes),
                1 => person.happens(&silenced(&format!("p{pool}"), 90), minutes),
                _ => {}
            }
            person.happens(&if is_wrong { degraded(pool) } else { healthy(pool) }, minutes);
            hear(person.is_told(minutes));
            minutes += wait;
        }
        // Looks only when it was told to.
        for _ in 0..50 {
            let Some(again_at) = person.again_at else { break };
            minutes = minutes.max((again_at - MIDNIGHT + MINUTE - 1) / MINUTE);
            hear(person.is_told(minutes));
        }
        let wrong: std::collections::BTreeSet<_> =
            person.fold.worst(usize::MAX).iter().map(|state| told::key(&state.subject, &state.state)).collect();
        prop_assert_eq!(knows, wrong);
    }

    #[test]
    fn no_bytes_are_taken_for_what_was_told_that_give_other_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(told) = Told::decode(&bytes) {
            prop_assert_eq!(Told::decode(&told.encode()), Some(told));
        }
    }
}
