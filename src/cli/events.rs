//! `rodent events`: what is stored, newest last, and what comes.

mod consume;

use std::{io, path::Path, process::ExitCode, time::SystemTime};

use clap::value_parser;
use serde_json::Value;

use super::{Failure, failure::tell};
use crate::{
    client::{Client, ClientError, Events, QueryRequest, QueryResponse, StoredEvent, TailRequest},
    event::{
        EventView, Filter,
        json::{Place, to_value},
    },
    terminal::{EventColumns, EventOutput, EventTable, Progress, Screen, TimeZone, grouped, moment, quiet_end},
};

/// Events that one question may ask for.
const LIMIT_MAX: i64 = 10_000;

/// Events of a question that says neither how many nor since when.
const LIMIT_DEFAULT: u32 = 20;

const EXAMPLES: &str = "\
Examples:
  rodent events                                  the last 20
  rodent events -f storage usage 'level>=warn'   trouble with storage, live
  rodent events pool_name=tank --since 2days -n 1000
  rodent events -f --since 1h                    the last hour, and on
  rodent events '!system.*' text~fail            what the sentence says
  rodent events storage.pool or 'level>=critical'
  rodent events service.status.failed -o jsonl | jq .payload
  rodent events --as backup -f -o jsonl   each at least once, in order

A condition is a pattern of kinds (`*` stands for anything), `level>=warn`, or a field and a value; all must hold. `!` or \
`not` turns one round, `or` parts alternatives, `~` looks for a part of a text. What -o jsonl prints is what `rodent emit \
--json` takes.

With --as the agent keeps for NAME what was not printed yet, and its next call goes on there: `rodent consumers`.

Exit codes: 0 done, 64 a condition is not understood, 69 no agent, 77 no permission.";

/// Show stored events, and follow new ones
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Which events: patterns of kinds, level>=LEVEL, field=value
    #[arg(value_name = "CONDITION")]
    conditions: Vec<String>,
    /// The newest so many that match, at most 10,000 [default: 20; all with --follow --since]
    #[arg(short = 'n', long, value_name = "NUMBER")]
    #[arg(value_parser = value_parser!(u32).range(0..=LIMIT_MAX))]
    limit: Option<u32>,
    /// Go on with new events as they come, until Ctrl-C
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// As a consumer with a cursor that the agent keeps: what was printed does not come again. A new one begins with the oldest
    /// event, or with --since
    #[arg(long = "as", value_name = "NAME", conflicts_with = "until")]
    consumer: Option<String>,
    /// Not before: how long ago (1h, 2days) or when (2026-11-21T09:30:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not after
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How to print: table, wide (with kind and all fields), json (one document) or jsonl (an object a line)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: EventOutput,
    /// Times in UTC, not in this machine's time zone
    #[arg(long)]
    utc: bool,
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    // Before anything is asked, so that a slip is a matter of usage.
    Filter::parse(&arguments.conditions).map_err(|error| Failure::usage(error.to_string()))?;
    let clock = TimeZone::utc(arguments.utc);
    let (since, until) = (moment_of(arguments.since.as_deref(), clock)?, moment_of(arguments.until.as_deref(), clock)?);
    let client = Client::connect(socket).await?;
    let mut printer = Printer::new(&arguments, &client).await?;
    if let Some(consumer) = arguments.consumer {
        let extent = consume::Extent { limit: arguments.limit.map(u64::from), follow: arguments.follow };
        consume::run(&client, (consumer, arguments.conditions, since), extent, &mut printer).await?;
        quiet_end(printer.finish())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (filter, limit) = (arguments.conditions, arguments.limit.unwrap_or(LIMIT_DEFAULT));
    if limit == 0 && !arguments.follow {
        printer.unanswered = false;
        quiet_end(printer.finish())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut events = match (arguments.follow, arguments.limit) {
        (true, None) if since > 0 => client.tail(TailRequest { filter, since, ..TailRequest::default() }).await?,
        // None of what is stored, whenever it was.
        (true, Some(0)) => client.tail(TailRequest { filter, ..TailRequest::default() }).await?,
        (true, _) => client.tail(TailRequest { filter, backlog: limit, since, progress: true }).await?,
        (false, _) => client.query(QueryRequest { filter, limit, since, until, progress: true }).await?,
    };
    let mut progress = Progress::stderr();
    while let Some(page) = next(&mut events).await? {
        if page.to_look_at > 0 {
            progress.show(&searched(&page));
            continue;
        }
        progress.clear();
        if !printer.page(&page)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    drop(progress);
    quiet_end(printer.finish())?;
    Ok(ExitCode::SUCCESS)
}

/// How far a search is, in a line that fits everywhere.
fn searched(page: &QueryResponse) -> String {
    let percent = page.looked_at.saturating_mul(100) / page.to_look_at.max(1);
    format!("searching: {percent} % of {} events (Ctrl-C ends it)", grouped(page.to_look_at))
}

fn moment_of(text: Option<&str>, clock: TimeZone) -> Result<i64, Failure> {
    text.map_or(Ok(0), |text| moment::parse(text, SystemTime::now(), clock).map_err(Failure::usage))
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
    Table(EventTable),
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
    async fn new(arguments: &Arguments, client: &Client) -> Result<Printer, ClientError> {
        let &Arguments { output, utc, .. } = arguments;
        // What was committed is not to be gathered first.
        let follow = arguments.follow || arguments.consumer.is_some();
        let screen = Screen::stdout();
        let shown =
            EventColumns { wide: output == EventOutput::Wide, clock: TimeZone::utc(utc), ..EventColumns::default() };
        let form = match output {
            EventOutput::Table | EventOutput::Wide => Form::Table(EventTable::new(screen.width(), shown)),
            EventOutput::Json if !follow => Form::Document { node: client.status().await?.node_id, values: Vec::new() },
            EventOutput::Json | EventOutput::Jsonl => Form::Lines { node: client.status().await?.node_id },
        };
        Ok(Printer { screen, form, unanswered: !arguments.follow })
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
                Form::Table(table) => table.row(&event, ""),
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

fn value(event: &EventView, stored: &StoredEvent, node: &str) -> Value {
    let place = Place { lane: stored.lane.clone(), sequence: stored.sequence };
    to_value(event, Some(node).filter(|node| !node.is_empty()), Some(&place))
}
