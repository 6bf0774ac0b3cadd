//! `rodent config`: whether a configuration is right, and what it comes to.

mod named_files;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{failure::tell, socket};
use crate::{
    agent::config::{Config, ControllerSettings, Loaded, STANDARD_FILE},
    client::{ChangedSetting, Client, ReloadRequest, ReloadResponse},
    settings::{Faults, SettingOrigin, SettingRecord},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, quiet_end},
};

/// EX_CONFIG of sysexits: the configuration is at fault.
const EXIT_CONFIG: u8 = 78;
/// EX_IOERR: what was found could not be printed.
const EXIT_OUTPUT: u8 = 74;
/// How long the agent may take to say what it has in force.
const ASK_MAX: Duration = Duration::from_secs(2);
/// How far a key stands to the right of the one that it belongs to.
const INDENT: &str = "  ";
/// Where a list goes on in the next line, columns: leaves room for keys and origins in eighty.
const VALUE_WIDTH: usize = 32;

const CHECK_EXAMPLES: &str = "\
Examples:
  rodent config check && systemctl reload rodent
  rodent config check ./rodent.yml

Each fault is a line on standard error, FILE:LINE:COLUMN: KEY: WHAT. A file that it names (a token, a key) and that the agent could \
not read is told in the same way, and is no fault: the agent takes it as soon as it is there.

Exit codes: 0 it is right, 78 it is not.";

const SHOW_EXAMPLES: &str = "\
Examples:
  rodent config show
  rodent config show | grep -v default             what somebody has set
  rodent config show -o jsonl | jq -r 'select(.key == \"events.max_disk\")'

Exit codes: 0 done, 78 the configuration is wrong.";

/// Arguments of `rodent config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a configuration is right, or all that is wrong with it (exit code 78)
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The file; without one, /etc/rodent/rodent.yml and its drop-ins
        file: Option<PathBuf>,
    },
    /// Print every setting with its effective value and where that came from
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The file; without one, /etc/rodent/rodent.yml and its drop-ins
        file: Option<PathBuf>,
        /// How to print: table, json (one document) or jsonl (an object a key)
        #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
        output: Output,
    },
}

/// Runs the command. The agent is asked what it has in force otherwise, if it is there.
pub(crate) fn run(arguments: ConfigArguments, socket: Option<PathBuf>) -> ExitCode {
    let (file, output) = match arguments.command {
        Command::Check { file } => (file, None),
        Command::Show { file, output } => (file, Some(output)),
    };
    let loaded = match Config::load(file.as_deref(), Path::new("/")) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    for ignored in &loaded.ignored {
        tell(&format!("{}: not read: the names of drop-ins end in .yml", ignored.display()));
    }
    let in_clear = loaded.config.controller.as_ref().and_then(ControllerSettings::in_clear);
    in_clear.iter().for_each(|words| tell(&format!("warning: {words}")));
    let mut screen = Screen::stdout();
    let printed = match output {
        None => screen.line(&checked(&loaded)),
        Some(output) => show(&loaded, output, &mut screen),
    };
    let printed = quiet_end(printed.and_then(|()| screen.flush()));
    if file.is_none() && output.is_some() {
        tell_waiting(socket, &loaded);
    }
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_OUTPUT),
    }
}

fn refuse(faults: &Faults) -> ExitCode {
    faults.pictured().lines().for_each(tell);
    ExitCode::from(EXIT_CONFIG)
}

/// Says what of these files the agent that runs has not in force, if one runs that reads them and answers to us.
fn tell_waiting(socket: Option<PathBuf>, loaded: &Loaded) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let asking =
        async { Client::connect(&socket::of(socket).await).await?.reload(ReloadRequest { dry_run: true }).await };
    let Ok(Ok(answer)) = runtime.block_on(async { tokio::time::timeout(ASK_MAX, asking).await }) else { return };
    let files: Vec<_> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    if answer.files == files {
        waiting(&answer).iter().for_each(|line| tell(line));
        of_environment(&answer, loaded).iter().for_each(|line| tell(line));
    }
}

/// What only the agent's own environment sets, and so stands in none of the lines above.
fn of_environment(answer: &ReloadResponse, loaded: &Loaded) -> Option<String> {
    let is_ours =
        |name: &&String| loaded.records.iter().any(|own| own.origin == SettingOrigin::Environment((*name).clone()));
    let others: Vec<_> = answer.variables.iter().filter(|name| !is_ours(name)).map(String::as_str).collect();
    (!others.is_empty()).then(|| format!("not seen here, set by the agent's environment: {}", others.join(", ")))
}

