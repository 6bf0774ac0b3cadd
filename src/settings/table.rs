//! A part of a configuration, open for typed reads.

use std::{
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value as Json;

use super::{
    Origin, Record, Secret,
    quantity::{format_duration, format_size},
    session::{Session, join},
    tree::{Entry, Map, Position, Value},
    values::{self, Reading, shown, wrong},
};

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
        lock(&session).open("", &map);
        let (name, written) = (String::new(), String::new());
        Table { session, map, at: None, name, written, defaults: None, aliases: Vec::new() }
    }

    /// The part under `key`; an empty one where the key is absent.
    pub fn table(&mut self, key: &'static str, _about: &'static str) -> Table {
        match self.find(key) {
            None => self.child(key, None, Arc::default()),
            Some(entry) => match &entry.node.value {
                Value::Map(map) => self.child(key, Some(&entry), Arc::clone(map)),
                Value::Nothing => self.child(key, Some(&entry), Arc::default()),
                other => {
                    self.refuse(&entry, wrong::<()>(other, "expected keys with values below it"));
                    self.child(key, Some(&entry), Arc::default())
                }
            },
        }
    }

    /// A part that is `off`, `on`, or has keys of its own, `enabled` among them.
    pub fn switch(&mut self, key: &'static str, default: bool, about: &'static str) -> Switch {
        let entry = self.find(key);
        let word = entry.as_ref().filter(|entry| matches!(entry.node.value, Value::Scalar { .. } | Value::List(_)));
        if let Some(entry) = word {
            let on = match &entry.node.value {
                value if values::is_off(value) => Some(false),
                value if values::is_on(value) => Some(true),
                other => {
                    self.refuse(entry, wrong::<()>(other, "expected off, on, or keys with values below it"));
                    None
                }
            };
            let origin = if on.is_some() { self.origin(entry) } else { self.default_origin() };
            let table = self.child(key, Some(entry), Arc::default());
            let on = on.unwrap_or(default);
            table.record("enabled", on.into(), origin, "true or false".into(), about);
            return Switch { on, table };
        }
        let mut table = self.table(key, about);
        Switch { on: table.boolean("enabled", default, about), table }
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

    /// Takes `other` as another name of `key`. Both at once are a fault.
    pub fn alias(&mut self, key: &'static str, other: &'static str) {
        self.aliases.push((key, other));
        let both = (self.map.get(key).cloned(), self.map.get(other).cloned());
        if let (Some(first), Some(second)) = both {
            let (first, second) = if first.key_at < second.key_at { (first, second) } else { (second, first) };
            let line = self.line_of(first.key_at, second.key_at);
            let mut session = lock(&self.session);
            session.mark_read(first.key_at);
            session.mark_read(second.key_at);
            let message = format!("another name of `{}`, which is set in {line}; keep one of them", first.key);
            session.fault(Some(second.key_at), &join(&self.written, &second.key), None, message);
        }
    }

    /// Text.
    pub fn string(&mut self, key: &'static str, default: &str, about: &'static str) -> String {
        let parse = |value: &Value| values::text(value, "text").map(str::to_owned);
        self.read(key, "text".into(), about, default.to_owned(), parse, |text| text.clone().into())
    }

    /// Text that may be absent.
    pub fn optional_string(&mut self, key: &'static str, about: &'static str) -> Option<String> {
        self.parsed(key, "text", about, |text| Ok(text.to_owned()))
    }

    /// Text of a form that only the caller knows, and that may be absent. The error says what was expected.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        expects: &str,
        about: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parse = |value: &Value| {
            let text = values::text(value, expects)?;
            match parse(text) {
                Ok(meaning) => Ok(Some((text.to_owned(), meaning))),
                Err(message) => wrong(value, message),
            }
        };
        let show = |read: &Option<(String, T)>| read.as_ref().map(|(text, _)| text.clone()).into();
        self.read(key, expects.to_owned(), about, None, parse, show).map(|(_, meaning)| meaning)
    }

    /// A text that no message shows. The file that it stands in must not be readable by everyone.
    pub fn secret(&mut self, key: &'static str, about: &'static str) -> Option<Secret> {
        let expects = "text on one line";
        let parse = |value: &Value| match value {
            Value::Scalar { text, .. } if !text.is_empty() && !text.contains(char::is_control) => {
                Ok(Some(Secret::new(text.clone())))
            }
            _ => Err(vec![values::Wrong { at: None, found: None, message: format!("expected {expects}") }]),
        };
        let show = |secret: &Option<Secret>| secret.as_ref().map(|_| "(secret)").into();
        self.find(key).inspect(|entry| lock(&self.session).hide(entry.key_at));
        let secret = self.read(key, expects.into(), about, None, parse, show);
        if let Some(entry) = self.find(key).filter(|_| secret.is_some()) {
            self.require_private(&entry);
        }
        secret
    }

    /// One of a closed set of words.
    pub fn one_of(
        &mut self,
        key: &'static str,
        default: &'static str,
        allowed: &[&'static str],
        about: &'static str,
    ) -> &'static str {
        let expects = alternatives(allowed);
        let pairs: Vec<_> = allowed.iter().map(|word| (*word, *word)).collect();
        let parse = |value: &Value| values::one_of(value, &pairs, &expects);
        self.read(key, expects.clone(), about, default, parse, |word| (*word).into())
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &'static str, default: &[&str], about: &'static str) -> Vec<String> {
        let expects = "a list of texts such as [a, b]";
        let parse = |value: &Value| {
            values::list(value, expects, |item| values::text(item, "text in a list").map(str::to_owned))
        };
        let default = default.iter().map(|text| (*text).to_owned()).collect();
        self.read(key, expects.into(), about, default, parse, |items: &Vec<String>| items.clone().into())
    }

    /// A list of words out of a closed set, each at most once; an empty list is refused.
    pub fn several_of(
        &mut self,
        key: &'static str,
        default: &[&str],
        allowed: &[&str],
        about: &'static str,
    ) -> Vec<String> {
        let expects = format!("a list of one or more of {}, such as [{}]", allowed.join(", "), default.join(", "));
        let item_expects = alternatives(allowed);
        let pairs: Vec<_> = allowed.iter().map(|word| (*word, *word)).collect();
        let parse = |value: &Value| {
            let words = values::list(value, &expects, |item| values::one_of(item, &pairs, &item_expects))?;
            match words.is_empty() {
                true => wrong(value, format!("empty; expected {expects}")),
                false => Ok(unique(&words)),
            }
        };
        self.read(key, expects.clone(), about, unique(default), parse, |items: &Vec<String>| items.clone().into())
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, default: bool, about: &'static str) -> bool {
        let expects = "true or false";
        self.read(key, expects.into(), about, default, |value| values::boolean(value, expects), |on| (*on).into())
    }

    /// A whole number within bounds.
    pub fn integer(
        &mut self,
        key: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
        about: &'static str,
    ) -> u64 {
        let expects = values::integer_expected(&bounds);
        let parse = |value: &Value| values::integer(value, &bounds, &expects);
        self.read(key, expects.clone(), about, default, parse, |number| (*number).into())
    }

    /// `30s`, `5m`, or a bare number of seconds.
    pub fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
        about: &'static str,
    ) -> Duration {
        let expects = values::duration_expected(&bounds);
        let parse = |value: &Value| values::duration(value, &bounds, &expects);
        self.read(key, expects.clone(), about, default, parse, |duration| format_duration(*duration).into())
    }

    /// The same, or `off`/absent for none.
    pub fn optional_duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        about: &'static str,
    ) -> Option<Duration> {
        let expects = format!("off, or {}", values::duration_expected(&bounds));
        let parse = |value: &Value| match values::is_off(value) {
            true => Ok(None),
            false => values::duration(value, &bounds, &expects).map(Some),
        };
        let show = |duration: &Option<Duration>| duration.map_or("off".into(), |it| format_duration(it).into());
        self.read(key, expects.clone(), about, None, parse, show)
    }

    /// `64MiB`, `1GiB`, bytes.
    pub fn size(&mut self, key: &'static str, default: u64, bounds: RangeInclusive<u64>, about: &'static str) -> u64 {
        let expects = values::size_expected(&bounds);
        let parse = |value: &Value| values::size(value, &bounds, &expects);
        self.read(key, expects.clone(), about, default, parse, |bytes| format_size(*bytes).into())
    }

    /// The same, or `off` for none.
    pub fn size_or_off(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        bounds: RangeInclusive<u64>,
        about: &'static str,
    ) -> Option<u64> {
        let expects = format!("off, or {}", values::size_expected(&bounds));
        let parse = |value: &Value| match values::is_off(value) {
            true => Ok(None),
            false => values::size(value, &bounds, &expects).map(Some),
        };
        let show = |bytes: &Option<u64>| bytes.map_or("off".into(), |bytes| format_size(bytes).into());
        self.read(key, expects.clone(), about, default, parse, show)
    }

    /// An absolute path.
    pub fn path(&mut self, key: &'static str, default: &str, about: &'static str) -> PathBuf {
        let expects = "an absolute path";
        let parse = |value: &Value| values::path(value, expects);
        self.read(key, expects.into(), about, default.into(), parse, |path| path.to_string_lossy().into())
    }

    /// An absolute path that may be absent.
    pub fn optional_path(&mut self, key: &'static str, about: &'static str) -> Option<PathBuf> {
        let expects = "an absolute path";
        let parse = |value: &Value| values::path(value, expects).map(Some);
        let show = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy()).into();
        self.read(key, expects.into(), about, None, parse, show)
    }
}

