//! `rodent state`: how each thing is as its events tell, until which event that is known, and the story of one thing.

use std::{collections::BTreeSet, io, path::Path, process::ExitCode, time::SystemTime};

use serde_json::Value;

use super::Failure;
use crate::{
    client::{Client, StateRequest, StateResponse, SubjectState},
    schema::local::{Folding, StateGap, StateLevel},
    schema::{document, local::STATES},
    terminal::{
        Cell, Column, Output, Screen, TextTable, TimeZone, Tone, grouped, human_duration, moment::ago, quiet_end,
    },
    words,
};

const EXAMPLES: &str = "\
Examples:
  rodent state                           all things, the worst first
  rodent state tank                      one, and its last changes
  rodent state 'capacity:*'              those whose names begin so
  rodent state -o jsonl | jq -r 'select(.changes[0].level != \"ok\").subject'

What is wrong alone: rodent problems.

Exit codes: 0 done, 1 nothing is known of what is named, 69 no agent, 77 no permission.";

/// Show how the things of this machine are, as far as events tell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Things by name; `*` stands for any letters
    #[arg(value_name = "SUBJECT")]
    subjects: Vec<String>,
    /// How to print: table, json (one document) or jsonl (an object a state)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
    /// Times in UTC, not in this machine's time zone
    #[arg(long)]
    utc: bool,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let Arguments { subjects, output, utc } = arguments;
    let request = StateRequest { subjects: subjects.clone(), problems_only: false };
    let client = Client::connect(socket).await?;
    let answer = client.state(request).await?;
    let mut screen = Screen::stdout();
    let printed = match output {
        Output::Table if subjects.is_empty() => print_all(&answer, SystemTime::now(), &mut screen),
        Output::Table => print_stories(&answer, TimeZone::utc(utc), &mut screen),
        Output::Json => screen.json_document(&plain(document(STATES, &answer))),
        Output::Jsonl => rows(&answer, &["subjects"]).try_for_each(|row| screen.json(&row)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    if subjects.is_empty() || !answer.subjects.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let all = client.state(StateRequest::default()).await?.subjects;
    let near = subjects.iter().find_map(|name| words::nearest(name, all.iter().map(|state| state.subject.as_str())));
    Err(Failure::other(format!("no event has told how {} is{}", subjects.join(", "), words::did_you_mean(near))))
}

/// With levels of states as they are called everywhere else.
pub(super) fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Array(list) => list.iter_mut().for_each(|inner| *inner = plain(inner.take())),
        Value::Object(fields) => {
            for (name, inner) in fields {
                let level =
                    inner.as_str().filter(|_| name == "level").and_then(|text| text.strip_prefix("STATE_LEVEL_"));
                *inner = match level {
                    Some(level) => level.to_lowercase().into(),
                    None => plain(inner.take()),
                };
            }
        }
        _ => {}
    }
    value
}

/// The objects of these lists of an answer, one list behind the other.
pub(super) fn rows(answer: &StateResponse, lists: &[&str]) -> impl Iterator<Item = Value> {
    let mut answer = plain(document(STATES, answer));
    let lists: Vec<_> = lists.iter().filter_map(|list| answer.get_mut(list).map(Value::take)).collect();
    lists.into_iter().flat_map(|list| if let Value::Array(list) = list { list } else { Vec::new() })
}

/// A table of things.
pub(super) fn things() -> TextTable {
    TextTable::new(&[
        Column::left("LEVEL"),
        Column::right("FOR"),
        Column::left("SUBJECT").elastic(8),
        Column::left("WHAT").wraps(),
    ])
}

fn print_all(answer: &StateResponse, now: SystemTime, screen: &mut Screen) -> io::Result<()> {
    let mut table = things();
    let mut told = BTreeSet::new();
    for state in &answer.subjects {
        let (level, change) = (state.level(), state.changes.first().cloned().unwrap_or_default());
        // That a pool is gone ends all that was known of it: it is one line, not one for each state.
        if !change.event_id.is_empty() && !told.insert((&state.subject, change.event_id.clone())) {
            continue;
        }
        let doubt = if state.doubt.is_empty() { "" } else { " (?)" };
        table.row([
            Cell::toned(level.word(), tone(level)),
            since(change.since, now).into(),
            state.subject.as_str().into(),
            format!("{}{doubt}", change.text).into(),
        ]);
    }
    if table.lines() == 0 {
        screen.line("No event has told how anything is.")?;
    } else {
        table.print(screen)?;
    }
    print_end(answer, screen)
}

