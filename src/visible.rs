//! What a reader cannot see in a text, and how it is spelt out: the one escape of every exit, be it a terminal, JSON, the
//! journal or a message to somebody else.
//!
//! Text from outside must not move a cursor, paint a screen, turn the direction of writing, or make two names look alike.
//! Pure. Always holds: what is visible already stays as it is, so that a text may be made visible twice.

use std::{borrow::Cow, ops::RangeInclusive};

/// The characters of the classes Cc (control), Cf (format; all of Bidi_Control are among them), Zl and Zp (separators of
/// lines and paragraphs), in order. U+2065 has no meaning yet and is ignored where it is drawn, as its neighbours are.
///
/// Source: `extracted/DerivedGeneralCategory.txt` of the Unicode Character Database, version 16.0.
const HIDDEN: [RangeInclusive<char>; 22] = [
    '\u{0}'..='\u{1f}',
    '\u{7f}'..='\u{9f}',
    '\u{ad}'..='\u{ad}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0001}'..='\u{e0001}',
    '\u{e0020}'..='\u{e007f}',
];

/// Whether nobody sees this character, only what it does.
pub fn is_hidden(c: char) -> bool {
    HIDDEN.iter().take_while(|range| *range.start() <= c).any(|range| range.contains(&c))
}

/// The text in one line with each hidden character spelt out: `\n`, `\u{1b}`, `\u{202e}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    spelt_out(text, is_hidden, |c, shown| shown.extend(c.escape_default()))
}

/// The same for a text of our own in several lines, which stay lines.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    spelt_out(text, |c| c != '\n' && is_hidden(c), |c, shown| shown.extend(c.escape_default()))
}

/// JSON that means the same, with each hidden character spelt out as JSON does: `\u202e`. They stand nowhere but in its
/// strings; the ends of its lines stay.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let spell = |c: char, shown: &mut String| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    };
    spelt_out(json, |c| c != '\n' && is_hidden(c), spell)
}

fn spelt_out(text: &str, is_meant: impl Fn(char) -> bool, spell: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.chars().any(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_meant(c) { spell(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_spelt_out_and_everything_else_stays() {
        assert_eq!(visible("a\x1b[2J\r\nb\u{9b}c"), "a\\u{1b}[2J\\r\\nb\\u{9b}c");
        assert_eq!(
            visible("\u{61c}\u{200b}\u{2028}\u{202e}\u{e0041}"),
            "\\u{61c}\\u{200b}\\u{2028}\\u{202e}\\u{e0041}"
        );
        assert!(matches!(visible("größe 日本 🦫 \\n"), Cow::Borrowed("größe 日本 🦫 \\n")));
        assert_eq!(visible_lines("a\r\nb"), "a\\r\nb");
    }

    #[test]
    fn the_table_is_in_order_and_holds_every_control_character() {
        assert!(HIDDEN.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        assert!(('\0'..=char::MAX).filter(|c| c.is_control()).all(is_hidden));
        let bidi = ['\u{61c}', '\u{200e}', '\u{200f}']
            .into_iter()
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}');
        assert!(bidi.into_iter().all(is_hidden), "all of Bidi_Control");
        assert_eq!(('\0'..=char::MAX).filter(|c| is_hidden(*c)).count(), 65 + 170 + 2 + 1, "Cc, Cf, Zl and Zp, U+2065");
    }

    #[test]
    fn json_means_the_same_and_hides_nothing() {
        let value = serde_json::json!({"k\u{202e}": "a\u{9b}2J\u{2028}b\u{e0041}\x1b\n\"\\", "n": [1, 2.5, null]});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
            let shown = visible_json(&text);
            assert!(shown.chars().all(|c| c == '\n' || !is_hidden(c)), "{shown}");
            assert!(shown.contains("\\u009b") && shown.contains("\\udb40\\udc41"), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("still JSON"), value);
        }
    }
}
