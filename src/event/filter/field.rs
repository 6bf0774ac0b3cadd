//! A field of a payload in a condition: found in the schema when the filter is read, and in each event by name.

use crate::order::Gather as _;
use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use super::{Pattern, comparison::Comparison};
use crate::{
    event::{
        Catalogue, enumeration, is_redacted, json,
        unit::{self, Unit},
    },
    words,
};

/// What stands before a field's name where an event has something of that name too.
const PREFIX: &str = "payload.";

/// `pool_name`; `system_info.os`, an entry of a map; `part.size`, a field of a message inside.
#[derive(Clone, Debug)]
pub(in crate::event) struct FieldPath {
    name: String,
    rest: Option<String>,
    /// Whether it is text in every payload that has it, so that its value stands in the bytes as it is.
    is_text: bool,
}

impl FieldPath {
    /// Finds the field in the payloads of the schema and checks that it can be compared so.
    pub(super) fn parse(
        catalogue: &Catalogue,
        key: &str,
        comparison: Comparison,
        value: &Pattern,
    ) -> Result<FieldPath, String> {
        let key = key.strip_prefix(PREFIX).unwrap_or(key);
        let mut path = FieldPath::of(key);
        let found: Vec<FieldDescriptor> =
            catalogue.subjects.iter().filter_map(|subject| path.leaf(&subject.message)).collect();
        let open: Vec<&FieldDescriptor> = found.iter().filter(|field| !is_redacted(field)).collect();
        path.is_text = open.iter().all(|field| field.kind() == Kind::String);
        match open.first() {
            None if found.is_empty() => Err(unknown(catalogue, key)),
            None => Err(format!("{key} is redacted and cannot be asked for")),
            Some(_) if open.iter().any(|field| fits(field, comparison, value)) => Ok(path),
            Some(first) => Err(misfit(first, &open, comparison, value)),
        }
    }

    /// Finds a field of one value in a word, in the payloads of the kinds that are taken.
    pub(in crate::event) fn single(
        catalogue: &Catalogue,
        key: &str,
        takes_kind: impl Fn(&str) -> bool,
    ) -> Result<FieldPath, String> {
        let key = key.strip_prefix(PREFIX).unwrap_or(key);
        let path = FieldPath::of(key);
        if !catalogue.subjects.iter().any(|subject| path.is_in(&subject.message)) {
            return Err(unknown(catalogue, key));
        }
        let taken =
            catalogue.subjects.iter().filter(|subject| subject.kinds.values().any(|kind| takes_kind(kind.as_str())));
        let found: Vec<FieldDescriptor> = taken.filter_map(|subject| path.leaf(&subject.message)).collect();
        let is_word = |field: &FieldDescriptor| {
            let kind = field.kind();
            !field.is_list()
                && !field.is_map()
                && !matches!(kind, Kind::Bytes | Kind::Message(_) | Kind::Float | Kind::Double)
        };
        match found.iter().find(|field| !is_redacted(field)) {
            None if found.is_empty() => Err(format!("no event of these has a field {key}")),
            None => Err(format!("{key} is redacted, and is not shown")),
            Some(_) if found.iter().any(is_word) => Ok(path),
            Some(_) => Err(format!("{key} has no value in one word: a list, a message, a fraction")),
        }
    }

    /// Its value in a payload; empty where it has none.
    pub(in crate::event) fn text(&self, message: &DynamicMessage) -> String {
        let Some(field) = message.descriptor().get_field_by_name(&self.name).filter(|f| !is_redacted(f)) else {
            return String::new();
        };
        match (&*message.get_field(&field), &self.rest) {
            (Value::Map(map), Some(key)) => {
                let entry = map.iter().find(|(own, _)| json::key_text(own) == *key);
                entry.map(|(_, value)| word(&map_value(&field), value)).unwrap_or_default()
            }
            (Value::Message(inner), Some(rest)) => FieldPath::of(rest).text(inner),
            (value, None) => word(&field, value),
            (_, Some(_)) => String::new(),
        }
    }

    fn of(key: &str) -> FieldPath {
        match key.split_once('.') {
            Some((name, rest)) => FieldPath { name: name.to_owned(), rest: Some(rest.to_owned()), is_text: false },
            None => FieldPath { name: key.to_owned(), rest: None, is_text: false },
        }
    }

    /// Whether its value is text, whichever the payload.
    pub(super) fn is_text(&self) -> bool {
        self.is_text
    }

    /// Whether a payload of this type has the field.
    pub(super) fn is_in(&self, message: &MessageDescriptor) -> bool {
        self.leaf(message).is_some()
    }

