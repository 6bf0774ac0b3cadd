//! A line of a configuration as people see it: how far it is set in, its key, what kind of value begins on it; and the words
//! of what to do about one that is wrong. Pure; given by a text, taken by [`super::mistake`] and by tables. Not YAML: what is
//! unusual is `Plain`, and nothing is said about it.

/// A line with something on it that is no comment.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    /// Where its text begins, from 1.
    pub(super) column: usize,
    /// Without the blanks around it.
    pub(super) text: &'a str,
    /// Where a tab is among the blanks in front of it, from 1.
    pub(super) tab: Option<usize>,
}

/// What stands behind a key. `from` is how many characters after the key's first it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Nothing,
    Plain,
    /// Text on the lines below.
    Block,
    /// A list, a table or a text that something must close.
    Closing {
        from: usize,
    },
    Wrong {
        from: usize,
        message: &'static str,
    },
}

/// Where something is not as it should be, line and column, and what to do.
pub(super) type Unclosed = (usize, usize, String);

/// Every line that says something.
pub(super) fn significant(text: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines()).map(|(number, line)| {
        let text = line.trim_matches([' ', '\t', '\r']);
        let blanks = || line.chars().take_while(|c| matches!(c, ' ' | '\t'));
        let tab = blanks().position(|c| c == '\t').map(|before| before + 1);
        Line { number, column: blanks().count() + 1, text, tab }
    });
    lines.filter(|line| !line.text.is_empty() && !line.text.starts_with('#') && !line.text.starts_with("---"))
}

/// A line as far as it may be shown: its key, and not what stands behind that, for it may be secret. Nothing of a line without
/// one that `is_known`.
pub(super) fn shown(text: &str, number: usize, is_known: impl Fn(&str) -> bool) -> Option<String> {
    let line = significant(text).find(|line| line.number == number)?;
    let word = line.word();
    let length = match line.key() {
        Some((_, Value::Closing { from })) => from + 1,
        Some((_, Value::Wrong { from, .. })) => from,
        Some(_) => word.chars().count() + 1,
        None if is_known(word) => word.chars().count() + 1,
        None => return None,
    };
    let mut shown = " ".repeat(line.column - 1);
    shown.extend(line.text.chars().take(length));
    shown.extend((line.text.chars().count() > length).then_some('…'));
    Some(shown)
}

impl<'a> Line<'a> {
    /// What may be meant to be a key.
    pub(super) fn word(&self) -> &'a str {
        word(self.text)
    }

    /// The key and what stands behind it.
    pub(super) fn key(&self) -> Option<(&'a str, Value)> {
        let key = self.word();
        let rest = self.text.get(key.len()..)?.strip_prefix(':').filter(|_| !key.is_empty())?;
        let value = rest.trim_start();
        if !rest.is_empty() && value.len() == rest.len() {
            return None;
        }
        let from = key.chars().count() + 1 + rest.chars().count() - value.chars().count();
        Some((key, value_of(value, from)))
    }
}

/// What to do about a key that does not begin where those beside it do.
pub(super) fn begin(key: &str, column: usize) -> String {
    let blanks = match column.saturating_sub(1) {
        0 => "nothing".to_owned(),
        1 => "1 blank".to_owned(),
        blanks => format!("{blanks} blanks"),
    };
    format!("`{key}` begins in the wrong column: begin it in column {column}, with {blanks} in front")
}

/// What to do about a text that stands where `key: value` should.
pub(super) fn separated(text: &str) -> String {
    let word = word(text);
    match text.get(word.len()..).unwrap_or_default().trim_start() {
        rest if rest.starts_with(':') => format!("a blank must follow the colon: `{word}: …`"),
        rest if rest.starts_with('=') => format!("a colon must follow `{word}`, in place of the `=`: `{word}: …`"),
        _ => format!("a colon must follow `{word}`: `{word}: …`"),
    }
}

