//! `rodent kinds` and `rodent describe`: what may happen, and what it means. No agent is needed: the schema says it.

use std::{io, process::ExitCode};

use serde_json::{Value, json};

use super::Failure;
use crate::{
    event::{Catalogue, Description, FieldDescription, Filter, Kind, Meaning},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, quiet_end, wrapped},
    words,
};

const KINDS_EXAMPLES: &str = "\
Examples:
  rodent kinds                       all of them
  rodent kinds 'storage.*'           a category
  rodent kinds '*failed' '*error*'
  rodent kinds -o jsonl | jq -r 'select(.level == \"error\").kind'

`rodent describe KIND` tells what a kind means and which fields it has.

Exit codes: 0 done, 64 no kind is called so.";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  rodent describe storage.pool.degraded
  rodent describe service.status.failed -o json

Exit codes: 0 done, 64 no kind is called so.";

/// Columns of the names before what stands beside them.
const LABEL_WIDTH: usize = 12;

/// List the kinds of events: level and sentence of each
#[derive(Debug, clap::Args)]
#[command(after_help = KINDS_EXAMPLES)]
pub(super) struct KindsArguments {
    /// Which: names or patterns (`*` stands for anything); without it all
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Their names alone, one a line
    #[arg(long, conflicts_with = "output")]
    names: bool,
    /// How to print: table, json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

/// Tell what a kind of event means, what to do about it, and which fields it has
#[derive(Debug, clap::Args)]
#[command(after_help = DESCRIBE_EXAMPLES)]
pub(super) struct DescribeArguments {
    /// Name of the kind
    kind: String,
    /// The names of its fields alone, one a line
    #[arg(long, conflicts_with = "output")]
    names: bool,
    /// How to print: table, json (one document) or jsonl (one line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) fn list(arguments: &KindsArguments) -> Result<ExitCode, Failure> {
    let filter = Filter::parse(&arguments.patterns).map_err(|error| Failure::usage(error.to_string()))?;
    if filter.has_conditions() {
        return Err(Failure::usage(
            "only patterns of kinds are taken here; -o jsonl gives level and states to filter by",
        ));
    }
    let found: Vec<_> =
        Catalogue::compiled().descriptions().filter(|its| filter.takes_kind(its.kind.as_str())).collect();
    let mut screen = Screen::stdout();
    let printed = match arguments.names {
        true => found.iter().try_for_each(|its| screen.line(its.kind.as_str())),
        false => print_list(&found, arguments.output, &mut screen),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

fn print_list(found: &[Description], output: Output, screen: &mut Screen) -> io::Result<()> {
    match output {
        Output::Json => screen.json_document(&found.iter().map(value).collect::<Vec<_>>()),
        Output::Jsonl => found.iter().try_for_each(|its| screen.json(&value(its))),
        Output::Table => {
            let mut table =
                TextTable::new(&[Column::left("KIND"), Column::left("LEVEL"), Column::left("EVENT").wraps()]);
            for its in found {
                let level = its.meaning().level;
                table.row([its.kind.as_str().into(), Cell::toned(level.name(), Tone::of(level)), its.outline().into()]);
            }
            table.print(screen)
        }
    }
}

pub(super) fn describe(arguments: &DescribeArguments) -> Result<ExitCode, Failure> {
    let name = arguments.kind.to_lowercase();
    let its = Catalogue::compiled().describe(&name).ok_or_else(|| {
        let near = Catalogue::compiled().nearest(&name).map(Kind::as_str);
        Failure::usage(format!("no kind is called \"{name}\"{}", words::did_you_mean(near)))
    })?;
    let mut screen = Screen::stdout();
    let printed = match arguments.output {
        _ if arguments.names => its.fields().iter().try_for_each(|field| screen.line(&field.name)),
        Output::Json => screen.json_document(&whole_value(&its)),
        Output::Jsonl => screen.json(&whole_value(&its)),
        Output::Table => print_whole(&its, &mut screen),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

fn print_whole(its: &Description, screen: &mut Screen) -> io::Result<()> {
    let meaning = its.meaning();
    screen.sentence(&its.outline())?;
    screen.line("")?;
    let mut facts = vec![("kind", its.kind.to_string()), ("level", meaning.level.name().to_owned())];
    facts.push(("state", lasting(meaning)));
    if !meaning.advice.is_empty() {
        facts.push(("what to do", its.advice()));
    }
    facts.push(("sentence", meaning.text.clone()));
    labelled(&facts, screen)?;
    screen.line("")?;
    let mut table = TextTable::new(&[Column::left("FIELD"), Column::left("HOLDS").wraps()]);
    for field in its.fields() {
        let roles = if field.roles.is_empty() { String::new() } else { format!("; {}", field.roles.join("; ")) };
        table.row([Cell::from(field.name), Cell::from(format!("{}{roles}", field.holds))]);
    }
    table.print(screen)
}

/// Names at the left, what they are at the right; a long text goes on in further lines.
pub(super) fn labelled(facts: &[(&str, String)], screen: &mut Screen) -> io::Result<()> {
    let mut table = TextTable::new(&[Column::left("").at_least(LABEL_WIDTH), Column::left("")]).without_header();
    let room = screen.width().map_or(usize::MAX, |width| width.saturating_sub(LABEL_WIDTH + 2));
    for (label, text) in facts {
        for (number, line) in wrapped(text, room).into_iter().enumerate() {
            table.row([Cell::toned(if number == 0 { *label } else { "" }, Tone::Dim), line.into()]);
        }
    }
    table.print(screen)
}

/// What it says about how a thing is from now on.
pub(super) fn lasting(meaning: &Meaning) -> String {
    let ends = meaning.ends.join(", ");
    match (meaning.tells.as_str(), ends.as_str()) {
        ("", "") => "nothing lasts".to_owned(),
        ("", ends) => format!("ends {ends}"),
        (tells, "") => format!("tells of {tells}"),
        (tells, ends) => format!("tells of {tells}, ends {ends}"),
    }
}

fn value(its: &Description) -> Value {
    let Meaning { level, text, tells, ends, advice, .. } = its.meaning();
    json!({ "kind": its.kind.as_str(), "level": level.name(), "text": text, "tells": tells, "ends": ends, "advice": advice })
}

fn whole_value(its: &Description) -> Value {
    let field = |field: FieldDescription| json!({ "name": field.name, "holds": field.holds, "unit": field.unit, "values": field.values, "roles": field.roles });
    let mut whole = value(its);
    if let Some(entries) = whole.as_object_mut() {
        entries.insert("fields".to_owned(), its.fields().into_iter().map(field).collect());
    }
    whole
}
