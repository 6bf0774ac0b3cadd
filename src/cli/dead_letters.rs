//! `rodent dead-letters`: events that the controller refuses: looked at, sent once more, or thrown away.

mod print;

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use self::print::{list, show};
use super::{Failure, failure::tell};
use crate::{
    client::{
        Client, ClientError, ListDeadLettersRequest, ListedDeadLetter, PurgeDeadLettersRequest, RetryDeadLettersRequest,
    },
    terminal::{Clock, Output, Screen, grouped, quiet_end},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  rodent dead-letters list
  rodent dead-letters show routine-4711   the event, and why it was refused
  rodent dead-letters retry routine-4711
  rodent dead-letters purge --all

An event that the controller refuses while it takes others is kept as a dead letter, so that the rest goes on. Nothing \
removes it but these commands.";

const LIST_EXAMPLES: &str = "\
Examples:
  rodent dead-letters list
  rodent dead-letters list -o jsonl | jq -r '.code + \" \" + .event.kind'

An identifier is LANE-SEQUENCE-EPOCH; what the list shows of it is enough to name the letter.

Exit codes: 0 done, 69 no agent, 77 no permission.";

const SHOW_EXAMPLES: &str = "\
Examples:
  rodent dead-letters show routine-4711
  rodent dead-letters show routine-4711 -o json | jq .event.payload

Exit codes: 0 done, 65 no such letter, or it is damaged, 69 no agent, 77 no permission.";

const RETRY_EXAMPLES: &str = "\
Examples:
  rodent dead-letters retry routine-4711 routine-4712
  rodent dead-letters retry --all          after the controller was mended

The event goes back to its lane under a new number and keeps its identifier. If it is refused again it comes back.

Exit codes: 0 done, 65 no such letter, or a damaged one, 69 no agent or it cannot write, 77 no permission.";

const PURGE_EXAMPLES: &str = "\
Examples:
  rodent dead-letters purge routine-4711
  rodent dead-letters purge --all

For root and the agent's own user. The event is gone for good; an event system.host.dead_letters_purged tells who threw \
it away.

Exit codes: 0 done, 65 no such letter, 69 no agent or it cannot write, 77 no permission.";

/// Arguments of `rodent dead-letters`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the events that the controller refuses
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// How to print: table, json (one document) or jsonl (an object a line)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
        /// Times in UTC, not in this machine's time zone
        #[arg(long)]
        utc: bool,
    },
    /// Show one of them whole, and what the controller said
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Which
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// How to print: table (in words), json (one document) or jsonl (an object a line)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
        /// Times in UTC, not in this machine's time zone
        #[arg(long)]
        utc: bool,
    },
    /// Send them once more
    #[command(after_help = RETRY_EXAMPLES)]
    Retry(Choice),
    /// Throw them away
    #[command(after_help = PURGE_EXAMPLES)]
    Purge(Choice),
}

/// Some letters, or in so many words all of them.
#[derive(Debug, Args)]
struct Choice {
    /// Which
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let client = Client::connect(socket).await?;
    match arguments.command {
        Command::List { output, utc } => {
            let letters = fetch(&client, Vec::new()).await?;
            let node = client.status().await?.node_id;
            let mut screen = Screen::stdout();
            quiet_end(list(&letters, &node, output, Clock::utc(utc), &mut screen).and_then(|()| screen.flush()))?;
        }
        Command::Show { ids, output, utc } => {
            let letters = fetch(&client, ids).await?;
            let node = client.status().await?.node_id;
            let mut screen = Screen::stdout();
            quiet_end(show(&letters, &node, output, Clock::utc(utc), &mut screen).and_then(|()| screen.flush()))?;
            if let Some(damaged) = letters.iter().find(|letter| letter.letter.is_none()) {
                return Err(Failure::data(damaged.damage.clone()));
            }
        }
        Command::Retry(Choice { ids, all }) => {
            let done = client.retry_dead_letters(RetryDeadLettersRequest { ids, all }).await?;
            say(&format!("{} back in the log, to be sent once more", counted(done.retried)))?;
            if done.damaged > 0 {
                tell(&format!("rodent: {} damaged and kept", counted(done.damaged)));
            }
        }
        Command::Purge(Choice { ids, all }) => {
            let purged = client.purge_dead_letters(PurgeDeadLettersRequest { ids, all }).await?;
            say(&format!("{} thrown away", counted(purged)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The letters of these names, or all.
async fn fetch(client: &Client, ids: Vec<String>) -> Result<Vec<ListedDeadLetter>, ClientError> {
    let (mut letters, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.dead_letters(ListDeadLettersRequest { after, ids: ids.clone() }).await?;
        letters.extend(page.letters);
        after = page.next;
        if after.is_empty() {
            return Ok(letters);
        }
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut screen = Screen::stdout();
    Ok(quiet_end(screen.line(line).and_then(|()| screen.flush()))?)
}

fn counted(letters: u64) -> String {
    if letters == 1 { "1 event is".to_owned() } else { format!("{} events are", grouped(letters)) }
}
