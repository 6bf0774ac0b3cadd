//! `rodent hooks`: which daemons of the machine tell the agent what happens, and having them do so.

use std::{
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Subcommand;
use serde::Serialize;

use super::{Failure, hook::daemon};
use crate::{
    client::{Client, ClientError, QueryRequest},
    event::{EventView, Summary},
    hooks::{self, Daemon, Enabled, HookChange, HookState},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, human_duration, quiet_end},
};

/// How long the agent may take to tell of last events; without an answer there are none.
const ANSWER_MAX: Duration = Duration::from_secs(2);

pub(super) const EXAMPLES: &str = "\
Examples:
  rodent hooks                     what is here, and what is enabled
  rodent hooks enable zed          as root; says what it made
  rodent hooks disable --all       leaves everything as it was

Exit codes: 0 done or nothing to do, 1 something else stands in the place, 69 the daemon is not here or wants a line \
written by hand, 77 not root.";

const ENABLE_EXAMPLES: &str = "\
Examples:
  sudo rodent hooks enable zed && sudo systemctl restart zfs-zed
  sudo rodent hooks enable smartd mdadm

Nothing of others is changed: where something else stands in the place, it says what. A daemon that reads its settings \
only when it starts has to be started anew; that is said, too.

Exit codes: 0 done or nothing to do, 1 something else stands in the place, 69 the daemon is not here or wants a line \
written by hand, 77 not root.";

const DISABLE_EXAMPLES: &str = "\
Examples:
  sudo rodent hooks disable zed
  sudo rodent hooks disable --all

Takes away what `enable` has made, and nothing else.

Exit codes: 0 done or nothing to do, 1 what it made has been edited since and stays, 77 not root.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How to print the list: table, json (one document) or jsonl (one object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Have daemons tell the agent
    #[command(after_help = ENABLE_EXAMPLES)]
    Enable {
        /// zed, smartd or mdadm
        #[arg(required = true, value_parser = daemon, value_name = "DAEMON")]
        daemons: Vec<Daemon>,
    },
    /// Have daemons tell the agent no more
    #[command(after_help = DISABLE_EXAMPLES)]
    Disable {
        /// zed, smartd or mdadm
        #[arg(required_unless_present = "all", value_parser = daemon, value_name = "DAEMON")]
        daemons: Vec<Daemon>,
        /// Every one of them
        #[arg(long, conflicts_with = "daemons")]
        all: bool,
    },
}

