//! Lists of what is more than a text: parts with keys of their own, and texts of which one may stand alone.

use super::{Asked, Table};
use crate::{
    lock::lock,
    settings::{
        Secret, Shape,
        tree::{Entry, Value, join},
        values::{self, shown, wrong},
    },
};

/// What is said of what is no list of parts.
const PARTS_EXPECTED: &str = "expected a list of parts, each behind a `-` with keys and values of its own";

impl Table {
    /// The parts in the list under `key`, each with keys of its own, called `KEY[0]` and so on; at most `most` are taken.
    pub fn parts(&mut self, key: &'static str, about: &'static str, most: usize) -> Vec<Table> {
        let Some(entry) = self.find(key) else { return Vec::new() };
        let items = match &entry.node.value {
            Value::List(items) => items,
            Value::Nothing => return Vec::new(),
            other => {
                self.refuse(&entry, wrong::<()>(other, PARTS_EXPECTED));
                return Vec::new();
            }
        };
        if items.len() > most {
            self.fault(key, format!("has {} entries; at most {most} are taken", items.len()));
        }
        let mut parts = Vec::new();
        for (place, node) in items.iter().take(most).enumerate() {
            let name = format!("{key}[{place}]");
            let Value::Map(map) = &node.value else {
                let (written, found) = (join(&self.written, &name), shown(&node.value));
                lock(&self.session).fault(Some(node.at), &written, found, PARTS_EXPECTED.to_owned());
                continue;
            };
            lock(&self.session).records.put_section(&join(&self.name, &name), about);
            let entry = Entry { key: name.clone(), key_at: node.at, node: node.clone() };
            parts.push(self.child(&name, Some(&entry), std::sync::Arc::clone(map)));
        }
        parts
    }

    /// A text, or a list of some; none where the key is absent.
    pub fn texts(&mut self, key: &'static str, about: &'static str) -> Vec<String> {
        self.texts_shown(key, about, str::to_owned)
    }

    /// The same, of which no message shows more than `show` gives of each.
    pub fn texts_shown(
        &mut self,
        key: &'static str,
        about: &'static str,
        show: impl Fn(&str) -> String,
    ) -> Vec<String> {
        let expects = "text, or a list of texts such as [a, b]";
        let parse = |value: &Value| match value {
            Value::Scalar { text, .. } => Ok(vec![text.clone()]),
            other => values::list(other, expects, |item| values::text(item, "text in a list").map(str::to_owned)),
        };
        let shown = |texts: &Vec<String>| texts.iter().map(|text| show(text)).collect::<Vec<_>>().into();
        let texts = self.read(Asked::new(key, expects, Shape::TextOrTexts, about), Vec::new(), parse, shown);
        if let Some(entry) = self.find(key).filter(|_| texts.iter().any(|text| show(text) != *text)) {
            let mut session = lock(&self.session);
            session.hide(entry.key_at);
            session.records.keep_secret(&join(&self.name, key), Some(Secret::new(texts.join("\n"))));
        }
        texts
    }
}
