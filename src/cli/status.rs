//! `rodent status`: whether all is well, what is stored, what would be lost now, when the controller was last reached,
//! how each lane and cursor stands, and what each collector does. One screen.

mod report;
mod tables;

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use serde_json::Value;

pub(super) use self::{
    report::Report,
    tables::{collector_tone, consumer_tone, lag},
};
use super::{Failure, state::plain};
use crate::{
    client::{Client, StatusResponse},
    schema::{document, local::STATUS},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, quiet_end, wrapped},
};

/// Columns of the longest label and the gap behind it.
const LABEL_WIDTH: usize = 12;

/// What a shell shows below.
const PROMPT_LINES: usize = 1;

const EXAMPLES: &str = "\
Examples:
  rodent status                                  one screen
  rodent status -o json | jq -r .verdict         ok, warning or error

Exit codes: 0 the agent answers, 69 it does not, 77 no permission.";

/// Show how the agent is doing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How to print: table, json (one document) or jsonl (one line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let status = Client::connect(socket).await?.status().await?;
    let mut screen = Screen::stdout();
    let printed = match arguments.output {
        Output::Table => print(&status, SystemTime::now(), &mut screen),
        Output::Json => screen.json_document(&json(&status)),
        Output::Jsonl => screen.json(&json(&status)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

fn json(status: &StatusResponse) -> Value {
    plain(document(STATUS, status))
}

fn print(status: &StatusResponse, now: SystemTime, screen: &mut Screen) -> io::Result<()> {
    let report = Report::of(status, now);
    let mut facts = TextTable::new(&[Column::left(""), Column::left("")]).without_header();
    let room = screen.width().map_or(usize::MAX, |width| width.saturating_sub(LABEL_WIDTH));
    let add = |facts: &mut TextTable, label: &'static str, text: &str, tone: Tone| {
        for (number, line) in wrapped(text, room).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            facts.row([Cell::toned(label, Tone::Dim), Cell::toned(line, tone)]);
        }
    };
    for fact in [&report.headline].into_iter().chain(&report.facts) {
        add(&mut facts, fact.label, &fact.text, fact.tone);
    }
    let mut tables = tables::of_log(status, now);
    tables.push(tables::collectors(status));
    tables.retain(|table| table.lines() > 0);
    let lines = facts.lines() + tables.iter().map(|table| table.lines() + 1).sum::<usize>();
    // What is wrong stands first, and must not be the part that has scrolled away.
    if !status.collectors.is_empty() && screen.height().is_some_and(|height| lines + PROMPT_LINES > height) {
        tables.pop();
        add(&mut facts, "collectors", &tables::collectors_in_words(status), Tone::Plain);
    }
    facts.print(screen)?;
    for table in &mut tables {
        screen.line("")?;
        table.print(screen)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::{
        schema::local::{
            CollectorStatus, ConditionStatus, CursorStatus, LaneStatus, LogStatus, PipelineStatus, UplinkStatus,
        },
        terminal::page,
    };

    fn printed(status: &StatusResponse) -> String {
        let now = UNIX_EPOCH + Duration::from_millis(NOW_MS as u64);
        page::printed(Some(80), |screen| print(status, now, screen))
    }

    const NOW_MS: i64 = 1_762_767_000_000;

    fn lane(lane: &str, stored_events: u64) -> LaneStatus {
        LaneStatus {
            lane: lane.to_owned(),
            stored_events,
            stored_bytes: stored_events * 97,
            disk_bytes: stored_events * 99,
            oldest_time: NOW_MS - 86_400_000 * 30,
            ..Default::default()
        }
    }

    /// A month offline.
    fn month() -> StatusResponse {
        let mut routine = lane("routine", 12_960_000);
        (routine.waiting_events, routine.waiting_bytes, routine.waiting_milliseconds) = (17_999, 3_600_000, 950);
        routine.lost_events = 1_300_000;
        let cursor = |lane: &str, next_sequence, lag_events| CursorStatus {
            name: "uplink".to_owned(),
            lane: lane.to_owned(),
            next_sequence,
            lag_events,
            oldest_time: 0,
        };
        let collector = |name: &str| CollectorStatus {
            name: name.to_owned(),
            state: "running".to_owned(),
            emitted_events: 3_241_000,
            ..Default::default()
        };
        let condition = |level: &str, text: &str| ConditionStatus {
            level: level.to_owned(),
            text: text.to_owned(),
            ..Default::default()
        };
        let conditions = vec![
            condition("error", "events are not durable: write /var/lib/rodent/log/routine: no space left on device"),
            condition(
                "warning",
                "the controller is out of reach: connect to toggle.example.com:443: connection refused",
            ),
            condition("warning", "the log is 100% full: the oldest events will be removed"),
            condition("warning", "1,300,000 events were removed before everyone had them"),
        ];
        StatusResponse {
            version: "0.1.0".to_owned(),
            node_id: "2c7d8d3c-94f5-4a77-9d7f-0d1b2f5ef2c1".to_owned(),
            started_at: NOW_MS - 86_400_000 * 31,
            profile: "high-throughput".to_owned(),
            clock_state: "unsynchronised".to_owned(),
            log: Some(LogStatus {
                lanes: vec![lane("urgent", 1_204), routine],
                cursors: vec![cursor("urgent", 1, 1_204), cursor("routine", 1_300_001, 12_960_000)],
                disk_bytes: 1 << 30,
                disk_bytes_max: 1 << 30,
                ..Default::default()
            }),
            conditions,
            uplink: Some(UplinkStatus {
                state: "waiting".to_owned(),
                controller: "toggle.example.com:443".to_owned(),
                last_error: "connect to toggle.example.com:443: connection refused".to_owned(),
                next_attempt_milliseconds: 97_000,
                ..Default::default()
            }),
            collectors: ["network", "service", "storage", "system"].map(collector).into(),
            pipeline: Some(PipelineStatus { accepted_events: 14_261_204, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn everything_fits_one_screen_of_eighty_columns_and_begins_with_what_is_wrong() {
        let printed = printed(&month());
        assert!(printed.lines().all(|line| line.width() <= 80), "{printed}");
        let lines: Vec<&str> = printed.lines().collect();
        assert!(lines.len() <= 23, "a prompt is below: {printed}");
        assert!(printed.contains("\ncollectors  network, service, storage, system run\n"), "{printed}");
        assert!(lines[1].contains("events are not durable: write /var/lib/rodent"), "{printed}");
        let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).copied().unwrap_or_default();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(row("LANE")), "LANE STORED ON DISK OLDEST IN MEMORY TO GO LOST");
        assert_eq!(words(row("urgent")), "urgent 1,204 116.4 KiB 30d 0 1,204 0");
        assert_eq!(words(row("routine")), "routine 12,960,000 1.2 GiB 30d 17,999, 950ms 12,960,000 1,300,000");
        assert_eq!(words(row("at risk")), "at risk 17,999 events (3.4 MiB, for 950ms) if the power failed now");
    }

    #[test]
    fn collectors_have_a_line_each_where_there_is_room_and_a_sentence_where_there_is_not() {
        let mut status = month();
        let now = UNIX_EPOCH + Duration::from_millis(NOW_MS as u64);
        let wide = page::printed(None, |screen| print(&status, now, screen));
        assert!(wide.contains("\nCOLLECTOR ") && !wide.contains("\ncollectors "), "{wide}");
        let collectors = &mut status.collectors;
        (collectors[0].state, collectors[0].detail) = ("failed".to_owned(), "no socket".to_owned());
        collectors[1].state = "off".to_owned();
        collectors[2].detail = "no pools".to_owned();
        let said = "system runs; network has failed: no socket; service is off; storage runs: no pools";
        assert_eq!(tables::collectors_in_words(&status), said);
    }

    #[test]
    fn json_has_every_field_under_its_name_and_numbers_as_numbers() {
        let status = StatusResponse {
            started_at: 1_762_767_000_000,
            uplink: Some(UplinkStatus { state: "off".to_owned(), ..Default::default() }),
            log: Some(LogStatus::default()),
            ..Default::default()
        };
        let json = json(&status);
        assert_eq!(json["started_at"], 1_762_767_000_000_i64);
        assert_eq!(json["uplink"]["state"], "off");
        assert_eq!(json["log"]["disk_bytes"], 0);
    }
}
