//! Events in a table: when, how bad, and what happened in one sentence; the kind where there is room for it.

use std::io;

use super::{Cell, Column, Screen, TextTable, TimeZone, Tone, table::GAP};
use crate::event::{EventView, Manner, Summary};

/// Columns of a terminal that has room for the kind beside the sentence.
const KIND_FROM: usize = 120;

/// Columns of a node, and of a kind where it stands beside the sentence.
const NODE_WIDTH: usize = 8;
const KIND_WIDTH: usize = 20;

/// What is shown besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventColumns {
    /// A node for each event.
    pub node: bool,
    /// The kind, and all fields.
    pub wide: bool,
    /// In which time.
    pub clock: TimeZone,
}

/// Rows of events.
#[derive(Debug)]
pub struct EventTable {
    table: TextTable,
    shown: EventColumns,
    has_kind: bool,
    manner: Manner,
}

impl EventTable {
    /// For a terminal of this many columns, or a pipe.
    pub fn new(width: Option<usize>, shown: EventColumns) -> EventTable {
        let has_kind = shown.wide || width.is_none_or(|width| width >= KIND_FROM);
        let mut columns = vec![Column::left("TIME").at_least(shown.clock.width())];
        if shown.node {
            columns.push(Column::left("NODE").at_least(NODE_WIDTH).elastic(NODE_WIDTH));
        }
        columns.push(Column::left("LEVEL").at_least(5));
        if has_kind {
            let kind = Column::left("KIND").at_least(24);
            columns.push(if shown.wide { kind } else { kind.elastic(KIND_WIDTH) });
        }
        columns.push(Column::left("EVENT").wraps());
        let times = shown.clock.writer();
        let manner = match width.filter(|_| !shown.wide) {
            Some(width) => Manner { times, name_width: name_width(width, shown, has_kind) },
            None => Manner { times, ..Manner::default() },
        };
        EventTable { table: TextTable::new(&columns), shown, has_kind, manner }
    }

    /// Adds an event; of `node` where nodes are shown.
    pub fn row(&mut self, event: &EventView, node: &str) {
        let clock = self.shown.clock;
        let Summary { text, fields, .. } = Summary::put(event, self.manner);
        let level = event.level();
        let tone = Tone::of(level);
        let mut cells = vec![Cell::toned(clock.time(event.timestamp()), Tone::Dim)];
        if self.shown.node {
            cells.push(node.into());
        }
        cells.push(Cell::toned(level.name(), tone));
        if self.has_kind {
            cells.push(event.kind().as_str().into());
        }
        let text = if self.shown.wide && text != fields { format!("{text}  {fields}") } else { text };
        cells.push(text.trim_end().into());
        self.table.row(cells);
    }

    /// Prints what was added since the last time.
    ///
    /// # Errors
    /// As [`TextTable::print`].
    pub fn print(&mut self, screen: &mut Screen) -> io::Result<()> {
        self.table.print(screen)
    }
}

/// Of the room that the sentence has at least, three quarters: the words around a name stay beside it.
fn name_width(terminal: usize, shown: EventColumns, has_kind: bool) -> usize {
    let level = "essential".len();
    let others =
        [Some(shown.clock.width()), Some(level), shown.node.then_some(NODE_WIDTH), has_kind.then_some(KIND_WIDTH)];
    let taken: usize = others.into_iter().flatten().map(|width| width + GAP.len()).sum();
    terminal.saturating_sub(taken) * 3 / 4
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::{
        schema::{
            Payload as _,
            events::{Event, StoragePoolPayload},
        },
        terminal::page::printed,
    };

    fn table(width: Option<usize>, name: &str, shown: EventColumns) -> String {
        let pool = StoragePoolPayload { pool_name: name.to_owned(), operation: 1, ..Default::default() };
        let event = Event { event_payload: Some(pool.into_event_payload()), level: 5, ..Default::default() };
        let mut table = EventTable::new(width, shown);
        table.row(&EventView::from(&event), "nas-1");
        printed(width, |screen| table.print(screen))
    }

    #[test]
    fn a_name_of_255_bytes_leaves_the_sentence_beside_it_in_one_line() {
        let shown = EventColumns { clock: TimeZone::Utc, ..EventColumns::default() };
        for name in ["x".repeat(255), "語".repeat(85), "two words ".repeat(25)] {
            for (width, node) in [(80, false), (80, true), (100, false), (140, true)] {
                let text = table(Some(width), &name, EventColumns { node, ..shown });
                assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
                let row: String = text.lines().skip(1).map(str::trim).collect::<Vec<_>>().join(" ");
                assert!(row.contains('…') && row.ends_with("was created") && row.contains("Pool "), "{width}:\n{text}");
                assert!(text.lines().count() <= 3, "{width}:\n{text}");
            }
            let wide = EventColumns { wide: true, ..shown };
            for whole in [table(None, &name, shown), table(Some(80), &name, wide)] {
                let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                assert!(letters(&whole).contains(&letters(&name)), "{whole}");
            }
        }
    }
}
