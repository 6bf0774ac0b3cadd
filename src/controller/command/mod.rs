//! `rodent-controller`: arguments in, exit code out. Each command has its file; what they print goes through
//! `terminal`, what goes wrong ends here with one line on standard error and a code of sysexits.

mod events;
mod failure;
mod gaps;
mod location;
mod nodes;
mod serve;
mod token;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use failure::{Code, Failure};

/// Where `serve` keeps events when nothing else is said, and where `events` and `nodes` look.
const STORE_DEFAULT: &str = "sqlite:/var/lib/rodent-controller/events.db";

const ABOUT: &str = "The reference controller of Rodent: takes events from agents and stores them durably.

An agent's event is answered for only when it is on disk. Repeats are dropped.";

const EXAMPLES: &str = "Examples:
  (umask 077; head -c 32 /dev/urandom | base64 > secret)
  rodent-controller serve --store sqlite:events.db --token-secret secret
  rodent-controller token --token-secret secret --node nas-1 > nas-1.token
  rodent-controller events --store sqlite:events.db 'level>=warn'
  rodent-controller nodes --store sqlite:events.db
  rodent-controller gaps --store sqlite:events.db --node nas-1

Exit codes: 0 done, 1 events are missing (`gaps`), 64 wrong usage, 65 not an
event database, 66 no such file or node, 74 input or output failed, or an
address cannot be had now, 77 as root: others decide what lies there, 78 wrong
key, certificate or address.";

#[derive(Parser)]
#[command(name = "rodent-controller", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Events(events::Arguments),
    Nodes(nodes::Arguments),
    Gaps(gaps::Arguments),
    Token(token::Arguments),
}

/// The commands with their arguments and helps, for man pages and completions.
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the arguments name (the first is the program); gives the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(message) => return explain(&message),
    };
    let result = match command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Events(arguments) => events::run(arguments),
        Command::Nodes(arguments) => nodes::run(arguments),
        Command::Gaps(arguments) => gaps::run(arguments),
        Command::Token(arguments) => token::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("rodent-controller"),
    }
}

/// Help and version were asked for; anything else is wrong usage.
fn explain(message: &clap::Error) -> ExitCode {
    // Err: nobody reads.
    let _ = message.print();
    if message.use_stderr() { Code::Usage.into() } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_help_fits_80_columns() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        let mut helps = vec![command.render_long_help().to_string()];
        for sub in command.get_subcommands_mut() {
            helps.push(sub.clone().max_term_width(80).render_long_help().to_string());
            // As it is written: what is broken here nobody can copy.
            helps.extend(sub.get_after_help().map(ToString::to_string));
        }
        assert!(helps.len() > 8, "the program and its commands");
        for line in helps.iter().flat_map(|help| help.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
