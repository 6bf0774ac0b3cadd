//! `rodent-controller gaps`: whether everything of a node is accounted for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{
    Failure, STORE_DEFAULT,
    location::Location,
    nodes::{counted, short},
};
use crate::{
    controller::store::{Account, EpochAccount, Hole, LaneAccount, Loss, Overlap},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, human_duration, quiet_end},
    words::parse_duration,
};

/// Tell whether all events of a node are there
///
/// Per lane and epoch: the sequences that have arrived, those that the node has
/// reported as lost, and what is missing: neither of the two, while higher ones
/// have arrived. What was overtaken only just is `awaited`. The last line of a
/// lane is about all its epochs together. docs/completeness.md has more.
///
/// Exit code 0 when nothing is missing, 1 when something is or is awaited.
#[derive(Args)]
#[command(after_help = "Examples:
  rodent-controller gaps --node nas-1
  rodent-controller gaps --node nas-1 --older-than 15m >/dev/null || alarm")]
pub(super) struct Arguments {
    /// The store to read: `sqlite:PATH` or `nats://HOST:PORT`
    #[arg(long, value_name = "STORE", default_value = STORE_DEFAULT)]
    store: Location,
    /// Which node
    #[arg(long, value_name = "NODE")]
    node: String,
    /// Only what is missing for longer: `15m`, `1h`
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    older_than: Duration,
    /// How to print: table, json (one document) or jsonl (an object a lane and
    /// epoch)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { store, node: name, older_than, output } = arguments;
    let Some(node) = store.read()?.node(&name)? else {
        return Err(Failure::no_input(format!("no node {name:?} has been seen")));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut account = Account::of(&node);
    if !older_than.is_zero() {
        account.forget_missing_since(unix_ms(now.saturating_sub(older_than)));
    }
    let mut screen = Screen::stdout();
    let printed = match output {
        Output::Table if account.lanes.is_empty() && screen.is_terminal() => {
            screen.line("The node has sent no events with numbers.")
        }
        Output::Table => table(&account, unix_ms(now)).print(&mut screen),
        Output::Json => screen.json_document(&account),
        Output::Jsonl => lines(&account).iter().try_for_each(|line| screen.json(line)),
    };
    quiet_end(printed.and_then(|()| screen.flush()))?;
    match account.missing() {
        0 => Ok(()),
        missing => Err(Failure::other(format!("{missing} events of {name} are missing"))),
    }
}

fn unix_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// One object an epoch: what the document has, and whose it is.
fn lines(account: &Account) -> Vec<serde_json::Value> {
    let mut lines = Vec::new();
    for lane in &account.lanes {
        for epoch in &lane.epochs {
            let mut line = serde_json::json!({ "node": account.node, "lane": lane.lane });
            if let (Some(line), Ok(serde_json::Value::Object(epoch))) =
                (line.as_object_mut(), serde_json::to_value(epoch))
            {
                line.extend(epoch);
            }
            lines.push(line);
        }
    }
    lines
}

fn table(account: &Account, now: i64) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("LANE"),
        Column::left("EPOCH"),
        Column::left("WHAT").elastic(12),
        Column::right("FIRST"),
        Column::right("LAST"),
        Column::right("EVENTS"),
        Column::left("SINCE"),
    ]);
    for lane in &account.lanes {
        for epoch in &lane.epochs {
            rows(epoch, now).for_each(|row| table.row(heads(&lane.lane, &short(&epoch.epoch)).into_iter().chain(row)));
        }
        table.row(heads(&lane.lane, "all").into_iter().chain(total(lane)));
    }
    table
}

fn heads(lane: &str, epoch: &str) -> [Cell; 2] {
    [Cell::from(if lane.is_empty() { "-" } else { lane }), Cell::from(if epoch.is_empty() { "-" } else { epoch })]
}

/// What is told of an epoch, by what it is about.
fn rows(epoch: &EpochAccount, now: i64) -> impl Iterator<Item = [Cell; 5]> {
    let received = epoch.received.iter_since().map(move |(range, since)| {
        let numbers = [Some(*range.start()), Some(*range.end())];
        row(("received", Tone::Plain), numbers, &(range.end() - range.start() + 1).to_string(), ago(now, since))
    });
    let losses = epoch.losses.iter().map(move |loss| {
        let Loss { operation, range, count, exact, received_at, .. } = loss;
        let what = if operation.is_empty() { "lost".to_owned() } else { format!("lost: {operation}") };
        let numbers = [range.map(|(first, _)| first), range.map(|(_, last)| last)];
        row((&what, Tone::Warn), numbers, &counted(*count, *exact), ago(now, *received_at))
    });
    let overlaps = epoch.overlaps.iter().flat_map(move |overlap| twice(epoch, overlap));
    let missing = epoch.missing.iter().map(move |Hole { first, last, since, awaited }| {
        let what = if *awaited { ("awaited", Tone::Warn) } else { ("missing", Tone::Bad) };
        row(what, [Some(*first), Some(*last)], &(last - first + 1).to_string(), ago(now, *since))
    });
    received.chain(losses).chain(overlaps).chain(missing)
}

/// What has arrived under an earlier epoch too, and where the two part.
fn twice(epoch: &EpochAccount, overlap: &Overlap) -> impl Iterator<Item = [Cell; 5]> {
    let forked = overlap.epochs[0] == overlap.epochs[1];
    let other = overlap.epochs.iter().find(|other| **other != epoch.epoch);
    let earlier = other.map(|other| short(other)).unwrap_or_default();
    let (again, other) = match forked {
        true => ("stored twice".to_owned(), "two events".to_owned()),
        false => (format!("also in {earlier}"), format!("not as in {earlier}")),
    };
    let same =
        (overlap.same > 0).then(|| row((&again, Tone::Warn), [None, None], &overlap.same.to_string(), String::new()));
    let tone = if forked { Tone::Bad } else { Tone::Warn };
    let parted = overlap.differs_at.map(|first| row((&other, tone), [Some(first), None], "-", String::new()));
    same.into_iter().chain(parted)
}

fn total(lane: &LaneAccount) -> [Cell; 5] {
    match lane.missing {
        0 => row(("complete", Tone::Good), [None, None], "0", String::new()),
        missing => row(("missing", Tone::Bad), [None, None], &missing.to_string(), String::new()),
    }
}

fn row((what, tone): (&str, Tone), numbers: [Option<u64>; 2], count: &str, since: String) -> [Cell; 5] {
    let [first, last] = numbers.map(|number| number.map_or_else(|| "-".to_owned(), |number| number.to_string()));
    [Cell::toned(what, tone), Cell::from(first), Cell::from(last), Cell::from(count), Cell::toned(since, Tone::Dim)]
}

fn ago(now: i64, since: i64) -> String {
    let age = Duration::from_millis(u64::try_from(now.saturating_sub(since)).unwrap_or(0));
    format!("{} ago", human_duration(age))
}

#[cfg(test)]
mod tests;
