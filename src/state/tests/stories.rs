//! Stories that a person can read and judge: what came in which lane, and what `rodent problems` says behind it.

use super::*;
use crate::event_log::APPENDED_AGAIN;

/// Plays lines of `LANE TIME WHAT | PROBLEMS`. What: an event (`error storage.pool.degraded tank`, with ` by local` at its end where
/// it is no collector's), `ack SUBJECT/STATE LEVEL`, or `lost NUMBER`.
fn play(story: &str) -> Told {
    let mut told = Told::nothing();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (what, problems) = line.split_once('|').expect("what, and what it comes to");
        let (lane, what) = what.trim().split_once(' ').expect("a lane");
        let (time, what) = what.trim().split_once(' ').expect("a time");
        let (lane, time) = (Lane::from_name(lane).expect("a lane"), time.parse().expect("a number"));
        if let Some(events) = what.strip_prefix("lost ") {
            told.lose(lane, events.parse().expect("a number"));
        } else if let Some(known) = what.strip_prefix("ack ") {
            let (name, level) = known.rsplit_once(' ').expect("a level");
            let (subject, state) = name.split_once('/').expect("a state");
            told.take(lane, &acknowledged(time, subject, state, level.parse().expect("a level")));
        } else {
            let (what, source) = what.rsplit_once(" by ").unwrap_or((what, "storage"));
            told.take(lane, &event(time, what, source));
        }
        assert_eq!(told.problems(), problems.trim(), "{line}");
        // A start in between makes no difference.
        let again = told.clone().again();
        assert_eq!(again.fold, told.fold, "{line}");
    }
    told
}

#[test]
fn a_pool_is_degraded_rebuilt_and_well() {
    let told = play(
        "urgent  10 error storage.pool.degraded tank         | error pool health tank since 10
         routine 20 info storage.pool.resilver_started tank  | error pool health tank since 10
         urgent  30 critical storage.pool.faulted tank       | critical pool health tank since 10
         urgent  40 error storage.pool.degraded tank         | error pool health tank since 10
         routine 50 info storage.pool.resilver_completed tank | error pool health tank since 10
         urgent  60 info storage.pool.online tank            |
         urgent  70 error storage.pool.degraded tank         | error pool health tank since 70",
    );
    let changes = told.state("tank", "pool health").changes;
    let story: Vec<_> = changes.iter().map(|it| (it.level().word(), it.since, it.wrong_since)).collect();
    assert_eq!(story, [("error", 70, 70), ("ok", 60, 0), ("error", 40, 10), ("critical", 30, 10), ("error", 10, 10)]);
    assert_eq!(changes[1].text, "Pool tank is online again");
    assert!(changes[0].advice.contains("zpool status"), "{}", changes[0].advice);
}

#[test]
fn what_says_the_same_again_is_counted_and_keeps_its_beginning() {
    let told = play(
        "routine 10 warn usage.threshold.approached capacity:/srv | warn threshold capacity:/srv since 10
         routine 20 warn usage.threshold.approached capacity:/srv | warn threshold capacity:/srv since 10
         urgent  30 error usage.threshold.exceeded capacity:/srv  | error threshold capacity:/srv since 10
         urgent  40 info usage.threshold.cleared capacity:/srv    |",
    );
    let changes = told.state("capacity:/srv", "threshold").changes;
    assert_eq!(changes.iter().map(|it| (it.events, it.since)).collect::<Vec<_>>(), [(1, 40), (1, 30), (2, 10)]);
}

#[test]
fn an_end_in_the_other_lane_counts_when_it_happened_later_whichever_is_read_first() {
    play(
        "urgent  10 error service.status.failed smbd  | error service smbd since 10
         routine 20 info service.status.started smbd  |",
    );
    play(
        "routine 20 info service.status.started smbd  |
         urgent  10 error service.status.failed smbd  |
         urgent  30 error service.status.failed smbd  | error service smbd since 30",
    );
    play(
        "routine 20 warn usage.threshold.approached capacity:/srv | warn threshold capacity:/srv since 20
         urgent  10 error usage.threshold.exceeded capacity:/srv  | warn threshold capacity:/srv since 10",
    );
}

