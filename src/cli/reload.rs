//! `rodent reload`: has the agent read its configuration again.

use std::{io, path::Path, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, failure::tell};
use crate::{
    client::{ChangedSetting, Client, ReloadRequest, ReloadResponse},
    terminal::{Cell, Column, Output, Screen, TextTable, quiet_end},
};

const EXAMPLES: &str = "\
Examples:
  rodent reload                      put in force what the files say
  rodent reload --dry-run            only tell what that would change
  rodent config show                 every setting, and where it stands

The files are checked first: when anything is wrong with them nothing changes. Nothing is lost meanwhile, and nothing is \
interrupted that the change does not touch. Settings that a controller has sent end with it. For root and the agent's own \
user; `systemctl reload rodent` and SIGHUP do the same.

Exit codes: 0 applied (what waits for a restart is told), 78 the configuration is wrong and nothing has changed, 69 no \
agent, 77 no permission.";

/// Have the agent read its configuration again, without a restart
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
    /// How to print: table, json (one document) or jsonl (an object a key)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let Arguments { dry_run, output } = arguments;
    let answer = Client::connect(socket).await?.reload(ReloadRequest { dry_run }).await?;
    if !answer.faults.is_empty() {
        answer.faults.iter().for_each(|fault| tell(fault));
        return Err(Failure::config("the configuration is refused; what was in force goes on"));
    }
    let mut screen = Screen::stdout();
    let printed = match output {
        Output::Table => print(&answer, dry_run, &mut screen),
        Output::Json => screen.json_document(&document(&answer)),
        Output::Jsonl => rows(&answer).try_for_each(|row| screen.json(&row)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

fn print(answer: &ReloadResponse, dry_run: bool, screen: &mut Screen) -> io::Result<()> {
    let ReloadResponse { applied, needs_restart, .. } = answer;
    if applied.is_empty() {
        let would = if dry_run { "would change" } else { "has changed" };
        screen.line(&format!("nothing {would}"))?;
    } else {
        let (before, now) = if dry_run { ("NOW", "THEN") } else { ("BEFORE", "NOW") };
        list(applied, ["KEY", before, now], screen)?;
    }
    if !needs_restart.is_empty() {
        screen.line("")?;
        screen.line("Only a restart puts these in force (systemctl restart rodent):")?;
        list(needs_restart, ["KEY", "NOW", "THEN"], screen)?;
    }
    Ok(())
}

fn list(changed: &[ChangedSetting], [key, before, after]: [&'static str; 3], screen: &mut Screen) -> io::Result<()> {
    let columns = [Column::left(key), Column::left(before).elastic(10), Column::left(after).elastic(10)];
    let mut table = TextTable::new(&columns);
    for setting in changed {
        let value = |text: &str| Cell::from(if text.is_empty() { "-" } else { text });
        table.row([Cell::from(setting.key.as_str()), value(&setting.before), value(&setting.after)]);
    }
    table.print(screen)
}

fn document(answer: &ReloadResponse) -> Value {
    let list = |changed: &[ChangedSetting]| changed.iter().map(|it| object(it, None)).collect::<Vec<_>>();
    json!({"applied": list(&answer.applied), "needs_restart": list(&answer.needs_restart), "files": answer.files, "variables": answer.variables})
}

fn rows(answer: &ReloadResponse) -> impl Iterator<Item = Value> {
    let applied = answer.applied.iter().map(|it| object(it, Some(false)));
    applied.chain(answer.needs_restart.iter().map(|it| object(it, Some(true))))
}

fn object(setting: &ChangedSetting, needs_restart: Option<bool>) -> Value {
    let mut object = json!({"key": setting.key, "before": setting.before, "after": setting.after});
    if let (Some(needs_restart), Some(fields)) = (needs_restart, object.as_object_mut()) {
        fields.insert("needs_restart".to_owned(), needs_restart.into());
    }
    object
}
