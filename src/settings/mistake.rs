//! What somebody meant who wrote a file that is no YAML: the line that is at fault, and what to do about it.
//!
//! The parser tells where it could not go on, which is often a line later. This walks the lines with what the rooms know: which
//! keys each table has. Given a text by [`super::session`] when the parser has given up, and the names that were asked for. Pure.
//! Of a text that it does not understand it says nothing, and the parser's words stand. What holds: it shows nothing of a
//! line but its key, for what stands behind that may be secret.

use std::collections::BTreeMap;

use super::{
    line::{self, Line, Value, begin},
    tree::join,
};

/// The keys of each table that somebody reads, by the table's name.
pub(super) type Vocabulary = BTreeMap<String, Vec<&'static str>>;

/// One mistake: where, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// From 1, as is the column.
    pub(super) line: usize,
    pub(super) column: usize,
    /// What to do.
    pub(super) message: String,
}

/// The first mistake up to the line where the parser gave up, or the next one: what is wrong with its beginning is told at the end
/// of the line before.
pub(super) fn find(text: &str, vocabulary: &Vocabulary, last: usize) -> Option<Mistake> {
    let lines: Vec<Line<'_>> = line::significant(text).collect();
    let mut walk = Walk { vocabulary, lines: &lines, open: Vec::new(), opener: None, valued: None, suspect: None };
    let mistake = walk.run()?;
    let next = lines.iter().map(|line| line.number).find(|number| *number > last);
    (mistake.line <= next.unwrap_or(last)).then_some(mistake)
}

/// A table that is open.
#[derive(Clone)]
struct Open {
    column: usize,
    name: String,
    /// Column of the key that opened it; none for the whole file.
    below: Option<usize>,
    /// The first of its lines, and how many there have been.
    first: usize,
    count: usize,
}

struct Walk<'a> {
    vocabulary: &'a Vocabulary,
    lines: &'a [Line<'a>],
    /// The outermost first.
    open: Vec<Open>,
    /// The last key when nothing stood behind it: its column and its name in full.
    opener: Option<(usize, String)>,
    /// Column of the last key when something did.
    valued: Option<usize>,
    /// A key that is in the wrong table, and the right column: a mistake if the file turns out not to be whole.
    suspect: Option<Mistake>,
}

