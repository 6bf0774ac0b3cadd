//! How the sentence of an event is put for whoever reads it: by which clock, and how much of a long name.
//!
//! Given by the commands, which know clock and terminal; taken by the sentence. Always holds: without one, times are in UTC
//! and nothing is left out.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::unit;

/// What differs from reader to reader.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Writes a point in time, Unix milliseconds.
    pub times: fn(i64) -> String,
    /// Columns of a name; of a longer one the middle is left out.
    pub name_width: usize,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { times: unit::utc, name_width: usize::MAX }
    }
}

impl Manner {
    /// The name in the columns that it may take, with `…` for its middle: names of one kind often begin alike, or end alike.
    pub(super) fn name(&self, name: String) -> String {
        if name.width() <= self.name_width {
            return name;
        }
        let room = self.name_width.saturating_sub(1);
        let head = fitting(name.chars(), room - room / 2);
        let tail = name.len() - fitting(name.chars().rev(), room / 2);
        let (head, tail) = (name.get(..head).unwrap_or_default(), name.get(tail..).unwrap_or_default());
        // An accent belongs to the letter before it, which is left out.
        format!("{head}…{}", tail.trim_start_matches(|c: char| c.width() == Some(0)))
    }
}

/// Bytes of the first characters that fit in so many columns.
fn fitting(characters: impl Iterator<Item = char>, columns: usize) -> usize {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or_default();
        used <= columns
    };
    characters.take_while(fits).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_beginning_and_end_are_kept_in_the_columns_that_it_may_take() {
        let name = |text: &str, name_width| Manner { name_width, ..Manner::default() }.name(text.to_owned());
        assert_eq!(name("tank", 4), "tank");
        assert_eq!(name("tank-of-the-north", 9), "tank…orth");
        assert_eq!(name("tank-of-the-north", 8), "tank…rth");
        assert_eq!(name("日本語の長い名前", 9), "日本…名前");
        assert_eq!(name("日本語の長い名前", 8), "日本…前");
        assert_eq!(name("tank", 0), "…");
        assert_eq!(name("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
    }
}
