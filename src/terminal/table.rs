//! Rows in columns. Rows are gathered, measured and printed together; a table that is printed again (`--follow`) keeps
//! its header and the widths that it has, and widens when it must.
//!
//! On a terminal a line never exceeds the width: elastic columns shrink, and when the last column has too little room
//! it goes to a line of its own under the row; one that wraps goes on below itself. Into a pipe nothing is cut and each row
//! stays one line.

use std::{borrow::Cow, io, iter::repeat_n};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Screen, wrapped};
use crate::{event::Level, visible::visible};

/// Blanks between columns.
pub(super) const GAP: &str = "  ";

/// A cell wider than this widens its column no further: one long name must not push all later rows apart. On a terminal
/// it is cut, into a pipe it goes whole.
const WIDTH_MAX: usize = 60;

/// Less room than this in its row, and the last column goes to the next line.
const LAST_ROOM_MIN: usize = 24;

/// How far a last column on a line of its own is indented.
const INDENT: &str = "    ";

/// A column: its title and how it takes its width.
#[derive(Clone, Debug)]
pub struct Column {
    title: &'static str,
    right: bool,
    elastic_min: Option<usize>,
    wraps: bool,
    width: usize,
}

impl Column {
    /// Text, as wide as its widest cell.
    pub fn left(title: &'static str) -> Column {
        Column { title, right: false, elastic_min: None, wraps: false, width: title.width() }
    }

    /// Numbers, aligned at the right.
    pub fn right(title: &'static str) -> Column {
        Column { right: true, ..Column::left(title) }
    }

    /// May be cut down to `min` columns when the terminal is narrow.
    #[must_use]
    pub fn elastic(self, min: usize) -> Column {
        Column { elastic_min: Some(min.max(1)), ..self }
    }

    /// The last column, of sentences: what does not fit goes on in further lines below it, so that nothing is cut.
    #[must_use]
    pub fn wraps(self) -> Column {
        Column { wraps: true, ..self.elastic(LAST_ROOM_MIN) }
    }

    /// At least so wide from the start: for rows that come one by one.
    #[must_use]
    pub fn at_least(self, width: usize) -> Column {
        Column { width: self.width.max(width), ..self }
    }
}

/// How much a cell wants to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As everything else.
    #[default]
    Plain,
    /// Beside the point.
    Dim,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Someone must look.
    Bad,
    /// Someone must look now.
    Loud,
    /// For the record.
    Mark,
}

impl Tone {
    /// The tone of an event of this level.
    pub fn of(level: Level) -> Tone {
        match level {
            Level::Trace | Level::Debug => Tone::Dim,
            Level::Info => Tone::Plain,
            Level::Warn => Tone::Warn,
            Level::Error => Tone::Bad,
            Level::Critical => Tone::Loud,
            Level::Essential => Tone::Mark,
        }
    }

    pub(super) fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Loud => AnsiColor::Red.on_default().bold(),
            Tone::Mark => AnsiColor::Cyan.on_default(),
        }
    }
}

/// One text in a row. What nobody sees in it is spelt out.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text with a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: visible(&text.into()).into_owned(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::toned(text, Tone::Plain)
    }
}

/// Rows under titles.
#[derive(Debug)]
pub struct TextTable {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    header_due: bool,
}

impl TextTable {
    /// A table without rows.
    pub fn new(columns: &[Column]) -> TextTable {
        TextTable { columns: columns.to_vec(), rows: Vec::new(), header_due: true }
    }

    /// Without the line of titles.
    #[must_use]
    pub fn without_header(self) -> TextTable {
        TextTable { header_due: false, ..self }
    }