fn waiting(answer: &ReloadResponse) -> Vec<String> {
    let of = |changed: &[ChangedSetting], what: &str| {
        let keys: Vec<_> = changed.iter().map(|changed| changed.key.as_str()).collect();
        (!keys.is_empty()).then(|| format!("not in force until {what}: {}", keys.join(", ")))
    };
    let ways = [of(&answer.applied, "`rodent reload`"), of(&answer.needs_restart, "`systemctl restart rodent`")];
    ways.into_iter().flatten().collect()
}

/// The verdict; and before it, on standard error, which files the agent could not use.
fn checked(loaded: &Loaded) -> String {
    let unusable = named_files::unusable(&loaded.records);
    unusable.iter().for_each(|line| anstream::eprintln!("{line}"));
    match unusable.len() {
        0 => verdict(loaded),
        1 => format!("{}, but a file that it names cannot be used", judged(loaded, "valid")),
        count => format!("{}, but {count} files that it names cannot be used", judged(loaded, "valid")),
    }
}

/// One line that says what was read and how much it sets.
pub(super) fn verdict(loaded: &Loaded) -> String {
    judged(loaded, "ok")
}

fn judged(loaded: &Loaded, word: &str) -> String {
    let set = match loaded.records.set() {
        0 => "no key is set".to_owned(),
        1 => "1 key is set".to_owned(),
        keys => format!("{keys} keys are set"),
    };
    match loaded.files.as_slice() {
        [] => format!("{STANDARD_FILE} is not there: {word}, the defaults are in force"),
        [file] => format!("{}: {word}, {set}", file.display()),
        [file, rest @ ..] => format!("{} and {} more: {word}, {set}", file.display(), rest.len()),
    }
}

fn show(loaded: &Loaded, output: Output, screen: &mut Screen) -> io::Result<()> {
    let rows = || loaded.records.iter().map(Row::of);
    match output {
        Output::Table => show_table(loaded, screen),
        Output::Json => screen.json_document(&rows().collect::<Vec<_>>()),
        Output::Jsonl => rows().try_for_each(|row| screen.json(&row)),
    }
}

/// Into a pipe a line a key, in full; on a terminal as a tree, since keys in full leave no room for their values.
fn show_table(loaded: &Loaded, screen: &mut Screen) -> io::Result<()> {
    let mut table = TextTable::new(&[Column::left("KEY"), Column::left("VALUE").elastic(12), Column::left("FROM")]);
    let mut above: Vec<&str> = Vec::new();
    for record in loaded.records.iter() {
        if screen.width().is_none() {
            table.row(cells(&record.key, &text(record), record));
            continue;
        }
        let (name, parents) = parted(&record.key);
        let shared = parents.iter().zip(&above).take_while(|(one, other)| one == other).count();
        for (depth, parent) in parents.iter().enumerate().skip(shared) {
            table.row([Cell::from(format!("{}{parent}", INDENT.repeat(depth)))]);
        }
        let key = format!("{}{name}", INDENT.repeat(parents.len()));
        for (number, line) in wrapped(&text(record)).iter().enumerate() {
            match number {
                0 => table.row(cells(&key, line, record)),
                _ => table.row([Cell::default(), Cell::toned(line, tone(record))]),
            }
        }
        above = parents;
    }
    table.print(screen)
}

/// The last part of a key, and those before it.
fn parted(key: &str) -> (&str, Vec<&str>) {
    let mut parts: Vec<&str> = key.split('.').collect();
    (parts.pop().unwrap_or_default(), parts)
}

