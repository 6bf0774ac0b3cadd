//! The configuration as a JSON schema (draft 2020-12), for editors: what stands in a file at all, not what goes together.
//!
//! Takes every valid configuration, and refuses unknown keys, values of another kind, and numbers out of bounds. It asks for no
//! key, for a drop-in may hold any part. Made of what the code itself asks for, as [`super::reference`] is.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{reference, reference::is_live};
use crate::settings::{Records, SettingOrigin, SettingRecord, Shape};

/// Where the package puts it.
const ID: &str = "file:///usr/share/rodent/rodent.schema.json";
/// `on`, `off` and what YAML tools of the older standard write for them.
const ON_OR_OFF: &str = "^([oO][nN]|[oO][fF][fF]|true|false)$";
const OFF: &str = "^([oO][fF][fF]|false)$";
/// Numbers with units behind them, or the number alone; which units there are is the agent's to say.
const TIME: &str = "^[0-9]+(\\.[0-9]+)?( *[a-zA-Zµ]+ *([0-9]+(\\.[0-9]+)? *[a-zA-Zµ]+ *)*)?$";
const SIZE: &str = "^[0-9]+(\\.[0-9]+)? *([kKmMgGtTpPeE]?[iI]?[bB])?$";
const PERCENT: &str = "^[0-9]+%?$";

pub fn schema() -> Value {
    let records = reference::keys();
    let mut schema = table("", &records);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "Configuration of Rodent",
        "description": "/etc/rodent/rodent.yml and its drop-ins, /etc/rodent/rodent.d/*.yml",
    });
    if let (Some(own), Value::Object(head)) = (schema.as_object_mut(), head) {
        own.extend(head);
    }
    schema
}

/// A part with everything below it; the root has no name.
fn table(name: &str, records: &Records) -> Value {
    if name == "sinks" {
        let types = records.sections().iter().filter(|section| reference::sink_type(&section.name).is_some());
        let types: Vec<_> = types.map(|section| table(&section.name, records)).collect();
        return json!({"type": ["object", "null"], "additionalProperties": {"anyOf": types}});
    }
    let mut properties = Map::new();
    let below = |key: &str| match name {
        "" => (!key.is_empty() && !key.contains('.')).then(|| key.to_owned()),
        _ => key.strip_prefix(name)?.strip_prefix('.').filter(|rest| !rest.contains('.')).map(str::to_owned),
    };
    for section in records.sections() {
        if let Some(key) = below(&section.name) {
            let mut part = part(&section.name, records);
            describe(&mut part, section.about);
            match reference::list_of(&key) {
                Some(list) => properties.insert(list.to_owned(), json!({"type": ["array", "null"], "items": part})),
                None => properties.insert(key, part),
            };
        }
    }
    for record in records.iter() {
        if let Some(key) = below(&record.key) {
            properties.insert(key, value(record));
        }
    }
    let mut both = Vec::new();
    for (key, other) in records.aliases() {
        if let Some(own) = below(key)
            && let Some(meant) = properties.get(&own).cloned()
        {
            properties.insert((*other).to_owned(), meant);
            both.push(json!({"not": {"required": [own, other]}}));
        }
    }
    let mut table = json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties});
    if let Some(table) = table.as_object_mut().filter(|_| !both.is_empty()) {
        table.insert("allOf".to_owned(), both.into());
    }
    table
}

/// A part, or the word that turns it on or off.
fn part(name: &str, records: &Records) -> Value {
    let is_switch = records.get(&format!("{name}.enabled")).is_some_and(|record| record.shape == Shape::Switch);
    match is_switch {
        true => json!({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": ON_OR_OFF}, table(name, records)]}),
        false => table(name, records),
    }
}

fn value(record: &SettingRecord) -> Value {
    let mut value = shape(&record.shape);
    let restart = if is_live(&record.key) { "" } else { " (a restart puts it in force)" };
    describe(&mut value, &format!("{}{restart}", record.about));
    if let Some(value) =
        value.as_object_mut().filter(|_| !record.value.is_null() && record.origin == SettingOrigin::Default)
    {
        value.insert("default".to_owned(), record.value.clone());
    }
    value
}

fn describe(value: &mut Value, about: &str) {
    if let Some(value) = value.as_object_mut() {
        value.insert("description".to_owned(), about.into());
    }
}

/// What a value looks like after an editor has read it as YAML: what is text to the agent may be a number to the editor.
fn shape(of: &Shape) -> Value {
    match of {
        Shape::Boolean | Shape::Switch => json!({"type": "boolean"}),
        Shape::Text | Shape::Secret => json!({"type": ["string", "number", "boolean"]}),
        Shape::Path => json!({"type": "string", "pattern": "^/"}),
        Shape::OneOf(words) => word(words),
        Shape::SeveralOf(words) => {
            json!({"anyOf": [{"const": "all"}, {"type": "array", "minItems": 1, "items": word(words)}]})
        }
        Shape::Texts => json!({"type": "array", "items": {"type": ["string", "number", "boolean"]}}),
        Shape::Values => {
            json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})
        }
        Shape::TextOrTexts => json!({"anyOf": [shape(&Shape::Text), shape(&Shape::Texts)]}),
        Shape::Integer(bounds) => json!({"type": "integer", "minimum": bounds.start(), "maximum": bounds.end()}),
        Shape::Percent(bounds) => json!({"anyOf": [
            {"type": "integer", "minimum": bounds.start(), "maximum": bounds.end()},
            {"type": "string", "pattern": PERCENT},
        ]}),
        Shape::Duration { bounds, or_off } => {
            // A bare number is seconds.
            let seconds = |time: &Duration| time.as_secs();
            let number =
                json!({"type": "integer", "minimum": seconds(bounds.start()), "maximum": seconds(bounds.end())});
            amount(number, TIME, *or_off)
        }
        Shape::Size { bounds, or_off } => {
            let number = json!({"type": "number", "minimum": bounds.start(), "maximum": bounds.end()});
            amount(number, SIZE, *or_off)
        }
    }
}

fn amount(number: Value, text: &str, or_off: bool) -> Value {
    let mut ways = vec![number, json!({"type": "string", "pattern": text})];
    if or_off {
        ways.extend([json!({"const": false}), json!({"type": "string", "pattern": OFF})]);
    }
    json!({"anyOf": ways})
}

/// One of these words, in upper or lower case; editors offer them as they are.
fn word(words: &[String]) -> Value {
    let either = |character: char| match character.is_ascii_alphabetic() {
        true => format!("[{}{}]", character.to_ascii_lowercase(), character.to_ascii_uppercase()),
        false => character.to_string(),
    };
    let patterns: Vec<String> = words.iter().map(|word| word.chars().map(either).collect()).collect();
    json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": format!("^({})$", patterns.join("|"))}]})
}
