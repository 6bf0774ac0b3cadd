use std::time::Instant;

use super::*;
use crate::{
    event::{Catalogue, Level},
    schema::local::{
        CategoryStatus, CollectorStatus, ConditionStatus, ConsumerLaneStatus, CursorStatus, PipelineStatus,
        consumer_status::State,
    },
};

const NOW_MS: i64 = 1_762_767_000_000;

/// A busy agent, some seconds on.
fn status(seconds: u64) -> StatusResponse {
    let lane = |lane: &str, rate: u64, stored: u64| LaneStatus {
        lane: lane.to_owned(),
        next_sequence: 1 + rate * seconds,
        stored_events: stored,
        disk_bytes: stored * 90,
        waiting_events: 17,
        ..Default::default()
    };
    let cursor = |lane: &str, lag_events| CursorStatus {
        name: "uplink".to_owned(),
        lane: lane.to_owned(),
        lag_events,
        ..Default::default()
    };
    let category = |name: &str, rate: u64| CategoryStatus {
        category: name.to_owned(),
        accepted_events: rate * seconds,
        ..Default::default()
    };
    let collector = |name: &str, state: &str| CollectorStatus {
        name: name.to_owned(),
        state: state.to_owned(),
        emitted_events: 3 * seconds,
        ..Default::default()
    };
    let of_lane = |lane: &str, rate: u64| ConsumerLaneStatus {
        lane: lane.to_owned(),
        delivered_events: rate * seconds,
        ..Default::default()
    };
    StatusResponse {
        version: "0.1.0".to_owned(),
        node_id: "nas-1".to_owned(),
        started_at: NOW_MS - 12_000_000,
        log: Some(LogStatus {
            lanes: vec![lane("urgent", 1, 12), lane("routine", 1_234, 12_960_000)],
            cursors: vec![cursor("urgent", 0), cursor("routine", 1_200_000)],
            disk_bytes: 1 << 20,
            disk_bytes_max: 1 << 34,
            ..Default::default()
        }),
        uplink: Some(UplinkStatus {
            state: "connected".to_owned(),
            controller: "controller.example.com:8443".to_owned(),
            connected_since: NOW_MS - 3_600_000,
            last_success: NOW_MS,
            delivered_events: 1_200 * seconds,
            sent_bytes: 100_000 * seconds,
            in_flight_batches: 2,
            window: 8,
            lanes: vec![of_lane("urgent", 1), of_lane("routine", 1_199)],
            ..Default::default()
        }),
        collectors: vec![
            collector("network", "running"),
            collector("service", "failed"),
            collector("storage", "absent"),
            collector("system", "running"),
        ],
        conditions: vec![ConditionStatus {
            level: "warning".to_owned(),
            text: "the collector service has failed: no bus".to_owned(),
            ..Default::default()
        }],
        pipeline: Some(PipelineStatus {
            accepted_events: 1_235 * seconds,
            categories: (Catalogue::compiled().categories().iter().map(String::as_str))
                .chain(["other"])
                .zip([0, 900, 300, 0, 34, 1, 0, 0, 0, 0, 0])
                .map(|(name, rate)| category(name, rate))
                .collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn rows(count: usize) -> VecDeque<Row> {
    let row = |number: usize| Row {
        time: NOW_MS,
        level: if number.is_multiple_of(2) { Level::Info } else { Level::Essential },
        text: format!("Pool tank{number} is scrubbed: {}", "everything was read ".repeat(20)),
    };
    (0..count).map(row).collect()
}

fn drawn(size: (usize, usize), change: impl FnOnce(&mut StatusResponse, &mut View)) -> Vec<String> {
    let (mut meter, begun) = (Meter::default(), Instant::now());
    for second in 1..=90 {
        meter.read(begun + Duration::from_secs(second), &status(second));
    }
    let (mut status, events) = (status(90), rows(100));
    let mut view = View {
        status: &status.clone(),
        meter: &meter,
        events: &events,
        skipped: 0,
        note: None,
        is_paused: false,
        sort: Sort::Rate,
        interval: Duration::from_secs(1),
        now: UNIX_EPOCH + Duration::from_millis(NOW_MS as u64),
    };
    change(&mut status, &mut view);
    let view = View { status: &status, ..view };
    draw(&view, size).iter().map(Line::text).collect()
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_screen_of_80x24_has_every_part_and_nothing_beyond_its_edges() {
    let lines = drawn((80, 24), |_, _| {});
    let text = lines.join("\n");
    assert_eq!(lines.len(), 24, "{text}");
    assert!(lines.iter().all(|line| line.width() <= 80), "{text}");
    let time = TimeZone::Local.time_of_day(NOW_MS);
    assert_eq!(lines[0], format!("rodent 0.1.0  nas-1  up 3h 20m  {time}"));
    assert_eq!(lines[1], "1 thing needs attention");
    assert!(lines[2].starts_with("! the collector service has failed"), "{text}");
    let row = |name: &str| words(lines.iter().find(|line| line.starts_with(name)).expect(name));
    assert!(row("in ").starts_with("in 1,235/s "), "{text}");
    assert!(row("out ").starts_with("out 1,200/s ") && row("out ").contains("97.7 KiB/s, 2 of 8 batches"), "{text}");
    assert!(row("to ").starts_with("to connected controller.example.com:8443 for 1h"), "{text}");
    assert_eq!(row("LANE"), "LANE IN/s OUT/s TO GO STORED ON DISK IN MEMORY LOST");
    assert_eq!(row("routine"), "routine 1,234 1,199 1,200,000 12,960,000 1.1 GiB 17 0");
    assert_eq!(row("storage"), "storage 900 81,000 network running 3.0 270");
    assert!(lines.iter().any(|line| line.starts_with("and ") && line.contains(" more")), "{text}");
    let events = lines.iter().filter(|line| line.contains("is scrubbed")).count();
    assert!(events >= 3, "{text}");
    assert!(
        text.contains("tank99") && lines.last().expect("keys").starts_with("q quit  p pause  s sort: rate"),
        "{text}"
    );
}

#[test]
fn where_there_is_not_room_for_all_collectors_those_that_are_not_well_stand_first_and_the_others_are_counted() {
    let lines = drawn((80, 24), |status, _| {
        let of = |number| CollectorStatus { name: format!("c{number}"), state: "running".into(), ..Default::default() };
        status.collectors.splice(0..0, (0..8).map(of));
    });
    let text = lines.join("\n");
    let head = lines.iter().position(|line| line.starts_with("CATEGORY")).expect("a table");
    assert!(lines[head + 1].contains("service   failed"), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("and ") && line.matches(" more").count() == 2), "{text}");
}

#[test]
fn a_screen_of_200x50_shows_all_categories_and_more_events_and_keeps_numbers_by_their_names() {
    let lines = drawn((200, 50), |_, _| {});
    let text = lines.join("\n");
    assert_eq!(lines.len(), 50, "{text}");
    assert!(lines.iter().all(|line| line.width() <= 200), "{text}");
    assert!(text.contains("data_transfer") && text.contains("\nother"), "{text}");
    let tables = lines.iter().filter(|line| !line.contains("is scrubbed"));
    assert!(tables.into_iter().all(|line| line.width() <= 140), "{text}");
    assert!(lines.iter().filter(|line| line.contains("is scrubbed")).count() >= 15, "{text}");
}

/// The uplink and so many sinks, of which the last one refuses.
fn consumers(sinks: usize) -> Vec<ConsumerStatus> {
    let of = |name: String, state: State, last_error: &str| ConsumerStatus {
        name,
        target: "there".to_owned(),
        state: state.into(),
        last_success: if state == State::Held { 0 } else { NOW_MS - 4_000 },
        failed_attempts: if state == State::Held { 1_204 } else { 0 },
        last_error: last_error.to_owned(),
        ..Default::default()
    };
    let sink = |number| match number + 1 == sinks {
        true => of(format!("sink-{number}"), State::Held, "http://ntfy.lan answered 401 Unauthorized"),
        false => of(format!("sink-{number}"), State::Connected, ""),
    };
    std::iter::once(of("uplink".to_owned(), State::Connected, "")).chain((0..sinks).map(sink)).collect()
}

#[test]
fn each_consumer_has_a_line_and_where_there_is_no_room_those_in_trouble_have_theirs() {
    let lines = drawn((80, 40), |status, _| status.consumers = consumers(2));
    let row = |lines: &[String], name: &str| words(lines.iter().find(|line| line.starts_with(name)).expect(name));
    assert_eq!(row(&lines, "CONSUMER"), "CONSUMER STATE TO GO LAST FAILED");
    assert_eq!(row(&lines, "uplink"), "uplink connected 1,200,000 4s 0");
    assert_eq!(row(&lines, "sink-0"), "sink-0 connected 0 4s 0");
    assert!(row(&lines, "sink-1").starts_with("sink-1 held 0 never 1,204 http://ntfy.lan"), "{lines:#?}");
    let lines = drawn((80, 24), |status, _| status.consumers = consumers(32));
    assert!(row(&lines, "CONSUMER").ends_with("more"), "{lines:#?}");
    assert!(row(&lines, "sink-31").starts_with("sink-31 held"), "{lines:#?}");
    let events = lines.iter().filter(|line| line.contains("is scrubbed")).count();
    assert!(events >= 2, "{lines:#?}");
    let off = |status: &mut StatusResponse| status.consumers = vec![ConsumerStatus::default()];
    assert!(drawn((80, 40), |status, _| off(status)).iter().all(|line| !line.starts_with("CONSUMER")));
}

#[test]
fn every_size_is_drawn_within_its_edges_and_a_tiny_one_says_so() {
    for width in [1, 2, 20, 39, 40, 41, 52, 64, 74, 79, 80, 81, 110, 130, 300] {
        for height in [1, 2, 9, 10, 11, 12, 13, 15, 18, 20, 24, 30, 40, 60, 90] {
            let lines = drawn((width, height), |status, _| status.consumers = consumers(40));
            assert!(lines.len() <= height, "{width}x{height}");
            let is_tiny = width < SIZE_MIN.0 || height < SIZE_MIN.1;
            // A word may be wider than a tiny screen, which then cuts it.
            assert!(is_tiny || lines.iter().all(|line| line.width() <= width), "{width}x{height}: {lines:#?}");
            assert_eq!(is_tiny, !lines[0].starts_with("rodent"), "{width}x{height}");
        }
    }
    assert_eq!(drawn((39, 9), |_, _| {}).join(" "), "39x9 is too small, 40x10 at least; q quits");
}

#[test]
fn what_happened_to_the_connection_stands_where_one_looks_first() {
    let lines = drawn((80, 24), |_, view| view.note = Some((Tone::Bad, "no agent answers; trying again".to_owned())));
    assert_eq!(lines[1], "no agent answers; trying again");
}

#[test]
fn categories_stand_in_the_order_that_was_asked_for() {
    let first = |sort| {
        let lines = drawn((80, 50), |_, view| view.sort = sort);
        let head = lines.iter().position(|line| line.starts_with("CATEGORY")).expect("a table");
        lines[head + 1].split_whitespace().next().expect("a name").to_owned()
    };
    assert_eq!(
        (first(Sort::Rate), first(Sort::Total), first(Sort::Name)),
        ("storage".into(), "storage".into(), "access".into())
    );
}

#[test]
fn events_that_were_left_out_are_counted() {
    let lines = drawn((80, 24), |_, view| (view.skipped, view.is_paused) = (12_345, true));
    let text = lines.join("\n");
    assert!(text.contains("LAST EVENTS (12,345 more were too many to show)"), "{text}");
    assert!(lines.last().expect("keys").ends_with("paused"), "{text}");
}

#[test]
fn a_curve_is_as_high_as_its_highest_and_a_rate_is_told_in_few_digits() {
    assert_eq!(curve(&VecDeque::from([0.0, 1.0, 4.0, 8.0]), 6), "   ▂▅█");
    assert_eq!(curve(&VecDeque::from([5.0, 1.0, 8.0]), 2), "▂█");
    assert_eq!(curve(&VecDeque::new(), 3), "   ");
    let cases = [
        (None, "-"),
        (Some(0.0), "0"),
        (Some(0.01), "0.1"),
        (Some(3.25), "3.2"),
        (Some(9.97), "10"),
        (Some(1234.5), "1,235"),
    ];
    for (rate, expected) in cases {
        assert_eq!(rate_words(rate), expected);
    }
}
