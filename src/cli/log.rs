//! `rodent log`: the event log of an agent that does not run: looked at, read, and repaired. What root makes in it belongs to
//! whoever owns the log.

mod check;
mod export;
mod repair;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand, builder::PossibleValuesParser, builder::TypedValueParser as _};

use super::{Failure, failure::Code};
use crate::{
    agent::config::Config,
    event_log::{Lane, StoppedLog},
    files,
    terminal::{Output, grouped},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  systemctl stop rodent && rodent log check  is everything there?
  rodent log export --lane urgent > events.jsonl
  rodent log repair                          what would be done
  rodent log repair --apply                  do it; damaged files are kept

The agent must not run: it repairs by itself what it finds when it starts.";

const CHECK_EXAMPLES: &str = "\
Examples:
  rodent log check
  rodent log check -o json | jq '.generations[] | select(.missing != [])'
  rodent log check --directory /mnt/old/var/lib/rodent/log

Reads the whole log and changes nothing.

Exit codes: 0 all is well, 65 something is damaged, 66 no log is there, 69 it is in use.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  rodent log export > events.jsonl
  rodent log export --lane urgent | jq .kind
  rodent log export | rodent --socket /run/other.sock emit --json -

What is not there any more is said on standard error.

Exit codes: 0 everything was there, 65 something was damaged or gone, 66 no log is there, 69 it is in use.";

const REPAIR_EXAMPLES: &str = "\
Examples:
  rodent log repair                              only says what it would do
  rodent log repair --apply                      does it

What is damaged is moved to `quarantine` in the log's directory, never deleted. Events that are gone stay gone; the agent \
reports which when it runs again.

Exit codes: 0 done or nothing to do, 66 no log is there, 69 it is in use, 77 it belongs to somebody else.";

/// Arguments of `rodent log`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is stored, and what is wrong with it (exit code 65)
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        place: Place,
        /// How to print: table, json (one document) or jsonl (one line)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
    },
    /// Print what is stored as JSON, an event a line, oldest first, urgent ones before routine ones
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        #[command(flatten)]
        place: Place,
        /// Only this lane: urgent or routine
        #[arg(long, value_name = "LANE", value_parser = lane(), hide_possible_values = true)]
        lane: Option<Lane>,
    },
    /// Take what is damaged out of the way, and keep it
    #[command(after_help = REPAIR_EXAMPLES)]
    Repair {
        #[command(flatten)]
        place: Place,
        /// Do it, instead of saying what would be done
        #[arg(long)]
        apply: bool,
    },
}

/// Which log.
#[derive(Debug, Args)]
struct Place {
    /// The log's directory; without it `log` in the `state_directory` of the configuration
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// The configuration; without it /etc/rodent/rodent.yml and its drop-ins
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    config: Option<PathBuf>,
}

fn lane() -> impl clap::builder::TypedValueParser<Value = Lane> {
    PossibleValuesParser::new(Lane::ALL.map(Lane::name))
        .map(|name| Lane::from_name(&name).expect("one of the possible values"))
}

impl Place {
    fn open(self) -> Result<StoppedLog, Failure> {
        let directory = match self.directory {
            Some(directory) => directory,
            None => {
                let loaded = Config::load(self.config.as_deref(), Path::new("/"))
                    .map_err(|faults| Failure::config(faults.to_string()))?;
                loaded.config.state_directory.join("log")
            }
        };
        let directory = become_owner(directory)?;
        Ok(StoppedLog::open(&directory)?)
    }
}

/// Has root go on as whoever decides what lies in the log, or as itself where all of it is root's. Gives the directory
/// without links.
fn become_owner(directory: PathBuf) -> Result<PathBuf, Failure> {
    let directory = StoppedLog::locate(&directory)?;
    let refused = |error| Failure::of(Code::Permission, &error);
    let Some(uid) = files::become_owner(&directory).map_err(refused)? else {
        // A copy that was made root's still has the links and rights that its owner gave it.
        files::refuse_others_within(&directory).map_err(refused)?;
        return Ok(directory);
    };
    fs::read_dir(&directory).map_err(|error| {
        let directory = directory.display();
        Failure::permission(format!(
            "list {directory} as its owner, user {uid}: {error}; root does nothing where another user decides what lies \
             there; for a copy of a log, make it root's: chown -R root: {directory}"
        ))
    })?;
    Ok(directory)
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Check { place, output } => check::run(&place.open()?, output),
        Command::Export { place, lane } => export::run(&place.open()?, lane),
        Command::Repair { place, apply } => repair::run(&place.open()?, apply),
    }
}

/// Sequences in words: `7` or `7-9`.
fn span(range: &Range<u64>) -> String {
    match range.end.saturating_sub(range.start) {
        0 => "none".to_owned(),
        1 => grouped(range.start),
        _ => format!("{}-{}", grouped(range.start), grouped(range.end - 1)),
    }
}

/// The most stretches that a line names.
const SPANS_MAX: usize = 4;

/// How many sequences these are, and which.
fn spans(ranges: &[Range<u64>]) -> (u64, String) {
    let count = ranges.iter().map(|range| range.end - range.start).sum();
    let mut named: Vec<String> = ranges.iter().take(SPANS_MAX).map(span).collect();
    if ranges.len() > SPANS_MAX {
        named.push(format!("and {} more stretches", ranges.len() - SPANS_MAX));
    }
    (count, named.join(", "))
}
