//! `rodent status`: whether all is well, what is stored, what would be lost now, when the controller was last reached,
//! and what each collector does. One screen.

mod report;

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use prost::Message as _;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use self::report::Report;
use super::Failure;
use crate::{
    client::{Client, StatusResponse},
    schema::DESCRIPTORS,
    terminal::{Cell, Column, Output, Screen, Table, Tone, grouped, quiet_end},
};

/// Columns of the longest label and the gap behind it.
const LABEL_WIDTH: usize = 12;

const EXAMPLES: &str = "\
Examples:
  rodent status                                  one screen
  rodent status -o json | jq .uplink.state       one fact, for a script

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
        Output::Table => print(&status, &mut screen),
        Output::Json => screen.json_document(&json(&status)),
        Output::Jsonl => screen.json(&json(&status)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

/// The names of `local.proto`, everything that it has, numbers as numbers.
fn json(status: &StatusResponse) -> Value {
    let descriptor = DESCRIPTORS.get_message_by_name("rodent.local.StatusResponse").expect("the schema is compiled in");
    let message =
        DynamicMessage::decode(descriptor, status.encode_to_vec().as_slice()).expect("encoded by the same schema");
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false).skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("plain messages have a JSON form")
}

fn print(status: &StatusResponse, screen: &mut Screen) -> io::Result<()> {
    let report = Report::of(status, SystemTime::now());
    let mut facts = Table::new(&[Column::left(""), Column::left("")]).without_header();
    let room = screen.width().map_or(usize::MAX, |width| width.saturating_sub(LABEL_WIDTH));
    for fact in [&report.headline].into_iter().chain(&report.facts) {
        for (number, line) in wrapped(&fact.text, room).into_iter().enumerate() {
            let label = if number == 0 { fact.label } else { "" };
            facts.row([Cell::toned(label, Tone::Dim), Cell::toned(line, fact.tone)]);
        }
    }
    facts.print(screen)?;
    if !status.collectors.is_empty() {
        screen.line("")?;
    }
    collectors(status).print(screen)
}

/// The text in lines of at most `room` columns where its words allow it: what is wrong is never cut off.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn collectors(status: &StatusResponse) -> Table {
    let mut table = Table::new(&[
        Column::left("COLLECTOR"),
        Column::left("STATE"),
        Column::right("EVENTS"),
        Column::left("DETAIL").elastic(10),
    ]);
    for collector in &status.collectors {
        let tone = match collector.state.as_str() {
            "running" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Dim,
        };
        table.row([
            Cell::from(collector.name.as_str()),
            Cell::toned(collector.state.as_str(), tone),
            Cell::from(grouped(collector.emitted_events)),
            Cell::from(collector.detail.as_str()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::local::{LogStatus, UplinkStatus};

    #[test]
    fn long_facts_go_on_in_the_next_line() {
        assert_eq!(wrapped("the log is full", 10), ["the log is", "full"]);
        assert_eq!(wrapped("incomprehensible", 10), ["incomprehensible"]);
        assert_eq!(wrapped("the log is full", usize::MAX), ["the log is full"]);
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
