//! Typed reads. Each names its default and what it is about, notes a value that is none, and records what it gave.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use serde_json::Value as Json;

use super::{Asked, Table};
use crate::{
    files::is_open_to_all,
    lock::lock,
    settings::{
        Secret, Shape,
        tree::{Entry, Node, Value, join},
        values::{self, Reading, wrong},
    },
    words::{exact_duration, exact_size},
};

impl Table {
    /// Text.
    pub fn string(&mut self, key: &'static str, default: &str, about: &'static str) -> String {
        let parse = |value: &Value| values::text(value, "text").map(str::to_owned);
        self.read(Asked::new(key, "text", Shape::Text, about), default.to_owned(), parse, |text| text.clone().into())
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
        self.read(Asked::new(key, expects, Shape::Text, about), None, parse, show).map(|(_, meaning)| meaning)
    }

    /// Text of a form that only the caller knows, that may be absent, and of which no message shows more than its meaning
    /// displays. The error says what was expected, without quoting.
    pub fn displayed<T: std::fmt::Display>(
        &mut self,
        key: &'static str,
        expects: &str,
        about: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.hidden(Asked::new(key, expects, Shape::Text, about), parse, T::to_string)
    }

    /// A text that no message shows. The file that it stands in must not be readable by everyone.
    pub fn secret(&mut self, key: &'static str, about: &'static str) -> Option<Secret> {
        let expects = "text on one line";
        let parse = |text: &str| match text.is_empty() || text.contains(char::is_control) {
            true => Err(format!("expected {expects}")),
            false => Ok(Secret::new(text)),
        };
        let secret = self.hidden(Asked::new(key, expects, Shape::Secret, about), parse, |_| "(secret)".to_owned());
        if let Some(entry) = self.find(key).filter(|_| secret.is_some()) {
            self.require_private(&entry);
        }
        secret
    }

    /// What no message quotes: of what it means, `show` gives as much as may be seen.
    fn hidden<T>(
        &mut self,
        asked: Asked,
        parse: impl FnOnce(&str) -> Result<T, String>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (key, expects) = (asked.key, asked.expects.clone());
        let unquoted = |message| Err(vec![values::Wrong { at: None, found: None, message }]);
        let read = |value: &Value| match value {
            Value::Scalar { text, .. } => match parse(text) {
                Ok(meaning) => Ok(Some((Secret::new(text.clone()), meaning))),
                Err(message) => unquoted(message),
            },
            _ => unquoted(format!("expected {expects}")),
        };
        let show = |read: &Option<(Secret, T)>| read.as_ref().map(|(_, meaning)| show(meaning)).into();
        self.find(key).inspect(|entry| lock(&self.session).hide(entry.key_at));
        let (whole, meaning) = self.read(asked, None, read, show).unzip();
        // Two that are shown alike are still two.
        lock(&self.session).records.keep_secret(&join(&self.name, key), whole);
        meaning
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
        let shape = Shape::OneOf(unique(allowed));
        self.read(Asked::new(key, expects.as_str(), shape, about), default, parse, |word| (*word).into())
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &'static str, default: &[&str], about: &'static str) -> Vec<String> {
        let expects = "a list of texts such as [a, b]";
        let parse = |value: &Value| {
            values::list(value, expects, |item| values::text(item, "text in a list").map(str::to_owned))
        };
        let default = default.iter().map(|text| (*text).to_owned()).collect();
        self.read(Asked::new(key, expects, Shape::Texts, about), default, parse, |items| items.clone().into())
    }

    /// Names that the file chooses and a value of each: text, a number, `true` or `false`.
    pub fn values(&mut self, key: &'static str, about: &'static str) -> Vec<(String, Json)> {
        let expects = "names with a value each, such as {name: value}";
        if let Some(Entry { node: Node { value: Value::Map(map), .. }, .. }) = self.find(key) {
            map.entries.iter().for_each(|entry| lock(&self.session).mark_read(entry.key_at));
        }
        let parse = |value: &Value| values::pairs(value, expects);
        let show = |pairs: &Vec<(String, Json)>| Json::Object(pairs.iter().cloned().collect());
        self.read(Asked::new(key, expects, Shape::Values, about), Vec::new(), parse, show)
    }

