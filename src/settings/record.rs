//! What was read: each key with its effective value, where that came from and what it is about.

use std::fmt;

use serde_json::Value;

use super::Secret;

/// Where an effective value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// It follows from another key, which this names: `profile minimal`.
    Derived(String),
    /// It stands in a file.
    File {
        /// The file, as it was named.
        file: String,
        /// From 1.
        line: u32,
        /// From 1.
        column: u32,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Derived(from) => f.write_str(from),
            Origin::File { file, line, .. } => write!(f, "{file}:{line}"),
        }
    }
}

/// One key that was asked for.
#[derive(Clone, Debug)]
pub struct Record {
    /// The key in full: `events.flush_threshold`.
    pub key: String,
    /// The effective value; `null` where there is none, `(secret)` where it is not to be shown. Durations and sizes are
    /// texts that read back as the same.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
    /// What values are taken: `a whole number from 1 to 10000`.
    pub expects: String,
    /// What it does, in one line.
    pub about: &'static str,
    /// The value itself where it is not to be shown.
    pub secret: Option<Secret>,
}

impl Record {
    /// Whether both have the same value, wherever it came from.
    pub fn is_as(&self, other: &Record) -> bool {
        self.value == other.value && self.secret == other.secret
    }

    /// The value as one would write it in the file; empty where there is none.
    pub fn text(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| item.as_str().unwrap_or_default()).collect();
                format!("[{}]", items.join(", "))
            }
            other => other.to_string(),
        }
    }
}

/// Every key that was asked for, in the order of asking.
#[derive(Clone, Debug, Default)]
pub struct Records(Vec<Record>);

impl Records {
    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Record> {
        self.0.iter()
    }

    /// The one for a key in full.
    pub fn get(&self, key: &str) -> Option<&Record> {
        self.0.iter().find(|record| record.key == key)
    }

    /// How many keys stand in a file.
    pub fn set(&self) -> usize {
        self.0.iter().filter(|record| matches!(record.origin, Origin::File { .. })).count()
    }

    /// Keeps with the one for this key what is not to be shown of it.
    pub(super) fn keep_secret(&mut self, key: &str, secret: Option<Secret>) {
        if let Some(own) = self.0.iter_mut().find(|record| record.key == key) {
            own.secret = secret;
        }
    }

    /// Puts one in the place of that of the same key, or behind all others.
    pub fn put(&mut self, record: Record) {
        match self.0.iter_mut().find(|own| own.key == record.key) {
            Some(own) => *own = record,
            None => self.0.push(record),
        }
    }
}
