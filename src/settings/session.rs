//! What is noted while a document is read: faults, values, and which keys were asked for. Shared by all its tables.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Faults, Records, SettingFault, SettingOrigin,
    line::{self, begin},
    mistake::{self, Vocabulary},
    tree::{Map, Position, Value, join},
};
use crate::order::{Gather as _, Sorted as _};
use crate::words;

/// The most known keys that are listed where none is near the one that was written.
const KEYS_LISTED_MAX: usize = 12;

/// A file, as it was named.
pub(super) struct Source {
    pub(super) name: String,
    /// Permission bits; none for what is not a file.
    pub(super) mode: Option<u32>,
    /// A variable of the environment, within which nobody looks for a line.
    pub(super) is_variable: bool,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) sources: Vec<Source>,
    pub(super) records: Records,
    /// Whether a file could not be read to its end: then only that is reported, for the rest would mislead.
    pub(super) broken: bool,
    faults: Vec<Noted>,
    /// How many faults are the files' own, found before any key was read.
    of_files: usize,
    /// Where the keys stand that somebody asked for.
    read: HashSet<Position>,
    /// Where the keys stand whose value was refused.
    refused: HashSet<Position>,
    /// Where the keys stand whose value is secret.
    hidden: HashSet<Position>,
    /// Tables that somebody opened, by their name as written.
    tables: BTreeMap<String, Opened>,
    /// Files that are no YAML.
    no_yaml: Vec<NoYaml>,
}

/// A text that the parser could not read to its end.
struct NoYaml {
    at: Position,
    message: String,
    text: String,
}

/// A fault before its file has a name; without line and column the whole file is meant.
struct Noted {
    source: Option<u16>,
    at: Option<Position>,
    key: String,
    found: Option<String>,
    message: String,
    line: Option<String>,
}

struct Opened {
    map: Arc<Map>,
    /// Where its own key stands; none for the root and for what is not in a file.
    at: Option<Position>,
    known: Vec<&'static str>,
}

impl Session {
    pub(super) fn fault(&mut self, at: Option<Position>, key: &str, found: Option<String>, message: String) {
        let source = at.map(|at| at.source);
        self.faults.push(Noted { source, at, key: key.to_owned(), found, message, line: None });
    }

    /// Notes that a text is no YAML, from where on and why. What is told of it is found when all is read.
    pub(super) fn no_yaml(&mut self, at: Position, message: String, text: String) {
        self.no_yaml.push(NoYaml { at, message, text });
    }

    /// Notes that all files are read, and keys come next.
    pub(super) fn begin_keys(&mut self) {
        self.of_files = self.faults.len();
    }

    pub(super) fn file_fault(&mut self, source: u16, message: String) {
        let key = String::new();
        self.faults.push(Noted { source: Some(source), at: None, key, found: None, message, line: None });
    }

    /// Notes that the value of the key that stands here was refused.
    pub(super) fn refuse(&mut self, key_at: Position) {
        self.refused.insert(key_at);
    }

    pub(super) fn is_refused(&self, key_at: Position) -> bool {
        self.refused.contains(&key_at)
    }

    /// Notes that the value of the key that stands here must not be shown.
    pub(super) fn hide(&mut self, key_at: Position) {
        self.hidden.insert(key_at);
    }

    pub(super) fn is_hidden(&self, key_at: Position) -> bool {
        self.hidden.contains(&key_at)
    }

    pub(super) fn open(&mut self, written: &str, map: &Arc<Map>, at: Option<Position>) {
        let opened = || Opened { map: Arc::clone(map), at, known: Vec::new() };
        self.tables.entry(written.to_owned()).or_insert_with(opened);
    }

    /// Notes that the table called `written` has a key of this name.
    pub(super) fn know(&mut self, written: &str, key: &'static str) {
        if let Some(opened) = self.tables.get_mut(written)
            && !opened.known.contains(&key)
        {
            opened.known.push(key);
        }
    }

    pub(super) fn mark_read(&mut self, key_at: Position) {
        self.read.insert(key_at);
    }

    /// What stands at a position comes from there.
    pub(super) fn origin(&self, at: Position) -> SettingOrigin {
        let source = self.sources.get(usize::from(at.source));
        let file = source.map(|source| source.name.clone()).unwrap_or_default();
        match source.is_some_and(|source| source.is_variable) {
            true => SettingOrigin::Environment(file),
            false => SettingOrigin::File { file, line: at.line, column: at.column },
        }
    }

    /// Closes the session: every fault in the order of the files, or everything that was read.
    pub(super) fn finish(mut self) -> Result<Records, Faults> {
        if self.broken {
            self.faults.truncate(self.of_files);
        } else {
            self.note_misplaced();
            self.note_unread();
        }
        self.note_mistakes();
        self.faults.order_by_key(|noted| (noted.source, noted.at));
        let faults = self.faults.iter().map(|noted| self.named(noted)).collect();
        match Faults::of(faults) {
            Some(faults) => Err(faults),
            None => Ok(self.records),
        }
    }