    /// Words out of a closed set, as a list or as the word `all`; each at most once, and never none.
    pub fn several_of(
        &mut self,
        key: &'static str,
        default: &[&str],
        allowed: &[&str],
        about: &'static str,
    ) -> Vec<String> {
        let item_expects = alternatives(allowed);
        let expects = format!("all, or a list such as [{}] of {item_expects}", first(allowed, 2));
        let pairs: Vec<_> = allowed.iter().map(|word| (*word, *word)).collect();
        let parse = |value: &Value| {
            if matches!(value, Value::Scalar { text, .. } if text == "all") {
                return Ok(unique(allowed));
            }
            let words = values::list(value, &expects, |item| values::one_of(item, &pairs, &item_expects))?;
            if words.is_empty() { wrong(value, format!("empty; expected {expects}")) } else { Ok(unique(&words)) }
        };
        let show = |words: &Vec<String>| match allowed.iter().all(|word| words.iter().any(|own| own == word)) {
            true => "all".into(),
            false => words.clone().into(),
        };
        let shape = Shape::SeveralOf(unique(allowed));
        self.read(Asked::new(key, expects.as_str(), shape, about), unique(default), parse, show)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, default: bool, about: &'static str) -> bool {
        self.boolean_as(Asked::new(key, "true or false", Shape::Boolean, about), default)
    }

    /// What turns this part on and off.
    pub(super) fn enabled(&mut self, default: bool, about: &'static str) -> bool {
        self.boolean_as(Asked::switch(about), default)
    }

    fn boolean_as(&mut self, asked: Asked, default: bool) -> bool {
        let expects = asked.expects.clone();
        self.read(asked, default, |value| values::boolean(value, &expects), |on| (*on).into())
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
        let shape = Shape::Integer(bounds.clone());
        self.read(Asked::new(key, expects.as_str(), shape, about), default, parse, |number| (*number).into())
    }

    /// `25%`, or a bare number of percent.
    pub fn percent(&mut self, key: &'static str, default: u8, bounds: RangeInclusive<u8>, about: &'static str) -> u8 {
        let expects = values::percent_expected(&bounds);
        let parse = |value: &Value| values::percent(value, &bounds, &expects);
        let asked = Asked::new(key, expects.as_str(), Shape::Percent(bounds.clone()), about);
        self.read(asked, default, parse, |percent| format!("{percent}%").into())
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
        let shape = Shape::Duration { bounds: bounds.clone(), or_off: false };
        let asked = Asked::new(key, expects.as_str(), shape, about);
        self.read(asked, default, parse, |duration| exact_duration(*duration).into())
    }

