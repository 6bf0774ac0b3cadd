//! `rodent dead-letters`: events that consumers refuse: looked at, sent once more, or thrown away.

mod print;

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use self::print::{list, show};
use super::{
    Failure,
    failure::{Code, tell},
    say,
};
use crate::{
    client::{
        Client, ClientError, ListDeadLettersRequest, ListedDeadLetter, PurgeDeadLettersRequest, RetryDeadLettersRequest,
    },
    terminal::{Output, Screen, TimeZone, grouped, quiet_end},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  rodent dead-letters list
  rodent dead-letters show uplink/routine-4711   and why it was refused
  rodent dead-letters retry uplink/routine-4711
  rodent dead-letters purge --all

An event that a consumer (the uplink or a sink) refuses while it takes others, or that a program does not commit however \
often it gets it, is kept as a dead letter of that consumer, so that the rest goes on. Nothing removes it but these commands. \
At most 1,000 or 16 MiB are kept of each consumer; beyond that its lane waits.";

const LIST_EXAMPLES: &str = "\
Examples:
  rodent dead-letters list
  rodent dead-letters list --consumer phone
  rodent dead-letters list -o jsonl | jq -r '.code + \" \" + .event.kind'

An identifier is CONSUMER/LANE-SEQUENCE-EPOCH; what the list shows of it is enough to name the letter, and LANE-SEQUENCE is \
where no other consumer refuses the same event.

Exit codes: 0 done, 69 no agent, 77 no permission.";

const SHOW_EXAMPLES: &str = "\
Examples:
  rodent dead-letters show uplink/routine-4711
  rodent dead-letters show uplink/routine-4711 -o json | jq .event.payload

Exit codes: 0 done, 65 no such letter, or it is damaged, 69 no agent, 77 no permission.";

const RETRY_EXAMPLES: &str = "\
Examples:
  rodent dead-letters retry uplink/routine-4711 uplink/routine-4712
  rodent dead-letters retry --consumer phone   when it is mended
  rodent dead-letters retry --all

The event goes back to its lane under a new number and keeps its identifier, by which those who have it know it. If it is \
refused again it comes back.

Exit codes: 0 done, 65 no such letter, or a damaged one, 69 no agent or it cannot write, 77 no permission.";

const PURGE_EXAMPLES: &str = "\
Examples:
  rodent dead-letters purge uplink/routine-4711
  rodent dead-letters purge --consumer phone
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
    /// List the events that are refused
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only those that this consumer refuses: `uplink`, or the name of a sink
        #[arg(long, value_name = "NAME")]
        consumer: Option<String>,
        /// How to print: table, json (one document) or jsonl (an object a line)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
        /// Times in UTC, not in this machine's time zone
        #[arg(long)]
        utc: bool,
    },
    /// Show one of them whole, and what was answered
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
    #[arg(required_unless_present_any = ["all", "consumer"], conflicts_with = "all", value_name = "ID")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// All that this consumer refuses, or those named: `uplink`, or the name of a sink
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let client = Client::connect(socket).await?;
    match arguments.command {
        Command::List { consumer, output, utc } => {
            let letters = fetch(&client, Vec::new(), consumer).await?;
            let node = client.status().await?.node_id;
            let mut screen = Screen::stdout();
            quiet_end(list(&letters, &node, output, TimeZone::utc(utc), &mut screen).and_then(|()| screen.flush()))?;
        }
        Command::Show { ids, output, utc } => {
            let letters = fetch(&client, ids, None).await?;
            let node = client.status().await?.node_id;
            let mut screen = Screen::stdout();
            quiet_end(show(&letters, &node, output, TimeZone::utc(utc), &mut screen).and_then(|()| screen.flush()))?;
            if let Some(damaged) = letters.iter().find(|letter| letter.letter.is_none()) {
                return Err(Failure::data(damaged.damage.clone()));
            }
        }
        Command::Retry(Choice { ids, all, consumer }) => {
            let (all, consumer) = (all || ids.is_empty(), consumer.unwrap_or_default());
            let done = client.retry_dead_letters(RetryDeadLettersRequest { ids, all, consumer }).await?;
            say(&format!("{} back in the log, to be sent once more", counted(done.retried)))?;
            if done.damaged > 0 {
                tell(&format!("rodent: {} damaged and kept", counted(done.damaged)));
                return Ok(Code::Data.into());
            }
        }
        Command::Purge(Choice { ids, all, consumer }) => {
            let (all, consumer) = (all || ids.is_empty(), consumer.unwrap_or_default());
            let purged = client.purge_dead_letters(PurgeDeadLettersRequest { ids, all, consumer }).await?;
            say(&format!("{} thrown away", counted(purged)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The letters of these names, or all; of one consumer, or of all.
async fn fetch(
    client: &Client,
    ids: Vec<String>,
    consumer: Option<String>,
) -> Result<Vec<ListedDeadLetter>, ClientError> {
    let consumer = consumer.unwrap_or_default();
    let (mut letters, mut after) = (Vec::new(), String::new());
    loop {
        let page =
            client.dead_letters(ListDeadLettersRequest { after, ids: ids.clone(), consumer: consumer.clone() }).await?;
        letters.extend(page.letters);
        after = page.next;
        if after.is_empty() {
            return Ok(letters);
        }
    }
}

fn counted(letters: u64) -> String {
    if letters == 1 { "1 event is".to_owned() } else { format!("{} events are", grouped(letters)) }
}
