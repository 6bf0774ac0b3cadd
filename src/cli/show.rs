//! `rodent show`: one event, with everything that is known of it.

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use super::{
    Failure,
    kinds::{labelled, lasting},
};
use crate::{
    client::{Client, QueryRequest, StoredEvent},
    event::{
        EventView, Manner, Summary,
        json::{Place, to_value},
    },
    terminal::{Output, Screen, TimeZone, grouped, human_duration, moment::ago, quiet_end},
    visible::visible,
};

/// An identifier in full; a part of one may be another's, too.
const ID_CHARS_MIN: usize = 4;

/// How many that begin alike are named.
const NAMED_MAX: u32 = 5;

const EXAMPLES: &str = "\
Examples:
  rodent show 0199c2a7-4c1e-7d30-9b55-0f1a2b3c4d5e
  rodent show 0199c2a7-4c1e              the beginning is enough
  rodent events -n 1 -o jsonl | jq -r .id | xargs rodent show

Exit codes: 0 done, 64 no identifier, 66 there is no such event, 69 no agent.";

/// Show one event with all that is known of it, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The event's identifier, or how it begins
    id: String,
    /// How to print: table, json (one document) or jsonl (one line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
    /// Times in UTC, not in this machine's time zone
    #[arg(long)]
    utc: bool,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let id = arguments.id.trim().to_lowercase();
    if id.chars().count() < ID_CHARS_MIN || id.contains(|c: char| c.is_whitespace() || "*'\"".contains(c)) {
        return Err(Failure::usage(format!(
            "\"{id}\" is no identifier of an event: at least {ID_CHARS_MIN} characters are wanted, and no blanks or stars"
        )));
    }
    let client = Client::connect(socket).await?;
    let request = QueryRequest { filter: vec![format!("id={id}*")], limit: NAMED_MAX, ..QueryRequest::default() };
    let (mut found, mut events) = (Vec::new(), client.query(request).await?);
    while let Some(page) = events.next().await? {
        found.extend(page.events);
    }
    // One that was emitted again is stored twice under its identifier: the newest is shown.
    let mut ids = std::collections::BTreeSet::new();
    found.reverse();
    found.retain(|stored| decode(stored).is_ok_and(|view| ids.insert(view.id().to_owned())));
    let (stored, view) = match found.as_slice() {
        [] => return Err(Failure::no_input(format!("no stored event has an identifier that begins with {id}"))),
        [stored] => (stored, decode(stored)?),
        several => {
            let told = |stored: &StoredEvent| {
                let view = decode(stored).ok()?;
                Some(format!("\n  {}  {}", visible(view.id()), Summary::of(&view).text))
            };
            let events: String = several.iter().filter_map(told).collect();
            return Err(Failure::usage(format!("the identifiers of several events begin so:{events}")));
        }
    };
    let mut screen = Screen::stdout();
    let printed = match arguments.output {
        Output::Table => print(stored, &view, TimeZone::utc(arguments.utc), &mut screen),
        Output::Json | Output::Jsonl => {
            let node = client.status().await?.node_id;
            let place = Place { lane: stored.lane.clone(), sequence: stored.sequence };
            let value = to_value(&view, Some(node.as_str()).filter(|node| !node.is_empty()), Some(&place));
            if arguments.output == Output::Json { screen.json_document(&value) } else { screen.json(&value) }
        }
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    Ok(ExitCode::SUCCESS)
}

fn decode(stored: &StoredEvent) -> Result<EventView, Failure> {
    EventView::decode(&stored.event).map_err(|error| Failure::data(error.to_string()))
}

fn print(stored: &StoredEvent, view: &EventView, clock: TimeZone, screen: &mut Screen) -> io::Result<()> {
    let Summary { subject, text, fields } = Summary::put(view, Manner { times: clock.writer(), ..Manner::default() });
    screen.sentence(&text)?;
    screen.line("")?;
    let since = ago(view.timestamp(), SystemTime::now()).map(|ago| format!(", {} ago", human_duration(ago)));
    let mut facts = vec![
        ("kind", view.kind().to_string()),
        ("level", view.level().name().to_owned()),
        ("about", subject),
        ("when", format!("{}{}", clock.time(view.timestamp()), since.unwrap_or_default())),
    ];
    if let Some(meaning) = view.meaning() {
        facts.push(("state", lasting(meaning)));
        if !meaning.advice.is_empty() {
            facts.push(("what to do", view.advice()));
        }
    }
    facts.push(("fields", fields));
    let value = to_value(view, None, None);
    for (label, key) in [("metadata", "metadata"), ("origin", "origin")] {
        let entries = value.get(key).and_then(serde_json::Value::as_object).into_iter().flatten();
        let words: Vec<_> =
            entries.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        if !words.is_empty() {
            facts.push((label, words.join(" ")));
        }
    }
    facts.push(("source", view.source().to_owned()));
    facts.push(("stored", format!("{} lane, sequence {}", stored.lane, grouped(stored.sequence))));
    facts.push(("id", view.id().to_owned()));
    labelled(&facts, screen)
}
