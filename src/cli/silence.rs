//! `rodent silence`: has nobody be told of something for a while, lists what is silenced, and ends it before its time.

use std::{
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use super::Failure;
use crate::{
    client::{Client, Silence, SilenceRequest, StateRequest},
    terminal::{Cell, Column, Output, Screen, TextTable, TimeZone, human_duration, quiet_end},
    words::parse_duration,
};

const EXAMPLES: &str = "\
Examples:
  rodent silence tank --for 2h --note 'new disks'   nobody is told of it
  rodent silence 'sd*'                  all whose names begin so
  rodent silence --all --for 30min      maintenance of the whole machine
  rodent silence                        what is silenced, and until when
  rodent silence --end tank

It is recorded all the same, shown and kept for the controller; what is silent are sinks with `tell: changes`. A silence ends \
by itself, after 7 days at the latest. What is wrong then is told then; what has come and gone meanwhile is not. Who, when \
and why become an event.

Exit codes: 0 done, 65 nothing is known of it, or no silence has this name, 69 no agent, 77 no permission.";

/// How long a silence lasts where nothing is said.
const LASTS: Duration = Duration::from_secs(2 * 3600);

/// Have nobody be told of something for a while
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// What it is about, as `rodent state` names it, or a pattern; without it, what is silenced is listed
    #[arg(conflicts_with = "all")]
    subject: Option<String>,
    /// All of this machine
    #[arg(long)]
    all: bool,
    /// For how long; two hours where it is not said
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, conflicts_with = "end")]
    lasts: Option<Duration>,
    /// Why
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
    /// It is over
    #[arg(long)]
    end: bool,
    /// How to print: table, json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let Arguments { subject, all, lasts, note, end, output } = arguments;
    let client = Client::connect(socket).await?;
    let silences = match (subject, all) {
        (None, false) if end => return Err(Failure::usage("say what is over: a name, or --all")),
        (Some(subject), _) if subject.is_empty() => {
            return Err(Failure::usage("a name is not empty; --all is everything"));
        }
        (None, false) if lasts.is_some() || !note.is_empty() => {
            return Err(Failure::usage("say of what nobody is told: a name, or --all"));
        }
        (None, false) => {
            let nothing = StateRequest { subjects: vec![String::new()], ..StateRequest::default() };
            client.state(nothing).await?.silences
        }
        (subject, _) => {
            // What is begun lasts for a second at least: nothing would end it.
            let seconds = if end { 0 } else { lasts.unwrap_or(LASTS).as_secs().max(1) };
            client.silence(SilenceRequest { subject: subject.unwrap_or_default(), seconds, note }).await?
        }
    };
    let mut screen = Screen::stdout();
    quiet_end(print(&silences, output, &mut screen).and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

fn print(silences: &[Silence], output: Output, screen: &mut Screen) -> io::Result<()> {
    let value = |its: &Silence| json!({"subject": its.subject, "since": its.since, "until": its.until, "actor": its.actor, "note": its.note});
    match output {
        Output::Json => screen.json_document(&silences.iter().map(value).collect::<Vec<_>>()),
        Output::Jsonl => silences.iter().try_for_each(|its| screen.json(&value(its))),
        Output::Table if silences.is_empty() => screen.line("Nothing is silenced."),
        Output::Table => table(silences, SystemTime::now()).print(screen),
    }
}

fn table(silences: &[Silence], now: SystemTime) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("SILENCED").elastic(8),
        Column::left("UNTIL"),
        Column::right("LEFT"),
        Column::left("BY"),
        Column::left("NOTE").wraps(),
    ]);
    for silence in silences {
        let until = UNIX_EPOCH + Duration::from_millis(silence.until.max(0).unsigned_abs());
        table.row([
            Cell::from(name(silence)),
            Cell::from(TimeZone::Local.time(silence.until)),
            Cell::from(human_duration(until.duration_since(now).unwrap_or_default())),
            Cell::from(silence.actor.as_str()),
            Cell::from(silence.note.as_str()),
        ]);
    }
    table
}

/// What it is of.
pub(super) fn name(silence: &Silence) -> &str {
    if silence.subject.is_empty() { "everything" } else { &silence.subject }
}