/// Letters, digits, `_` and `-`, of which keys are made.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

fn value_of(value: &str, from: usize) -> Value {
    match value.chars().next() {
        None | Some('#') => Value::Nothing,
        Some('|' | '>') => Value::Block,
        Some('[' | '{' | '"' | '\'') => Value::Closing { from },
        Some(_) => {
            let text = value.split(" #").next().unwrap_or_default().trim_end();
            let is_split = text.contains(": ") || text.ends_with(':');
            let message = "a value with `: ` in it must stand in quotes";
            if is_split { Value::Wrong { from, message } } else { Value::Plain }
        }
    }
}

/// The line after that on which the value that begins `from` characters into a line is closed. What is not closed ends at the
/// latest before a line that is no deeper than the key, or that `is_key`.
///
/// # Errors
/// Where what is not closed begins, or what stands behind it.
pub(super) fn closed(
    lines: &[Line<'_>],
    at: usize,
    from: usize,
    is_key: impl Fn(&Line<'_>) -> bool,
) -> Result<usize, Unclosed> {
    let Some(own) = lines.get(at) else { return Ok(at + 1) };
    let mut open: Vec<(char, usize, usize)> = Vec::new();
    for (number, line) in lines.iter().enumerate().skip(at) {
        let is_table = open.first().is_some_and(|(bracket, ..)| *bracket == '{');
        let ends = line.column <= own.column && !line.text.starts_with([']', '}']);
        if number > at && (ends || (!is_table && is_key(line))) {
            break;
        }
        let skipped = if number == at { from } else { 0 };
        let mut before = ' ';
        for (offset, c) in line.text.chars().enumerate().skip(skipped) {
            let column = line.column + offset;
            let quote = open.last().map(|(bracket, ..)| *bracket).filter(|bracket| matches!(bracket, '"' | '\''));
            let begins = matches!(before, ' ' | ',' | '[' | '{');
            match (quote, c) {
                _ if offset > skipped && open.is_empty() => {
                    return behind(own, from, line, offset).map(|()| number + 1);
                }
                (Some('"'), '"') if before == '\\' => {}
                (Some(quote), c) if c == quote => drop(open.pop()),
                (Some(_), _) => {}
                (None, '#') if before == ' ' => break,
                (None, '[' | '{') => open.push((c, line.number, column)),
                (None, '"' | '\'') if begins => open.push((c, line.number, column)),
                (None, ']' | '}') => match open.pop() {
                    Some((bracket, ..)) if closer(bracket) == c => {}
                    Some((bracket, ..)) => {
                        let message = format!("`{bracket}` is closed by `{}`, and not by `{c}`", closer(bracket));
                        return Err((line.number, column, message));
                    }
                    None => return Ok(number + 1),
                },
                (None, _) => {}
            }
            before = if before == '\\' && c == '\\' { ' ' } else { c };
        }
        if open.is_empty() {
            return Ok(number + 1);
        }
    }
    match open.pop() {
        Some((bracket @ ('[' | '{'), line, column)) => {
            Err((line, column, format!("`{bracket}` is not closed: `{}` must end it", closer(bracket))))
        }
        Some((quote, line, column)) => Err((line, column, format!("the quote is not closed: {quote} must end it"))),
        None => Ok(at + 1),
    }
}

fn closer(bracket: char) -> char {
    match bracket {
        '[' => ']',
        '{' => '}',
        quote => quote,
    }
}

/// What stands behind a value that is closed: nothing, or a comment.
fn behind(own: &Line<'_>, from: usize, line: &Line<'_>, offset: usize) -> Result<(), Unclosed> {
    let rest: String = line.text.chars().skip(offset).collect();
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(());
    }
    let message = "the value ends here, and more stands behind it: such a value must stand in quotes as a whole";
    let column = if line.number == own.number { own.column + from } else { line.column + offset };
    Err((line.number, column, message.to_owned()))
}
