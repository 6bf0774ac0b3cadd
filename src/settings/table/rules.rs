//! Rules between keys: other names, and values that do not go together.

use super::{Table, value_at};
use crate::{
    lock::lock,
    settings::{
        SettingRecord,
        tree::{Position, join},
        values::shown,
    },
};

impl Table {
    /// Takes `other` as another name of `key`. Both at once are a fault.
    pub fn alias(&mut self, key: &'static str, other: &'static str) {
        self.aliases.push((key, other));
        lock(&self.session).records.put_alias(join(&self.name, key), other);
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
        let value = lock(&self.session).records.get(&name).map(SettingRecord::text).unwrap_or_default();
        self.fault(key, format!("{relation} `{other}`, which is {value} ({place}); change one of them"));
    }

    fn origin_of(&self, key: &str) -> String {
        let session = lock(&self.session);
        session.records.get(&join(&self.name, key)).map_or("default".into(), |record| record.origin.to_string())
    }

    /// `line 7`, or with its file where that is another than the one that it is seen from.
    pub(super) fn line_of(&self, at: Position, seen_from: Position) -> String {
        match at.source == seen_from.source {
            true => format!("line {}", at.line),
            false => lock(&self.session).origin(at).to_string(),
        }
    }
}