    fn note_unread(&mut self) {
        let mut unread = Vec::new();
        for (table, opened) in &self.tables {
            for entry in &opened.map.entries {
                if !self.read.contains(&entry.key_at) {
                    let key = super::fault::excerpt(&join(table, &entry.key));
                    let home = self.home(&entry.key, entry.key_at);
                    unread.push((entry.key_at, key, unknown(&entry.key, &opened.known, home)));
                }
            }
        }
        for (at, key, message) in unread {
            self.fault(Some(at), &key, None, message);
        }
    }

    /// Where a key is at home that its table does not have: what to do, in words.
    fn home(&self, key: &str, at: Position) -> Option<String> {
        let mut homes: Vec<_> = self.tables.iter().filter(|(_, home)| home.known.contains(&key)).collect();
        // The last one above it in the same file; what stands in no file comes first.
        homes.order_by_key(|(_, home)| home.at.filter(|above| above.source == at.source && *above < at));
        let (name, home) = homes.pop()?;
        // Nothing but what is below it has begun since: there it needs no other place, only another column.
        let since =
            |opened: &Opened| opened.at.is_some_and(|own| own.source == at.source && own < at && home.at < Some(own));
        let is_below =
            |own: &str| name.is_empty() || own.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let is_near = self.tables.iter().filter(|(_, opened)| since(opened)).all(|(own, _)| is_below(own));
        // Which one of a list matters to nobody.
        let name = name.split('[').next().unwrap_or(name);
        let short = name.rsplit('.').next().unwrap_or_default();
        Some(match home.at {
            None if name.is_empty() => begin(key, 1),
            Some(above) if above.source == at.source && above < at && is_near => {
                let first = home.map.entries.iter().find(|entry| entry.key_at.line > above.line);
                let column = first.map_or(above.column + 2, |entry| entry.key_at.column);
                begin(key, usize::try_from(column).unwrap_or(1))
            }
            Some(above) if above.source == at.source => {
                format!("`{key}` belongs below `{short}:` in line {}", above.line)
            }
            _ => format!("`{key}` belongs below `{name}:`"),
        })
    }

    /// A value that is a table since the keys that should stand beside it stand below it: they are told, it is not.
    fn note_misplaced(&mut self) {
        let mut told = Vec::new();
        for (table, opened) in &self.tables {
            for entry in opened.map.entries.iter().filter(|entry| self.refused.contains(&entry.key_at)) {
                let Value::Map(map) = &entry.node.value else { continue };
                for own in map.entries.iter().filter(|own| opened.known.contains(&own.key.as_str())) {
                    let column = usize::try_from(entry.key_at.column).unwrap_or(1);
                    told.push((own.key_at, join(table, &own.key), begin(&own.key, column), entry.node.at));
                }
            }
        }
        for (at, key, message, table_at) in told {
            self.faults.retain(|noted| noted.at != Some(table_at));
            self.fault(Some(at), &key, None, message);
        }
    }

    /// What is no YAML: what somebody meant, or the parser's words.
    fn note_mistakes(&mut self) {
        let vocabulary = self.vocabulary();
        for NoYaml { at, message, text } in std::mem::take(&mut self.no_yaml) {
            let last = usize::try_from(at.line).unwrap_or(usize::MAX);
            let Some(mistake) = mistake::find(&text, &vocabulary, last) else {
                self.fault(Some(at), "", None, message);
                continue;
            };
            let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let at = Position { line: narrow(mistake.line), column: narrow(mistake.column), ..at };
            let line = line::shown(&text, mistake.line, |word| vocabulary.values().any(|keys| keys.contains(&word)));
            let (source, key) = (Some(at.source), String::new());
            self.faults.push(Noted { source, at: Some(at), key, found: None, message: mistake.message, line });
        }
    }

    /// The keys of every table, under each of its names.
    fn vocabulary(&self) -> Vocabulary {
        let own = self.tables.iter().map(|(name, opened)| (name.clone(), opened.known.clone()));
        let mut vocabulary: Vocabulary = own.gather();
        for (key, other) in self.records.aliases() {
            let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
            let renamed = self.tables.iter().filter_map(|(name, opened)| {
                let rest = name.strip_prefix(key.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('.'))?;
                Some((join(parent, other) + rest, opened.known.clone()))
            });
            vocabulary.extend(renamed.collect::<Vec<_>>());
        }
        vocabulary
    }

    fn named(&self, noted: &Noted) -> SettingFault {
        let source = noted.source.and_then(|source| self.sources.get(usize::from(source)));
        SettingFault {
            file: source.map(|source| source.name.clone()),
            position: noted.at.filter(|_| !source.is_some_and(|it| it.is_variable)).map(|at| (at.line, at.column)),
            key: (!noted.key.is_empty()).then(|| noted.key.clone()),
            found: noted.found.clone(),
            message: noted.message.clone(),
            line: noted.line.clone(),
        }
    }
}

/// `home` says where else the key would be known.
fn unknown(key: &str, known: &[&'static str], home: Option<String>) -> String {
    match words::nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None if home.is_some() => format!("unknown key here; {}", home.unwrap_or_default()),
        None if known.is_empty() => "unknown key; none is taken here".to_owned(),
        None if known.len() <= KEYS_LISTED_MAX => format!("unknown key; known are {}", known.join(", ")),
        None => "unknown key".to_owned(),
    }
}