/// Rules between keys.
impl Table {
    /// Notes a fault at a key that was read: for rules that a single read cannot check. Where the key is not set, the
    /// fault is at the table's own key. Nothing is noted for a key whose value was refused already.
    pub fn fault(&mut self, key: &'static str, message: String) {
        let entry = self.find(key);
        if entry.as_ref().is_some_and(|entry| lock(&self.session).is_refused(entry.key_at)) {
            return;
        }
        let at = entry.as_ref().map(value_at).or(self.at);
        let visible = entry.as_ref().filter(|entry| !lock(&self.session).is_hidden(entry.key_at));
        let found = visible.and_then(|entry| shown(&entry.node.value));
        let name = entry.as_ref().map_or(key, |entry| &entry.key);
        lock(&self.session).fault(at, &join(&self.written, name), found, message);
    }

    /// Notes that the value of `key` is more than that of `limit`, which must not be. The fault is at the one that is
    /// set in a file, and names the other with its value and place.
    pub fn exceeds(&mut self, key: &'static str, limit: &'static str) {
        match (self.find(key), self.find(limit)) {
            (None, Some(_)) => self.conflict(limit, key, "less than"),
            _ => self.conflict(key, limit, "more than"),
        }
    }

    /// Notes that the value of `key` cannot go with that of `other`: `KEY: VALUE: RELATION OTHER, which is …`.
    pub fn conflict(&mut self, key: &'static str, other: &'static str, relation: &str) {
        let entry = self.find(other);
        if entry.as_ref().is_some_and(|entry| lock(&self.session).is_refused(entry.key_at)) {
            return;
        }
        let place = match (&entry, self.find(key)) {
            (Some(entry), Some(own)) => self.line_of(entry.key_at, own.key_at),
            (Some(entry), None) => format!("line {}", entry.key_at.line),
            (None, _) => self.origin_of(other),
        };
        let name = join(&self.name, other);
        let value = lock(&self.session).records.get(&name).map(Record::text).unwrap_or_default();
        self.fault(key, format!("{relation} `{other}`, which is {value} ({place}); change one of them"));
    }