#[test]
fn in_one_lane_the_numbers_count_also_when_the_clock_is_set_back() {
    play(
        "urgent 500 error storage.pool.degraded tank | error pool health tank since 500
         urgent  10 info storage.pool.online tank    |
         urgent  20 error storage.pool.degraded tank | error pool health tank since 20",
    );
}

#[test]
fn what_a_hook_left_while_the_agent_was_away_counts_when_it_happened() {
    play(
        "urgent 20 info storage.pool.online tank               |
         urgent 10 error storage.pool.degraded tank by local   |
         urgent 30 error storage.pool.degraded tank by local   | error pool health tank since 30",
    );
}

#[test]
fn a_pool_that_is_gone_has_no_trouble_here() {
    play(
        "urgent  10 error storage.pool.degraded tank        | error pool health tank since 10
         urgent  11 error storage.pool.errors tank          | error pool health tank since 10; error pool errors tank since 11
         routine 20 warn storage.pool.scrub_completed tank  | error pool health tank since 10; error pool errors tank since 11; warn pool scrub tank since 20
         urgent  30 info storage.pool.exported tank         |",
    );
}

#[test]
fn what_is_told_as_essential_is_as_bad_as_its_kind() {
    play(
        "urgent 10 error storage.pool.degraded tank         | error pool health tank since 10
         urgent 20 essential storage.pool.online tank       |
         urgent 30 essential storage.pool.faulted tank      | critical pool health tank since 30",
    );
}

#[test]
fn what_is_known_stays_known_until_it_gets_worse_or_ends() {
    play(
        "urgent  10 error storage.pool.degraded tank     | error pool health tank since 10
         urgent  20 ack tank/pool health error           | error pool health tank since 10 known
         urgent  30 error storage.pool.degraded tank     | error pool health tank since 10 known
         urgent  40 critical storage.pool.faulted tank   | critical pool health tank since 10
         urgent  50 ack tank/pool health critical        | critical pool health tank since 10 known
         urgent  60 error storage.pool.degraded tank     | error pool health tank since 10 known
         urgent  70 info storage.pool.online tank        |
         urgent  80 error storage.pool.degraded tank     | error pool health tank since 80",
    );
    play(
        "urgent  10 error storage.pool.degraded tank     | error pool health tank since 10
         urgent  11 error storage.pool.degraded pond     | error pool health tank since 10; error pool health pond since 11
         urgent  20 ack tank/pool health error           | error pool health pond since 11; error pool health tank since 10 known",
    );
}

#[test]
fn a_word_that_is_read_late_marks_nothing_that_came_after_it() {
    play(
        "urgent  10 error service.status.failed smbd     | error service smbd since 10
         urgent  30 info service.status.started smbd     |
         urgent  40 error service.status.failed smbd     | error service smbd since 40
         routine 20 ack smbd/service error               | error service smbd since 40
         routine 21 ack nobody/service error             | error service smbd since 40",
    );
}

#[test]
fn what_was_lost_makes_everything_unsure_until_something_tells_of_it() {
    let told = play(
        "urgent  10 error storage.pool.degraded tank        | error pool health tank since 10
         urgent  11 error storage.pool.degraded pond        | error pool health tank since 10; error pool health pond since 11
         routine 12 lost 200                                | error pool health tank since 10 ?; error pool health pond since 11 ?
         urgent  20 error storage.pool.degraded tank        | error pool health tank since 10; error pool health pond since 11 ?
         routine 30 info system.host.heartbeat nas          | error pool health tank since 10; error pool health pond since 11 ?",
    );
    let gaps = told.fold.folding().gaps;
    let line = |gap: &crate::schema::local::StateGap| {
        format!("{} {}-{} {} {}", gap.lane, gap.first_sequence, gap.last_sequence, gap.events, gap.noticed_at)
    };
    assert_eq!(gaps.iter().map(line).collect::<Vec<_>>(), ["routine 1-200 200 30"]);
    assert!(told.fold.needs_assertion());
}