fn text(record: &SettingRecord) -> String {
    match record.text() {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

/// A list on as many lines as it needs.
fn wrapped(list: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for item in list.split_inclusive(", ") {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + item.trim_end().len() <= VALUE_WIDTH => line.push_str(item),
            _ => lines.push(item.to_owned()),
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn cells(key: &str, value: &str, record: &SettingRecord) -> [Cell; 3] {
    let tone = tone(record);
    [Cell::from(key), Cell::toned(value, tone), Cell::toned(record.origin.to_string(), tone)]
}

/// What somebody set stands out against what is as it always is.
fn tone(record: &SettingRecord) -> Tone {
    match record.origin {
        SettingOrigin::Default => Tone::Dim,
        SettingOrigin::Derived(_) | SettingOrigin::File { .. } | SettingOrigin::Environment(_) => Tone::Plain,
    }
}

/// A setting in JSON.
#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    value: &'a serde_json::Value,
    from: String,
    expects: &'a str,
    about: &'a str,
}

impl Row<'_> {
    fn of(record: &SettingRecord) -> Row<'_> {
        Row {
            key: &record.key,
            value: &record.value,
            from: record.origin.to_string(),
            expects: &record.expects,
            about: record.about,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::page::printed;

    fn shown(text: &str, output: Output, width: Option<usize>) -> String {
        let loaded = Config::parse("/etc/rodent/rodent.yml", text).unwrap_or_else(|faults| panic!("{faults}"));
        printed(width, |screen| show(&loaded, output, screen))
    }

    const CONFIGURATION: &str = "\
toggle:
  rpcaddr: controller.example.com:443
  jwt: hunter2
events:
  profile: minimal
  batch_timeout: 5
  categories: [storage, security, identity]
";

    #[test]
    fn the_table_tells_values_and_origins_in_eighty_columns() {
        let table = shown(CONFIGURATION, Output::Table, Some(80));
        print!("{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let line =
            |key: &str| table.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_default().to_owned();
        let words = |key: &str| line(key).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("batch_timeout"), ["batch_timeout", "5s", "/etc/rodent/rodent.yml:6"]);
        assert_eq!(words("batch_size"), ["batch_size", "25", "profile", "minimal"]);
        assert_eq!(words("max_disk"), ["max_disk", "1GiB", "default"]);
        assert_eq!(words("token_file"), ["token_file", "-", "default"]);
    }

    #[test]
    fn a_long_value_is_wrapped_and_not_cut() {
        let table = shown("", Output::Table, Some(80));
        assert!(!table.contains('…'), "{table}");
        assert_eq!(wrapped("[a, b]"), ["[a, b]"]);
        assert_eq!(
            wrapped(&format!("[{0}, {0}, b]", "x".repeat(25))),
            [format!("[{},", "x".repeat(25)), format!("{},", "x".repeat(25)) + " b]"]
        );
    }

    #[test]
    fn a_pipe_gets_a_line_a_key() {
        let table = shown(CONFIGURATION, Output::Table, None);
        assert!(table.lines().any(|line| line.starts_with("events.categories ")), "{table}");
        let keys = Config::parse("f", CONFIGURATION).expect("valid").records.iter().count();
        assert_eq!(table.lines().count(), keys + 1);
    }

    #[test]
    fn no_form_shows_a_token() {
        for output in [Output::Table, Output::Json, Output::Jsonl] {
            let text = shown(CONFIGURATION, output, None);
            assert!(text.contains("(secret)") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn json_has_typed_values() {
        let rows: serde_json::Value = serde_json::from_str(&shown(CONFIGURATION, Output::Json, None)).expect("JSON");
        let row = |key| rows.as_array().expect("rows").iter().find(|row| row["key"] == key).expect("a row").clone();
        assert_eq!(row("events.batch_size")["value"], 25);
        assert_eq!(row("events.batch_timeout")["value"], "5s");
        assert_eq!(row("events.categories")["value"], serde_json::json!(["storage", "security", "identity"]));
        assert_eq!(row("controller.tls.enabled")["value"], true);
        assert_eq!(row("controller.token_file")["value"], serde_json::Value::Null);
        assert_eq!(row("events.batch_timeout")["from"], "/etc/rodent/rodent.yml:6");
    }

    #[test]
    fn a_verdict_says_what_was_read_and_how_much_it_sets() {
        let mut loaded = Config::parse("/a.yml", CONFIGURATION).expect("valid");
        assert_eq!(verdict(&loaded), "/etc/rodent/rodent.yml is not there: ok, the defaults are in force");
        loaded.files = vec!["/a.yml".into()];
        assert_eq!(verdict(&loaded), "/a.yml: ok, 5 keys are set");
        loaded.files.push("/b.yml".into());
        assert_eq!(verdict(&loaded), "/a.yml and 1 more: ok, 5 keys are set");
    }
}
