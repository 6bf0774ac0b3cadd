//! `rodent-controller events`: the last ones, those that match, and those to come.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use clap::Args;
use serde_json::Value;

use super::{
    Failure, STORE_DEFAULT,
    location::{Location, Reader},
};
use crate::{
    controller::store::{ArrivedEvent, Query},
    event::{EventView, Filter, json},
    terminal::{EventColumns, EventOutput, EventTable, Screen, TimeZone, moment, quiet_end},
};

/// How often `--follow` looks for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(300);

/// Events that `--follow` reads at once.
const FOLLOW_PAGE_MAX: usize = 1000;

/// Events that are printed where nothing says how many.
const LINES_DEFAULT: usize = 20;

/// Print stored events, the oldest first
///
/// Reads the store of a controller that may be running. Each lane is in the order
/// of its sequences; with --follow, as far as it came between two looks.
#[derive(Args)]
#[command(after_help = "Examples:
  rodent-controller events -n 50 'level>=warn'
  rodent-controller events --node nas-1 'storage.pool.*' pool_name=tank
  rodent-controller events -f -o jsonl | jq .kind
  rodent-controller events -f --since 1h 'level>=error'")]
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
    /// At most so many, the newest [default: 20; all with --follow --since]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Not before, by the clocks of the nodes: how long ago (1h, 2days) or when (2026-11-21T09:30:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Go on with those that come
    #[arg(short, long)]
    follow: bool,
    /// How to print: table, wide (with kind and all fields), json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: EventOutput,
    /// Times in UTC, not in this machine's time zone
    #[arg(long)]
    utc: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.follow && arguments.output == EventOutput::Json {
        return Err(Failure::usage("a JSON document has an end; with --follow use -o jsonl"));
    }
    let filter = Filter::parse(&arguments.filter).map_err(Failure::usage)?;
    let clock = TimeZone::utc(arguments.utc);
    let from = |text: &String| moment::parse(text, SystemTime::now(), clock).map_err(Failure::usage);
    let from = arguments.since.as_ref().map(from).transpose()?;
    let reader = arguments.store.read()?;
    let mut printer = Printer::new(arguments.output, clock);
    // All from a moment on are read from the first row.
    let (since, limit) = match (arguments.lines, from) {
        (None, Some(_)) if arguments.follow => (Some(0), FOLLOW_PAGE_MAX),
        (lines, _) => (None, lines.unwrap_or(LINES_DEFAULT)),
    };
    let mut query = Query { filter, from: from.unwrap_or(i64::MIN), node: arguments.node, since, limit };
    let mut printed = print_page(&reader, &mut query, &mut printer)?;
    if !arguments.follow {
        return Ok(quiet_end(printer.say_if_nothing())?);
    }
    while let Some(events) = printed {
        // No full page: that was what is stored. What comes is shown whatever its time, for a node's clock may have been set back.
        if since.is_none() || events < query.limit {
            query.from = i64::MIN;
            thread::sleep(FOLLOW_PAUSE);
        }
        query.limit = FOLLOW_PAGE_MAX;
        printed = print_page(&reader, &mut query, &mut printer)?;
    }
    Ok(())
}

/// Prints what is there and moves the query behind it. Gives how many events that were; `None` when nobody reads any more.
fn print_page(reader: &Reader, query: &mut Query, printer: &mut Printer) -> Result<Option<usize>, Failure> {
    let page = reader.query(query)?;
    query.since = Some(page.last_row);
    let printed = printer.print(&page.events);
    let read = printed.is_ok();
    quiet_end(printed)?;
    Ok(read.then_some(page.events.len()))
}

struct Printer {
    screen: Screen,
    table: EventTable,
    output: EventOutput,
    printed: bool,
}

impl Printer {
    fn new(output: EventOutput, clock: TimeZone) -> Printer {
        let screen = Screen::stdout();
        let shown = EventColumns { node: true, wide: output == EventOutput::Wide, clock };
        Printer { table: EventTable::new(screen.width(), shown), screen, output, printed: false }
    }

    /// Tells a person that there was nothing; a pipe gets nothing then.
    fn say_if_nothing(&mut self) -> std::io::Result<()> {
        if matches!(self.output, EventOutput::Table | EventOutput::Wide) && !self.printed && self.screen.is_terminal() {
            self.screen.line("No stored event matches.")?;
        }
        self.screen.flush()
    }

    fn print(&mut self, events: &[ArrivedEvent]) -> std::io::Result<()> {
        self.printed |= !events.is_empty();
        // What was checked when it came in is an event; if the file was damaged, the others are still worth printing.
        let views = events.iter().filter_map(|event| Some((event, event.view().ok()?)));
        match self.output {
            EventOutput::Table | EventOutput::Wide => {
                views.for_each(|(event, view)| self.table.row(&view, &event.node));
                self.table.print(&mut self.screen)?;
            }
            EventOutput::Json => {
                self.screen.json_document(&views.map(|(e, v)| event_json(e, &v)).collect::<Vec<_>>())?
            }
            EventOutput::Jsonl => {
                for (event, view) in views {
                    self.screen.json(&event_json(event, &view))?;
                }
            }
        }
        self.screen.flush()
    }
}

fn event_json(event: &ArrivedEvent, view: &EventView) -> Value {
    json::to_value(view, Some(&event.node), event.place.as_ref())
}
