//! What was read: each key with its effective value, where that came from and what it is about.

use std::fmt;

use serde_json::Value;

use super::{Secret, Shape};

/// Where an effective value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
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
    /// It stands in this variable of the environment.
    Environment(String),
}

impl SettingOrigin {
    /// Whether somebody wrote it down, in a file or in the environment.
    pub fn is_written(&self) -> bool {
        matches!(self, SettingOrigin::File { .. } | SettingOrigin::Environment(_))
    }
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingOrigin::Default => f.write_str("default"),
            SettingOrigin::Derived(from) | SettingOrigin::Environment(from) => f.write_str(from),
            SettingOrigin::File { file, line, .. } => write!(f, "{file}:{line}"),
        }
    }
}

/// One key that was asked for.
#[derive(Clone, Debug)]
pub struct SettingRecord {
    /// The key in full: `events.flush_threshold`.
    pub key: String,
    /// The effective value; `null` where there is none, `(secret)` where it is not to be shown. Durations and sizes are
    /// texts that read back as the same.
    pub value: Value,
    /// Where it came from.
    pub origin: SettingOrigin,
    /// What values are taken: `a whole number from 1 to 10000`.
    pub expects: String,
    /// The same, for those who describe the configuration.
    pub shape: Shape,
    /// What it does, in one line.
    pub about: &'static str,
    /// The value itself where it is not to be shown.
    pub secret: Option<Secret>,
}

impl SettingRecord {
    /// Whether both have the same value, wherever it came from.
    pub fn is_as(&self, other: &SettingRecord) -> bool {
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

/// A part with keys of its own.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name in full: `collectors.network`.
    pub name: String,
    /// What it is about, in one line.
    pub about: &'static str,
}

/// Every key that was asked for, in the order of asking.
#[derive(Clone, Debug, Default)]
pub struct Records {
    records: Vec<SettingRecord>,
    sections: Vec<Section>,
    /// Keys in full and their other names.
    aliases: Vec<(String, &'static str)>,
}

impl Records {
    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, SettingRecord> {
        self.records.iter()
    }

    /// The one for a key in full.
    pub fn get(&self, key: &str) -> Option<&SettingRecord> {
        self.records.iter().find(|record| record.key == key)
    }

    /// The parts that keys stand in, in the order of asking.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Keys in full that have another name, and that name.
    pub fn aliases(&self) -> &[(String, &'static str)] {
        &self.aliases
    }

    pub(super) fn put_section(&mut self, name: &str, about: &'static str) {
        if !self.sections.iter().any(|section| section.name == name) {
            self.sections.push(Section { name: name.to_owned(), about });
        }
    }

    pub(super) fn put_alias(&mut self, key: String, other: &'static str) {
        if !self.aliases.iter().any(|(own, _)| *own == key) {
            self.aliases.push((key, other));
        }
    }

    /// How many keys stand in a file.
    pub fn set(&self) -> usize {
        self.records.iter().filter(|record| record.origin.is_written()).count()
    }

    /// Keeps with the one for this key what is not to be shown of it.
    pub(super) fn keep_secret(&mut self, key: &str, secret: Option<Secret>) {
        if let Some(own) = self.records.iter_mut().find(|record| record.key == key) {
            own.secret = secret;
        }
    }

    /// Puts one in the place of that of the same key, or behind all others.
    pub fn put(&mut self, record: SettingRecord) {
        match self.records.iter_mut().find(|own| own.key == record.key) {
            Some(own) => *own = record,
            None => self.records.push(record),
        }
    }
}
