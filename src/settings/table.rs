//! A part of a configuration, open for reading. What can be read of it is in [`reads`] and [`lists`], what can be said of
//! several keys at once in [`rules`], what one part has to say to another in [`lowering`].

mod lists;
mod lowering;
mod reads;
mod rules;

use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

pub use self::lowering::{Lowered, ValuePlace};
use super::{
    SettingOrigin, SettingRecord, Shape,
    line::{self, begin},
    session::Session,
    tree::{Entry, Map, Position, Value, join},
    values::{self, Reading, wrong},
};
use crate::lock::lock;

/// A part of the configuration, open for reading. A key that nobody reads is a fault when the document is closed; a
/// value that is refused is noted, and the read gives the default.
pub struct Table {
    session: Arc<Mutex<Session>>,
    map: Arc<Map>,
    /// Where its own key stands; none for the root and for what is not in a file.
    at: Option<Position>,
    /// Its name in full, and as the file has it (aliases).
    name: String,
    written: String,
    /// What its defaults follow from.
    defaults: Option<String>,
    /// Other names of keys: the key, its other name.
    aliases: Vec<(&'static str, &'static str)>,
}

/// A part that can be turned off as a whole.
pub struct Switch {
    /// Whether it is on.
    pub on: bool,
    /// Its own keys.
    pub table: Table,
}

/// The content of a table, kept to be read again later: for what is built anew from the same settings.
#[derive(Clone, Debug)]
pub struct Part {
    map: Arc<Map>,
    name: String,
}

impl Part {
    /// A table of the same content. Faults of a second reading are those of the first and are not noted again.
    pub fn open(&self) -> Table {
        let mut table = Table::open(Arc::default(), Arc::clone(&self.map));
        table.name.clone_from(&self.name);
        table
    }
}

impl Table {
    /// A table with nothing in it: every read gives its default. For tests and for rooms used as a library.
    pub fn empty() -> Table {
        Table::open(Arc::default(), Arc::default())
    }

    pub(super) fn open(session: Arc<Mutex<Session>>, map: Arc<Map>) -> Table {
        lock(&session).open("", &map, None);
        let (name, written) = (String::new(), String::new());
        Table { session, map, at: None, name, written, defaults: None, aliases: Vec::new() }
    }

    /// The part under `key`; an empty one where the key is absent.
    pub fn table(&mut self, key: &'static str, about: &'static str) -> Table {
        lock(&self.session).records.put_section(&join(&self.name, key), about);
        match self.find(key) {
            None => self.child(key, None, Arc::default()),
            Some(entry) => match &entry.node.value {
                Value::Map(map) => self.child(key, Some(&entry), Arc::clone(map)),
                Value::Nothing => self.child(key, Some(&entry), Arc::default()),
                other => {
                    self.refuse(&entry, wrong::<()>(other, no_table("expected keys with values below it", other)));
                    self.child(key, Some(&entry), Arc::default())
                }
            },
        }
    }

    /// The parts under `key`, each under a name that the file chooses, in the order of the files. `is_name` says what is wrong
    /// with a name.
    pub fn named(
        &mut self,
        key: &'static str,
        about: &'static str,
        is_name: impl Fn(&str) -> Result<(), String>,
    ) -> Vec<(String, Table)> {
        let parent = self.table(key, about);
        let mut named = Vec::new();
        // The last name that nothing stands below.
        let mut bare: Option<&Entry> = None;
        for entry in &parent.map.entries {
            lock(&parent.session).mark_read(entry.key_at);
            if let Err(message) = is_name(&entry.key) {
                lock(&parent.session).fault(Some(entry.key_at), &join(&parent.written, &entry.key), None, message);
            }
            let map = match &entry.node.value {
                Value::Map(map) => Arc::clone(map),
                Value::Nothing => Arc::default(),
                other => {
                    let message = match bare.filter(|bare| bare.key_at.column == entry.key_at.column) {
                        Some(bare) => begin(&entry.key, bare.key_at.column as usize + 2),
                        None => no_table("expected keys with values below it", other),
                    };
                    parent.refuse(entry, wrong::<()>(other, message));
                    continue;
                }
            };
            bare = Some(entry).filter(|entry| matches!(entry.node.value, Value::Nothing));
            lock(&parent.session).records.put_section(&join(&parent.name, &entry.key), about);
            named.push((entry.key.clone(), parent.child(&entry.key, Some(entry), map)));
        }
        named
    }

