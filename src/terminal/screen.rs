//! Where a command's output goes: standard output, or a buffer in tests. Colour only on a terminal, and only where
//! NO_COLOR and its relatives allow it. Lines are gathered: call [`Screen::flush`] when a reader shall see them.

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
};

use anstyle::Style;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::wrapped;
use crate::visible::{visible, visible_json};

/// Columns of a terminal that does not tell its width.
const WIDTH_DEFAULT: usize = 80;

/// A text behind a lead gets so many columns, however narrow the terminal is.
const HANGING_WIDTH_MIN: usize = 20;

/// Lines of one that does not tell its height.
const HEIGHT_DEFAULT: usize = 24;

/// A place for lines.
pub struct Screen {
    out: Box<dyn Write + Send>,
    colour: bool,
    width: Option<usize>,
    height: Option<usize>,
}

impl Screen {
    /// Standard output.
    pub fn stdout() -> Screen {
        let stdout = io::stdout();
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let (width, height) = stdout.is_terminal().then(|| (terminal_width(), terminal_height())).unzip();
        Screen { out: Box::new(BufWriter::new(stdout)), colour, width, height }
    }

    /// Any writer; `width` columns as of a terminal, or `None` as of a pipe. Without colour.
    pub fn to(out: impl Write + Send + 'static, width: Option<usize>) -> Screen {
        Screen { out: Box::new(out), colour: false, width, height: width.map(|_| HEIGHT_DEFAULT) }
    }

    /// Columns that fit in a line; `None` where nothing has to be cut, because no terminal shows it.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Lines that are seen at once, the prompt's among them; `None` where no terminal shows them.
    pub fn height(&self) -> Option<usize> {
        self.height
    }

    /// Whether a person is looking: hints and progress are for them alone.
    pub fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// One line, with what nobody sees in it spelt out.
    ///
    /// # Errors
    /// When the reader is gone ([`quiet_end`]) or the write fails.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.put(&visible(text))
    }

    /// One line as it is, colours and all: of texts that are visible.
    pub(super) fn put(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// A text that goes on in the next line where it does not fit.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn sentence(&mut self, text: &str) -> io::Result<()> {
        wrapped(text, self.width.unwrap_or(usize::MAX)).iter().try_for_each(|line| self.line(line))
    }

    /// A text behind a lead, which goes on in the next line below itself.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn hanging(&mut self, lead: &str, text: &str) -> io::Result<()> {
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(lead.width()).max(HANGING_WIDTH_MIN));
        let mut lead = lead.to_owned();
        wrapped(text, room).iter().try_for_each(|line| {
            self.line(&format!("{lead}{line}"))?;
            lead = " ".repeat(lead.width());
            Ok(())
        })
    }

    /// One value as JSON in one line; what nobody sees in its texts is spelt out as JSON does, also for a pipe, which may end
    /// at a terminal.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.put(&visible_json(&serde_json::to_string(value)?))
    }

    /// One value as indented JSON.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn json_document(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.put(&visible_json(&serde_json::to_string_pretty(value)?))
    }

    /// Shows the reader all lines so far.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The text in a style, where colour is allowed.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour && style != Style::new() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Turns the end of a reader (`rodent events | head`) into a quiet success.
///
/// # Errors
/// Every other error as it came.
pub fn quiet_end(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn terminal_width() -> usize {
    let said = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    said.or_else(asked).filter(|width| *width > 0).unwrap_or(WIDTH_DEFAULT)
}

fn terminal_height() -> usize {
    terminal_size::terminal_size()
        .map(|(_, height)| height.0.into())
        .filter(|height| *height > 0)
        .unwrap_or(HEIGHT_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_line_and_no_json_from_outside_steers_a_terminal() {
        let hostile = "\x1b]0;x\x07\x1b[2J\r\n\u{9b}31m\u{61c}\u{202e}\u{2028}";
        let print = |screen: &mut Screen| {
            screen.line(hostile)?;
            screen.sentence(hostile)?;
            screen.json(&hostile)?;
            screen.json_document(&[hostile])
        };
        let text = crate::terminal::page::printed(Some(80), print);
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.chars().all(|c| c == '\n' || !crate::visible::is_hidden(c)), "{text:?}");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_command_quietly() {
        let mut screen = Screen::to(Gone, None);
        quiet_end(screen.line("x")).expect("a quiet end");
        quiet_end(screen.json(&1)).expect("a quiet end, through the JSON writer too");
        quiet_end(Err(io::ErrorKind::StorageFull.into())).expect_err("any other error is one");
    }
}
