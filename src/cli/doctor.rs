//! `rodent doctor`: what is wrong here, and what to do about it. Looks at everything that has to be right for events to reach
//! the controller, whether the agent runs or not, and as whoever may look.
//!
//! Given the configuration, the agent's socket and [`probe`](crate::agent::probe); gives a [`Finding`](finding::Finding) a line
//! and an exit code. Always holds: nothing is changed and nothing registered; every check has its time; what cannot be looked
//! at is `skip` with the reason, never `pass`. One file a domain; [`check::ALL`] lists them.

mod check;
mod clock;
mod configuration;
mod controller;
mod eyes;
mod finding;
mod hooks;
mod listeners;
mod log;
mod patient;
mod permissions;
mod print;
mod send;
mod service;
mod socket;
mod space;
mod token;

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use self::{finding::Mark, patient::Patient, print::Row};
use super::{Failure, failure::Code};
use crate::order::{Gather as _, Sorted as _};
use crate::terminal::{Output, Screen, quiet_end};

/// After this long, who looks at a terminal is told what is waited for.
const PROGRESS_AFTER: Duration = Duration::from_millis(700);

const EXAMPLES: &str = "\
Examples:
  sudo rodent doctor                       look at everything
  rodent doctor                            as far as this user may look
  sudo rodent doctor --send                does an event arrive?
  rodent doctor -o json | jq '.findings[] | select(.mark == \"fail\")'
  rodent --socket ./rodent.sock doctor --config ./rodent.yml

pass: as it should be. warn: it works, but look at it. fail: it does not work. skip: not looked at, and why. An arrow \
says what to do.

Exit codes: 0 nothing fails (with --send: it arrived), 1 something does (it did not), 69 no agent to send to, 77 no \
permission.";

/// Find out what is wrong, and what to do about it
///
/// Looks at configuration, permissions, service, socket, event log, disk, hooks, token, clock, and the way to the controller. Changes
/// nothing, and works with the agent running or not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The configuration; without it /etc/rodent/rodent.yml and its drop-ins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Emit a test event and follow it until the controller has it
    #[arg(long)]
    send: bool,
    /// How long to follow it: 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "send", value_parser = send::timeout)]
    timeout: Duration,
    /// For its own child: become this user, and say which of the files it may not read
    #[arg(long, hide = true, value_name = "UID", requires = "file")]
    as_user: Option<u32>,
    #[arg(long, hide = true, value_name = "FILE", requires = "as_user")]
    file: Vec<PathBuf>,
    /// How to print: table, json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments, socket: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let Arguments { config, send, timeout, as_user, file, output } = arguments;
    if let Some(user) = as_user {
        return eyes::tell(user, &file);
    }
    let patient = Patient::find(config, socket).await;
    if send {
        return send::run(&patient.socket, timeout, output).await;
    }
    let rows = examine(Arc::new(patient)).await;
    let mut screen = Screen::stdout();
    quiet_end(print::all(&rows, &print::user(), output, &mut screen).and_then(|()| screen.flush()))?;
    let fails = rows.iter().any(|row| row.finding.mark == Mark::Fail);
    Ok(if fails { Code::Other.into() } else { ExitCode::SUCCESS })
}

/// All findings, in the order of the checks.
async fn examine(patient: Arc<Patient>) -> Vec<Row> {
    let run = |(number, check): (usize, &'static check::Check)| {
        let patient = Arc::clone(&patient);
        async move { (number, check.run(patient).await) }
    };
    let mut running: FuturesUnordered<_> = check::ALL.iter().enumerate().map(run).collect();
    let mut waited_for: BTreeSet<usize> = (0..check::ALL.len()).gather();
    let mut found: Vec<(usize, Vec<finding::Finding>)> = Vec::new();
    let mut progress = Progress::default();
    loop {
        tokio::select! {
            next = running.next() => match next {
                Some((number, findings)) => {
                    waited_for.remove(&number);
                    found.push((number, findings));
                }
                None => break,
            },
            () = tokio::time::sleep(PROGRESS_AFTER) => {
                let names: Vec<_> = waited_for.iter().filter_map(|number| Some(check::ALL.get(*number)?.name)).collect();
                progress.show(&names);
            }
        }
    }
    progress.clear();
    found.order_by_key(|(number, _)| *number);
    let named = found.into_iter().filter_map(|(number, findings)| Some((check::ALL.get(number)?.name, findings)));
    named.flat_map(|(check, findings)| findings.into_iter().map(move |finding| Row { check, finding })).collect()
}

/// A line on standard error that is gone afterwards; none where nobody looks.
#[derive(Default)]
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn show(&mut self, names: &[&str]) {
        let seconds = check::ALL_TIME_MAX.as_secs();
        self.write(&format!("\r\x1b[Klooking at {} (at most {seconds} s)", names.join(", ")));
        self.is_shown = true;
    }

    fn clear(&mut self) {
        if self.is_shown {
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        let mut error = std::io::stderr();
        if error.is_terminal() {
            // Who has closed it does not want to be told.
            let _ = error.write_all(text.as_bytes()).and_then(|()| error.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_agent_and_without_rights_every_check_says_something() {
        let rows = examine(Arc::new(Patient::of_tests(""))).await;
        for check in check::ALL {
            assert!(rows.iter().any(|row| row.check == check.name), "{} says nothing", check.name);
        }
        let of = |name: &str| rows.iter().find(|row| row.check == name).map(|row| row.finding.mark);
        assert_eq!(
            (of("socket"), of("token"), of("controller")),
            (Some(Mark::Fail), Some(Mark::Skip), Some(Mark::Skip))
        );
        let advised = rows.iter().filter(|row| row.finding.mark >= Mark::Warn);
        assert!(advised.into_iter().all(|row| !row.finding.advice.is_empty()), "what to do is always said");
    }
}
