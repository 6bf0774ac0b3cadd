//! `rodent consumers`: who listens to the log, how far each has come; and for those of programs: again further back, or no
//! more.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, say, state::since};
use crate::{
    client::{Client, ListedConsumer, RemoveConsumerRequest, RewindConsumerRequest, Start, start},
    schema::local::{consumer_status::State, own_name},
    terminal::{Cell, Column, Output, Screen, TextTable, TimeZone, Tone, grouped, human_duration, moment, quiet_end},
    words::counted,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  rodent consumers list
  rodent consumers show backup
  rodent consumers rewind backup --to 2days   what came since comes again
  rodent consumers remove backup              nothing is kept for it

A program makes its consumer when it attaches (`rodent events --as NAME` does). The log keeps what each has yet to take, as \
far as there is room; one whose program stays away is released after a while: see `consumers` in rodent.yml.";

const LIST_EXAMPLES: &str = "\
Examples:
  rodent consumers list
  rodent consumers list -o jsonl | jq -r .name

Exit codes: 0 done, 69 no agent, 77 no permission.";

const SHOW_EXAMPLES: &str = "\
Examples:
  rodent consumers show backup
  rodent consumers show uplink -o json | jq .cursors

Exit codes: 0 done, 65 no such consumer, 69 no agent, 77 no permission.";

const REWIND_EXAMPLES: &str = "\
Examples:
  rodent consumers rewind backup --to oldest
  rodent consumers rewind backup --to 2026-11-21T09:30:00Z --yes
  rodent consumers rewind backup --to 0192f0a1-7d5e-7c11-8d6a-0b7a5a4f2f10

For the consumer's owner, root and the agent's own user, while no program is attached. It only goes back: what would be \
skipped would be lost in silence.

Exit codes: 0 done, 65 no such consumer, event or time, or a program is attached, 69 no agent, 77 no permission.";

const REMOVE_EXAMPLES: &str = "\
Examples:
  rodent consumers remove backup
  rodent consumers remove backup --yes

For the consumer's owner, root and the agent's own user, while no program is attached.

Exit codes: 0 done, 65 no such consumer, or a program is attached, 69 no agent, 77 no permission.";

/// Arguments of `rodent consumers`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List who listens to the log
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// How to print: table, json (one document) or jsonl (an object a line)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
    },
    /// Show one of them whole
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        /// How to print: table (in words), json or jsonl
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
    },
    /// Have a program's consumer begin again further back
    #[command(after_help = REWIND_EXAMPLES)]
    Rewind {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        /// To where: oldest, how long ago (2days), when (2026-11-21T09:30:00Z), or the identifier of an event
        #[arg(long, value_name = "PLACE")]
        to: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Forget a program's consumer: nothing is kept for it any more
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::List { output } => {
            let consumers = Client::connect(socket).await?.consumers("").await?;
            let mut screen = Screen::stdout();
            quiet_end(list(&consumers, output, &mut screen).and_then(|()| screen.flush()))?;
        }
        Command::Show { name, output } => {
            let consumers = Client::connect(socket).await?.consumers(&name).await?;
            let mut screen = Screen::stdout();
            quiet_end(show(&consumers, output, &mut screen).and_then(|()| screen.flush()))?;
        }
        Command::Rewind { name, to, yes } => {
            let to = Some(place(&to)?);
            let client = Client::connect(socket).await?;
            let mut rewind = RewindConsumerRequest { consumer: name.clone(), to, dry_run: true };
            let events = client.rewind_consumer(rewind.clone()).await?;
            if !yes && !agreed(&format!("{} come to {name} once more.", counted(events, "event")))? {
                return Ok(ExitCode::SUCCESS);
            }
            rewind.dry_run = false;
            let events = client.rewind_consumer(rewind).await?;
            say(&format!("{} come to {name} once more", counted(events, "event")))?;
        }
        Command::Remove { name, yes } => {
            let client = Client::connect(socket).await?;
            let mut remove = RemoveConsumerRequest { consumer: name.clone(), dry_run: true };
            let events = client.remove_consumer(remove.clone()).await?;
            if !yes
                && !agreed(&format!(
                    "{name} has yet to take {}, which are not kept for it then.",
                    counted(events, "event")
                ))?
            {
                return Ok(ExitCode::SUCCESS);
            }
            remove.dry_run = false;
            client.remove_consumer(remove).await?;
            say(&format!("{name} is removed"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn place(text: &str) -> Result<Start, Failure> {
    let start = if text == "oldest" {
        start::Start::Place(start::Place::Oldest.into())
    } else if uuid::Uuid::try_parse(text).is_ok() {
        start::Start::EventId(text.to_owned())
    } else {
        start::Start::Time(moment::parse(text, SystemTime::now(), TimeZone::Local).map_err(Failure::usage)?)
    };
    Ok(Start { start: Some(start) })
}

/// Asks a person; whoever is none has to say so beforehand.
pub(super) fn agreed(what: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{what} Say --yes if that is meant")));
    }
    let mut asked = io::stderr().lock();
    write!(asked, "{what} Go on? [y/N] ")?;
    asked.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn list(consumers: &[ListedConsumer], output: Output, screen: &mut Screen) -> io::Result<()> {
    match output {
        Output::Table => table(consumers, SystemTime::now()).print(screen),
        Output::Json => screen.json_document(&consumers.iter().map(value).collect::<Vec<_>>()),
        Output::Jsonl => consumers.iter().try_for_each(|consumer| screen.json(&value(consumer))),
    }
}

/// How it is, in a word.
pub(super) fn state(consumer: &ListedConsumer) -> (&'static str, Tone) {
    let Some(status) = &consumer.status else { return ("unknown", Tone::Dim) };
    match status.state() {
        State::Off => ("off", Tone::Dim),
        State::Connecting => ("connecting", Tone::Plain),
        State::Connected if status.program.is_some() => ("attached", Tone::Good),
        State::Connected => ("connected", Tone::Good),
        State::Waiting => ("waiting", Tone::Warn),
        State::Held => ("held", Tone::Bad),
        State::Unattached if status.program.as_ref().is_some_and(|program| program.released) => ("released", Tone::Bad),
        State::Unattached => ("unattached", Tone::Warn),
        State::Paused => ("paused", Tone::Warn),
    }
}

/// How long it has been so.
fn lasts(consumer: &ListedConsumer, now: SystemTime) -> String {
    let Some(status) = &consumer.status else { return "-".to_owned() };
    let away = status.program.as_ref().map_or(0, |program| program.unattached_milliseconds);
    match away {
        0 => since(status.state_since, now),
        away => human_duration(Duration::from_millis(away)),
    }
}

/// Events that it has yet to take.
pub(super) fn to_go(consumer: &ListedConsumer) -> u64 {
    consumer.cursors.iter().map(|cursor| cursor.lag_events).sum()
}

fn table(consumers: &[ListedConsumer], now: SystemTime) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("CONSUMER").elastic(10),
        Column::left("TYPE"),
        Column::left("OF"),
        Column::left("STATE"),
        Column::right("FOR"),
        Column::right("TO GO"),
    ]);
    for consumer in consumers {
        let (state, tone) = state(consumer);
        let status = consumer.status.clone().unwrap_or_default();
        let owner = status.program.as_ref().map_or_else(|| "the agent".to_owned(), |program| user(program.owner_uid));
        table.row([
            Cell::from(own_name(&status.name)),
            Cell::from(status.r#type.as_str()),
            Cell::from(owner),
            Cell::toned(state, tone),
            Cell::from(lasts(consumer, now)),
            Cell::from(grouped(to_go(consumer))),
        ]);
    }
    table
}

fn user(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

fn show(consumers: &[ListedConsumer], output: Output, screen: &mut Screen) -> io::Result<()> {
    if output != Output::Table {
        return list(consumers, output, screen);
    }
    table(consumers, SystemTime::now()).print(screen)?;
    for consumer in consumers {
        screen.line("")?;
        let mut table = TextTable::new(&[Column::left("LANE"), Column::right("NEXT"), Column::right("TO GO")]);
        for cursor in &consumer.cursors {
            table.row([
                Cell::from(cursor.lane.as_str()),
                Cell::from(grouped(cursor.next_sequence)),
                Cell::from(grouped(cursor.lag_events)),
            ]);
        }
        table.print(screen)?;
        let Some(status) = &consumer.status else { continue };
        if let Some(program) = &status.program {
            screen.line("")?;
            screen.line(&format!("made            {}", TimeZone::Local.time(program.created_at)))?;
            screen.line(&format!("in records      {}", status.name))?;
            screen.line(&format!(
                "committed       {} events since the agent started",
                grouped(status.delivered_events)
            ))?;
            screen.line(&format!("not committed   {} events that were given", grouped(program.uncommitted_events)))?;
        }
    }
    Ok(())
}

/// What is said of any consumer.
pub(super) fn value(consumer: &ListedConsumer) -> Value {
    let status = consumer.status.clone().unwrap_or_default();
    let cursor = |cursor: &crate::schema::local::CursorStatus| json!({"lane": cursor.lane, "next_sequence": cursor.next_sequence, "lag_events": cursor.lag_events});
    let mut value = json!({
        "name": own_name(&status.name),
        "cursor": status.name,
        "type": status.r#type,
        "target": status.target,
        "state": state(consumer).0,
        "to_go": to_go(consumer),
        "delivered_events": status.delivered_events,
        "cursors": consumer.cursors.iter().map(cursor).collect::<Vec<_>>(),
    });
    if let (Some(program), Some(fields)) = (&status.program, value.as_object_mut()) {
        fields.insert("owner_uid".to_owned(), program.owner_uid.into());
        fields.insert("created_at".to_owned(), program.created_at.into());
        fields.insert("unattached_milliseconds".to_owned(), program.unattached_milliseconds.into());
        fields.insert("released".to_owned(), program.released.into());
        fields.insert("uncommitted_events".to_owned(), program.uncommitted_events.into());
    }
    value
}