    /// The same, or `off`/absent for none.
    pub fn optional_duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        about: &'static str,
    ) -> Option<Duration> {
        self.duration_or_off(key, None, bounds, about)
    }

    /// The same with a default of its own.
    pub fn duration_or_off(
        &mut self,
        key: &'static str,
        default: Option<Duration>,
        bounds: RangeInclusive<Duration>,
        about: &'static str,
    ) -> Option<Duration> {
        let expects = format!("off, or {}", values::duration_expected(&bounds));
        let shape = Shape::Duration { bounds: bounds.clone(), or_off: true };
        let parse = |value: &Value, expects: &str| values::duration(value, &bounds, expects);
        self.or_off(Asked::new(key, expects.as_str(), shape, about), default, parse, |it| exact_duration(*it))
    }

    /// `64MiB`, `1GiB`, bytes.
    pub fn size(&mut self, key: &'static str, default: u64, bounds: RangeInclusive<u64>, about: &'static str) -> u64 {
        let expects = values::size_expected(&bounds);
        let parse = |value: &Value| values::size(value, &bounds, &expects);
        let shape = Shape::Size { bounds: bounds.clone(), or_off: false };
        self.read(Asked::new(key, expects.as_str(), shape, about), default, parse, |bytes| exact_size(*bytes).into())
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
        let shape = Shape::Size { bounds: bounds.clone(), or_off: true };
        let parse = |value: &Value, expects: &str| values::size(value, &bounds, expects);
        self.or_off(Asked::new(key, expects.as_str(), shape, about), default, parse, |bytes| exact_size(*bytes))
    }

    /// What `parse` reads, or `off` for none.
    fn or_off<T>(
        &mut self,
        asked: Asked,
        default: Option<T>,
        parse: impl FnOnce(&Value, &str) -> Reading<T>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let expects = asked.expects.clone();
        let parse = |value: &Value| match values::is_off(value) {
            true => Ok(None),
            false => parse(value, &expects).map(Some),
        };
        self.read(asked, default, parse, |read| read.as_ref().map_or_else(|| "off".to_owned(), show).into())
    }

    /// An address of this machine with a port: `127.0.0.1:7444`, `[::1]:7444`.
    pub fn address(&mut self, key: &'static str, default: SocketAddr, about: &'static str) -> SocketAddr {
        let expects = format!("an address and a port such as {default}");
        let parse = |value: &Value| match values::text(value, &expects)?.parse() {
            Ok(address) => Ok(address),
            Err(_) => wrong(value, format!("expected {expects}")),
        };
        let asked = Asked::new(key, expects.as_str(), Shape::Text, about);
        self.read(asked, default, parse, |address: &SocketAddr| address.to_string().into())
    }

    /// An absolute path.
    pub fn path(&mut self, key: &'static str, default: &str, about: &'static str) -> PathBuf {
        let expects = "an absolute path";
        let parse = |value: &Value| values::path(value, expects);
        let asked = Asked::new(key, expects, Shape::Path, about);
        self.read(asked, default.into(), parse, |path: &PathBuf| path.to_string_lossy().into())
    }

    /// An absolute path that may be absent.
    pub fn optional_path(&mut self, key: &'static str, about: &'static str) -> Option<PathBuf> {
        self.path_or(key, None, about)
    }

    /// The same with a default of its own.
    pub fn path_or(&mut self, key: &'static str, default: Option<PathBuf>, about: &'static str) -> Option<PathBuf> {
        let expects = "an absolute path";
        let parse = |value: &Value| values::path(value, expects).map(Some);
        let show = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy()).into();
        self.read(Asked::new(key, expects, Shape::Path, about), default, parse, show)
    }

    /// The same of a file that holds a secret. Somebody may set the secret itself instead: what is no path is not quoted.
    pub fn secret_path_or(
        &mut self,
        key: &'static str,
        default: Option<PathBuf>,
        about: &'static str,
    ) -> Option<PathBuf> {
        let expects = "an absolute path";
        let unquoted =
            |wrongs: Vec<values::Wrong>| wrongs.into_iter().map(|w| values::Wrong { found: None, ..w }).collect();
        let parse = |value: &Value| values::path(value, expects).map(Some).map_err(unquoted);
        let show = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy()).into();
        self.read(Asked::new(key, expects, Shape::Path, about), default, parse, show)
    }

    pub(super) fn read<T>(
        &mut self,
        asked: Asked,
        default: T,
        parse: impl FnOnce(&Value) -> Reading<T>,
        show: impl FnOnce(&T) -> Json,
    ) -> T {
        let read = self.find(asked.key).map(|entry| (parse(&entry.node.value), entry));
        let (value, origin) = match read {
            None => (default, self.default_origin()),
            Some((Ok(value), entry)) => (value, self.origin(&entry)),
            Some((refused, entry)) => {
                self.refuse(&entry, refused);
                (default, self.default_origin())
            }
        };
        self.record(asked, show(&value), origin);
        value
    }

    fn require_private(&self, entry: &Entry) {
        let mut session = lock(&self.session);
        let Some(source) = session.sources.get(usize::from(entry.node.at.source)) else { return };
        if source.mode.is_some_and(is_open_to_all) {
            let message = format!(
                "holds a secret, but everyone may read the file; `chmod o= {}`, or name a file that holds it",
                source.name
            );
            session.fault(Some(entry.key_at), &join(&self.written, &entry.key), None, message);
        }
    }
}

fn alternatives(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn first(words: &[&str], count: usize) -> String {
    words.get(..count).unwrap_or(words).join(", ")
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