    /// Whether the payload has the field and one of its values compares so.
    pub(super) fn matches(&self, message: &DynamicMessage, comparison: Comparison, value: &Pattern) -> bool {
        let Some(field) = message.descriptor().get_field_by_name(&self.name).filter(|f| !is_redacted(f)) else {
            return false;
        };
        let found = message.get_field(&field);
        match (&*found, &self.rest) {
            (Value::Map(map), Some(key)) => {
                map.iter().any(|(k, v)| json::key_text(k) == *key && compares(&map_value(&field), v, comparison, value))
            }
            (Value::Map(map), None) => map.keys().any(|k: &MapKey| comparison.matches(value, &json::key_text(k))),
            (Value::List(list), _) => list.iter().any(|v| self.element_matches(&field, v, comparison, value)),
            (single, _) => self.element_matches(&field, single, comparison, value),
        }
    }

    fn element_matches(&self, field: &FieldDescriptor, found: &Value, comparison: Comparison, value: &Pattern) -> bool {
        match (found, &self.rest) {
            (Value::Message(inner), Some(rest)) => FieldPath::of(rest).matches(inner, comparison, value),
            (_, Some(_)) => false,
            (found, None) => compares(field, found, comparison, value),
        }
    }

    /// The field in which the path ends, if this message has it.
    fn leaf(&self, message: &MessageDescriptor) -> Option<FieldDescriptor> {
        let field = message.get_field_by_name(&self.name)?;
        let kind = field.kind();
        match (&self.rest, kind.as_message()) {
            _ if is_redacted(&field) => Some(field),
            (None, _) => Some(field),
            (Some(_), Some(_)) if field.is_map() => Some(map_value(&field)),
            (Some(rest), Some(inner)) => FieldPath::of(rest).leaf(inner),
            (Some(_), None) => None,
        }
    }
}

/// Looks for a field of this path in the payloads of the schema.
///
/// # Errors
/// When none has it, or nobody may see it; the field, or one of `others`, that was meant.
pub(super) fn check(catalogue: &Catalogue, key: &str, others: &[&str]) -> Result<(), String> {
    let path = FieldPath::of(key);
    let mut found = catalogue.subjects.iter().filter_map(|subject| path.leaf(&subject.message)).peekable();
    if found.peek().is_none() {
        let mut names: BTreeSet<String> = others.iter().map(|name| (*name).to_owned()).gather();
        names.extend(field_names(catalogue));
        let near = words::did_you_mean(words::nearest(key, names.iter().map(String::as_str)));
        return Err(format!("no event has a field \"{key}\"{near}"));
    }
    match found.any(|field| !is_redacted(&field)) {
        true => Ok(()),
        false => Err(format!("{key} is secret, and shown to nobody")),
    }
}

fn field_names(catalogue: &Catalogue) -> impl Iterator<Item = String> {
    catalogue.subjects.iter().flat_map(|subject| subject.message.fields()).map(|field| field.name().to_owned())
}