    /// Adds a row: a cell a column; what is missing stays empty, what is too much is left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        cells.resize_with(self.columns.len(), Cell::default);
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            column.width = column.width.max(cell.text.width().min(WIDTH_MAX));
        }
        // Nothing stands right of the last column.
        if let Some((column, cell)) = self.columns.last_mut().zip(cells.last()) {
            column.width = column.width.max(cell.text.width());
        }
        self.rows.push(cells);
    }

    /// How many lines the next print makes.
    pub fn lines(&self) -> usize {
        if self.rows.is_empty() { 0 } else { self.rows.len() + usize::from(self.header_due) }
    }

    /// Prints the rows that were added since the last time, the titles above the first. A table without any row
    /// prints nothing.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn print(&mut self, screen: &mut Screen) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let layout = Layout::of(&self.columns, screen.width());
        if std::mem::take(&mut self.header_due) {
            let titles = self.columns.iter().map(|column| Cell::toned(column.title, Tone::Dim)).collect::<Vec<_>>();
            self.print_row(&titles, &layout, screen)?;
        }
        for row in std::mem::take(&mut self.rows) {
            self.print_row(&row, &layout, screen)?;
        }
        Ok(())
    }

    fn print_row(&self, cells: &[Cell], layout: &Layout, screen: &mut Screen) -> io::Result<()> {
        let mut line = String::new();
        let last = self.columns.len().saturating_sub(1);
        for (index, ((column, cell), width)) in self.columns.iter().zip(cells).zip(&layout.widths).enumerate() {
            if index == last && layout.last_below {
                screen.put(line.trim_end())?;
                line.clear();
                if cell.text.is_empty() {
                    return Ok(());
                }
                line.push_str(INDENT);
            } else if index > 0 {
                line.push_str(GAP);
            }
            if column.wraps && layout.cuts && cell.text.width() > *width {
                let indent = match layout.last_below {
                    true => INDENT.to_owned(),
                    false => " ".repeat(line_width(cells, &layout.widths, index)),
                };
                for text in wrapped(&cell.text, *width) {
                    line.push_str(&screen.paint(cell.tone.style(), &text));
                    screen.put(line.trim_end())?;
                    line.clone_from(&indent);
                }
                return Ok(());
            }
            let text = if layout.cuts { cut(&cell.text, *width) } else { Cow::Borrowed(cell.text.as_str()) };
            let padding = repeat_n(' ', width.saturating_sub(text.width()));
            let painted = screen.paint(cell.tone.style(), &text);
            if column.right {
                line.extend(padding);
                line.push_str(&painted);
            } else {
                line.push_str(&painted);
                line.extend(padding);
            }
        }
        screen.put(line.trim_end())
    }
}

/// Where a column begins.
fn line_width(cells: &[Cell], widths: &[usize], column: usize) -> usize {
    widths.iter().take(column.min(cells.len())).map(|width| width + GAP.len()).sum()
}

/// The width of each column, whether the last stands below its row, and whether what is too long is cut.
struct Layout {
    widths: Vec<usize>,
    last_below: bool,
    cuts: bool,
}

impl Layout {
    fn of(columns: &[Column], terminal: Option<usize>) -> Layout {
        let Some((room, (_, rest))) = terminal.zip(columns.split_last()) else {
            return Layout {
                widths: columns.iter().map(|column| column.width).collect(),
                last_below: false,
                cuts: false,
            };
        };
        let (mut widths, excess) = shrink(columns, room);
        let last = widths.last().map_or(0, |last| last.saturating_sub(excess));
        if excess == 0 || rest.is_empty() || last >= LAST_ROOM_MIN {
            widths.splice(rest.len().., [last]);
            return Layout { widths, last_below: false, cuts: true };
        }
        // Measured again: with the last column gone below, the others need not be cut for its sake.
        let (mut widths, _) = shrink(rest, room);
        widths.push(room.saturating_sub(INDENT.len()));
        Layout { widths, last_below: true, cuts: true }
    }
}

/// The widths of columns in `room`: elastic ones give way, the rightmost first. And by how much they still exceed it.
fn shrink(columns: &[Column], room: usize) -> (Vec<usize>, usize) {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.width).collect();
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
    for (width, column) in widths.iter_mut().zip(columns).rev() {
        if let Some(min) = column.elastic_min {
            let taken = excess.min(width.saturating_sub(min));
            *width -= taken;
            excess -= taken;
        }
    }
    (widths, excess)
}

/// The text in at most `width` columns, with `…` in place of what was cut off.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    // One column is the ellipsis itself.
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests;
