//! `Consume` over a real socket and a log on disk: what a program gets behind a cursor of its own, and what it is refused.

mod workers;

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use rodent::{
    client::{
        Attach, Bound, Client, ClientError, Consumed, ConsumedEvent, Consumption, Durability, Encoding,
        ListDeadLettersRequest, QueryRequest, RemoveConsumerRequest, RetryDeadLettersRequest, RewindConsumerRequest,
        Start, start,
    },
    consumers::programs::{Absence, Attendance},
    event::{EventView, Filter, json, loss_record_consumer},
    event_log::Lane,
    local_api::Scopes,
    pipeline::Gate,
    schema::events::Event,
};

use crate::local_socket::{Site, noise};

const PATIENCE: Duration = Duration::from_secs(60);

fn pool(name: u32) -> Event {
    let text = format!(r#"{{"kind": "storage.pool.created", "payload": {{"pool_name": "p{name}"}}}}"#);
    json::from_str(&text).expect("JSON")
}

fn degraded(name: u32) -> Event {
    let text = format!(r#"{{"kind": "storage.pool.degraded", "payload": {{"pool_name": "p{name}"}}}}"#);
    json::from_str(&text).expect("JSON")
}

async fn emit(client: &Client, numbers: std::ops::Range<u32>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(500) {
        let events: Vec<_> = chunk.iter().map(|number| pool(*number)).collect();
        client.emit(&events, Durability::Committed).await.expect("taken");
    }
}

fn attach(consumer: &str) -> Attach {
    Attach { consumer: consumer.to_owned(), ..Attach::default() }
}

fn place(place: start::Place) -> Option<Start> {
    Some(Start { start: Some(start::Start::Place(place.into())) })
}

async fn next(consumption: &mut Consumption) -> Consumed {
    let next = tokio::time::timeout(PATIENCE, consumption.next()).await.expect("in time");
    next.expect("it goes on").expect("it does not end")
}

/// Runs until so many events have come.
async fn take(consumption: &mut Consumption, count: usize) -> Vec<ConsumedEvent> {
    let mut all = Vec::new();
    while all.len() < count {
        if let Consumed::Run(run) = next(consumption).await {
            all.extend(run);
        }
    }
    all
}

fn sequences(events: &[ConsumedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

/// What a call is refused with.
async fn refusal(client: &Client, attach: Attach) -> String {
    client.consume(attach).await.expect_err("refused").to_string()
}

#[tokio::test]
async fn what_is_committed_does_not_come_again_and_what_is_not_comes_once_more() {
    let site = Site::new().await;
    emit(&site.client, 0..100).await;
    let mut first = site.client.consume(attach("backup")).await.expect("attached");
    assert!(first.attached().is_new && first.attached().cursor == "program.backup");
    let events = take(&mut first, 100).await;
    assert_eq!(sequences(&events), (1..=100).collect::<Vec<_>>());
    assert_eq!(next(&mut first).await, Consumed::CaughtUp);
    first.commit("routine", 40).await.expect("said");
    first.commit("routine", 30).await.expect("a commit never goes back");
    first.finish().await.expect("heard");

    let mut second = site.client.consume(attach("backup")).await.expect("attached");
    assert!(!second.attached().is_new);
    emit(&site.client, 100..110).await;
    let events = take(&mut second, 70).await;
    assert_eq!(sequences(&events), (41..=110).collect::<Vec<_>>());
    assert_eq!(events[0].event().expect("an event").event_id.len(), 36);
}

#[tokio::test]
async fn no_more_is_given_than_the_window_takes_and_what_is_urgent_has_its_own() {
    let site = Site::new().await;
    emit(&site.client, 0..50).await;
    let mut consumption =
        site.client.consume(Attach { bound: Some(Bound::Window(7)), ..attach("slow") }).await.expect("attached");
    assert_eq!(take(&mut consumption, 7).await.len(), 7);
    let more = tokio::time::timeout(Duration::from_millis(300), consumption.next()).await;
    assert!(more.is_err(), "{more:?}");
    site.client.emit(&[degraded(1)], Durability::Committed).await.expect("taken");
    let urgent = take(&mut consumption, 1).await;
    assert_eq!((urgent[0].lane.as_str(), urgent[0].sequence), ("urgent", 1));
    consumption.commit("routine", 3).await.expect("said");
    assert_eq!(sequences(&take(&mut consumption, 3).await), [8, 9, 10]);
}

#[tokio::test]
async fn frames_hold_the_same_events_in_the_same_order() {
    let site = Site::new().await;
    emit(&site.client, 0..5_000).await;
    let frames = Attach { encoding: Encoding::Frames.into(), ..attach("fast") };
    let mut consumption = site.client.consume(frames).await.expect("attached");
    let events = take(&mut consumption, 5_000).await;
    assert_eq!(sequences(&events), (1..=5_000).collect::<Vec<_>>());
    let mut plain = site.client.consume(attach("plain")).await.expect("attached");
    assert_eq!(take(&mut plain, 5_000).await, events);
}

#[tokio::test]
async fn a_filter_lets_through_what_it_takes_and_the_cursor_passes_the_rest() {
    let site = Site::new().await;
    emit(&site.client, 0..3_000).await;
    let wanted = Attach { filter: vec!["pool_name=p1 or pool_name=p2999".to_owned()], ..attach("some") };
    let mut consumption = site.client.consume(wanted).await.expect("attached");
    assert_eq!(sequences(&take(&mut consumption, 2).await), [2, 3_000]);
    assert_eq!(next(&mut consumption).await, Consumed::CaughtUp);
    consumption.commit("routine", 2).await.expect("said");
    consumption.finish().await.expect("heard");
    let standing = |site: &Site| {
        let mut cursors = site.log.cursors().into_iter().filter(|cursor| cursor.name == "program.some");
        cursors.find(|cursor| cursor.lane == Lane::Routine).map(|cursor| cursor.next_sequence)
    };
    assert_eq!(standing(&site), Some(3_000), "before what is not committed");
}

#[tokio::test]
async fn of_one_consumer_one_program_is_attached_and_who_is_ousted_commits_nothing_more() {
    let site = Site::new().await;
    emit(&site.client, 0..10).await;
    let mut first = site.client.consume(attach("one")).await.expect("attached");
    take(&mut first, 10).await;
    let refused = refusal(&site.client, attach("one")).await;
    assert!(refused.contains("another program is attached to the consumer `one`"), "{refused}");
    let mut second = site.client.consume(Attach { steal: true, ..attach("one") }).await.expect("attached");
    let _ = first.commit("routine", 10).await;
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match first.next().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    });
    let ended = ended.await.expect("in time").expect_err("ousted").to_string();
    assert!(ended.contains("another program has taken over"), "{ended}");
    assert_eq!(take(&mut second, 10).await.len(), 10, "nothing was committed");
}

#[tokio::test]
async fn a_new_consumer_begins_where_it_asks_to_and_one_that_is_there_where_it_stands() {
    let site = Site::new().await;
    emit(&site.client, 0..10).await;
    let newest = Attach { from: place(start::Place::Newest), ..attach("new") };
    let mut consumption = site.client.consume(newest.clone()).await.expect("attached");
    assert_eq!(next(&mut consumption).await, Consumed::CaughtUp);
    emit(&site.client, 10..12).await;
    let events = take(&mut consumption, 2).await;
    assert_eq!(sequences(&events), [11, 12]);
    let id = events[1].event().expect("an event").event_id;
    drop(consumption);
    let from_event = Attach { from: Some(Start { start: Some(start::Start::EventId(id)) }), ..attach("other") };
    let mut other = site.client.consume(from_event).await.expect("attached");
    assert_eq!(sequences(&take(&mut other, 1).await), [12]);
    // The same request again does not skip what was not committed.
    let mut again = site.client.consume(Attach { steal: true, ..newest }).await.expect("attached");
    assert_eq!(sequences(&take(&mut again, 2).await), [11, 12]);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_one_sentence_and_harms_nobody() {
    let site = Site::new().await;
    emit(&site.client, 0..10).await;
    let mut beside = site.client.consume(attach("beside")).await.expect("attached");
    let gone = uuid::Uuid::now_v7().to_string();
    let event = |id: &str| Some(Start { start: Some(start::Start::EventId(id.to_owned())) });
    for (wrong, says) in [
        (attach(""), "is no name of a consumer"),
        (attach("Über"), "is no name of a consumer"),
        (attach("uplink/.."), "is no name of a consumer"),
        (
            Attach { bound: Some(Bound::Window(0)), ..attach("a") },
            "a window of 0 events is asked for; expected 1 to 50000",
        ),
        (Attach { bound: Some(Bound::Window(50_001)), ..attach("a") }, "expected 1 to 50000"),
        (Attach { filter: vec!["storage.nothing.*".to_owned()], ..attach("a") }, "storage.nothing"),
        (Attach { filter: vec!["level>=warn level<info".to_owned()], ..attach("a") }, ""),
        (Attach { from: event(&gone), ..attach("a") }, "is not stored, or not any more"),
        (Attach { from: event("x"), ..attach("a") }, "`x` is no identifier of an event"),
        (Attach { encoding: 9, ..attach("a") }, "there is no encoding 9"),
        (Attach { workers: 65, ..attach("a") }, "65 workers are asked for; at most 64"),
        (Attach { redeliver_milliseconds: 99, ..attach("a") }, "expected 100 to 86400000, or 0 for never"),
    ] {
        let refused = refusal(&site.client, wrong).await;
        assert!(refused.contains(says), "{refused}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
    let framed = Attach { encoding: Encoding::Frames.into(), filter: vec!["storage".to_owned()], ..attach("a") };
    assert!(refusal(&site.client, framed.clone()).await.contains("with a filter or a subscription, or for a user"));
    let dealt = Attach { filter: Vec::new(), workers: 2, ..framed };
    assert!(refusal(&site.client, dealt).await.contains("with workers, or for what is to come again"));
    for (lane, sequence, says) in [("routine", 99, "was not given on this call"), ("fast", 1, "`fast` is no lane")] {
        let mut consumption = site.client.consume(attach("b")).await.expect("attached");
        consumption.commit(lane, sequence).await.expect("said");
        let ended = loop {
            match tokio::time::timeout(PATIENCE, consumption.next()).await.expect("in time") {
                Ok(Some(_)) => {}
                ended => break ended.expect_err("refused").to_string(),
            }
        };
        assert!(ended.contains(says), "{ended}");
    }
    assert_eq!(take(&mut beside, 10).await.len(), 10, "it goes on");
    let names: Vec<_> = site.log.programs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["program.beside", "program.b"]);
}

#[tokio::test]
async fn a_consumer_is_rewound_and_removed_when_nobody_is_attached() {
    let site = Site::new().await;
    emit(&site.client, 0..10).await;
    let mut consumption = site.client.consume(attach("one")).await.expect("attached");
    take(&mut consumption, 10).await;
    consumption.commit("routine", 10).await.expect("said");
    let to = place(start::Place::Oldest);
    let rewind = RewindConsumerRequest { consumer: "one".to_owned(), to, dry_run: true };
    let attached = site.client.rewind_consumer(rewind.clone()).await.expect_err("attached");
    assert!(
        matches!(&attached, ClientError::Refused(why) if why.contains("another program is attached")),
        "{attached}"
    );
    consumption.finish().await.expect("heard");
    // The end of the call is known a moment later.
    let detached = || async {
        while site.client.rewind_consumer(rewind.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, detached()).await.expect("in time");
    assert_eq!(site.client.rewind_consumer(rewind.clone()).await.expect("told"), 10);
    let rewind = RewindConsumerRequest { dry_run: false, ..rewind };
    assert_eq!(site.client.rewind_consumer(rewind).await.expect("rewound"), 10);
    let mut again = site.client.consume(attach("one")).await.expect("attached");
    assert_eq!(sequences(&take(&mut again, 10).await), (1..=10).collect::<Vec<_>>());
    again.commit("routine", 4).await.expect("said");
    again.finish().await.expect("heard");
    let remove = RemoveConsumerRequest { consumer: "one".to_owned(), dry_run: false };
    let removed = tokio::time::timeout(PATIENCE, async {
        loop {
            match site.client.remove_consumer(remove.clone()).await {
                Ok(events) => return events,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    assert_eq!(removed.await.expect("in time"), 6);
    assert!(site.log.programs().is_empty());
    let absent = site.client.remove_consumer(remove).await.expect_err("gone").to_string();
    assert!(absent.contains("there is no consumer `one` of a program"), "{absent}");
}

#[tokio::test]
async fn a_user_who_may_read_only_some_events_gets_no_others_by_whatever_way() {
    let own = nix::unistd::geteuid().as_raw();
    let filter = Filter::parse(&["storage.pool.degraded"]).expect("a filter");
    let site = Site::of_scopes(Scopes::new(vec![(own, filter)], Vec::new())).await;
    emit(&site.client, 0..10).await;
    site.client.emit(&[degraded(1)], Durability::Committed).await.expect("taken");
    let mut consumption = site.client.consume(attach("some")).await.expect("attached");
    let first = next(&mut consumption).await;
    assert!(matches!(&first, Consumed::Run(run) if run.len() == 1 && run[0].lane == "urgent"), "{first:?}");
    assert_eq!(next(&mut consumption).await, Consumed::CaughtUp);
    let mut queried = site.client.query(QueryRequest::default()).await.expect("an answer");
    let page = queried.next().await.expect("a page").expect("one");
    assert_eq!(page.events.len(), 1);
    let frames = Attach { encoding: Encoding::Frames.into(), ..attach("frames") };
    assert!(refusal(&site.client, frames).await.contains("who may not read everything"));
    let listed = site.client.dead_letters(ListDeadLettersRequest::default()).await.expect_err("refused");
    let retry = RetryDeadLettersRequest { all: true, ..RetryDeadLettersRequest::default() };
    let retried = site.client.retry_dead_letters(retry).await.expect_err("refused");
    for refused in [listed, retried] {
        assert!(refused.to_string().contains("dead letters may be of any"), "{refused}");
    }
}

#[tokio::test]
async fn what_a_user_is_given_ends_when_it_may_read_something_else() {
    let site = Site::new().await;
    let own = nix::unistd::geteuid().as_raw();
    let filter = Filter::parse(&["storage.pool.degraded"]).expect("a filter");
    let mut consumption = site.client.consume(attach("some")).await.expect("attached");
    site.scopes.send_replace(Scopes::new(vec![(own + 1, filter.clone())], Vec::new()));
    emit(&site.client, 0..1).await;
    assert_eq!(take(&mut consumption, 1).await.len(), 1, "that was about another");
    site.scopes.send_replace(Scopes::new(vec![(own, filter)], Vec::new()));
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match consumption.next().await {
                Ok(next) => assert!(next.is_some(), "it ends and says nothing"),
                Err(error) => return error,
            }
        }
    });
    let ended = ended.await.expect("in time").to_string();
    assert!(ended.contains("may read is another now"), "{ended}");
}

#[tokio::test]
async fn a_program_gets_what_is_subscribed_for_its_consumer_and_of_that_what_it_asks_for() {
    let filter = Filter::parse(&["storage.pool.degraded"]).expect("a filter");
    let site = Site::of_scopes(Scopes::new(Vec::new(), vec![("some".to_owned(), filter)])).await;
    emit(&site.client, 0..10).await;
    site.client.emit(&[degraded(1)], Durability::Committed).await.expect("taken");
    for name in ["some", "program.some"] {
        let mut consumption = site.client.consume(Attach { steal: true, ..attach(name) }).await.expect("attached");
        let first = next(&mut consumption).await;
        assert!(matches!(&first, Consumed::Run(run) if run.len() == 1 && run[0].lane == "urgent"), "{first:?}");
        assert_eq!(next(&mut consumption).await, Consumed::CaughtUp);
    }
    let mut others = site.client.consume(attach("others")).await.expect("attached");
    next(&mut others).await;
    assert!(matches!(next(&mut others).await, Consumed::Run(run) if run.len() == 10), "nothing is subscribed for it");
    let frames = Attach { encoding: Encoding::Frames.into(), ..attach("some") };
    assert!(refusal(&site.client, frames).await.contains("a subscription"));
    let asked = Attach { filter: vec!["level>=critical".to_owned()], steal: true, ..attach("some") };
    let mut consumption = site.client.consume(asked).await.expect("attached");
    assert_eq!(next(&mut consumption).await, Consumed::CaughtUp, "the one event is an error");
}

/// More than a log of 28 MiB holds.
async fn overfill(site: &Site) -> u64 {
    let total = 4_000;
    let mut emission = site.client.emission(Durability::Committed).await.expect("a stream");
    for number in 0..total {
        let mut event = pool(u32::try_from(number).expect("few"));
        event.metadata.insert("noise".to_owned(), noise(number));
        emission.add(number, event.encode_to_vec().into()).await.expect("taken");
    }
    emission.settle().await.expect("all answered");
    assert!(site.log.bounds(Lane::Routine).0 > 1, "retention has removed something");
    total
}

#[tokio::test]
async fn what_had_to_make_room_is_told_as_a_gap_and_its_record_comes_whatever_the_filter() {
    let site = Site::with(Gate::open(), 28 << 20).await;
    drop(site.client.consume(attach("all")).await.expect("attached"));
    drop(site.client.consume(attach("some")).await.expect("attached"));
    let total = overfill(&site).await;
    let mut all = site.client.consume(attach("all")).await.expect("attached");
    let (mut routine, mut lost) = (0, 0);
    while routine + lost < total {
        match next(&mut all).await {
            Consumed::Run(run) if run[0].lane == "routine" => routine += run.len() as u64,
            Consumed::Run(_) | Consumed::CaughtUp => {}
            Consumed::Gap(gap) => {
                assert_eq!((gap.lane.as_str(), gap.cause.as_str()), ("routine", "retention"));
                // Of a part of what went at a time nobody knows the levels.
                let levels = gap.count_by_level.values().sum::<u64>();
                assert!(levels == gap.count || gap.count_by_level.is_empty(), "{gap:?}");
                lost += gap.count;
            }
        }
    }
    assert!(routine > 0 && lost > 0 && routine + lost == total, "{routine} and {lost} of {total}");

    let filter = vec!["storage.pool.degraded".to_owned()];
    let mut some = site.client.consume(Attach { filter, ..attach("some") }).await.expect("attached");
    let (mut records, mut gaps) = (0, 0);
    loop {
        match next(&mut some).await {
            Consumed::CaughtUp => break,
            Consumed::Gap(gap) => gaps += gap.count,
            Consumed::Run(run) => {
                let consumers = run.iter().map(|event| {
                    let view = EventView::decode(&event.encoded).expect("an event");
                    loss_record_consumer(&view).expect("a record")
                });
                records += consumers.filter(|consumer| consumer == "program.some").count();
            }
        }
    }
    // More may have gone meanwhile.
    assert!(records > 0 && gaps >= lost, "{records} records of {gaps} events, and {lost}");
}

#[tokio::test]
async fn who_was_released_gets_first_what_is_gone_and_then_what_is_left() {
    let site = Site::with(Gate::open(), 28 << 20).await;
    drop(site.client.consume(attach("away")).await.expect("attached"));
    let absence = Absence { warn_after: Duration::from_millis(1), release_after: Some(Duration::from_millis(1)) };
    tokio::time::timeout(PATIENCE, async {
        while site.programs.look(absence) != [("program.away".to_owned(), Attendance::Released)] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("in time");
    let total = overfill(&site).await;
    let removed = site.log.bounds(Lane::Routine).0 - 1;
    let losses = &site.log.status().lanes[1].losses;
    assert_eq!(losses.iter().map(|loss| loss.events).sum::<u64>(), 0, "nothing was kept for it: {losses:?}");
    let mut back = site.client.consume(attach("away")).await.expect("attached");
    let first = next(&mut back).await;
    let Consumed::Gap(gap) = &first else { panic!("{first:?}") };
    let told = (gap.lane.as_str(), gap.first_sequence, gap.last_sequence, gap.count, gap.cause.as_str());
    assert_eq!(told, ("routine", 1, removed, removed, "released"));
    let (mut left, mut records) = (0, 0);
    // The log may still have been making room; a record may say of more than was found.
    let mut gone = BTreeMap::new();
    while left + gone.values().sum::<u64>() + removed < total || records == 0 {
        match next(&mut back).await {
            Consumed::Run(run) if run[0].lane == "routine" => left += run.len() as u64,
            Consumed::Run(run) => records += run.len(),
            Consumed::CaughtUp => {}
            Consumed::Gap(gap) => {
                assert!(gap.first_sequence > removed, "told twice: {gap:?}");
                assert_ne!(gone.insert(gap.first_sequence, gap.count), Some(gap.count), "told twice: {gap:?}");
            }
        }
    }
    assert_eq!(left + gone.values().sum::<u64>() + removed, total);
}

#[tokio::test]
async fn who_stays_away_is_told_of_then_released_and_comes_back_to_what_is_left() {
    let site = Site::new().await;
    emit(&site.client, 0..10).await;
    drop(site.client.consume(attach("away")).await.expect("attached"));
    let name = || "program.away".to_owned();
    let absence = |warn, release| Absence {
        warn_after: Duration::from_millis(warn),
        release_after: Some(Duration::from_millis(release)),
    };
    let look = |absence: Absence| site.programs.look(absence);
    assert_eq!(look(absence(60_000, 60_000)), []);
    tokio::time::timeout(PATIENCE, async {
        while look(absence(1, 60_000)) != [(name(), Attendance::Missing)] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("in time");
    assert_eq!(look(absence(1, 60_000)), [], "told once");
    assert_eq!(look(absence(1, 1)), [(name(), Attendance::Released)]);
    assert!(site.log.program("program.away").expect("it is there").is_released);
    let mut back = site.client.consume(attach("away")).await.expect("attached");
    assert_eq!(take(&mut back, 10).await.len(), 10, "nothing of it was removed");
    assert_eq!(look(absence(1, 1)), [(name(), Attendance::Back)]);
    // What an earlier run has told ends, too; of one that is not there any more as well.
    for of_before in ["away", "gone"] {
        site.programs.recall(of_before, Attendance::Missing);
    }
    let mut told = look(absence(60_000, 60_000));
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(told, [(name(), Attendance::Back), ("program.gone".to_owned(), Attendance::Back)]);
    assert_eq!(look(absence(60_000, 60_000)), []);
}

#[tokio::test]
async fn who_is_started_anew_before_its_end_is_known_waits_for_its_seat() {
    let site = Site::new().await;
    let first = site.client.consume(attach("trial")).await.expect("attached");
    let second = site.client.consume(attach("trial"));
    let dropped = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(first);
    };
    let (second, ()) = tokio::join!(second, dropped);
    assert!(second.is_ok(), "{:?}", second.err());
}
