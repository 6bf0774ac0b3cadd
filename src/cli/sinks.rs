//! `rodent sinks`: who is told besides the controller, how each does, whether a message arrives; and for a while not, on again,
//! once more; and which there are, where the command line writes them down.

mod writing;

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use clap::{Args, Subcommand};
use serde_json::Value;

use self::writing::Edit;
use super::{
    Failure,
    consumers::{self, agreed, place, to_go},
    failure::Code,
    say,
    state::since,
};
use crate::{
    client::{Act, ChangeSinkRequest, Client, ListedConsumer, Start, TestSinkResponse},
    schema::local::{ConsumerStatus, consumer_status::State, own_name},
    terminal::{Cell, Column, Output, Screen, TextTable, TimeZone, grouped, quiet_end, time_utc},
    words::{self, counted},
};

/// The consumer that is the way to the controller.
const UPLINK: &str = "uplink";

pub(super) const EXAMPLES: &str = "\
Examples:
  rodent sinks list                     who is told, and how each does
  rodent sinks show phone               failures, success, why it is held
  sudo rodent sinks add phone format=ntfy url=- tell=changes
  sudo rodent sinks test phone          does a message arrive?
  sudo rodent sinks pause phone         nothing is sent, everything is kept
  sudo rodent sinks resume phone        on again; ends a hold, too
  sudo rodent sinks replay bridge --since 2days

What they are stands under `sinks` in rodent.yml, or in drop-ins that `add` writes.";

const LIST_EXAMPLES: &str = "\
Examples:
  rodent sinks list
  rodent sinks list -o jsonl | jq -r 'select(.state == \"held\").name'

Exit codes: 0 done, 69 no agent, 77 no permission.";

const SHOW_EXAMPLES: &str = "\
Examples:
  rodent sinks show phone
  rodent sinks show phone -o json | jq .failures_in_a_row

Exit codes: 0 done, 65 no such sink, 69 no agent, 77 no permission.";

const TEST_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks test phone
  sudo rodent sinks test phone && echo it arrives

The agent sends it by the way that events go, with the sink's own address, secrets and format. For root and the agent's \
own user.

Exit codes: 0 taken, 1 not taken, 65 no such sink, 69 no agent, 77 no permission.";

const PAUSE_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks pause phone
  rodent status                         says that it is paused

Nothing is sent to it until `rodent sinks resume`, also after a restart. What is for it is kept, as far as there is room. For \
root and the agent's own user.

Exit codes: 0 done, 65 no such sink, 69 no agent, 77 no permission.";

const RESUME_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks resume phone

It goes on where it stood. One that is held, or waits, tries at once. For root and the agent's own user.

Exit codes: 0 done, 65 no such sink, 69 no agent, 77 no permission.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  sudo rodent sinks replay bridge --since 2days
  sudo rodent sinks replay bridge --since 2026-11-21T09:30:00Z --yes
  sudo rodent sinks replay bridge --since oldest

What its filter takes of the events since then is sent again, each under its own identifier. Not for sinks with `tell: changes`. \
For root and the agent's own user.

Exit codes: 0 done, 65 no such sink, event or time, 69 no agent, 77 no permission.";

/// Arguments of `rodent sinks`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Ask(Ask),
    #[command(flatten)]
    Write(Edit),
}

