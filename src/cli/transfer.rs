//! `rodent transfer`: tells how a transfer of data goes, from the script that does it. It is `rodent emit` with the right kinds.

use std::{path::Path, process::ExitCode};

use super::{Failure, emit};
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::words::parse_size;

const EXAMPLES: &str = "\
Examples:
  rodent transfer start nightly --detail 'tank to backup1' --total 12GiB
  rodent transfer progress nightly --done 3GiB --total 12GiB
  rodent transfer failed nightly --detail 'rsync ended with 23'
  rodent transfer done nightly --done 12GiB
  rodent problems                              names those that failed

One that failed is a problem until the same one is done, or cancelled.

Exit codes: 0 taken or left, 65 something was refused, 69 no agent, 77 no permission.";

/// Tell how a transfer of data goes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How it is
    #[arg(value_parser = PossibleValuesParser::new(steps()))]
    step: String,
    /// What it is called; the same in each of its runs
    id: String,
    /// From where to where, or why it failed
    #[arg(long, short, value_name = "TEXT")]
    detail: Option<String>,
    /// As much as has been transferred: bytes, or 3GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    done: Option<u64>,
    /// As much as there is to transfer
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    total: Option<u64>,
    /// Leave it for the agent when it does not take it now; for root and the agent's own user
    #[arg(long)]
    spool: bool,
}

/// What may be said of one; what it is called elsewhere, too.
fn steps() -> [PossibleValue; 7] {
    let [start, progress, done, failed, cancelled, paused, resumed] =
        ["start", "progress", "done", "failed", "cancelled", "paused", "resumed"].map(PossibleValue::new);
    [start.alias("started"), progress, done.aliases(["finished", "completed"]), failed, cancelled, paused, resumed]
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let (kind, fields, spool) = event(arguments);
    emit::run(emit::Arguments::one(&kind, fields, spool), socket).await
}

/// The kind and the fields of what is told, and whether it may be left for the agent.
fn event(arguments: Arguments) -> (String, Vec<(String, String)>, bool) {
    let operation = match arguments.step.as_str() {
        "start" | "started" => "started",
        "done" | "finished" | "completed" => "completed",
        step => step,
    };
    let fields = [
        ("transfer_id", Some(arguments.id)),
        ("detail", arguments.detail),
        ("done_bytes", arguments.done.map(|size| size.to_string())),
        ("total_bytes", arguments.total.map(|size| size.to_string())),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    (format!("data_transfer.transfer.{operation}"), fields, arguments.spool)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::event::{Metadata, json::from_pairs};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn told(words: &str) -> Option<String> {
        let program = Program::try_parse_from(std::iter::once("transfer").chain(words.split(' '))).ok()?;
        let (kind, fields, spool) = event(program.arguments);
        from_pairs(&kind, None, &fields, Metadata::new()).expect("a kind and fields of the schema");
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(format!("{kind} {}{}", fields.join(" "), if spool { " or left" } else { "" }))
    }

    #[test]
    fn each_step_is_a_kind_of_the_schema_with_what_is_known_of_it() {
        let expected = [
            ("start nightly --total 12GiB -d tank", "started transfer_id=nightly detail=tank total_bytes=12884901888"),
            (
                "progress nightly --done 1KiB --total 4KiB",
                "progress transfer_id=nightly done_bytes=1024 total_bytes=4096",
            ),
            ("done nightly --done 7 --spool", "completed transfer_id=nightly done_bytes=7 or left"),
            ("failed nightly", "failed transfer_id=nightly"),
            ("cancelled nightly", "cancelled transfer_id=nightly"),
            ("paused nightly", "paused transfer_id=nightly"),
            ("resumed nightly", "resumed transfer_id=nightly"),
        ];
        for (words, line) in expected {
            assert_eq!(told(words).as_deref(), Some(&*format!("data_transfer.transfer.{line}")), "{words}");
        }
        assert_eq!((told("begin nightly"), told("start nightly --done much")), (None, None));
    }
}
