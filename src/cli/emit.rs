//! `rodent emit`: gives events to the agent, one by words or any number as JSON.

mod json;
mod pieces;

use std::{
    io::{IsTerminal as _, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{Failure, failure::tell};
use crate::{
    client::{Client, Durability, EmitResponse},
    event::{Level, Metadata, json::from_pairs},
};

const EXAMPLES: &str = "\
Examples:
  rodent emit storage.pool.created pool_name=tank
  rodent emit service.status.failed service_name=smbd -l error -m ticket=7
  echo '{\"kind\": \"storage.pool.created\"}' | rodent emit --json -
  rodent events -o jsonl | rodent --socket /run/other.sock emit --json -

JSON is read one event a line, or as values one after another; arrays are opened. What is no event is reported with its \
line, and the rest is stored. What `rodent events` has printed is taken as it is.

Exit codes: 0 all taken, 65 something was refused, 69 no agent, 77 no permission.";

/// Give events to the agent
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Kind of the event, such as storage.pool.created
    #[arg(required_unless_present = "json", conflicts_with = "json")]
    kind: Option<String>,
    /// Fields of its payload; a list takes its field several times, a map FIELD.KEY=VALUE
    #[arg(value_name = "FIELD=VALUE", value_parser = pair, conflicts_with = "json")]
    fields: Vec<(String, String)>,
    /// trace, debug, info, warn, error, critical or essential [default: the kind's own]
    #[arg(long, short, conflicts_with = "json")]
    level: Option<Level>,
    /// Free text beside the payload
    #[arg(long = "meta", short, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "json")]
    metadata: Vec<(String, String)>,
    /// Read events as JSON from a file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Do not wait until the events are on the disk
    #[arg(long)]
    no_wait: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    if key.is_empty() {
        Err("the key is missing before `=`".to_owned())
    } else {
        Ok((key.to_owned(), value.to_owned()))
    }
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let durability = if arguments.no_wait { Durability::Buffered } else { Durability::Committed };
    match (&arguments.json, &arguments.kind) {
        (Some(file), _) => json::run(file, socket, durability).await,
        (None, Some(kind)) => one(kind, &arguments, socket, durability).await,
        (None, None) => Err(Failure::usage("a kind is missing, or --json FILE")),
    }
}

async fn one(kind: &str, arguments: &Arguments, socket: &Path, durability: Durability) -> Result<ExitCode, Failure> {
    let metadata = metadata(&arguments.metadata)?;
    let event = from_pairs(kind, arguments.level, &arguments.fields, metadata)
        .map_err(|error| Failure::data(error.to_string()))?;
    let answer = Client::connect(socket).await?.emit(&[event], durability).await?;
    // What is not durable is told to scripts too.
    if stderr().is_terminal() || !answer.only_in_memory.is_empty() {
        tell(&words(&answer));
    }
    Ok(ExitCode::SUCCESS)
}

fn metadata(pairs: &[(String, String)]) -> Result<Metadata, Failure> {
    let mut metadata = Metadata::new();
    for (key, value) in pairs {
        if metadata.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("--meta {key} is given twice")));
        }
    }
    Ok(metadata)
}

fn words(answer: &EmitResponse) -> String {
    match answer.event_ids.first().filter(|id| !id.is_empty()) {
        Some(id) if !answer.only_in_memory.is_empty() => {
            format!("accepted as {id}, and kept in memory only: {}", answer.only_in_memory)
        }
        Some(id) => format!("accepted as {id}"),
        None => "not stored: the agent is set to leave out this category or level".to_owned(),
    }
}
