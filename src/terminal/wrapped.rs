//! A text in lines: for sentences, which a narrow terminal must not cut off.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text in lines of at most `room` columns: what is wrong is never cut off. A word that is longer than a line goes on in the
/// next one.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').flat_map(|word| broken(word, room)) {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The word in pieces of at most `room` columns; a character that is wider is a piece by itself.
fn broken(word: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut rest, mut columns) = (word, 0);
    let mut from = 0;
    for (at, character) in word.char_indices() {
        let width = character.width().unwrap_or_default();
        if columns + width > room && at > from {
            let (piece, after) = rest.split_at(at - from);
            pieces.push(piece);
            (rest, columns, from) = (after, 0, at);
        }
        columns += width;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_goes_on_in_the_next_line() {
        assert_eq!(wrapped("the log is full", 10), ["the log is", "full"]);
        assert_eq!(wrapped("an incomprehensible text", 10), ["an", "incomprehe", "nsible", "text"]);
        assert_eq!(wrapped("日本語", 5), ["日本", "語"]);
        assert_eq!(wrapped("日本", 1), ["日", "本"]);
        assert_eq!(wrapped("", 0), [""]);
        assert_eq!(wrapped("the log is full", usize::MAX), ["the log is full"]);
    }
}