impl Walk<'_> {
    fn run(&mut self) -> Option<Mistake> {
        let mut at = 0;
        while let Some(line) = self.lines.get(at) {
            if let Some(column) = line.tab {
                let message = "a tab stands here: indent with blanks, not with tabs".to_owned();
                return Some(Mistake { line: line.number, column, message });
            }
            at = match line.text.strip_prefix('-') {
                Some(rest) if rest.is_empty() || rest.starts_with(' ') => at + 1,
                Some(rest) if !rest.starts_with('-') && line.key().is_none() => {
                    let message = "a blank must follow the dash: `- …`".to_owned();
                    return Some(Mistake { line: line.number, column: line.column + 1, message });
                }
                _ => match self.key(at) {
                    Ok(next) => next,
                    Err(mistake) => return mistake,
                },
            };
        }
        None
    }

    /// Takes a line with a key; gives the next line that is not part of its value.
    fn key(&mut self, at: usize) -> Result<usize, Option<Mistake>> {
        let Some(line) = self.lines.get(at) else { return Err(None) };
        let Some((key, value)) = line.key() else { return Err(self.no_key(line)) };
        self.place(at, line, key)?;
        let name = join(self.open.last().map_or("", |open| &open.name), key);
        match value {
            Value::Nothing => (self.opener, self.valued) = (Some((line.column, name)), None),
            _ => (self.opener, self.valued) = (None, Some(line.column)),
        }
        let is_key = |line: &Line<'_>| line.key().is_some_and(|(key, _)| self.knows(key));
        match value {
            Value::Nothing | Value::Plain => Ok(at + 1),
            Value::Block => Ok(at + 1 + self.deeper(at, line.column)),
            Value::Closing { from } => line::closed(self.lines, at, from, is_key)
                .map_err(|(number, column, message)| Some(Mistake { line: number, column, message })),
            Value::Wrong { from, message } => {
                Err(Some(Mistake { line: line.number, column: from + line.column, message: message.to_owned() }))
            }
        }
    }

    /// A line that is neither a key nor an element of a list.
    fn no_key(&mut self, line: &Line<'_>) -> Option<Mistake> {
        let word = line.word();
        if !self.knows(word) {
            return self.suspect.take();
        }
        let column = line.column + word.chars().count();
        Some(Mistake { line: line.number, column, message: line::separated(line.text) })
    }

    /// Finds the table that a key is in by its column.
    fn place(&mut self, at: usize, line: &Line<'_>, key: &str) -> Result<(), Option<Mistake>> {
        let column = line.column;
        let deepest = self.open.last().map(|open| open.column);
        if self.open.is_empty() {
            self.push(column, String::new(), None, at);
        } else if let Some((below, name)) = self.opener.clone().filter(|(below, _)| column > *below) {
            self.suspect_unless_known(line, key, &name);
            self.push(column, name, Some(below), at);
        } else if let Some(position) = self.open.iter().position(|open| open.column == column) {
            let name = self.open.get(position).map(|open| open.name.clone()).unwrap_or_default();
            self.suspect_unless_known(line, key, &name);
            self.open.truncate(position + 1);
        } else {
            // Deeper than a key that has a value, or between two tables.
            let nearest = self.open.iter().rev().find(|open| self.has(&open.name, key)).map(|open| open.column);
            let off = self.off(at, line, key, nearest.or(deepest).unwrap_or(1));
            // The earlier one is what the other follows from.
            let mistakes = self.suspect.take().into_iter().chain(off);
            return Err(mistakes.min_by_key(|mistake| mistake.line));
        }
        if let Some(open) = self.open.last_mut() {
            open.count += 1;
        }
        Ok(())
    }

    fn push(&mut self, column: usize, name: String, below: Option<usize>, first: usize) {
        self.open.push(Open { column, name, below, first, count: 0 });
    }

    /// A line begins in a column in which no table does. Its table may begin in `wanted`; then one of the two is wrong.
    fn off(&self, at: usize, line: &Line<'_>, key: &str, wanted: usize) -> Option<Mistake> {
        let table = self.open.iter().rev().find(|open| open.column == wanted)?;
        // By a step of two, as the sample has it; else by what most lines do.
        let proper = table.below.map_or(1, |below| below + 2);
        let follow = self.lines.get(at..)?.iter().take_while(|next| next.column >= line.column.min(wanted));
        let alike = follow.filter(|next| next.column == line.column).count();
        let belongs = self.has(&table.name, key);
        let is_first_wrong = wanted != proper
            && match &self.opener {
                // What belongs below the table's first key begins to the left of it.
                Some((_, name)) if table.count == 1 && self.has(name, key) => true,
                _ if line.column == proper => belongs && (table.count == 1 || self.suspect.is_some()),
                _ => belongs && table.count == 1 && alike > table.count,
            };
        let first = if belongs { line.column } else { proper };
        let (wrong, right) = match is_first_wrong {
            true => (self.lines.get(table.first)?, first),
            false => (line, wanted),
        };
        Some(moved(wrong, wrong.key().map_or("", |(key, _)| key), right))
    }

    /// Remembers a key that its table does not have, and another one that is near does.
    fn suspect_unless_known(&mut self, line: &Line<'_>, key: &str, name: &str) {
        if self.suspect.is_some() || self.has(name, key) || !self.vocabulary.contains_key(name) {
            return;
        }
        let opened = self.opener.iter().map(|(below, name)| (below + 2, name));
        let open = self.open.iter().rev().map(|open| (open.column, &open.name));
        let right = opened.chain(open).find(|(_, name)| self.has(name, key)).map(|(column, _)| column);
        self.suspect = right.filter(|right| *right != line.column).map(|right| moved(line, key, right));
    }

    fn has(&self, table: &str, key: &str) -> bool {
        self.vocabulary.get(table).is_some_and(|keys| keys.contains(&key))
    }

    fn knows(&self, key: &str) -> bool {
        self.vocabulary.values().any(|keys| keys.contains(&key))
    }

    /// How many lines after one begin to the right of it.
    fn deeper(&self, at: usize, column: usize) -> usize {
        self.lines.iter().skip(at + 1).take_while(|line| line.column > column).count()
    }
}

