//! What is noted while a document is read: faults, values, and which keys were asked for. Shared by all its tables.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Fault, Faults, Records,
    tree::{Map, Position},
};
use crate::words;

/// The most known keys that are listed where none is near the one that was written.
const KEYS_LISTED_MAX: usize = 12;

/// A file, as it was named.
pub(super) struct Source {
    pub(super) name: String,
    /// Permission bits; none for what is not a file.
    pub(super) mode: Option<u32>,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) sources: Vec<Source>,
    pub(super) records: Records,
    /// Whether a file could not be read to its end: then only that is reported, for the rest would mislead.
    pub(super) broken: bool,
    faults: Vec<Noted>,
    /// Where the keys stand that somebody asked for.
    read: HashSet<Position>,
    /// Where the keys stand whose value was refused.
    refused: HashSet<Position>,
    /// Where the keys stand whose value is secret.
    hidden: HashSet<Position>,
    /// Tables that somebody opened, by their name as written.
    tables: BTreeMap<String, Opened>,
}

/// A fault before its file has a name; without line and column the whole file is meant.
struct Noted {
    source: Option<u16>,
    at: Option<Position>,
    key: String,
    found: Option<String>,
    message: String,
}

struct Opened {
    map: Arc<Map>,
    known: Vec<&'static str>,
}

impl Session {
    pub(super) fn fault(&mut self, at: Option<Position>, key: &str, found: Option<String>, message: String) {
        let source = at.map(|at| at.source);
        self.faults.push(Noted { source, at, key: key.to_owned(), found, message });
    }

    pub(super) fn file_fault(&mut self, source: u16, message: String) {
        self.faults.push(Noted { source: Some(source), at: None, key: String::new(), found: None, message });
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

    pub(super) fn open(&mut self, written: &str, map: &Arc<Map>) {
        self.tables.entry(written.to_owned()).or_insert_with(|| Opened { map: Arc::clone(map), known: Vec::new() });
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

    /// Name of the file that a position is in.
    pub(super) fn file(&self, at: Position) -> &str {
        self.sources.get(usize::from(at.source)).map_or("", |source| &source.name)
    }

    /// Closes the session: every fault in the order of the files, or everything that was read.
    pub(super) fn finish(mut self) -> Result<Records, Faults> {
        if !self.broken {
            self.note_unread();
        }
        self.faults.sort_by_key(|noted| (noted.source, noted.at));
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
                    unread.push((entry.key_at, key, unknown(&entry.key, &opened.known)));
                }
            }
        }
        for (at, key, message) in unread {
            self.fault(Some(at), &key, None, message);
        }
    }

    fn named(&self, noted: &Noted) -> Fault {
        let source = noted.source.and_then(|source| self.sources.get(usize::from(source)));
        Fault {
            file: source.map(|source| source.name.clone()),
            position: noted.at.map(|at| (at.line, at.column)),
            key: (!noted.key.is_empty()).then(|| noted.key.clone()),
            found: noted.found.clone(),
            message: noted.message.clone(),
        }
    }
}

fn unknown(key: &str, known: &[&'static str]) -> String {
    match words::nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None if known.is_empty() => "unknown key; none is taken here".to_owned(),
        None if known.len() <= KEYS_LISTED_MAX => format!("unknown key; known are {}", known.join(", ")),
        None => "unknown key".to_owned(),
    }
}

/// A key in full.
pub(super) fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}
