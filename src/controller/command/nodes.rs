//! `rodent-controller nodes`: who reports, who is late, and what has arrived of each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use super::{Failure, STORE_DEFAULT, location::Location};
use crate::{
    controller::store::{Account, EpochAccount, Node},
    terminal::{Cell, Column, Output, Screen, TextTable, Tone, human_duration, quiet_end},
};

/// A node that was silent for longer is late: two of its heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Characters of an epoch that tell it from the others at a glance.
pub(super) const EPOCH_SHOWN: usize = 8;

/// Print every node: when it was last heard of, and what has arrived
///
/// One line a lane and epoch. LOST counts the events that the node has reported
/// as lost, MISSING the sequences that have neither arrived nor were reported:
/// `gaps` tells which. A node that was silent for half an hour is marked late.
#[derive(Args)]
pub(super) struct Arguments {
    /// The store to read: `sqlite:PATH` or `nats://HOST:PORT`
    #[arg(long, value_name = "STORE", default_value = STORE_DEFAULT)]
    store: Location,
    /// How to print: table, json (one document) or jsonl (an object a node)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

/// A node as JSON: the store's facts, and what follows from them.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    node: &'a Node,
    missing: u64,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let nodes = arguments.store.read()?.nodes()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut screen = Screen::stdout();
    let report = |node| Report { node, missing: Account::of(node).missing() };
    let printed = match arguments.output {
        Output::Table if nodes.is_empty() && screen.is_terminal() => screen.line("No node has been seen yet."),
        Output::Table => table(&nodes, now).print(&mut screen),
        Output::Json => screen.json_document(&nodes.iter().map(report).collect::<Vec<_>>()),
        Output::Jsonl => nodes.iter().try_for_each(|node| screen.json(&report(node))),
    };
    Ok(quiet_end(printed.and_then(|()| screen.flush()))?)
}

fn table(nodes: &[Node], now: Duration) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("NODE").elastic(8),
        Column::left("SEEN"),
        Column::left("LANE"),
        Column::left("EPOCH"),
        Column::right("EVENTS"),
        Column::right("LAST"),
        Column::right("LOST"),
        Column::right("MISSING"),
    ]);
    for node in nodes {
        let silence = now.saturating_sub(Duration::from_millis(u64::try_from(node.seen_at).unwrap_or(0)));
        let late = silence > SILENCE_MAX;
        let seen = format!("{} ago{}", human_duration(silence), if late { ", late" } else { "" });
        let heads = [Cell::from(node.node.as_str()), Cell::toned(seen, if late { Tone::Warn } else { Tone::Plain })];
        let account = Account::of(node);
        if account.lanes.is_empty() && account.unnumbered == 0 {
            table.row(heads.clone());
        }
        if account.unnumbered > 0 {
            let cells = ["-", "", &account.unnumbered.to_string(), "-", "-", "-"].map(Cell::from);
            table.row(heads.clone().into_iter().chain(cells));
        }
        for lane in &account.lanes {
            for epoch in &lane.epochs {
                table.row(heads.clone().into_iter().chain(epoch_cells(&lane.lane, epoch)));
            }
        }
    }
    table
}

fn epoch_cells(lane: &str, epoch: &EpochAccount) -> [Cell; 6] {
    let missing = epoch.missing.iter().fold(0u64, |sum, hole| sum.saturating_add(hole.last - hole.first + 1));
    let lost = epoch.losses.iter().fold(0u64, |sum, loss| sum.saturating_add(loss.count));
    let exact = epoch.losses.iter().all(|loss| loss.exact);
    [
        Cell::from(if lane.is_empty() { "-" } else { lane }),
        Cell::from(short(&epoch.epoch)),
        Cell::from(epoch.received.count().to_string()),
        Cell::from(epoch.received.last().map_or_else(|| "-".to_owned(), |last| last.to_string())),
        Cell::toned(counted(lost, exact), if lost > 0 { Tone::Warn } else { Tone::Plain }),
        Cell::toned(missing.to_string(), if missing > 0 { Tone::Bad } else { Tone::Plain }),
    ]
}

/// What tells an epoch from the others at a glance.
pub(super) fn short(epoch: &str) -> String {
    epoch.chars().take(EPOCH_SHOWN).collect()
}

/// A count of losses: `12`, `12+` when it is a lower bound, `?` when nothing is known.
pub(super) fn counted(count: u64, exact: bool) -> String {
    match (count, exact) {
        (_, true) => count.to_string(),
        (0, false) => "?".to_owned(),
        (_, false) => format!("{count}+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::store::{Loss, Ranges, Stream},
        terminal::page::printed,
    };

    #[test]
    fn late_nodes_and_missing_events_are_seen_at_a_glance() {
        let mut received = Ranges::default();
        received.insert(1..=500, 0);
        received.insert(502..=900, 5);
        let stream =
            Stream { epoch: "0192ab34-cd56".into(), lane: "routine".into(), events: 899, received: received.clone() };
        let unnumbered = Stream { epoch: String::new(), lane: String::new(), events: 3, received: Ranges::default() };
        let loss = Loss {
            event_id: "report".into(),
            received_at: 9,
            epoch: "0192ab34-cd56".into(),
            lane: "routine".into(),
            consumer: String::new(),
            operation: "unclean_stop".into(),
            range: None,
            count: 0,
            exact: false,
            first_time: 0,
            last_time: 0,
        };
        let node = |name: &str, seen_at, streams: Vec<Stream>| Node {
            node: name.into(),
            organisation: String::new(),
            seen_at,
            events: 0,
            losses: streams.iter().skip(1).map(|_| loss.clone()).collect(),
            overlaps: Vec::new(),
            streams,
        };
        let nodes = [node("nas-1", 99_000, vec![unnumbered, stream]), node("old", -5, vec![])];
        let text = printed(Some(80), |screen| table(&nodes, Duration::from_secs(7200)).print(screen));
        assert_eq!(
            text,
            "NODE   SEEN              LANE     EPOCH     EVENTS  LAST  LOST  MISSING\n\
             nas-1  1h 58m ago, late  -                       3     -     -        -\n\
             nas-1  1h 58m ago, late  routine  0192ab34     899   900     ?        1\n\
             old    2h ago, late\n"
        );
    }
}