pub(super) async fn run(arguments: Arguments, socket: std::path::PathBuf) -> Result<ExitCode, Failure> {
    let root = Path::new("/");
    let mut screen = Screen::stdout();
    match arguments.command {
        None => {
            let rows = rows(hooks::state(root), &socket).await;
            quiet_end(print(&rows, arguments.output, &mut screen).and_then(|()| screen.flush()))?;
        }
        Some(Command::Enable { daemons }) => {
            for daemon in daemons {
                let change = hooks::enable(daemon, root)?;
                quiet_end(tell(daemon, &change, "enabled", &mut screen))?;
            }
        }
        Some(Command::Disable { daemons, all }) => {
            let daemons = if all { Daemon::ALL.to_vec() } else { daemons };
            let mut failure = None;
            for daemon in daemons {
                match hooks::disable(daemon, root) {
                    // Of all, only what has changed is worth a word.
                    Ok(change) if all && change.done.is_empty() => {}
                    Ok(change) => quiet_end(tell(daemon, &change, "disabled", &mut screen))?,
                    // One that stays must not keep the others.
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was changed, and what is left to do.
fn tell(daemon: Daemon, change: &HookChange, state: &str, screen: &mut Screen) -> io::Result<()> {
    for (path, what) in &change.done {
        screen.line(&format!("{what} {}", path.display()))?;
    }
    match (change.done.is_empty(), change.then) {
        (true, _) => screen.line(&format!("{daemon} was already {state}; nothing has been changed"))?,
        (false, "") => screen.line(&format!("{daemon} is {state}, at once"))?,
        (false, then) => screen.line(&format!("{daemon} is {state} as soon as it starts anew: {then}"))?,
    }
    screen.flush()
}

/// A daemon in the list.
#[derive(Debug, Serialize)]
struct Row {
    daemon: &'static str,
    present: bool,
    state: String,
    place: String,
    remark: String,
    last_event: Option<LastEvent>,
}

#[derive(Debug, Serialize)]
struct LastEvent {
    /// Unix milliseconds.
    time: i64,
    kind: String,
    subject: String,
}

async fn rows(states: Vec<HookState>, socket: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for state in states {
        let asked = tokio::time::timeout(ANSWER_MAX, last_event(state.daemon, socket)).await;
        let remark = match &state.enabled {
            Enabled::Blocked(why) => why.clone(),
            Enabled::Partly => format!("put the rest there by `rodent hooks enable {}`", state.daemon),
            _ => state.remark,
        };
        rows.push(Row {
            daemon: state.daemon.name(),
            present: state.present,
            state: state.enabled.to_string(),
            place: state.place,
            remark,
            last_event: asked.ok().and_then(Result::ok).flatten(),
        });
    }
    rows
}

async fn last_event(daemon: Daemon, socket: &Path) -> Result<Option<LastEvent>, ClientError> {
    let query = QueryRequest { filter: vec![format!("meta.component={daemon}")], limit: 1, ..Default::default() };
    let mut events = Client::connect(socket).await?.query(query).await?;
    let mut last = None;
    while let Some(page) = events.next().await? {
        let found = page.events.last().and_then(|stored| EventView::decode(&stored.event).ok());
        last = found.map(|view| LastEvent {
            time: view.timestamp(),
            kind: view.kind().to_string(),
            subject: Summary::of(&view).subject,
        });
    }
    Ok(last)
}

fn print(rows: &[Row], output: Output, screen: &mut Screen) -> io::Result<()> {
    match output {
        Output::Json => return screen.json_document(&rows),
        Output::Jsonl => return rows.iter().try_for_each(|row| screen.json(row)),
        Output::Table => {}
    }
    let columns =
        [Column::left("DAEMON"), Column::left("HOOK"), Column::left("WHERE").elastic(16), Column::left("LAST EVENT")];
    let mut table = TextTable::new(&columns);
    for row in rows {
        let hook = if row.present || row.state != "disabled" { row.state.as_str() } else { "not here" };
        let tone = match hook {
            "enabled" if row.remark.is_empty() => Tone::Good,
            "disabled" | "not here" => Tone::Dim,
            _ => Tone::Warn,
        };
        let place = if hook == "not here" || row.place.is_empty() { "-" } else { &row.place };
        let last = row.last_event.as_ref().map_or_else(|| "-".to_owned(), |last| words(last, SystemTime::now()));
        table.row([Cell::from(row.daemon), Cell::toned(hook, tone), Cell::from(place), Cell::from(last)]);
    }
    table.print(screen)?;
    for row in rows.iter().filter(|row| !row.remark.is_empty()) {
        screen.line("")?;
        screen.sentence(&format!("{}: {}", row.daemon, row.remark))?;
    }
    Ok(())
}

/// `2m 3s ago storage.pool.created tank`
fn words(last: &LastEvent, now: SystemTime) -> String {
    let since = UNIX_EPOCH + Duration::from_millis(u64::try_from(last.time).unwrap_or_default());
    let age = human_duration(now.duration_since(since).unwrap_or_default());
    format!("{age} ago {} {}", last.kind, last.subject).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::page;

    #[test]
    fn a_long_remark_goes_on_in_the_next_line_and_nothing_of_it_is_cut() {
        let place = format!("/etc/{}", "directory/".repeat(12));
        let row = Row {
            daemon: "zed",
            present: true,
            state: "blocked".to_owned(),
            place: String::new(),
            remark: format!("a file of somebody else stands in the place of the hook; look at {place}"),
            last_event: None,
        };
        let printed = page::printed(Some(80), |screen| print(&[row], Output::Table, screen));
        assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
        assert!(printed.replace('\n', "").contains(&place), "{printed}");
    }
}
