//! A line an interval, for pipes and files: the same rates as the picture has.

use std::{
    io,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    ANSWER_TIME_MAX, Failure,
    draw::rate_words,
    rates::{Meter, Rate},
};
use crate::{
    agent,
    client::{Client, StatusResponse},
    terminal::{Cell, Column, Output, Screen, TextTable, TimeZone, grouped, human_bytes},
};

/// Looks once an interval, so many times or until it is ended.
pub(super) async fn run(
    client: &Client,
    every: Duration,
    rounds: Option<u32>,
    output: Output,
) -> Result<ExitCode, Failure> {
    let (mut screen, mut meter, mut table) = (Screen::stdout(), Meter::default(), table());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = agent::stop_signal();
    tokio::pin!(stopped);
    let mut printed: u32 = 0;
    let mut has_rates = false;
    while rounds.is_none_or(|rounds| printed < rounds) {
        tokio::select! {
            _ = ticks.tick() => {}
            ended = &mut stopped => { ended?; break }
        }
        let Ok(status) = timeout(ANSWER_TIME_MAX, client.status()).await else {
            return Err(Failure::unavailable("the agent does not answer"));
        };
        let status = status?;
        meter.read(Instant::now(), &status);
        // The first reading tells no rate.
        if !std::mem::replace(&mut has_rates, true) {
            continue;
        }
        let form = (output, rounds == Some(1));
        match print(&status, &meter, SystemTime::now(), form, &mut table, &mut screen).and_then(|()| screen.flush()) {
            // Nobody reads any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            other => other?,
        }
        printed = printed.saturating_add(1);
    }
    Ok(ExitCode::SUCCESS)
}

fn table() -> TextTable {
    TextTable::new(&[
        Column::left("TIME"),
        Column::right("IN/s").at_least(7),
        Column::right("OUT/s").at_least(7),
        Column::right("SENT/s").at_least(9),
        Column::right("TO GO").at_least(9),
        Column::right("IN MEMORY").at_least(9),
        Column::right("LOST").at_least(6),
        Column::left("CONTROLLER").at_least(10),
    ])
}

fn print(
    status: &StatusResponse,
    meter: &Meter,
    now: SystemTime,
    (output, is_whole): (Output, bool),
    table: &mut TextTable,
    screen: &mut Screen,
) -> io::Result<()> {
    let time = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
    match output {
        Output::Table => {
            table.row(row(status, meter, time));
            table.print(screen)
        }
        Output::Json if is_whole => screen.json_document(&value(status, meter, time)),
        Output::Json | Output::Jsonl => screen.json(&value(status, meter, time)),
    }
}

fn row(status: &StatusResponse, meter: &Meter, time: i64) -> [Cell; 8] {
    let rates = &meter.rates;
    let log = status.log.clone().unwrap_or_default();
    let sum =
        |part: fn(&crate::schema::local::LaneStatus) -> u64| log.lanes.iter().map(part).fold(0, u64::saturating_add);
    let bytes = |rate: f64| human_bytes(super::draw::whole(rate));
    [
        Cell::from(TimeZone::Local.time_of_day(time)),
        Cell::from(rate_words(rates.accepted)),
        Cell::from(rate_words(rates.delivered)),
        Cell::from(rates.sent_bytes.map_or_else(|| "-".to_owned(), bytes)),
        Cell::from(grouped(log.cursors.iter().map(|cursor| cursor.lag_events).fold(0, u64::saturating_add))),
        Cell::from(grouped(sum(|lane| lane.waiting_events))),
        Cell::from(grouped(sum(|lane| lane.lost_events))),
        Cell::from(status.uplink.as_ref().map(|uplink| uplink.state.clone()).unwrap_or_default()),
    ]
}

fn value(status: &StatusResponse, meter: &Meter, time: i64) -> Value {
    let rates = &meter.rates;
    let log = status.log.clone().unwrap_or_default();
    let by_name = |rates: &std::collections::BTreeMap<String, Rate>| -> Map<String, Value> {
        rates.iter().map(|(name, rate)| (name.clone(), json!(rate))).collect()
    };
    let lanes = log.lanes.iter().map(|lane| {
        let (stored, delivered) = rates.lanes.get(&lane.lane).copied().unwrap_or_default();
        let lag = log.cursors.iter().filter(|cursor| cursor.lane == lane.lane).map(|cursor| cursor.lag_events).max();
        json!({
            "lane": lane.lane, "in_per_second": stored, "out_per_second": delivered,
            "stored_events": lane.stored_events, "waiting_events": lane.waiting_events,
            "lag_events": lag, "lost_events": lane.lost_events,
        })
    });
    json!({
        "time": time,
        "in_per_second": rates.accepted,
        "out_per_second": rates.delivered,
        "sent_bytes_per_second": rates.sent_bytes,
        "verdict": status.verdict,
        "uplink": status.uplink.as_ref().map(|uplink| uplink.state.as_str()),
        "lanes": lanes.collect::<Vec<_>>(),
        "categories": by_name(&rates.categories),
        "collectors": by_name(&rates.collectors),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        schema::local::{LaneStatus, LogStatus, PipelineStatus},
        terminal::page::printed,
    };

    fn meter() -> (StatusResponse, Meter) {
        let of = |events| StatusResponse {
            pipeline: Some(PipelineStatus { accepted_events: events, ..Default::default() }),
            log: Some(LogStatus {
                lanes: vec![LaneStatus { lane: "urgent".to_owned(), next_sequence: events, ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let (mut meter, begun) = (Meter::default(), Instant::now());
        meter.read(begun, &of(10));
        meter.read(begun + Duration::from_secs(2), &of(40));
        (of(40), meter)
    }

    #[test]
    fn a_line_fits_eighty_columns_under_its_titles() {
        let (status, meter) = meter();
        let mut table = table();
        let text =
            printed(Some(80), |screen| print(&status, &meter, UNIX_EPOCH, (Output::Table, false), &mut table, screen));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..2], ["00:00:00", "15"], "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn json_has_numbers_and_null_for_what_is_not_known() {
        let (status, meter) = meter();
        let text =
            printed(None, |screen| print(&status, &meter, UNIX_EPOCH, (Output::Jsonl, false), &mut table(), screen));
        let value: Value = serde_json::from_str(&text).expect("a line of JSON");
        assert_eq!(value["in_per_second"], 15.0);
        assert_eq!(
            (&value["lanes"][0]["in_per_second"], &value["lanes"][0]["out_per_second"]),
            (&json!(15.0), &Value::Null)
        );
    }
}