    fn origin_of(&self, key: &str) -> String {
        let session = lock(&self.session);
        session.records.get(&join(&self.name, key)).map_or("default".into(), |record| record.origin.to_string())
    }

    /// `line 7`, or with its file where that is another than the one that it is seen from.
    fn line_of(&self, at: Position, seen_from: Position) -> String {
        match at.source == seen_from.source {
            true => format!("line {}", at.line),
            false => format!("{}:{}", lock(&self.session).file(at), at.line),
        }
    }
}

impl Table {
    fn read<T>(
        &mut self,
        key: &'static str,
        expects: String,
        about: &'static str,
        default: T,
        parse: impl FnOnce(&Value) -> Reading<T>,
        show: impl FnOnce(&T) -> Json,
    ) -> T {
        let read = self.find(key).map(|entry| (parse(&entry.node.value), entry));
        let (value, origin) = match read {
            None => (default, self.default_origin()),
            Some((Ok(value), entry)) => (value, self.origin(&entry)),
            Some((refused, entry)) => {
                self.refuse(&entry, refused);
                (default, self.default_origin())
            }
        };
        self.record(key, show(&value), origin, expects, about);
        value
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

    fn child(&self, key: &'static str, entry: Option<&Entry>, map: Arc<Map>) -> Table {
        let written = join(&self.written, entry.map_or(key, |entry| &entry.key));
        lock(&self.session).open(&written, &map);
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

    fn require_private(&self, entry: &Entry) {
        const OTHERS_READ: u32 = 0o004;
        let mut session = lock(&self.session);
        let Some(source) = session.sources.get(usize::from(entry.node.at.source)) else { return };
        if source.mode.is_some_and(|mode| mode & OTHERS_READ != 0) {
            let message = format!(
                "holds a secret, but everyone may read the file; `chmod o= {}`, or name a file that holds it",
                source.name
            );
            session.fault(Some(entry.key_at), &join(&self.written, &entry.key), None, message);
        }
    }

    fn record(&self, key: &str, value: Json, origin: Origin, expects: String, about: &'static str) {
        let key = join(&self.name, key);
        lock(&self.session).records.push(Record { key, value, origin, expects, about });
    }

    fn origin(&self, entry: &Entry) -> Origin {
        let at = value_at(entry);
        Origin::File { file: lock(&self.session).file(at).to_owned(), line: at.line, column: at.column }
    }

    fn default_origin(&self) -> Origin {
        self.defaults.clone().map_or(Origin::Default, Origin::Derived)
    }
}

/// Nothing stands nowhere: then its key is meant.
fn value_at(entry: &Entry) -> Position {
    match entry.node.value {
        Value::Nothing => entry.key_at,
        _ => entry.node.at,
    }
}

fn alternatives(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn unique(words: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        if !all.iter().any(|own| own == word) {
            all.push((*word).to_owned());
        }
    }
    all
}

pub(super) fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    // What is noted stays true when a reader panics.
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
