//! The sentence of an event: a text of the schema with what the payload says in its places.
//!
//! `{field}` is a field's value, `{one|another}` that of the first which is set; `[…]` is left out as a whole when a place
//! in it has no value. A place of a bool shows nothing: it decides whether its brackets stay. Outside brackets a place
//! without a value shows `?`. A list tells how many more there are, those that whoever emitted it has left out, too.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use super::{Manner, render};

/// What stands where nothing is known.
const UNKNOWN: &str = "?";

/// A text, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Names of fields; the first that is set stands here.
    Place(Vec<String>),
    Optional(Vec<Part>),
}

impl Template {
    /// What is no place and no bracket stands for itself.
    pub(super) fn parse(text: &str) -> Template {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find('[') {
            let Some(length) = rest[at..].find(']') else { break };
            push_places(&mut parts, &rest[..at]);
            let mut inner = Vec::new();
            push_places(&mut inner, &rest[at + 1..at + length]);
            parts.push(Part::Optional(inner));
            rest = &rest[at + length + 1..];
        }
        push_places(&mut parts, rest);
        Template { parts }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Names of the fields that stand in it.
    #[cfg(test)]
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        let inner = self.parts.iter().flat_map(|part| match part {
            Part::Optional(parts) => parts.as_slice(),
            part => std::slice::from_ref(part),
        });
        let names = inner.filter_map(|part| match part {
            Part::Place(names) => Some(names.iter().map(String::as_str)),
            _ => None,
        });
        names.flatten()
    }

    /// Without what may be missing, and with names of fields in the places.
    pub(super) fn outline(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(names) => {
                    let name = names.first().map(|name| name.replace('_', " ")).unwrap_or_default();
                    out.push_str(&format!("<{name}>"));
                }
                Part::Optional(_) => {}
            }
        }
        out
    }

    /// With what a payload says; one line without control characters.
    pub(super) fn render(&self, payload: &DynamicMessage, manner: Manner) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(names) => out.push_str(value(payload, names, manner).as_deref().unwrap_or(UNKNOWN)),
                Part::Optional(parts) => out.extend(rendered(parts, payload, manner)),
            }
        }
        out
    }
}

/// `None` when a place has no value.
fn rendered(parts: &[Part], payload: &DynamicMessage, manner: Manner) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Place(names) => out.push_str(&value(payload, names, manner)?),
            Part::Optional(_) => {}
        }
    }
    Some(out)
}

/// The first of these fields that is set, for people.
fn value(payload: &DynamicMessage, names: &[String], manner: Manner) -> Option<String> {
    let descriptor = payload.descriptor();
    names.iter().find_map(|name| {
        let field = descriptor.get_field_by_name(name)?;
        let value = payload.has_field(&field).then(|| payload.get_field(&field))?;
        match &*value {
            Value::Bool(set) => set.then(String::new),
            Value::List(list) => Some(render::shown_list(&field, list, more(payload, name), manner)),
            value => Some(render::shown(&field, value, manner)),
        }
    })
}

/// How many elements a list has been left without, as the field `more_…` beside it says.
fn more(payload: &DynamicMessage, list: &str) -> u64 {
    let field = payload.descriptor().get_field_by_name(&format!("more_{list}"));
    let count = field.and_then(|field| render::integer(&payload.get_field(&field)));
    count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

/// Text with places, without brackets.
fn push_places(parts: &mut Vec<Part>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let Some(length) = rest[at..].find('}') else { break };
        push_text(parts, &rest[..at]);
        parts.push(Part::Place(rest[at + 1..at + length].split('|').map(str::to_owned).collect()));
        rest = &rest[at + length + 1..];
    }
    push_text(parts, rest);
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}
