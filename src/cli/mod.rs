//! The command line: one file a command, each with its arguments and `run`.
//!
//! Takes words and standard input, gives tables, JSON and an exit code (those of sysexits). `emit`, `transfer`, `events`, `show`,
//! `status`, `problems`, `state`, `ack`, `silence`, `top`, `reload`, `consumers`, `sinks` and `dead-letters` are thin clients of the
//! agent's socket; `doctor`
//! looks without one, too. Always holds:
//! results go to standard output and everything else to standard error, one line each; a reader that goes away ends a command
//! quietly.

mod ack;
mod agent;
#[cfg(feature = "bench")]
mod bench;
mod config;
mod consumers;
mod dead_letters;
mod doctor;
mod emit;
mod events;
mod failure;
mod hook;
mod hooks;
mod kinds;
mod log;
mod problems;
mod reload;
mod show;
mod silence;
mod sinks;
mod socket;
mod state;
mod status;
mod top;
mod transfer;
#[cfg(feature = "bench")]
mod try_out;

use std::{env, future::Future, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::{
    allocator::Allocator,
    terminal::{Screen, quiet_end},
    visible::visible_lines,
};

pub use failure::{EXIT_CODES, Failure};

const EXAMPLES: &str = "\
Examples:
  rodent status                          is all well?
  rodent problems                        what is wrong with this machine
  rodent doctor                          what is wrong, and what to do
  rodent events -f 'level>=warn'         trouble, as it comes
  rodent emit storage.pool.created pool_name=tank

Every command has its own --help, with examples.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  rodent config check                the one in force, with its drop-ins
  rodent config check ./rodent.yml   before it is put there
  rodent config show                 every setting, and where it came from";

/// The event agent of a storage appliance: collects events of this machine, keeps them durably and uploads them.
#[derive(Debug, Parser)]
#[command(name = "rodent", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    /// The agent's socket [default: `socket` of the configuration]
    #[arg(long, global = true, env = "RODENT_SOCKET", hide_env_values = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Agent(agent::Arguments),
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    Try(try_out::Arguments),
    Emit(emit::Arguments),
    Transfer(transfer::Arguments),
    Events(events::Arguments),
    Show(show::Arguments),
    Kinds(kinds::KindsArguments),
    Describe(kinds::DescribeArguments),
    Status(status::Arguments),
    Problems(problems::Arguments),
    State(state::Arguments),
    Ack(ack::Arguments),
    Silence(silence::Arguments),
    Top(top::Arguments),
    Doctor(doctor::Arguments),
    /// Look after those who listen to the log
    #[command(after_help = consumers::EXAMPLES)]
    Consumers(consumers::Arguments),
    /// Look after those who are told besides the controller
    #[command(after_help = sinks::EXAMPLES)]
    Sinks(sinks::Arguments),
    /// Decide about events that consumers refuse
    #[command(after_help = dead_letters::EXAMPLES)]
    DeadLetters(dead_letters::Arguments),
    /// Check the configuration, or show what it comes to
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(config::ConfigArguments),
    Reload(reload::Arguments),
    /// Check, read or repair the event log of an agent that does not run
    #[command(after_help = log::EXAMPLES)]
    Log(log::Arguments),
    /// Have ZED, smartd and mdadm tell the agent at once
    #[command(after_help = hooks::EXAMPLES)]
    Hooks(hooks::Arguments),
    #[command(hide = true)]
    Hook(hook::Arguments),
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    Bench(bench::Arguments),
}

/// The commands with their arguments and helps, for man pages and completions.
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Parses the words of the command line and does what they say.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => arguments.command.run(arguments.socket).unwrap_or_else(|failure| failure.report("rodent")),
        Err(error) => usage(&error),
    }
}