#[test]
fn a_record_of_events_that_never_had_a_number_is_named_and_makes_nothing_unsure() {
    let mut told = play(
        "urgent  10 error storage.pool.degraded tank           | error pool health tank since 10
         urgent  11 error service.status.failed smbd by local  | error pool health tank since 10; error service smbd since 11",
    );
    let lost = json::from_str(r#"{"kind": "system.loss.unclean_stop", "payload": {"lane": "routine"}}"#);
    let lost = Event { source: "event_log".into(), event_id: id(20, 0), timestamp: 20, ..lost.expect("an event") };
    told.take(Lane::Urgent, &lost);
    assert_eq!(told.problems(), "error pool health tank since 10; error service smbd since 11");
    assert_eq!(told.fold.folding().gaps[0].events, 0, "nobody knows how many");
    assert!(!told.fold.needs_assertion(), "the collectors tell again of what was not durable");
}

#[test]
fn what_cannot_be_folded_again_is_as_it_was_until_something_tells_of_it() {
    let before = play(
        "urgent  10 error storage.pool.degraded tank     | error pool health tank since 10
         urgent  20 ack tank/pool health error           | error pool health tank since 10 known
         urgent  30 error storage.pool.degraded pond     | error pool health pond since 30; error pool health tank since 10 known
         urgent  40 error service.status.failed smbd     | error pool health pond since 30; error service smbd since 40; error pool health tank since 10 known",
    );
    let mut gone = before.fold.clone();
    let mut renamed = gone.subjects.values().next().expect("some").clone();
    renamed.state = "no state any more".to_owned();
    gone.subjects.insert((renamed.subject.clone(), renamed.state.clone()), renamed);
    // Of the log all but the last three events is gone, and it is folded anew.
    let fold = Fold::new([3, 1]).rebuilt("a test", 99).carrying(gone, 50);
    let mut told = Told { fold, next: [3, 1] };
    assert_eq!(
        told.problems(),
        "error pool health pond since 30 ?; error service smbd since 40 ?; error pool health tank since 10 known"
    );
    told.take(Lane::Urgent, &event(30, "error storage.pool.degraded pond", "storage"));
    told.take(Lane::Urgent, &event(45, "info service.status.started smbd", "service"));
    assert_eq!(told.problems(), "error pool health pond since 30; error pool health tank since 10 known");
    assert_eq!(told.state("tank", "pool health").carried_from, 50);
    assert_eq!(told.clone().again().fold, told.fold);
    let folding = told.fold.folding();
    assert_eq!((folding.rebuilt.as_str(), folding.rebuilt_at), ("a test", 99));
    assert_eq!(folding.known_since, 30, "the first event that is left");
    assert!(told.fold.needs_assertion());
    told.fold.asserted(29);
    assert!(told.fold.needs_assertion(), "that was before");
    told.fold.asserted(30);
    assert!(!told.fold.needs_assertion());
}

#[test]
fn what_another_program_says_acknowledges_nothing() {
    let mut told = play("urgent 10 error storage.pool.degraded tank | error pool health tank since 10");
    let known = acknowledged(20, "tank", "pool health", Level::Critical);
    assert!(!told.take(Lane::Urgent, &Event { source: "local".to_owned(), ..known.clone() }));
    assert_eq!(told.problems(), "error pool health tank since 10");
    told.take(Lane::Urgent, &known);
    assert_eq!(told.problems(), "error pool health tank since 10 known");
}

#[test]
fn what_is_put_into_the_log_again_counts_when_it_happened() {
    let again = |event: Event| {
        let mark = (APPENDED_AGAIN.to_owned(), String::new());
        Event { metadata: event.metadata.into_iter().chain([mark]).collect(), ..event }
    };
    let mut told = play(
        "urgent 10 error storage.pool.degraded tank | error pool health tank since 10
         urgent 20 info storage.pool.online tank    |",
    );
    told.take(Lane::Urgent, &again(event(10, "error storage.pool.degraded tank", "storage")));
    assert_eq!(told.problems(), "");
    told.take(Lane::Urgent, &event(30, "error storage.pool.degraded tank", "storage"));
    told.take(Lane::Urgent, &again(event(20, "info storage.pool.online tank", "storage")));
    assert_eq!(told.problems(), "error pool health tank since 30");
    assert_eq!(told.state("tank", "pool health").changes.len(), 3, "each is known");
}
