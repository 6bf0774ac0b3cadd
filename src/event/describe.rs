//! What the schema says about a kind, for people: its sentence, what it begins and ends, its fields.

use crate::order::Sorted as _;
use std::sync::Arc;

use prost_reflect::{FieldDescriptor, Kind as Holds};

use super::{
    Kind, Meaning,
    catalogue::{Catalogue, Subject},
    enumeration,
    role::{Role, roles},
    unit::Unit,
};

/// A kind and what it means.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name.
    pub kind: Kind,
    subject: Arc<Subject>,
    operation: i32,
}

/// A field of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDescription {
    /// As filters, `emit` and JSON name it.
    pub name: String,
    /// What it holds, in words.
    pub holds: String,
    /// What its number counts, where the schema tells.
    pub unit: Option<&'static str>,
    /// All that it may hold, where the schema names them.
    pub values: Vec<String>,
    /// The parts that it plays, in words.
    pub roles: Vec<&'static str>,
}

impl Catalogue {
    /// A kind of the schema.
    pub fn describe(&self, name: &str) -> Option<Description> {
        let (subject, operation) = self.resolve(name)?;
        let (kind, subject) = (subject.kind(operation), Arc::clone(subject));
        Some(Description { kind, subject, operation })
    }

    /// Every kind that the schema can name, sorted. Kinds in two parts are left out where their payload has operations: they
    /// only stand for one that was not said.
    pub fn descriptions(&self) -> impl Iterator<Item = Description> {
        let said = |its: &Description| its.operation != 0 || its.subject.operation.is_none();
        self.kinds().iter().filter_map(|kind| self.describe(kind.as_str())).filter(said)
    }
}

impl Description {
    /// What the schema says of it.
    pub fn meaning(&self) -> &Meaning {
        self.subject.meanings.of(self.operation)
    }

    /// What a person does about it, with names of fields in the places.
    pub fn advice(&self) -> String {
        self.meaning().advice_template.outline()
    }

    /// The sentence in short: what may be missing is left out, and fields are named.
    pub fn outline(&self) -> String {
        self.meaning().template.outline()
    }

    /// The payload's fields in the order of their numbers, less the operation where the kind says it.
    pub fn fields(&self) -> Vec<FieldDescription> {
        let said = self.subject.operation.as_ref().filter(|_| self.operation != 0);
        let mut fields: Vec<_> = self.subject.message.fields().filter(|field| Some(field) != said).collect();
        fields.order_by_key(FieldDescriptor::number);
        let describe = |field: &FieldDescriptor| FieldDescription {
            name: field.name().to_owned(),
            holds: holds(field),
            unit: unit(field).map(Unit::name),
            values: values(field),
            roles: roles(field).into_iter().filter_map(role).collect(),
        };
        fields.iter().map(describe).collect()
    }
}

fn role(role: Role) -> Option<&'static str> {
    Some(match role {
        Role::None => return None,
        Role::Subject => "names the thing",
        Role::StandIn => "names the thing where nothing else does",
        Role::Actor => "who did it",
        Role::Address => "from or to where",
        Role::Result => "how it ended",
        Role::Label => "one of few values",
        Role::Secret => "secret: never shown",
        Role::Personal => "personal",
        Role::PlainNumber => "its digits are not grouped",
    })
}

fn holds(field: &FieldDescriptor) -> String {
    if let Holds::Message(entry) = field.kind()
        && field.is_map()
    {
        return format!("{} by name: {}.NAME=…", single(&entry.map_entry_value_field()), field.name());
    }
    if field.is_list() { format!("any number of {}", single(field)) } else { single(field) }
}

fn single(field: &FieldDescriptor) -> String {
    let number = |noun: &str| unit(field).map_or_else(|| noun.to_owned(), |unit| unit.name().to_owned());
    match field.kind() {
        Holds::String => "text".to_owned(),
        Holds::Bool => "true or false".to_owned(),
        Holds::Float | Holds::Double => format!("{} with a fraction", number("number")),
        Holds::Bytes => "bytes in base64".to_owned(),
        Holds::Enum(enumeration) => format!("one of {}", enumeration::short_names(&enumeration).join(", ")),
        Holds::Message(message) => message.name().to_owned(),
        _ => match unit(field).and_then(Unit::example) {
            Some(example) => format!("{}, such as {example}", number("number")),
            None => number("number"),
        },
    }
}

/// What it counts, where its name tells.
fn unit(field: &FieldDescriptor) -> Option<Unit> {
    let is_number =
        !matches!(field.kind(), Holds::String | Holds::Bool | Holds::Bytes | Holds::Enum(_) | Holds::Message(_));
    Unit::of(field.name()).filter(|_| is_number)
}

fn values(field: &FieldDescriptor) -> Vec<String> {
    field.kind().as_enum().map(enumeration::short_names).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_described_with_its_fields_and_what_they_hold() {
        let pool = Catalogue::compiled().describe("storage.pool.created").expect("a kind");
        let holds = |name: &str| {
            let fields = pool.fields();
            fields.iter().find(|field| field.name == name).map(|field| field.holds.clone())
        };
        assert_eq!(holds("pool_name").as_deref(), Some("text"));
        assert_eq!(holds("devices").as_deref(), Some("any number of text"));
        assert_eq!(holds("size_bytes").as_deref(), Some("bytes, such as 1GiB"));
        assert_eq!(holds("operation"), None);
        let startup = Catalogue::compiled().describe("system.startup.started").expect("a kind").fields();
        assert!(
            startup
                .iter()
                .any(|field| field.name == "system_info" && field.holds == "text by name: system_info.NAME=…")
        );
        assert!(Catalogue::compiled().describe("storage.pool.burnt").is_none());
    }

    #[test]
    fn a_field_is_described_with_the_values_that_it_may_hold_and_with_its_unit() {
        let field = |kind: &str, name: &str| {
            let described = Catalogue::compiled().describe(kind).expect("a kind").fields();
            described.into_iter().find(|field| field.name == name).expect("its field")
        };
        let operation = field("storage.pool", "operation");
        assert_eq!(operation.values[..2], ["created", "deleted"]);
        assert!(operation.holds.starts_with("one of created, deleted, "), "{operation:?}");
        for (kind, name, holds, unit) in [
            ("storage.pool.capacity", "used_percent", "percent with a fraction", Some("percent")),
            ("storage.pool.capacity", "used_bytes", "bytes, such as 1GiB", Some("bytes")),
            ("storage.pool.capacity", "data_errors", "number", None),
            ("storage.disk.health_changed", "power_on_hours", "hours", Some("hours")),
            ("storage.disk.health_changed", "temperature", "degrees Celsius", Some("degrees Celsius")),
            ("system.host.clock_stepped", "step_seconds", "seconds with a fraction", Some("seconds")),
            ("storage.pool.capacity", "pool_name", "text", None),
        ] {
            let field = field(kind, name);
            assert_eq!((field.holds.as_str(), field.unit, field.values.len()), (holds, unit, 0), "{kind} {name}");
        }
    }

    #[test]
    fn every_kind_is_listed_but_those_that_stand_for_an_operation_that_was_not_said() {
        let names: Vec<String> = Catalogue::compiled().descriptions().map(|its| its.kind.to_string()).collect();
        assert!(
            names.contains(&"system.registration".to_owned()) && names.contains(&"storage.pool.created".to_owned())
        );
        assert!(!names.contains(&"storage.pool".to_owned()));
    }
}
