//! `rodent problems`: what is wrong with the machine now, the worst first, since when, and what to do. Its exit code says
//! whether there is anything.

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use super::{
    Failure,
    state::{describe_folding, known, plain, rows, since, things, tone},
};
use crate::{
    client::{Client, StateRequest, StateResponse, SubjectState},
    order::Sorted as _,
    schema::local::{ConditionStatus, StateLevel},
    schema::{document, local::STATES},
    terminal::{Cell, Code, Output, Screen, TextTable, TimeZone, Tone, grouped, quiet_end},
};

/// What the agent says of itself, and the state that tells the same by name: one line is enough.
const SAID_BY_STATE: [(&str, &str); 3] =
    [("collector_blind", "sight"), ("clock_unsynchronised", "clock"), ("disk_fails", "event log")];

const EXAMPLES: &str = "\
Examples:
  rodent problems                        the worst first, and what to do
  rodent problems --new                  without those that are known
  rodent problems -o json | jq -r '.subjects[].subject'
  rodent problems --new > /dev/null || echo look at the NAS

A problem stays until an event ends it. `rodent ack` marks one as known, `rodent state SUBJECT` tells its story.

Exit codes: 0 nothing is wrong, 1 something is, 69 no agent, 77 no permission.";

/// Show what is wrong with this machine now, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only what nobody has acknowledged
    #[arg(long)]
    new: bool,
    /// How to print: table, json (one document) or jsonl (an object a problem)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let client = Client::connect(socket).await?;
    let mut answer = client.state(StateRequest { problems_only: true, ..StateRequest::default() }).await?;
    answer.conditions.retain(|condition| !is_said(condition, &answer.subjects));
    if arguments.new {
        answer.subjects.retain(|problem| problem.acknowledgement.is_none());
    }
    let mut screen = Screen::stdout();
    let printed = match arguments.output {
        Output::Table => print(&answer, SystemTime::now(), &mut screen),
        Output::Json => screen.json_document(&plain(document(STATES, &answer))),
        Output::Jsonl => rows(&answer, &["subjects", "conditions"]).try_for_each(|row| screen.json(&row)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    let is_well = answer.subjects.is_empty() && answer.conditions.is_empty();
    Ok(if is_well { ExitCode::SUCCESS } else { Code::Other.into() })
}

/// Whether one of these states tells the same as what the agent says of itself.
pub(super) fn is_said(condition: &ConditionStatus, states: &[SubjectState]) -> bool {
    let says = |(id, state): &(&str, &str)| *id == condition.id && states.iter().any(|its| its.state == *state);
    SAID_BY_STATE.iter().any(says)
}

fn print(answer: &StateResponse, now: SystemTime, screen: &mut Screen) -> io::Result<()> {
    let mut table = things();
    let mut problems: Vec<(StateLevel, Problem)> =
        answer.subjects.iter().map(|its| (its.level(), Problem::State(its))).collect();
    problems.extend(answer.conditions.iter().map(|its| (level_of_condition(its), Problem::Agent(its))));
    problems.order_by_key(|(level, problem)| (problem.is_known(), std::cmp::Reverse(*level)));
    for (level, problem) in problems {
        problem.put(level, now, &mut table);
    }
    if table.lines() == 0 {
        screen.line("Nothing is wrong.")?;
    } else {
        table.print(screen)?;
    }
    if answer.more_subjects > 0 {
        screen.line(&format!("And {} more.", grouped(answer.more_subjects)))?;
    }
    for its in &answer.silences {
        let (what, until) =
            (if its.subject.is_empty() { "anything" } else { &its.subject }, TimeZone::Local.time(its.until));
        screen.line(&format!("Nobody is told of {what} until {until}: `rodent silence`."))?;
    }
    let unsure = describe_folding(&answer.folding.clone().unwrap_or_default(), false);
    if !unsure.is_empty() {
        screen.line("")?;
    }
    unsure.iter().try_for_each(|line| screen.line(line))
}

/// One of the rows.
enum Problem<'a> {
    State(&'a SubjectState),
    Agent(&'a ConditionStatus),
}

impl Problem<'_> {
    fn is_known(&self) -> bool {
        matches!(self, Problem::State(its) if its.acknowledgement.is_some())
    }

    fn put(&self, level: StateLevel, now: SystemTime, table: &mut TextTable) {
        let (tone, name) = (tone(level), level.word());
        let mut row = |first: [Cell; 3], text: Cell| {
            let [a, b, c] = first;
            table.row([a, b, c, text]);
        };
        let below = || [Cell::default(), Cell::default(), Cell::default()];
        let advice = match self {
            Problem::State(its) => {
                let change = its.changes.first().cloned().unwrap_or_default();
                let (tone, known) = match known(its, now) {
                    Some(known) => (Tone::Dim, Some(known)),
                    None => (tone, None),
                };
                let cells =
                    [Cell::toned(name, tone), since(change.wrong_since, now).into(), its.subject.as_str().into()];
                row(cells, change.text.as_str().into());
                if !its.doubt.is_empty() {
                    row(below(), Cell::toned(format!("? {}", its.doubt), Tone::Warn));
                }
                if let Some(known) = known {
                    row(below(), Cell::toned(known, Tone::Mark));
                }
                change.advice
            }
            Problem::Agent(its) => {
                row([Cell::toned(name, tone), since(its.since, now).into(), "rodent".into()], its.text.as_str().into());
                its.advice.clone()
            }
        };
        if !advice.is_empty() {
            row(below(), Cell::toned(format!("→ {advice}"), Tone::Dim));
        }
    }
}

fn level_of_condition(condition: &ConditionStatus) -> StateLevel {
    if condition.level == "error" { StateLevel::Error } else { StateLevel::Warn }
}