/// What the agent is asked.
#[derive(Debug, Subcommand)]
enum Ask {
    /// List who is told besides the controller
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// How to print: table, json (one document) or jsonl (an object a line)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
    },
    /// Show one of them whole
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        #[command(flatten)]
        sink: Name,
        /// How to print: table (in words), json or jsonl
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
    },
    /// Have a sink send a message that says it is a test
    #[command(after_help = TEST_EXAMPLES)]
    Test(Name),
    /// Send nothing to a sink for now, and keep everything
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Name),
    /// Have a sink go on that is paused or held
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Name),
    /// Have a sink send again what it has sent
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        #[command(flatten)]
        sink: Name,
        /// From where: how long ago (2days), when (2026-11-21T09:30:00Z), oldest, or the identifier of an event
        #[arg(long, value_name = "TIME")]
        since: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Name {
    /// As `sinks` in rodent.yml calls it
    name: String,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let command = match arguments.command {
        Command::Write(edit) => return writing::run(edit, Path::new("/"), socket).await,
        Command::Ask(command) => command,
    };
    let client = Client::connect(socket).await?;
    match command {
        Ask::List { output } => print(&sinks(&client).await?, output, false)?,
        Ask::Show { sink: Name { name }, output } => {
            let mut all = sinks(&client).await?;
            let names: Vec<_> = all.iter().filter_map(|sink| Some(sink.status.as_ref()?.name.clone())).collect();
            all.retain(|sink| sink.status.as_ref().is_some_and(|status| status.name == name));
            if all.is_empty() {
                let near = words::did_you_mean(words::nearest(&name, names.iter().map(String::as_str)));
                return Err(Failure::data(format!("no sink is called `{name}`{near}")));
            }
            print(&all, output, true)?;
        }
        Ask::Test(Name { name }) => return test(&client, &name).await,
        Ask::Pause(Name { name }) => {
            client.change_sink(change(&name, Act::Pause)).await?;
            say(&format!("{name} is paused; `rodent sinks resume {name}` ends that"))?;
        }
        Ask::Resume(Name { name }) => {
            client.change_sink(change(&name, Act::Resume)).await?;
            say(&format!("{name} goes on"))?;
        }
        Ask::Replay { sink: Name { name }, since, yes } => {
            replay(&client, &name, place(&since)?, yes).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(name: &str, act: Act) -> ChangeSinkRequest {
    ChangeSinkRequest { sink: name.to_owned(), act: act.into(), ..ChangeSinkRequest::default() }
}

async fn replay(client: &Client, name: &str, to: Start, yes: bool) -> Result<(), Failure> {
    let mut replay = ChangeSinkRequest { to: Some(to), dry_run: true, ..change(name, Act::Replay) };
    let events = client.change_sink(replay.clone()).await?;
    let what =
        |events| format!("{} come to {name} once more, as far as its filter takes them", counted(events, "event"));
    if !yes && !agreed(&format!("{}.", what(events)))? {
        return Ok(());
    }
    replay.dry_run = false;
    let events = client.change_sink(replay).await?;
    say(&what(events))
}

async fn test(client: &Client, name: &str) -> Result<ExitCode, Failure> {
    let TestSinkResponse { target, error, answer, milliseconds, certificate_until } = client.test_sink(name).await?;
    let mut screen = Screen::stdout();
    let mut lines = match error.as_str() {
        "" => vec![format!("taken by {target} in {milliseconds} ms: {}", answer.trim_end())],
        error => vec![format!("not taken, after {milliseconds} ms: {error}")],
    };
    if certificate_until != 0 {
        lines.push(format!("its certificate is valid until {}", time_utc(certificate_until)));
    }
    quiet_end(lines.iter().try_for_each(|line| screen.line(line)).and_then(|()| screen.flush()))?;
    Ok(if error.is_empty() { ExitCode::SUCCESS } else { Code::Other.into() })
}

/// The agent's consumers but the way to the controller.
async fn sinks(client: &Client) -> Result<Vec<ListedConsumer>, Failure> {
    let mut all = client.consumers("").await?;
    let is_sink = |status: &ConsumerStatus| status.program.is_none() && status.name != UPLINK;
    all.retain(|listed| listed.status.as_ref().is_some_and(is_sink));
    Ok(all)
}

fn print(sinks: &[ListedConsumer], output: Output, is_whole: bool) -> Result<(), Failure> {
    let (mut screen, now) = (Screen::stdout(), SystemTime::now());
    let printed = match output {
        Output::Json => screen.json_document(&sinks.iter().map(value).collect::<Vec<_>>()),
        Output::Jsonl => sinks.iter().try_for_each(|sink| screen.json(&value(sink))),
        Output::Table if sinks.is_empty() => {
            screen.line("No sink is told of anything: none is configured, or each has `enabled: false`.")
        }
        Output::Table if is_whole => sinks.iter().try_for_each(|sink| whole(sink, now, &mut screen)),
        Output::Table => table(sinks, now).print(&mut screen),
    };
    Ok(quiet_end(printed.and_then(|()| screen.flush()))?)
}

fn table(sinks: &[ListedConsumer], now: SystemTime) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("SINK").elastic(8),
        Column::left("STATE"),
        Column::right("FOR"),
        Column::right("FAILED"),
        Column::right("TAKEN"),
        Column::right("TO GO"),
        Column::left("TO").wraps(),
    ]);
    for sink in sinks {
        let ((word, tone), status) = (consumers::state(sink), sink.status.clone().unwrap_or_default());
        table.row([
            Cell::from(own_name(&status.name)),
            Cell::toned(word, tone),
            since(status.state_since, now).into(),
            grouped(status.failures_in_a_row).into(),
            since(status.last_success, now).into(),
            grouped(to_go(sink)).into(),
            Cell::from(status.target.as_str()),
        ]);
    }
    table
}

