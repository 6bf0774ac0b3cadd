//! What stands in one part of the configuration and is meant for another: put there before that is read, so that it is judged,
//! shown and compared as if it had been written there, at the place where it was.

use std::sync::Arc;

use super::{Table, value_at};
use crate::settings::tree::{Entry, Map, Node, Position, Value};

/// Where a value stands that is read under another key, too.
#[derive(Clone, Copy, Debug)]
pub struct ValuePlace(Position);

/// A value, as it would stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lowered {
    /// A word, a number, a text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

impl Table {
    /// Where the value of `key` stands; the table itself where the key is absent.
    pub fn place(&mut self, key: &'static str) -> Option<ValuePlace> {
        self.find(key).as_ref().map(value_at).or(self.at).map(ValuePlace)
    }

    /// What stands below `key`, by name, without reading it.
    pub fn names(&self, key: &str) -> Vec<String> {
        match self.map.get(key).map(|entry| &entry.node.value) {
            Some(Value::Map(map)) => map.entries.iter().map(|entry| entry.key.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Where what is at a path below stands, as seen from `place`: `line 7`; none where nothing is.
    pub fn written_at(&self, path: &[&str], ValuePlace(from): ValuePlace) -> Option<String> {
        let (key, parts) = path.split_last()?;
        let map = parts.iter().try_fold(&self.map, |map, part| match &map.get(part)?.node.value {
            Value::Map(map) => Some(map),
            _ => None,
        });
        Some(self.line_of(map?.get(key)?.key_at, from))
    }

    /// Puts a value at a path below, as if it were written at `place`. The parts on the way are made if need be. Before they are
    /// read.
    ///
    /// # Errors
    /// Where another value stands there already: its line, or its file, too, where that is another than that of `place`.
    pub fn lower(&mut self, path: &[&str], value: &Lowered, ValuePlace(at): ValuePlace) -> Result<(), String> {
        let mut map = Some(&self.map);
        for (place, key) in path.iter().enumerate() {
            let Some(entry) = map.and_then(|map| map.get(key)) else { break };
            let is_last = place + 1 == path.len();
            map = match &entry.node.value {
                Value::Map(map) if !is_last => Some(map),
                Value::Nothing if !is_last => None,
                // What is no part is told of when it is read.
                _ if !is_last => return Ok(()),
                own if value.is(own) => return Ok(()),
                _ => return Err(self.line_of(entry.key_at, at)),
            };
        }
        let mut node = Node { at, value: value.node(at) };
        for key in path.iter().rev() {
            let entry = Entry { key: (*key).to_owned(), key_at: at, node };
            node = Node { at, value: Value::Map(Arc::new(Map { entries: vec![entry] })) };
        }
        if let Value::Map(over) = node.value {
            Arc::make_mut(&mut self.map).merge(Arc::unwrap_or_clone(over));
        }
        Ok(())
    }
}

impl Lowered {
    fn node(&self, at: Position) -> Value {
        let scalar = |text: &String| Value::Scalar { text: text.clone(), quoted: false };
        match self {
            Lowered::Text(text) => scalar(text),
            Lowered::Texts(texts) => Value::List(texts.iter().map(|text| Node { at, value: scalar(text) }).collect()),
        }
    }

    fn is(&self, other: &Value) -> bool {
        let texts = |nodes: &[Node]| {
            let text = |node: &Node| match &node.value {
                Value::Scalar { text, .. } => Some(text.clone()),
                _ => None,
            };
            nodes.iter().map(text).collect::<Option<Vec<_>>>()
        };
        match (self, other) {
            (Lowered::Text(own), Value::Scalar { text, .. }) => own == text,
            (Lowered::Texts(own), Value::List(nodes)) => texts(nodes).as_ref() == Some(own),
            _ => false,
        }
    }
}
