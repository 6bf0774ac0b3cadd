//! `rodent-controller events`: the last ones, those that match, and those to come.

use std::{thread, time::Duration};

use clap::Args;
use serde_json::Value;

use super::{
    Failure, STORE_DEFAULT,
    location::{Location, Reader},
};
use crate::{
    controller::store::{Query, StoredEvent},
    event::{EventView, Filter, Summary, json},
    terminal::{Cell, Column, Output, Screen, Table, Tone, quiet_end, time_utc},
};

/// How often `--follow` looks for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(300);

/// Events that `--follow` reads at once.
const FOLLOW_PAGE_MAX: usize = 1000;

/// Print stored events, the oldest first
///
/// Reads the store of a controller that may be running. Each lane is in the order
/// of its sequences; with --follow, as far as it came between two looks.
#[derive(Args)]
#[command(after_help = "Examples:
  rodent-controller events -n 50 'level>=warn'
  rodent-controller events --node nas-1 'storage.pool.*' pool_name=tank
  rodent-controller events -f -o jsonl | jq .kind")]
pub(super) struct Arguments {
    /// Kinds (`storage.pool.*`) and conditions (`level>=warn`, `pool_name=tank`)
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// The store to read: `sqlite:PATH` or `nats://HOST:PORT`
    #[arg(long, value_name = "STORE", default_value = STORE_DEFAULT)]
    store: Location,
    /// Events of this node alone
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Go on with those that come
    #[arg(short, long)]
    follow: bool,
    /// How to print: table, json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.follow && arguments.output == Output::Json {
        return Err(Failure::usage("a JSON document has an end; with --follow use -o jsonl"));
    }
    let filter = Filter::parse(&arguments.filter).map_err(Failure::usage)?;
    let reader = arguments.store.read()?;
    let mut printer = Printer::new(arguments.output);
    let mut query = Query { filter, node: arguments.node, since: None, limit: arguments.lines };
    let mut more = print_page(&reader, &mut query, &mut printer)?;
    if !arguments.follow {
        return Ok(quiet_end(printer.say_if_nothing())?);
    }
    query.limit = FOLLOW_PAGE_MAX;
    while more {
        thread::sleep(FOLLOW_PAUSE);
        more = print_page(&reader, &mut query, &mut printer)?;
    }
    Ok(())
}

/// Prints what is there and moves the query behind it; whether somebody still reads.
fn print_page(reader: &Reader, query: &mut Query, printer: &mut Printer) -> Result<bool, Failure> {
    let page = reader.query(query)?;
    query.since = Some(page.last_row);
    let printed = printer.print(&page.events);
    let read = printed.is_ok();
    quiet_end(printed)?;
    Ok(read)
}

struct Printer {
    screen: Screen,
    table: Table,
    output: Output,
    printed: bool,
}

impl Printer {
    fn new(output: Output) -> Printer {
        Printer { screen: Screen::stdout(), table: event_table(), output, printed: false }
    }

    /// Tells a person that there was nothing; a pipe gets nothing then.
    fn say_if_nothing(&mut self) -> std::io::Result<()> {
        if self.output == Output::Table && !self.printed && self.screen.is_terminal() {
            self.screen.line("No stored event matches.")?;
        }
        self.screen.flush()
    }

    fn print(&mut self, events: &[StoredEvent]) -> std::io::Result<()> {
        self.printed |= !events.is_empty();
        // What was checked when it came in is an event; if the file was damaged, the others are still worth printing.
        let views = events.iter().filter_map(|event| Some((event, event.view().ok()?)));
        match self.output {
            Output::Table => {
                views.for_each(|(event, view)| self.table.row(event_row(event, &view)));
                self.table.print(&mut self.screen)?;
            }
            Output::Json => self.screen.json_document(&views.map(|(e, v)| event_json(e, &v)).collect::<Vec<_>>())?,
            Output::Jsonl => {
                for (event, view) in views {
                    self.screen.json(&event_json(event, &view))?;
                }
            }
        }
        self.screen.flush()
    }
}

/// The columns of stored events, wide enough for most, so that they stay in line while more come.
fn event_table() -> Table {
    Table::new(&[
        Column::left("TIME").at_least("2026-11-10T09:30:00Z".len()),
        Column::left("NODE").at_least(8).elastic(8),
        Column::left("LEVEL").at_least("error".len()),
        Column::left("KIND").at_least("service.status.restarted".len()).elastic(20),
        Column::left("SUBJECT").at_least(12).elastic(10),
        Column::left("TEXT"),
    ])
}

fn event_row(event: &StoredEvent, view: &EventView) -> [Cell; 6] {
    let Summary { subject, text } = Summary::of(view);
    let tone = Tone::of(view.level());
    [
        Cell::toned(time_utc(view.timestamp()), Tone::Dim),
        Cell::from(&*event.node),
        Cell::toned(view.level().name(), tone),
        Cell::toned(view.kind().as_str(), tone),
        Cell::from(subject),
        Cell::from(text),
    ]
}

fn event_json(event: &StoredEvent, view: &EventView) -> Value {
    json::to_value(view, Some(&event.node), event.place.as_ref())
}