    /// A part that is `off`, `on`, or has keys of its own, `enabled` among them.
    pub fn switch(&mut self, key: &'static str, default: bool, about: &'static str) -> Switch {
        lock(&self.session).records.put_section(&join(&self.name, key), about);
        let entry = self.find(key);
        let word = entry.as_ref().filter(|entry| matches!(entry.node.value, Value::Scalar { .. } | Value::List(_)));
        if let Some(entry) = word {
            let on = match &entry.node.value {
                value if values::is_off(value) => Some(false),
                value if values::is_on(value) => Some(true),
                other => {
                    let message = no_table("expected off, on, or keys with values below it", other);
                    self.refuse(entry, wrong::<()>(other, message));
                    None
                }
            };
            let origin = if on.is_some() { self.origin(entry) } else { self.default_origin() };
            let table = self.child(key, Some(entry), Arc::default());
            let on = on.unwrap_or(default);
            table.record(Asked::switch(about), on.into(), origin);
            return Switch { on, table };
        }
        let mut table = self.table(key, about);
        Switch { on: table.enabled(default, about), table }
    }

    /// Whether `key` stands in a file, whatever its value.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// Its content, to be read again later.
    pub fn part(&self) -> Part {
        Part { map: Arc::clone(&self.map), name: self.name.clone() }
    }

    /// The same table; the defaults that are read through it follow from what is named, such as `profile minimal`.
    pub fn defaults_from(&self, origin: Option<String>) -> Table {
        Table {
            session: Arc::clone(&self.session),
            map: Arc::clone(&self.map),
            at: self.at,
            name: self.name.clone(),
            written: self.written.clone(),
            defaults: origin,
            aliases: self.aliases.clone(),
        }
    }

    /// The entry of a key, under whichever of its names, which is herewith known and read.
    fn find(&self, key: &'static str) -> Option<Entry> {
        let mut session = lock(&self.session);
        let other = self.aliases.iter().find(|(of, _)| *of == key).map(|(_, other)| *other);
        session.know(&self.written, key);
        other.inspect(|other| session.know(&self.written, other));
        let entry = self.map.get(key).or_else(|| self.map.get(other?))?;
        session.mark_read(entry.key_at);
        Some(entry.clone())
    }

    fn child(&self, key: &str, entry: Option<&Entry>, map: Arc<Map>) -> Table {
        let written = join(&self.written, entry.map_or(key, |entry| &entry.key));
        lock(&self.session).open(&written, &map, entry.map(|entry| entry.key_at));
        Table {
            session: Arc::clone(&self.session),
            map,
            at: entry.map(|entry| entry.key_at),
            name: join(&self.name, key),
            written,
            defaults: self.defaults.clone(),
            aliases: Vec::new(),
        }
    }

    fn refuse<T>(&self, entry: &Entry, reading: Reading<T>) {
        let key = join(&self.written, &entry.key);
        let mut session = lock(&self.session);
        session.refuse(entry.key_at);
        for wrong in reading.err().into_iter().flatten() {
            session.fault(wrong.at.or(Some(value_at(entry))), &key, wrong.found, wrong.message);
        }
    }

    fn record(&self, asked: Asked, value: Json, origin: SettingOrigin) {
        let Asked { key, expects, shape, about } = asked;
        let key = join(&self.name, key);
        lock(&self.session).records.put(SettingRecord { key, value, origin, expects, shape, about, secret: None });
    }

    fn origin(&self, entry: &Entry) -> SettingOrigin {
        lock(&self.session).origin(value_at(entry))
    }

    fn default_origin(&self) -> SettingOrigin {
        self.defaults.clone().map_or(SettingOrigin::Default, SettingOrigin::Derived)
    }
}

/// A key that is asked for.
struct Asked {
    key: &'static str,
    expects: String,
    shape: Shape,
    about: &'static str,
}

impl Asked {
    fn new(key: &'static str, expects: impl Into<String>, shape: Shape, about: &'static str) -> Asked {
        Asked { key, expects: expects.into(), shape, about }
    }

    /// What turns a part on and off.
    fn switch(about: &'static str) -> Asked {
        Asked::new("enabled", "true or false", Shape::Switch, about)
    }
}

/// Why a text is no table: a key and its value that nothing parts look like one text.
fn no_table(expected: &str, value: &Value) -> String {
    match value {
        Value::Scalar { text, quoted: false } if text.contains([' ', ':', '=']) && !is_url(text) => {
            format!("{expected}; {}", line::separated(text))
        }
        _ => expected.to_owned(),
    }
}

fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| rest.starts_with("//") && !scheme.contains(' '))
}

/// Nothing stands nowhere: then its key is meant.
fn value_at(entry: &Entry) -> Position {
    match entry.node.value {
        Value::Nothing => entry.key_at,
        _ => entry.node.at,
    }
}
