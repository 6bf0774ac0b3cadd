//! `rodent events`: what is stored, newest last, and what comes.

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use clap::value_parser;
use serde_json::Value;

use super::{Failure, failure::tell, moment};
use crate::{
    client::{Client, ClientError, Events, QueryRequest, QueryResponse, StoredEvent, TailRequest},
    event::{
        EventView, Filter, Summary,
        json::{Place, to_value},
    },
    terminal::{Cell, Column, Output, Screen, Table, Tone, grouped, quiet_end, time_utc},
};

/// Events that one question may ask for.
const LIMIT_MAX: i64 = 10_000;

/// Columns of a terminal that has room for texts beside names, and the least that a text has there.
const WIDE: usize = 120;
const TEXT_MIN: usize = 40;

const EXAMPLES: &str = "\
Examples:
  rodent events                                  the last 20
  rodent events -f 'storage.*' 'level>=warn'     trouble with storage, live
  rodent events pool_name=tank --since 2days -n 1000
  rodent events service.status.failed -o jsonl | jq .payload

A condition is a pattern of kinds (`*` stands for anything), `level>=warn`, or a field and a value; all must hold. Times \
are UTC. What -o jsonl prints is what `rodent emit --json` takes.

Exit codes: 0 done, 64 a condition is not understood, 69 no agent, 77 no permission.";

/// Show stored events, and follow new ones
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Which events: patterns of kinds, level>=LEVEL, field=value
    #[arg(value_name = "CONDITION")]
    conditions: Vec<String>,
    /// The newest so many that match, at most 10,000
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "20")]
    #[arg(value_parser = value_parser!(u32).range(0..=LIMIT_MAX))]
    limit: u32,
    /// Go on with new events as they come, until Ctrl-C
    #[arg(short, long, conflicts_with_all = ["since", "until"])]
    follow: bool,
    /// Not before: how long ago (1h, 2days) or when (2026-11-21T09:30:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not after
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How to print: table, json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    // Before anything is asked, so that a slip is a matter of usage.
    Filter::parse(&arguments.conditions).map_err(|error| Failure::usage(error.to_string()))?;
    let (since, until) = (moment_of(arguments.since.as_deref())?, moment_of(arguments.until.as_deref())?);
    let client = Client::connect(socket).await?;
    let mut printer = Printer::new(arguments.output, arguments.follow, &client).await?;
    if arguments.limit == 0 && !arguments.follow {
        printer.unanswered = false;
        quiet_end(printer.finish())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (filter, limit) = (arguments.conditions, arguments.limit);
    let mut events = match arguments.follow {
        true => client.tail(TailRequest { filter, backlog: limit }).await?,
        false => client.query(QueryRequest { filter, limit, since, until }).await?,
    };
    while let Some(page) = next(&mut events).await? {
        if !printer.page(&page)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    quiet_end(printer.finish())?;
    Ok(ExitCode::SUCCESS)
}

fn moment_of(text: Option<&str>) -> Result<i64, Failure> {
    text.map_or(Ok(0), |text| moment::parse(text, SystemTime::now()).map_err(Failure::usage))
}

/// The next page; `None` at the end and at Ctrl-C.
async fn next(events: &mut Events) -> Result<Option<QueryResponse>, ClientError> {
    tokio::select! {
        page = events.next() => page,
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

/// Prints pages as they come.
struct Printer {
    screen: Screen,
    form: Form,
    /// Nothing was printed yet, and nothing is to come later.
    unanswered: bool,
}

enum Form {
    Table(Table),
    Lines {
        node: String,
    },
    /// Gathered, since a document is printed whole.
    Document {
        node: String,
        values: Vec<Value>,
    },
}

impl Printer {
    /// A document never ends while we follow, so it becomes lines.
    async fn new(output: Output, follow: bool, client: &Client) -> Result<Printer, ClientError> {
        let screen = Screen::stdout();
        let form = match output {
            Output::Table => Form::Table(table(screen.width())),
            Output::Json if !follow => Form::Document { node: client.status().await?.node_id, values: Vec::new() },
            Output::Json | Output::Jsonl => Form::Lines { node: client.status().await?.node_id },
        };
        Ok(Printer { screen, form, unanswered: !follow })
    }

    /// Prints a page. Returns false when nobody reads any more.
    fn page(&mut self, page: &QueryResponse) -> io::Result<bool> {
        if page.missed > 0 {
            let missed = grouped(page.missed);
            tell(&format!("rodent: {missed} events are missing here: they were removed before they could be shown"));
        }
        match self.print(page).and_then(|()| self.screen.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            result => result.map(|()| true),
        }
    }

    fn print(&mut self, page: &QueryResponse) -> io::Result<()> {
        for stored in &page.events {
            self.unanswered = false;
            let Ok(event) = EventView::decode(&stored.event) else {
                tell(&format!("rodent: {} {} cannot be decoded", stored.lane, stored.sequence));
                continue;
            };
            match &mut self.form {
                Form::Table(table) => table.row(row(&event)),
                Form::Lines { node } => self.screen.json(&value(&event, stored, node))?,
                Form::Document { node, values } => values.push(value(&event, stored, node)),
            }
        }
        match &mut self.form {
            Form::Table(table) => table.print(&mut self.screen),
            _ => Ok(()),
        }
    }

    /// Tells a person that there was nothing; a pipe gets nothing then.
    fn finish(&mut self) -> io::Result<()> {
        match &self.form {
            Form::Document { values, .. } => self.screen.json_document(values)?,
            Form::Table(_) if self.unanswered && self.screen.is_terminal() => {
                self.screen.line("No stored event matches.")?;
            }
            Form::Table(_) | Form::Lines { .. } => {}
        }
        self.screen.flush()
    }
}

/// On a narrow terminal a text goes below its row; on a wide one a long text is cut before the names are.
fn table(width: Option<usize>) -> Table {
    let text = Column::left("TEXT");
    let wide = width.is_some_and(|width| width >= WIDE);
    Table::new(&[
        Column::left("TIME").at_least(20),
        Column::left("LEVEL").at_least(5),
        Column::left("KIND").at_least(24).elastic(20),
        Column::left("SUBJECT").at_least(12).elastic(10),
        if wide { text.elastic(TEXT_MIN) } else { text },
    ])
}

fn row(event: &EventView) -> [Cell; 5] {
    let (level, summary) = (event.level(), Summary::of(event));
    [
        Cell::toned(time_utc(event.timestamp()), Tone::Dim),
        Cell::toned(level.name(), Tone::of(level)),
        Cell::from(event.kind().as_str()),
        Cell::from(summary.subject),
        Cell::from(summary.text),
    ]
}

fn value(event: &EventView, stored: &StoredEvent, node: &str) -> Value {
    let place = Place { lane: stored.lane.clone(), sequence: stored.sequence };
    to_value(event, Some(node).filter(|node| !node.is_empty()), Some(&place))
}