fn moved(line: &Line<'_>, key: &str, right: usize) -> Mistake {
    let message = begin(key, right);
    Mistake { line: line.number, column: line.column, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a text of which the parser has read nothing.
    fn told(text: &str) -> Option<(usize, usize, String)> {
        let names =
            [("", vec!["events", "log", "socket"]), ("events", vec!["size", "tags", "mounts"]), ("log", vec!["level"])];
        let mut vocabulary: Vocabulary = names.into_iter().map(|(name, keys)| (name.to_owned(), keys)).collect();
        vocabulary.insert("events.mounts".to_owned(), vec!["include"]);
        find(text, &vocabulary, usize::MAX).map(|mistake| (mistake.line, mistake.column, mistake.message))
    }

    #[test]
    fn of_what_is_right_or_not_understood_nothing_is_said() {
        for text in [
            "",
            "# only words: and more\n",
            "events:\n  size: 1\n  tags: [a,\n    'b # c', \"d\\\"]\"]\n  mounts: {include: [x],\n    y: z}\nlog:\n  level: x # y: z\n",
            "events:\n  tags:\n  - a\n  - b: c\n    d: e\n",
            "events:\n  size: |\n    any: thing [\n    at all\n  tags: []\n",
            "events:\n    size: 1\n    mounts:\n        include: 3\nlog: {level: x}\n",
            "\u{feff}events:\r\n  size: 1\r\n",
            "what is this\n",
        ] {
            assert_eq!(told(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_line_at_fault_is_found_and_not_the_one_where_it_shows() {
        let column = |key: &str, column: usize| begin(key, column);
        for (text, line, at, message) in [
            ("events:\n  tags: [a, b\n  size: 1\n", 2, 9, "`[` is not closed: `]` must end it".to_owned()),
            ("events: {size: [1, 2\n", 1, 16, "`[` is not closed: `]` must end it".to_owned()),
            ("events:\n  tags: 'a\n  size: 1\n", 2, 9, "the quote is not closed: ' must end it".to_owned()),
            ("events:\n  tags: [a}\n", 2, 11, "`[` is closed by `]`, and not by `}`".to_owned()),
            ("events:\n  size 1\n  tags: []\n", 2, 7, "a colon must follow `size`: `size: …`".to_owned()),
            ("events:\n  size:1\n  tags: []\n", 2, 7, "a blank must follow the colon: `size: …`".to_owned()),
            ("events:\n  size: 1\ntags: []\n  mounts:\n", 3, 1, column("tags", 3)),
            ("events:\n  size: 1\n    tags: []\n", 3, 5, column("tags", 3)),
            ("events:\n   size: 1\n  tags: []\n", 2, 4, column("size", 3)),
            ("events:\n  size: 1\n tags: []\n", 3, 2, column("tags", 3)),
            ("  events:\n  size: 1\nlog:\n", 1, 3, column("events", 1)),
            ("events:\n\tsize: 1\n", 2, 1, "a tab stands here: indent with blanks, not with tabs".to_owned()),
            ("events:\n  tags:\n  - a\n  -b\n", 4, 4, "a blank must follow the dash: `- …`".to_owned()),
        ] {
            assert_eq!(told(text), Some((line, at, message)), "{text:?}");
        }
    }

    #[test]
    fn a_mistake_behind_the_place_where_the_parser_gave_up_is_not_told() {
        let text = "events: @\nlog:\n  level:x\n";
        assert!(find(text, &Vocabulary::from([("log".to_owned(), vec!["level"])]), 1).is_none());
    }
}
