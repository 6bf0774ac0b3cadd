//! `rodent log check`: what is stored and what is wrong with it, as a table or as JSON.

use std::{io, ops::Range, process::ExitCode};

use serde_json::{Value, json};

use super::{span, spans};
use crate::{
    cli::{Failure, failure::Code},
    event_log::{GenerationReport, Report, StoppedLog},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, grouped, human_bytes, quiet_end},
};

pub(super) fn run(log: &StoppedLog, output: Output) -> Result<ExitCode, Failure> {
    let report = log.check()?;
    let mut screen = Screen::stdout();
    let printed = match output {
        Output::Table => print(&report, &mut screen),
        Output::Json => screen.json_document(&value(&report)),
        Output::Jsonl => screen.json(&value(&report)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { Code::Data.into() })
}

fn print(report: &Report, screen: &mut Screen) -> io::Result<()> {
    table(report).print(screen)?;
    for note in notes(report) {
        screen.line(&note)?;
    }
    screen.line(if report.is_sound() { "all is well" } else { "`rodent log repair` says what can be done" })
}

fn table(report: &Report) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("LANE"),
        Column::right("GENERATION"),
        Column::left("SEQUENCES").elastic(12),
        Column::right("EVENTS"),
        Column::right("SIZE"),
        Column::left("STATE").elastic(12),
    ]);
    for generation in &report.generations {
        let tone = if generation.is_damaged() { Tone::Bad } else { Tone::Good };
        table.row([
            Cell::from(generation.lane.name()),
            Cell::from(generation.number.to_string()),
            Cell::from(span(&(generation.first_sequence..generation.next_sequence))),
            Cell::from(grouped(generation.events)),
            Cell::from(human_bytes(generation.disk_bytes)),
            Cell::toned(state(generation), tone),
        ]);
    }
    table
}

fn state(generation: &GenerationReport) -> &'static str {
    match (generation.is_damaged(), generation.sealed) {
        _ if generation.first_sequence == generation.next_sequence => "holds nothing of its own",
        (true, _) => "damaged",
        (false, true) => "complete",
        (false, false) => "cut off by the end of the agent",
    }
}

/// What the table has no room for, a line each.
fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = &report.ledger_damage {
        notes.push(format!("the ledger, which has the cursors, is damaged: {why}"));
    }
    for (path, home) in &report.misplaced {
        notes.push(format!("a copy, or misplaced: {} bears the name of {}", path.display(), home.display()));
    }
    for (lane, range) in &report.gone {
        let events = grouped(range.end - range.start);
        notes.push(format!("{}: {events} events are gone with their generation: {}", lane.name(), span(range)));
    }
    for generation in report.generations.iter().filter(|generation| generation.is_damaged()) {
        let place = format!("{} generation {}", generation.lane.name(), generation.number);
        let (missing, which) = spans(&generation.missing);
        notes.push(match (missing, missing_unrecorded(generation)) {
            (0, _) => format!("{place}: its end is not intact"),
            (_, 0) => format!("{place}: {} events are gone, as recorded: {which}", grouped(missing)),
            _ => format!("{place}: {} events are gone: {which}", grouped(missing)),
        });
    }
    notes.extend(report.quarantined.iter().map(|quarantined| {
        format!("in quarantine: {} ({})", quarantined.path.display(), human_bytes(quarantined.disk_bytes))
    }));
    notes.extend(report.unknown.iter().map(|path| format!("not the log's, and left alone: {}", path.display())));
    notes
}

/// How many of the missing events no loss record tells of.
fn missing_unrecorded(generation: &GenerationReport) -> u64 {
    let count = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    count(&generation.missing).saturating_sub(count(&generation.recorded))
}

fn value(report: &Report) -> Value {
    let ranges = |ranges: &[Range<u64>]| -> Vec<Value> {
        ranges.iter().map(|range| json!({ "first": range.start, "last": range.end - 1 })).collect()
    };
    let generations = report.generations.iter().map(|generation| {
        json!({
            "lane": generation.lane.name(),
            "number": generation.number,
            "first_sequence": generation.first_sequence,
            "next_sequence": generation.next_sequence,
            "events": generation.events,
            "disk_bytes": generation.disk_bytes,
            "sealed": generation.sealed,
            "damaged": generation.is_damaged(),
            "missing": ranges(&generation.missing),
            "recorded": ranges(&generation.recorded),
        })
    });
    let gone = report
        .gone
        .iter()
        .map(|(lane, range)| json!({ "lane": lane.name(), "first": range.start, "last": range.end - 1 }));
    let misplaced = report.misplaced.iter().map(|(path, home)| json!({ "path": path, "belongs_to": home }));
    let quarantined = report.quarantined.iter().map(|q| json!({ "path": q.path, "disk_bytes": q.disk_bytes }));
    json!({
        "sound": report.is_sound(),
        "ledger": { "damage": report.ledger_damage },
        "gone": gone.collect::<Vec<_>>(),
        "misplaced": misplaced.collect::<Vec<_>>(),
        "generations": generations.collect::<Vec<_>>(),
        "quarantined": quarantined.collect::<Vec<_>>(),
        "unknown": report.unknown,
    })
}
