//! The configuration as written: keys and values with the place where each stands. Immutable once built; what has been
//! read of it is noted elsewhere ([`super::session`]).

use std::sync::Arc;

/// Where something stands: the file (by its number in the session), line and column from 1. Ordered as people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) source: u16,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Nothing,
    /// The text after YAML's own escapes are undone; whether it stood in quotes.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Arc<Map>),
}

/// Keys in the order of the file; each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Position,
    pub(super) node: Node,
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Lays `over` on top: tables are merged key by key, every other value is replaced whole. A table without content
    /// replaces nothing, so that a file whose keys are all commented out changes nothing.
    pub(super) fn merge(&mut self, over: Map) {
        for entry in over.entries {
            match self.entries.iter_mut().find(|own| own.key == entry.key) {
                Some(own) => own.merge(entry),
                None => self.entries.push(entry),
            }
        }
    }
}

impl Entry {
    fn merge(&mut self, over: Entry) {
        match (&mut self.node.value, over.node.value) {
            (Value::Map(own), Value::Map(map)) => Arc::make_mut(own).merge(Arc::unwrap_or_clone(map)),
            (Value::Map(_), Value::Nothing) => {}
            (own, value) => {
                *own = value;
                self.node.at = over.node.at;
                self.key_at = over.key_at;
            }
        }
    }
}

/// A key in full.
pub(super) fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}
