//! A line of a screen that is drawn whole: words with tones, as wide as one likes until it is cut.
//!
//! Pure: what is drawn can be looked at in tests. Control characters in a text are shown, not sent.

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::{Tone, table::cut};
use crate::visible::visible;

/// Words in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Tone, String)>);

impl Line {
    /// Without words.
    pub fn new() -> Line {
        Line::default()
    }

    /// One text.
    pub fn of(tone: Tone, text: &str) -> Line {
        Line::new().then(tone, text)
    }

    /// And a text behind it.
    #[must_use]
    pub fn then(mut self, tone: Tone, text: &str) -> Line {
        if !text.is_empty() {
            self.0.push((tone, visible(text).into_owned()));
        }
        self
    }

    /// And a text in a column of so many: at its left end, cut where it is longer.
    #[must_use]
    pub fn left(self, width: usize, tone: Tone, text: &str) -> Line {
        let shown = visible(text);
        let text = cut(&shown, width);
        let blanks = " ".repeat(width.saturating_sub(text.width()));
        self.then(tone, &text).then(Tone::Plain, &blanks)
    }

    /// And a text in a column of so many: at its right end, for numbers.
    #[must_use]
    pub fn right(self, width: usize, tone: Tone, text: &str) -> Line {
        let shown = visible(text);
        let text = cut(&shown, width);
        let blanks = " ".repeat(width.saturating_sub(text.width()));
        self.then(Tone::Plain, &blanks).then(tone, &text)
    }

    /// And blanks up to this column, then another line.
    #[must_use]
    pub fn beside(mut self, column: usize, other: Line) -> Line {
        let blanks = " ".repeat(column.saturating_sub(self.width()));
        self = self.then(Tone::Plain, &blanks);
        self.0.extend(other.0);
        self
    }

    /// Columns that it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// As much of it as fits in `width`, without blanks at its end.
    #[must_use]
    pub fn cut(self, width: usize) -> Line {
        let mut left = width;
        let mut kept = Vec::new();
        let is_long = self.width() > width;
        for (tone, text) in self.0 {
            if left == 0 {
                break;
            }
            let text = if is_long && text.width() >= left { cut(&text, left).into_owned() } else { text };
            left = left.saturating_sub(text.width());
            kept.push((tone, text));
        }
        Line(kept)
    }

    /// The words alone.
    pub fn text(&self) -> String {
        let text: String = self.0.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }

    /// The words with what a terminal needs to colour them.
    pub(super) fn painted(&self, colour: bool) -> String {
        let mut painted = String::new();
        for (tone, text) in &self.0 {
            let style = tone.style();
            match colour && style != Style::new() {
                true => painted.push_str(&format!("{style}{text}{style:#}")),
                false => painted.push_str(text),
            }
        }
        painted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_in_columns_and_a_long_one_is_cut_to_its_own() {
        let line = Line::new().left(6, Tone::Good, "urgent-lane").then(Tone::Plain, " ").right(5, Tone::Plain, "12");
        assert_eq!(line.text(), "urgen…    12");
        assert_eq!(line.width(), 12);
        assert_eq!(line.clone().beside(15, Line::of(Tone::Dim, "x")).text(), "urgen…    12   x");
        assert_eq!(line.cut(8).text(), "urgen… …");
        assert_eq!(Line::of(Tone::Dim, "a long line").cut(6).text(), "a lon…");
        assert_eq!(Line::of(Tone::Dim, "exact").cut(5).text(), "exact");
    }

    #[test]
    fn what_comes_from_outside_moves_no_cursor_and_colour_can_be_left_out() {
        let line = Line::of(Tone::Bad, "a\x1b[2Jb");
        assert!(!line.text().contains('\x1b'), "{line:?}");
        assert!(line.painted(true).starts_with("\x1b[31m") && !line.painted(false).contains('\x1b'));
    }
}