fn whole(sink: &ListedConsumer, now: SystemTime, screen: &mut Screen) -> io::Result<()> {
    let status = sink.status.clone().unwrap_or_default();
    let time = |time: i64| match time {
        0 => "not since the agent started".to_owned(),
        time => format!("{}, {} ago", TimeZone::Local.time(time), since(time, now)),
    };
    let why = if status.last_error.is_empty() { String::new() } else { format!(": {}", status.last_error) };
    let refused: u64 = status.lanes.iter().map(|lane| lane.refused_events).sum();
    for (name, text) in [
        ("sink", format!("{}, {}", status.name, status.r#type)),
        ("sends to", status.target.clone()),
        ("is", format!("{} for {}{why}", consumers::state(sink).0, since(status.state_since, now))),
        ("last sent", time(status.last_attempt)),
        ("last taken", time(status.last_success)),
        ("last failed", time(status.last_failure)),
        ("failed in a row", grouped(status.failures_in_a_row)),
        ("dead letters", format!("{} since the agent started", grouped(refused))),
        ("to go", format!("{}, before its filter", counted(to_go(sink), "event"))),
    ] {
        screen.hanging(&format!("{name:<17}"), &text)?;
    }
    if status.state() == State::Waiting {
        let wait = std::time::Duration::from_millis(status.next_attempt_milliseconds);
        screen.line(&format!("{:<17}in {}", "next attempt", crate::terminal::human_duration(wait)))?;
    }
    let name = &status.name;
    let of_state = match status.state() {
        State::Waiting => Some(format!("`rodent sinks test {name}` tries whether a message arrives")),
        State::Held => Some(format!("mend what it says, then `rodent sinks resume {name}`")),
        State::Paused => Some(format!("`rodent sinks resume {name}` ends that")),
        _ => None,
    };
    let of_letters =
        (refused > 0).then(|| format!("`rodent dead-letters list --consumer {name}` tells what was refused"));
    for advice in of_state.iter().chain(&of_letters) {
        screen.hanging(&format!("{:<17}", "what to do"), advice)?;
    }
    Ok(())
}

/// What is said of any consumer, and what only a sink has.
fn value(sink: &ListedConsumer) -> Value {
    let (mut value, status) = (consumers::value(sink), sink.status.clone().unwrap_or_default());
    if let Some(fields) = value.as_object_mut() {
        for (name, time) in [
            ("state_since", status.state_since),
            ("last_attempt", status.last_attempt),
            ("last_success", status.last_success),
            ("last_failure", status.last_failure),
        ] {
            fields.insert(name.to_owned(), time.into());
        }
        fields.insert("failures_in_a_row".to_owned(), status.failures_in_a_row.into());
        fields.insert("last_error".to_owned(), status.last_error.into());
    }
    value
}
