//! `rodent emit`: gives events to the agent, one by words or any number as JSON.

mod json;
mod pieces;

use std::{
    io::{IsTerminal as _, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use prost::Message as _;

use super::{
    Failure,
    failure::tell,
    hook::{Places, complete},
};
use crate::{
    client::{Client, ClientError, Durability, EmitResponse},
    event::{Level, Metadata, TRACEPARENT_VARIABLE, json::from_pairs, note_trace},
    schema::events::Event,
    telemetry::ErrorChain,
};

const EXAMPLES: &str = "\
Examples:
  rodent emit storage.pool.created pool_name=tank
  rodent emit service.status.failed service_name=smbd -l error -m ticket=7
  echo '{\"kind\": \"storage.pool.created\"}' | rodent emit --json -
  rodent events -o jsonl | rodent --socket /run/other.sock emit --json -
  rodent emit --spool storage.pool.created pool_name=tank   or left for it

JSON is read one event a line, or as values one after another; arrays are opened. What is no event is reported with its \
line, and the rest is stored. What `rodent events` has printed is taken as it is.

With --spool an event that the agent does not take now lies in its spool, at most 1,000 of them with those of hooks, and is \
taken in within seconds of its start.

The trace that the variable TRACEPARENT names goes with the event as metadata, and as a header to who gets it by webhook.

Exit codes: 0 all taken or left, 65 something was refused, 69 no agent, 77 no permission.";

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
    /// Leave the event for the agent when it does not take it now; for root and the agent's own user
    #[arg(long, conflicts_with = "json")]
    spool: bool,
    /// The agent's configuration, for the place of its spool
    #[arg(long, value_name = "FILE", requires = "spool")]
    config: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    if key.is_empty() {
        Err("the key is missing before `=`".to_owned())
    } else {
        Ok((key.to_owned(), value.to_owned()))
    }
}

impl Arguments {
    /// An event of that kind, left for the agent where it does not take it now and may be left.
    pub(super) fn one(kind: &str, fields: Vec<(String, String)>, spool: bool) -> Arguments {
        let (level, metadata, json, config) = (None, Vec::new(), None, None);
        Arguments { kind: Some(kind.to_owned()), fields, level, metadata, json, no_wait: false, spool, config }
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
    let mut metadata = metadata(&arguments.metadata)?;
    if let Some(trace) = trace() {
        note_trace(&mut metadata, &trace);
    }
    let mut event = from_pairs(kind, arguments.level, &arguments.fields, metadata)
        .map_err(|error| Failure::data(error.to_string()))?;
    if arguments.spool {
        // So that it can be known should it come both ways.
        complete(&mut event);
    }
    let events = [event];
    let emitted = async { Client::connect(socket).await?.emit(&events, durability).await };
    let answer = match emitted.await {
        Err(error @ (ClientError::NotRunning(_) | ClientError::Unavailable(_))) if arguments.spool => {
            let [event] = &events;
            return leave(event, &error, arguments.config.as_deref());
        }
        answer => answer?,
    };
    // What is not durable is told to scripts too.
    if stderr().is_terminal() || !answer.only_in_memory.is_empty() {
        tell(&words(&answer));
    }
    Ok(ExitCode::SUCCESS)
}

/// Leaves an event that the agent did not take where it finds it.
fn leave(event: &Event, why: &ClientError, config: Option<&Path>) -> Result<ExitCode, Failure> {
    let places = Places::of(config, None);
    let left = places.spool.leave(&event.encode_to_vec());
    left.map_err(|error| {
        Failure::unavailable(format!("the event is not given: {}; {}", ErrorChain(why), ErrorChain(&error)))
    })?;
    tell(&format!("left for the agent as {}, which does not take it now", event.event_id));
    places.guess.iter().for_each(|guess| tell(guess));
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

/// The trace that whoever runs the command says it belongs to. What is none is told, and left out: an event matters more.
fn trace() -> Option<String> {
    let trace = std::env::var_os(TRACEPARENT_VARIABLE).filter(|trace| !trace.is_empty())?.into_string();
    let is_one = |trace: &String| note_trace(&mut Metadata::new(), trace);
    let trace = trace.ok().filter(is_one);
    if trace.is_none() {
        tell(&format!("{TRACEPARENT_VARIABLE} is no trace context of the W3C, and is left out"));
    }
    trace
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