impl Command {
    fn run(self, named: Option<PathBuf>) -> Result<ExitCode, Failure> {
        match self {
            Command::Agent(arguments) => {
                // While there is one thread. Another C library has its own way, which is left alone.
                Allocator::default().apply();
                agent::run(&arguments, named)
            }
            #[cfg(feature = "bench")]
            Command::Try(arguments) => try_out::run(&arguments),
            Command::Emit(arguments) => wait_for(async { emit::run(arguments, &socket::of(named).await).await }),
            Command::Transfer(arguments) => {
                wait_for(async { transfer::run(arguments, &socket::of(named).await).await })
            }
            Command::Events(arguments) => wait_for(async { events::run(arguments, &socket::of(named).await).await }),
            Command::Show(arguments) => wait_for(async { show::run(arguments, &socket::of(named).await).await }),
            Command::Kinds(arguments) => kinds::list(&arguments),
            Command::Describe(arguments) => kinds::describe(&arguments),
            Command::Status(arguments) => wait_for(async { status::run(arguments, &socket::of(named).await).await }),
            Command::Problems(arguments) => {
                wait_for(async { problems::run(arguments, &socket::of(named).await).await })
            }
            Command::State(arguments) => wait_for(async { state::run(arguments, &socket::of(named).await).await }),
            Command::Ack(arguments) => wait_for(async { ack::run(arguments, &socket::of(named).await).await }),
            Command::Silence(arguments) => wait_for(async { silence::run(arguments, &socket::of(named).await).await }),
            Command::Top(arguments) => wait_for(async { top::run(arguments, &socket::of(named).await).await }),
            Command::Doctor(arguments) => wait_for(doctor::run(arguments, named)),
            Command::Consumers(arguments) => {
                wait_for(async { consumers::run(arguments, &socket::of(named).await).await })
            }
            Command::Sinks(arguments) => wait_for(async { sinks::run(arguments, &socket::of(named).await).await }),
            Command::DeadLetters(arguments) => {
                wait_for(async { dead_letters::run(arguments, &socket::of(named).await).await })
            }
            Command::Config(arguments) => Ok(config::run(arguments, named)),
            Command::Reload(arguments) => wait_for(async { reload::run(arguments, &socket::of(named).await).await }),
            Command::Log(arguments) => log::run(arguments),
            Command::Hooks(arguments) => wait_for(async { hooks::run(arguments, socket::of(named).await).await }),
            Command::Hook(arguments) => wait_for(hook::run(arguments, named)),
            #[cfg(feature = "bench")]
            Command::Bench(arguments) => bench::run(arguments),
        }
    }
}

/// Runs a client of the socket.
fn wait_for<F: Future<Output = Result<ExitCode, Failure>>>(command: F) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    // A thread that still waits for standard input must not keep the process.
    runtime.shutdown_background();
    result
}

/// Prints help or version, or what is wrong with the words.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is left to be told when the help cannot be printed.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::MissingSubcommand if env::args_os().len() == 1 => {
            anstream::eprint!("{}", Arguments::command().render_help().ansi());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            anstream::eprint!("{}", error.render().ansi());
        }
        _ => {
            let text = error.render().to_string();
            // The words of the command line are in it, wherever they came from.
            anstream::eprint!("rodent: {}", visible_lines(text.strip_prefix("error: ").unwrap_or(&text)));
        }
    }
    failure::Code::Usage.into()
}

/// Tells that something is done.
fn say(line: &str) -> Result<(), Failure> {
    let mut screen = Screen::stdout();
    Ok(quiet_end(screen.line(line).and_then(|()| screen.flush()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_all_commands_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    /// A line that a terminal breaks is no example any more: nobody can copy it. Man pages have it five columns further right.
    #[test]
    fn every_example_fits_80_columns_of_a_man_page() {
        let mut commands = vec![Arguments::command()];
        let mut examples = 0;
        while let Some(command) = commands.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 75, "{}: {line}", command.get_name());
                examples += 1;
            }
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(examples > 40, "those of all commands: {examples}");
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let shown = command.get_after_help().is_some_and(|text| text.to_string().contains("Examples"));
            assert!(shown, "{} has no examples", command.get_name());
        }
    }
}
