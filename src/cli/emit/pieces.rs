//! A stream of JSON values, line by line, cut into values with the line that each begins on.
//!
//! Values stand one a line, over several lines, or several in one line; arrays are opened, so that a list of values is
//! as good. What is no JSON costs the rest of its line and no more, so that one bad line never swallows the next.
//! Pure: the lines come from `super::json`.

use serde::de::IgnoredAny;

/// The longest value, bytes. An encoded event has at most 16 KiB.
pub(super) const VALUE_BYTES_MAX: usize = 128 * 1024;

/// A value that is longer is not tried anew with each of its lines, but when it has grown by an eighth: trying costs
/// as much as is held.
const EAGER_BYTES_MAX: usize = 4 * 1024;

/// What a line completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The text of one JSON value.
    Value { line: u64, text: String },
    /// A line that cannot be part of one.
    Malformed { line: u64, reason: String },
}

/// Lines that are not yet a value.
#[derive(Debug)]
pub(super) struct Pieces {
    text: String,
    /// Where the text begins.
    line: u64,
    /// How much of the text was known not to be a value yet, bytes.
    tried: usize,
}

impl Pieces {
    pub(super) fn new() -> Pieces {
        Pieces { text: String::new(), line: 1, tried: 0 }
    }

    /// Adds a line, with the line break that it has, and gives what that completes.
    pub(super) fn add(&mut self, line: &str) -> Vec<Piece> {
        self.text.push_str(line);
        // Where values are indented, only their ends begin a line so.
        if self.text.len() <= EAGER_BYTES_MAX || self.text.len() >= self.tried + self.tried / 8 || line.starts_with('}')
        {
            self.cut(false)
        } else {
            Vec::new()
        }
    }

    /// A line that could not even be read as text: it ends what was begun.
    pub(super) fn add_unreadable(&mut self, reason: String) -> Vec<Piece> {
        let mut pieces = self.end();
        pieces.push(Piece::Malformed { line: self.line, reason });
        self.line += 1;
        pieces
    }

    /// No more lines: what was begun stays incomplete.
    pub(super) fn end(&mut self) -> Vec<Piece> {
        self.cut(true)
    }

    fn cut(&mut self, at_end: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        loop {
            self.skip_separators();
            if self.text.is_empty() {
                return pieces;
            }
            let mut values = serde_json::Deserializer::from_str(&self.text).into_iter::<IgnoredAny>();
            match values.next() {
                Some(Ok(_)) => {
                    let end = values.byte_offset();
                    let line = self.line;
                    pieces.push(Piece::Value { line, text: self.take(end) });
                }
                Some(Err(error)) if error.is_eof() && !at_end && self.text.len() <= VALUE_BYTES_MAX => {
                    self.tried = self.text.len();
                    return pieces;
                }
                Some(Err(error)) => pieces.push(self.give_up_line(&error)),
                None => return pieces,
            }
        }
    }

    fn skip_separators(&mut self) {
        // Also a byte order mark, with which some programs begin a file.
        let value = self.text.find(|c: char| !c.is_whitespace() && !matches!(c, ',' | '[' | ']' | '\u{feff}'));
        self.take(value.unwrap_or(self.text.len()));
    }

    fn take(&mut self, bytes: usize) -> String {
        self.tried = 0;
        let taken: String = self.text.drain(..bytes).collect();
        self.line += taken.matches('\n').count() as u64;
        taken
    }

    fn give_up_line(&mut self, error: &serde_json::Error) -> Piece {
        let reason = if self.text.len() > VALUE_BYTES_MAX {
            format!("the value is longer than {VALUE_BYTES_MAX} bytes")
        } else if error.is_eof() || error.line() > 1 {
            "this is not JSON: the value does not end".to_owned()
        } else {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            format!("this is not JSON: {what} at column {}", error.column())
        };
        let line = self.line;
        let end = self.text.find('\n').map_or(self.text.len(), |end| end + 1);
        self.take(end);
        Piece::Malformed { line, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<Piece> {
        let mut pieces = Pieces::new();
        let mut all: Vec<Piece> = text.split_inclusive('\n').flat_map(|line| pieces.add(line)).collect();
        all.extend(pieces.end());
        all
    }

    fn value(line: u64, text: &str) -> Piece {
        Piece::Value { line, text: text.to_owned() }
    }

    /// The pieces, each as its line, with `!` where it is malformed.
    fn outline(text: &str) -> Vec<String> {
        let outline = |piece: Piece| match piece {
            Piece::Value { line, .. } => line.to_string(),
            Piece::Malformed { line, .. } => format!("{line}!"),
        };
        pieces(text).into_iter().map(outline).collect()
    }

    #[test]
    fn values_stand_one_a_line() {
        assert_eq!(pieces("{\"a\":1}\n\n{\"b\":2}"), [value(1, "{\"a\":1}"), value(3, "{\"b\":2}")]);
    }

    #[test]
    fn values_may_follow_each_other_in_a_line_and_go_over_several() {
        assert_eq!(
            pieces("{\"a\":1} {\n\"b\":[2,\n3]}\n{\"c\":3}"),
            [value(1, "{\"a\":1}"), value(1, "{\n\"b\":[2,\n3]}"), value(4, "{\"c\":3}")]
        );
    }

    #[test]
    fn arrays_are_opened() {
        assert_eq!(pieces("[\n  {\"a\":1},\n  {\"b\":2}\n]\n"), [value(2, "{\"a\":1}"), value(3, "{\"b\":2}")]);
        assert_eq!(pieces("[]\n"), []);
    }

    #[test]
    fn a_bad_line_costs_itself_alone() {
        assert_eq!(outline("{\"a\":1}\nhello\n{\"b\":2}\n"), ["1", "2!", "3"]);
        assert_eq!(outline("{\"a\":1}}\n{\"b\":2}\n"), ["1", "1!", "2"]);
    }

    #[test]
    fn a_line_that_was_cut_off_costs_itself_alone_wherever_the_cut_is() {
        let whole = r#"{"kind":"a","payload":{"x":[1,{"y":true}]}}"#;
        for end in 1..whole.len() {
            let text = format!("{whole}\n{}\n{whole}\n{whole}\n", &whole[..end]);
            assert_eq!(outline(&text), ["1", "2!", "3", "4"], "cut at {end}");
        }
    }

    #[test]
    fn a_value_that_does_not_end_is_reported_at_the_end() {
        assert_eq!(outline("{\"a\":1}\n{\"b\":"), ["1", "2!"]);
    }

    #[test]
    fn what_never_becomes_a_value_is_given_up_at_the_bound() {
        let mut pieces = Pieces::new();
        pieces.add("{\"a\":[\n");
        let mut given_up = Vec::new();
        for _ in 0..VALUE_BYTES_MAX {
            given_up = pieces.add("1,\n");
            if !given_up.is_empty() {
                break;
            }
        }
        let first = given_up.first().expect("given up");
        assert!(matches!(first, Piece::Malformed { line: 1, reason } if reason.contains("longer")), "{first:?}");
    }

    #[test]
    fn a_long_value_over_many_lines_is_a_value() {
        let lines: String = (0..20_000).map(|number| format!("  {},\n", number % 10)).collect();
        let text = format!("{{\"a\":[\n{lines}0]\n}}\n{{\"b\":2}}\n");
        assert_eq!(outline(&text), ["1", "20004"]);
    }

    #[test]
    fn the_reason_names_the_column() {
        let Some(Piece::Malformed { reason, .. }) = pieces("{\"a\": }\n").pop() else { panic!("not malformed") };
        assert_eq!(reason, "this is not JSON: expected value at column 7");
    }
}
