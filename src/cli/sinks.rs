//! `rodent sinks`: tries whether what an agent tells arrives where it is to.

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use super::{Failure, failure::Code};
use crate::{
    client::{Client, TestSinkResponse},
    terminal::{Screen, quiet_end, time_utc},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  rodent sinks test phone        does a message arrive?
  rodent consumers list          how all of them are
  rodent consumers show phone    how one is";

const TEST_EXAMPLES: &str = "\
Examples:
  rodent sinks test phone
  sudo rodent sinks test phone && echo it arrives

The agent sends it by the way that events go, with the sink's own address, secrets and format. For root and the agent's \
own user.

Exit codes: 0 taken, 1 not taken, 65 no such sink, 69 no agent, 77 no permission.";

/// Arguments of `rodent sinks`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Have a sink send a message that says it is a test
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// As `sinks` in rodent.yml calls it
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let Command::Test { name } = arguments.command;
    let TestSinkResponse { target, error, answer, milliseconds, certificate_until } =
        Client::connect(socket).await?.test_sink(&name).await?;
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
