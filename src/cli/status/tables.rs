//! What a status has in rows: lanes, cursors, collectors. Each table fits 80 columns.

use std::time::{Duration, SystemTime};

use crate::{
    client::StatusResponse,
    schema::local::{ConsumerStatus, LaneStatus, LogStatus, consumer_status::State},
    terminal::{Cell, Column, TextTable, Tone, grouped, human_bytes, human_duration, moment::ago},
};

/// The cursor of the way to the controller.
const UPLINK: &str = "uplink";

/// Those of the log that have rows.
pub(super) fn of_log(status: &StatusResponse, now: SystemTime) -> Vec<TextTable> {
    let log = status.log.clone().unwrap_or_default();
    let mut tables = Vec::new();
    if !log.lanes.is_empty() {
        tables.push(lanes(&log, now));
    }
    let sinks: Vec<_> = status.consumers.iter().filter(|consumer| consumer.name != UPLINK).collect();
    if !sinks.is_empty() {
        tables.push(of_sinks(&sinks, &log, now));
    }
    // The uplink's stand beside their lanes.
    let is_shown = |name: &str| name == UPLINK || sinks.iter().any(|sink| sink.name == name);
    if log.cursors.iter().any(|cursor| !is_shown(&cursor.name)) {
        tables.push(cursors(&log));
    }
    tables
}

fn lanes(log: &LogStatus, now: SystemTime) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("LANE"),
        Column::right("STORED"),
        Column::right("ON DISK"),
        Column::right("OLDEST"),
        Column::right("IN MEMORY"),
        Column::right("TO GO"),
        Column::right("LOST"),
    ]);
    for lane in &log.lanes {
        let tone = if lane.lost_events > 0 { Tone::Bad } else { Tone::Plain };
        table.row([
            Cell::from(lane.lane.as_str()),
            Cell::from(grouped(lane.stored_events)),
            Cell::from(human_bytes(lane.disk_bytes)),
            Cell::from(ago(lane.oldest_time, now).map_or_else(|| "-".to_owned(), human_duration)),
            Cell::from(in_memory(lane)),
            Cell::from(to_go(log, lane)),
            Cell::toned(grouped(lane.lost_events), tone),
        ]);
    }
    table
}

/// What the controller has yet to get; nothing where there is none.
fn to_go(log: &LogStatus, lane: &LaneStatus) -> String {
    let cursor = log.cursors.iter().find(|cursor| cursor.name == UPLINK && cursor.lane == lane.lane);
    cursor.map_or_else(|| "-".to_owned(), |cursor| grouped(cursor.lag_events))
}

fn of_sinks(sinks: &[&ConsumerStatus], log: &LogStatus, now: SystemTime) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("CONSUMER").elastic(8),
        Column::left("STATE"),
        Column::right("FOR"),
        Column::right("DELIVERED"),
        Column::right("TO GO"),
        Column::left("WHY").elastic(10),
    ]);
    for sink in sinks {
        table.row([
            Cell::from(sink.name.as_str()),
            Cell::toned(sink.state().word(), consumer_tone(sink.state())),
            Cell::from(ago(sink.state_since, now).map_or_else(|| "-".to_owned(), human_duration)),
            Cell::from(grouped(sink.delivered_events)),
            Cell::from(grouped(lag(log, &sink.name))),
            Cell::from(sink.last_error.as_str()),
        ]);
    }
    table
}

/// Events that a consumer has yet to get, of both lanes.
pub(in crate::cli) fn lag(log: &LogStatus, consumer: &str) -> u64 {
    let cursors = log.cursors.iter().filter(|cursor| cursor.name == consumer);
    cursors.map(|cursor| cursor.lag_events).fold(0, u64::saturating_add)
}

/// How a consumer in this state is shown.
pub(in crate::cli) fn consumer_tone(state: State) -> Tone {
    match state {
        State::Off => Tone::Dim,
        State::Connecting => Tone::Plain,
        State::Connected => Tone::Good,
        State::Waiting | State::Unattached | State::Paused => Tone::Warn,
        State::Held => Tone::Bad,
    }
}

/// How many wait, and how far the disk is behind.
fn in_memory(lane: &LaneStatus) -> String {
    match lane.waiting_events {
        0 => "0".to_owned(),
        events => {
            let behind = human_duration(Duration::from_millis(lane.waiting_milliseconds));
            format!("{}, {behind}", grouped(events))
        }
    }
}

fn cursors(log: &LogStatus) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("CURSOR").elastic(10),
        Column::left("LANE"),
        Column::right("NEXT"),
        Column::right("TO GO"),
    ]);
    for cursor in &log.cursors {
        table.row([
            Cell::from(cursor.name.as_str()),
            Cell::from(cursor.lane.as_str()),
            Cell::from(grouped(cursor.next_sequence)),
            Cell::from(grouped(cursor.lag_events)),
        ]);
    }
    table
}

/// How a collector in this state is shown.
pub(in crate::cli) fn collector_tone(state: &str) -> Tone {
    match state {
        "running" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Dim,
    }
}

/// What each collector does.
pub(super) fn collectors(status: &StatusResponse) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("COLLECTOR"),
        Column::left("STATE"),
        Column::right("EVENTS"),
        Column::left("DETAIL").elastic(10),
    ]);
    for collector in &status.collectors {
        let tone = collector_tone(&collector.state);
        table.row([
            Cell::from(collector.name.as_str()),
            Cell::toned(collector.state.as_str(), tone),
            Cell::from(grouped(collector.emitted_events)),
            Cell::from(collector.detail.as_str()),
        ]);
    }
    table
}

/// The same in a sentence, without numbers: for a screen that has no room for a line each.
pub(super) fn collectors_in_words(status: &StatusResponse) -> String {
    let (quiet, told): (Vec<_>, Vec<_>) =
        status.collectors.iter().partition(|collector| collector.state == "running" && collector.detail.is_empty());
    let names = quiet.iter().map(|collector| collector.name.as_str()).collect::<Vec<_>>().join(", ");
    let runs = if quiet.len() == 1 { "runs" } else { "run" };
    let quiet = (!quiet.is_empty()).then(|| format!("{names} {runs}"));
    let told = told.into_iter().map(|collector| {
        let does = match collector.state.as_str() {
            "running" => "runs".to_owned(),
            "failed" => "has failed".to_owned(),
            state => format!("is {state}"),
        };
        let detail = if collector.detail.is_empty() { String::new() } else { format!(": {}", collector.detail) };
        format!("{} {does}{detail}", collector.name)
    });
    quiet.into_iter().chain(told).collect::<Vec<_>>().join("; ")
}
