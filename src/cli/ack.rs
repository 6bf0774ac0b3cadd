//! `rodent ack`: marks what is wrong with a thing as known.

use std::{path::Path, process::ExitCode};

use super::Failure;
use crate::{
    client::{AcknowledgeRequest, Client},
    terminal::{Screen, quiet_end},
};

const EXAMPLES: &str = "\
Examples:
  rodent problems                              names the subjects
  rodent ack tank --note 'disk is ordered'
  rodent ack tank --state 'pool scrub' --note 'after the backup'
  rodent events system.problem                 who knew of what, and when

It is known until it gets worse or ends, and shown as such. Who, when and why become an event.

Exit codes: 0 done, 65 nothing is wrong with it, 69 no agent, 77 no permission.";

/// Mark a problem as known, until it gets worse or ends
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// What it is about, as `rodent problems` names it
    subject: String,
    /// Why it may stay so for now
    #[arg(short, long, value_name = "TEXT")]
    note: String,
    /// Which of its states, as `rodent state SUBJECT` names it [default: all that are wrong]
    #[arg(long, value_name = "NAME")]
    state: Option<String>,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let Arguments { subject, note, state } = arguments;
    let request = AcknowledgeRequest { subject, note, state: state.unwrap_or_default() };
    let known = Client::connect(socket).await?.acknowledge(request).await?;
    let mut screen = Screen::stdout();
    let printed = known.iter().try_for_each(|state| {
        let text = state.changes.first().map(|now| now.text.as_str()).unwrap_or_default();
        screen.line(&format!("known: {} of {}, {}: {text}", state.state, state.subject, state.level().word()))
    });
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}
