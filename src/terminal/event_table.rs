//! Events in a table: when, how bad, and what happened in one sentence; the kind where there is room for it.

use std::io;

use super::{Cell, Clock, Column, Screen, Table, Tone};
use crate::event::{EventView, Summary};

/// Columns of a terminal that has room for the kind beside the sentence.
const KIND_FROM: usize = 120;

/// What is shown besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventColumns {
    /// A node for each event.
    pub node: bool,
    /// The kind, and all fields.
    pub wide: bool,
    /// In which time.
    pub clock: Clock,
}

/// Rows of events.
#[derive(Debug)]
pub struct EventTable {
    table: Table,
    shown: EventColumns,
    has_kind: bool,
}

impl EventTable {
    /// For a terminal of this many columns, or a pipe.
    pub fn new(width: Option<usize>, shown: EventColumns) -> EventTable {
        let has_kind = shown.wide || width.is_none_or(|width| width >= KIND_FROM);
        let mut columns = vec![Column::left("TIME").at_least(shown.clock.width())];
        if shown.node {
            columns.push(Column::left("NODE").at_least(8).elastic(8));
        }
        columns.push(Column::left("LEVEL").at_least(5));
        if has_kind {
            let kind = Column::left("KIND").at_least(24);
            columns.push(if shown.wide { kind } else { kind.elastic(20) });
        }
        columns.push(Column::left("EVENT").wraps());
        EventTable { table: Table::new(&columns), shown, has_kind }
    }

    /// Adds an event; of `node` where nodes are shown.
    pub fn row(&mut self, event: &EventView, node: &str) {
        let clock = self.shown.clock;
        let Summary { text, fields, .. } = Summary::with_times(event, &|time| clock.time(time));
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
    /// As [`Table::print`].
    pub fn print(&mut self, screen: &mut Screen) -> io::Result<()> {
        self.table.print(screen)
    }
}