fn print_stories(answer: &StateResponse, clock: TimeZone, screen: &mut Screen) -> io::Result<()> {
    let now = SystemTime::now();
    for (number, state) in answer.subjects.iter().enumerate() {
        if number > 0 {
            screen.line("")?;
        }
        screen.line(&format!("{}: {}, {}", state.subject, state.state, state.level().word()))?;
        for line in [known(state, now), Some(&state.doubt).filter(|it| !it.is_empty()).map(|it| format!("? {it}"))] {
            line.map_or(Ok(()), |line| screen.hanging("  ", &line))?;
        }
        let advice = state.changes.first().map(|now| now.advice.as_str()).filter(|advice| !advice.is_empty());
        advice.map_or(Ok(()), |advice| screen.hanging("  → ", advice))?;
        let mut table = TextTable::new(&[
            Column::left("SINCE"),
            Column::left("LEVEL"),
            Column::right("EVENTS"),
            Column::left("WHAT").wraps(),
        ]);
        for change in &state.changes {
            table.row([
                Cell::toned(clock.time(change.since), Tone::Dim),
                Cell::toned(change.level().word(), tone(change.level())),
                grouped(change.events).into(),
                change.text.as_str().into(),
            ]);
        }
        table.print(screen)?;
    }
    if !answer.subjects.is_empty() {
        print_end(answer, screen)?;
    }
    Ok(())
}

fn print_end(answer: &StateResponse, screen: &mut Screen) -> io::Result<()> {
    if answer.more_subjects > 0 {
        screen.line(&format!("And {} more: name a subject.", grouped(answer.more_subjects)))?;
    }
    screen.line("")?;
    describe_folding(&answer.folding.clone().unwrap_or_default(), true).iter().try_for_each(|line| screen.line(line))
}

/// Until where the states are known, in lines; without `all` only what makes them less than sure.
pub(super) fn describe_folding(folding: &Folding, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if all {
        let lanes = folding.lanes.iter().map(|lane| {
            let last = lane.next_sequence.saturating_sub(1);
            format!("{} {}", lane.lane, if last == 0 { "nothing".to_owned() } else { grouped(last) })
        });
        lines.push(format!("Folded until {}.", lanes.collect::<Vec<_>>().join(" and ")));
    }
    if folding.behind_events > BEHIND_SHOWN {
        lines.push(format!("Not sure yet: {} events of the log are to be folded.", grouped(folding.behind_events)));
    }
    if all && folding.known_since > 0 {
        let since = TimeZone::Local.time(folding.known_since);
        lines.push(format!("Not known from before {since}: the log does not go back further."));
    }
    let unseen = folding.gaps.iter().filter(|gap| gap.first_sequence != 1 && (all || !gap.asserted));
    lines.extend(unseen.map(describe_gap));
    if all && folding.older_gaps > 0 {
        lines.push(format!("And over {} older gaps.", grouped(folding.older_gaps)));
    }
    if all && !folding.rebuilt.is_empty() {
        lines.push(format!("Folded anew at {}: {}.", TimeZone::Local.time(folding.rebuilt_at), folding.rebuilt));
    }
    if folding.left_out > 0 {
        let (left_out, most) = (grouped(folding.left_out), grouped(folding.subjects_max));
        lines.push(format!(
            "No room for {left_out} more that were wrong: {most} states are kept, of other programs a quarter."
        ));
    }
    if all && folding.forgotten > 0 {
        let forgotten = grouped(folding.forgotten);
        lines.push(format!("Forgotten for want of room: {forgotten} that were well, the longest quiet first."));
    }
    lines
}

/// What comes in while somebody asks is no news.
const BEHIND_SHOWN: u64 = 1_000;

fn describe_gap(gap: &StateGap) -> String {
    let when =
        if gap.noticed_at > 0 { format!(" before {}", TimeZone::Local.time(gap.noticed_at)) } else { String::new() };
    match (gap.events, gap.last_sequence) {
        (0, _) => format!("Events of the {} lane may have been lost{when}: killed, or without power.", gap.lane),
        (events, 0) => format!("Not sure: {} events of the {} lane were lost{when}.", grouped(events), gap.lane),
        (events, last) => format!(
            "Not sure: {} events were lost{when}, {} {} to {}.",
            grouped(events),
            gap.lane,
            grouped(gap.first_sequence),
            grouped(last)
        ),
    }
}

/// How long ago.
pub(super) fn since(time: i64, now: SystemTime) -> String {
    ago(time, now).map_or_else(|| "-".to_owned(), human_duration)
}

/// Who knows of it, since when and why it may stay.
pub(super) fn known(state: &SubjectState, now: SystemTime) -> Option<String> {
    let known = state.acknowledgement.as_ref()?;
    let actor = if known.actor.is_empty() { "somebody" } else { &known.actor };
    Some(format!("known to {actor} for {}: {}", since(known.time, now), known.note))
}

/// How a level is shown.
pub(super) fn tone(level: StateLevel) -> Tone {
    match level {
        StateLevel::Ok => Tone::Good,
        StateLevel::Warn => Tone::Warn,
        StateLevel::Error => Tone::Bad,
        StateLevel::Critical => Tone::Loud,
    }
}
