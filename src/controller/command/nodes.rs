//! `rodent-controller nodes`: who reports, who is late, and what has arrived of each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{Failure, STORE_DEFAULT, location::Location};
use crate::{
    controller::store::{Node, Stream},
    terminal::{Cell, Column, Output, Screen, Table, Tone, human_duration, quiet_end},
};

/// A node that was silent for longer is late: two of its heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Characters of an epoch that tell it from the others at a glance.
const EPOCH_SHOWN: usize = 8;

/// Print every node: when it was last heard of, and what has arrived
///
/// One line a lane and epoch. MISSING counts the sequences below the highest that
/// have not arrived. A node that was silent for half an hour is marked late.
#[derive(Args)]
pub(super) struct Arguments {
    /// The store to read: `sqlite:PATH`
    #[arg(long, value_name = "STORE", default_value = STORE_DEFAULT)]
    store: Location,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let nodes = arguments.store.read()?.nodes()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut screen = Screen::stdout();
    let printed = match arguments.output {
        Output::Table if nodes.is_empty() && screen.is_terminal() => screen.line("No node has been seen yet."),
        Output::Table => table(&nodes, now).print(&mut screen),
        Output::Json => screen.json_document(&nodes),
        Output::Jsonl => nodes.iter().try_for_each(|node| screen.json(node)),
    };
    Ok(quiet_end(printed.and_then(|()| screen.flush()))?)
}

fn table(nodes: &[Node], now: Duration) -> Table {
    let mut table = Table::new(&[
        Column::left("NODE").elastic(8),
        Column::left("SEEN"),
        Column::left("LANE"),
        Column::left("EPOCH"),
        Column::right("EVENTS"),
        Column::right("LAST"),
        Column::right("MISSING"),
    ]);
    for node in nodes {
        let silence = now.saturating_sub(Duration::from_millis(u64::try_from(node.seen_at).unwrap_or(0)));
        let late = silence > SILENCE_MAX;
        let seen = format!("{} ago{}", human_duration(silence), if late { ", late" } else { "" });
        let heads = [Cell::from(node.node.as_str()), Cell::toned(seen, if late { Tone::Warn } else { Tone::Plain })];
        if node.streams.is_empty() {
            table.row(heads.clone());
        }
        for stream in &node.streams {
            table.row(heads.clone().into_iter().chain(stream_cells(stream)));
        }
    }
    table
}

fn stream_cells(stream: &Stream) -> [Cell; 5] {
    let missing = stream.received.missing();
    let last = stream.received.last();
    [
        Cell::from(if stream.lane.is_empty() { "-" } else { stream.lane.as_str() }),
        Cell::from(stream.epoch.chars().take(EPOCH_SHOWN).collect::<String>()),
        Cell::from(stream.events.to_string()),
        Cell::from(last.map_or_else(|| "-".to_owned(), |last| last.to_string())),
        Cell::toned(
            if last.is_some() { missing.to_string() } else { "-".to_owned() },
            if missing > 0 { Tone::Bad } else { Tone::Plain },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::controller::store::Ranges;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while writing").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn late_nodes_and_missing_events_are_seen_at_a_glance() {
        let mut received = Ranges::default();
        received.insert(1..=500);
        received.insert(502..=900);
        let stream =
            Stream { epoch: "0192ab34-cd56".into(), lane: "routine".into(), events: 899, received: received.clone() };
        let unnumbered = Stream { epoch: String::new(), lane: String::new(), events: 3, received: Ranges::default() };
        let node = |name: &str, seen_at, streams| Node {
            node: name.into(),
            organisation: String::new(),
            seen_at,
            events: 0,
            streams,
        };
        let nodes = [node("nas-1", 99_000, vec![unnumbered, stream]), node("old", -5, vec![])];
        let page = Page::default();
        table(&nodes, Duration::from_secs(7200)).print(&mut Screen::to(page.clone(), Some(80))).expect("printed");
        let text = String::from_utf8(page.0.lock().expect("no panic while writing").clone()).expect("UTF-8");
        assert_eq!(
            text,
            "NODE   SEEN              LANE     EPOCH     EVENTS  LAST  MISSING\n\
             nas-1  1h 58m ago, late  -                       3     -        -\n\
             nas-1  1h 58m ago, late  routine  0192ab34     899   900        1\n\
             old    2h ago, late\n"
        );
    }
}