/// A value in one word; empty for what has none.
fn word(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::I32(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
        Value::U64(n) => n.to_string(),
        Value::EnumNumber(n) => {
            let short = field.kind().as_enum().and_then(|enumeration| enumeration::short_name(enumeration, *n));
            short.unwrap_or_else(|| n.to_string())
        }
        Value::F32(_) | Value::F64(_) | Value::Bytes(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => {
            String::new()
        }
    }
}

fn map_value(field: &FieldDescriptor) -> FieldDescriptor {
    let entry = field.kind().as_message().cloned().expect("a map is made of entries");
    entry.map_entry_value_field()
}

fn compares(field: &FieldDescriptor, found: &Value, comparison: Comparison, value: &Pattern) -> bool {
    let by_number = |ordering: Option<std::cmp::Ordering>| ordering.is_some_and(|o| comparison.accepts(o));
    let integer = |n: i128| match value.has_wildcard() {
        true => comparison.matches(value, &n.to_string()),
        false => by_number(whole_or_float(field, value.text()).and_then(|wanted| wanted.order(n))),
    };
    match found {
        Value::Bool(found) => comparison.matches(value, &found.to_string()),
        Value::String(found) => comparison.matches(value, found),
        Value::I32(n) => integer((*n).into()),
        Value::I64(n) => integer((*n).into()),
        Value::U32(n) => integer((*n).into()),
        Value::U64(n) => integer((*n).into()),
        // Read with the field's own precision, so that 0.1 equals 0.1.
        Value::F32(n) => {
            by_number(value.text().trim_end_matches('%').parse().ok().and_then(|wanted| n.partial_cmp(&wanted)))
        }
        Value::F64(n) => by_number(float(value.text()).and_then(|wanted| n.partial_cmp(&wanted))),
        Value::EnumNumber(n) => enum_is(field, *n, value),
        Value::Bytes(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => false,
    }
}

fn enum_is(field: &FieldDescriptor, number: i32, value: &Pattern) -> bool {
    let kind = field.kind();
    let Some(enumeration) = kind.as_enum() else { return false };
    let short = enumeration::short_name(enumeration, number);
    let wanted = enumeration::number(enumeration, value.text()).or_else(|| value.text().parse().ok());
    wanted == Some(number) || short.is_some_and(|name| value.has_wildcard() && value.matches(&name))
}

/// A number in a condition on an integer field.
enum Wanted {
    Whole(i128),
    Float(f64),
    /// Unix milliseconds; the field has them, or seconds.
    Moment(i64),
}

impl Wanted {
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 a fraction in the condition decides nothing")]
    fn order(&self, found: i128) -> Option<std::cmp::Ordering> {
        match self {
            Wanted::Whole(wanted) => Some(found.cmp(wanted)),
            Wanted::Float(wanted) => (found as f64).partial_cmp(wanted),
            Wanted::Moment(wanted) => Some(unit::milliseconds(found).cmp(&i128::from(*wanted))),
        }
    }
}

fn whole_or_float(field: &FieldDescriptor, text: &str) -> Option<Wanted> {
    let unit = Unit::of(field.name());
    let whole = text.parse().ok().or_else(|| unit?.parse(text).ok());
    let moment = || unit.filter(|unit| *unit == Unit::Time).and_then(|_| unit::parse_moment(text)).map(Wanted::Moment);
    whole.map(Wanted::Whole).or_else(moment).or_else(|| float(text).map(Wanted::Float))
}

/// A percentage may be called one.
fn float(text: &str) -> Option<f64> {
    text.trim_end_matches('%').parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether a value of this field could ever compare so.
fn fits(field: &FieldDescriptor, comparison: Comparison, value: &Pattern) -> bool {
    if field.is_map() {
        return !comparison.is_by_order();
    }
    if comparison == Comparison::Contains {
        return field.kind() == Kind::String;
    }
    let is_glob = value.has_wildcard() && !comparison.is_by_order();
    match field.kind() {
        Kind::String => !comparison.is_by_order(),
        Kind::Bool => !comparison.is_by_order() && (is_glob || matches!(value.text(), "true" | "false")),
        Kind::Enum(enumeration) => {
            let known = enumeration::number(&enumeration, value.text()).is_some();
            !comparison.is_by_order() && (is_glob || known || value.text().parse::<i32>().is_ok())
        }
        Kind::Float | Kind::Double => float(value.text()).is_some(),
        Kind::Bytes | Kind::Message(_) => false,
        _ => is_glob || whole_or_float(field, value.text()).is_some(),
    }
}

fn misfit(field: &FieldDescriptor, all: &[&FieldDescriptor], comparison: Comparison, value: &Pattern) -> String {
    let (name, text, symbol) = (field.name(), value.text(), comparison.symbol());
    match field.kind() {
        _ if comparison == Comparison::Contains => format!("{name} is no text: ~ looks for a part of one"),
        Kind::Enum(_) if !comparison.is_by_order() => {
            let kinds = all.iter().map(|field| field.kind());
            let names: BTreeSet<String> =
                kinds.filter_map(|kind| kind.as_enum().map(enumeration::short_names)).flatten().gather();
            let nearest = words::nearest(text, names.iter().map(String::as_str));
            format!("{name} is never \"{text}\"{}", words::did_you_mean(nearest))
        }
        Kind::Bool if !comparison.is_by_order() => format!("{name} is true or false"),
        Kind::Message(_) if !field.is_map() => format!("{name} has fields of its own: name one, as in {name}.FIELD"),
        Kind::Bytes => format!("{name} holds bytes, which cannot be compared"),
        Kind::String | Kind::Bool | Kind::Enum(_) | Kind::Message(_) => {
            format!("{name} is no number: compare with = or !=, not {symbol}")
        }
        _ => {
            let in_words = Unit::of(name).filter(|unit| unit.example().is_some());
            let why = in_words.and_then(|unit| unit.parse(text).err());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            format!("{name} is a number, and \"{text}\" is none{why}")
        }
    }
}

fn unknown(catalogue: &Catalogue, key: &str) -> String {
    let mut names: BTreeSet<String> = ["level", "category", "kind", "source", "id", "text"].map(str::to_owned).into();
    names.extend(field_names(catalogue));
    match key {
        "time" | "timestamp" | "since" | "until" => return "times are asked for by --since and --until".to_owned(),
        "node" => return "one node's events are asked for by --node of rodent-controller".to_owned(),
        _ => {}
    }
    let suggestion = words::did_you_mean(words::nearest(key, names.iter().map(String::as_str)));
    format!("no payload has a field \"{key}\" (metadata is asked for as meta.KEY){suggestion}")
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.rest {
            Some(rest) => write!(f, "{}.{rest}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
