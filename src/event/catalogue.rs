//! What the descriptors say about events, worked out once: every payload, where it hangs in `rodent.events.Event`, and
//! what it and its operations are called. Everything else in this room asks here.
//!
//! Always holds: whatever the schema gains appears here without a change to this file.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor, OneofDescriptor, Value};

use super::{
    Kind, enumeration,
    meaning::{Meanings, Options},
};
use crate::schema::DESCRIPTORS;

/// The catalogue of the compiled schema.
pub(super) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let event = DESCRIPTORS.get_message_by_name("rodent.events.Event").expect("the schema has events");
    Catalogue::new(event)
});

/// Every payload of the schema.
pub(super) struct Catalogue {
    /// `rodent.events.Event`.
    pub(super) event: MessageDescriptor,
    /// `level`, `source`, … of the event.
    pub(super) fields: EventFields,
    /// Fields of the event that hold a category's wrapper, by number.
    pub(super) wrappers: Vec<FieldDescriptor>,
    /// Names of the categories, in the order of [`Catalogue::wrappers`].
    pub(super) categories: Vec<String>,
    /// In the order of the schema.
    pub(super) subjects: Vec<Subject>,
    by_numbers: HashMap<(u32, u32), usize>,
}

/// The fields of an event that every event has.
pub(super) struct EventFields {
    pub(super) id: FieldDescriptor,
    pub(super) level: FieldDescriptor,
    pub(super) category: FieldDescriptor,
    pub(super) source: FieldDescriptor,
    pub(super) timestamp: FieldDescriptor,
    pub(super) metadata: FieldDescriptor,
}

/// One payload: the first two parts of a kind.
#[derive(Debug)]
pub(super) struct Subject {
    /// `storage`.
    pub(super) category: String,
    /// Its number in `EventCategory`.
    pub(super) category_number: i32,
    /// `storage.pool`.
    pub(super) name: String,
    /// The field of the event that holds the category's wrapper.
    pub(super) wrapper: FieldDescriptor,
    /// The field of the wrapper that holds the payload.
    pub(super) member: FieldDescriptor,
    /// `StoragePoolPayload`.
    pub(super) message: MessageDescriptor,
    /// The field `operation`, where the payload has one.
    pub(super) operation: Option<FieldDescriptor>,
    /// The kind of each known operation; 0 is the kind in two parts.
    pub(super) kinds: BTreeMap<i32, Kind>,
    /// What they mean.
    pub(super) meanings: Meanings,
}

impl Catalogue {
    fn new(event: MessageDescriptor) -> Catalogue {
        let fields = EventFields::new(&event);
        let options = Options::new();
        let categories = fields.category.kind().as_enum().cloned().expect("a category is an enum");
        let wrappers = members(&event, "event_payload");
        let subjects: Vec<Subject> = wrappers
            .iter()
            .flat_map(|wrapper| {
                let message = message_of(wrapper);
                let of_member = |member| Subject::new(&categories, &options, wrapper, member);
                members(&message, "event_type").into_iter().map(of_member).collect::<Vec<_>>()
            })
            .collect();
        Catalogue {
            categories: wrappers.iter().map(part).collect(),
            by_numbers: subjects
                .iter()
                .enumerate()
                .map(|(i, s)| ((s.wrapper.number(), s.member.number()), i))
                .collect(),
            event,
            fields,
            wrappers,
            subjects,
        }
    }

    /// The subject whose payload is set in this event.
    pub(super) fn subject_of(&self, event: &DynamicMessage) -> Option<&Subject> {
        let (wrapper, value) = event.fields().find(|(f, _)| is_member_of(f, "event_payload"))?;
        let (member, _) = value.as_message()?.fields().find(|(f, _)| is_member_of(f, "event_type"))?;
        self.by_numbers.get(&(wrapper.number(), member.number())).map(|i| &self.subjects[*i])
    }

    /// Subject and operation that a kind names; `op_107` names the number 107.
    pub(super) fn resolve(&self, kind: &str) -> Option<(&Subject, i32)> {
        if let Some(subject) = self.subject(kind) {
            return Some((subject, 0));
        }
        let (subject, operation) = kind.rsplit_once('.')?;
        let subject = self.subject(subject)?;
        subject.operation.as_ref()?;
        let number = operation.strip_prefix("op_").and_then(|number| number.parse().ok());
        let number = number
            .or_else(|| subject.kinds.iter().find(|(_, known)| known.as_str() == kind).map(|(number, _)| *number));
        number.filter(|number| *number != 0).map(|number| (subject, number))
    }

    /// By its name in two parts.
    pub(super) fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name)
    }
}

impl EventFields {
    fn new(event: &MessageDescriptor) -> EventFields {
        let field = |name: &str| event.get_field_by_name(name).expect("a frozen field of an event");
        EventFields {
            id: field("event_id"),
            level: field("level"),
            category: field("category"),
            source: field("source"),
            timestamp: field("timestamp"),
            metadata: field("metadata"),
        }
    }
}

impl Subject {
    fn new(
        categories: &EnumDescriptor,
        options: &Options,
        wrapper: &FieldDescriptor,
        member: FieldDescriptor,
    ) -> Subject {
        let category = part(wrapper);
        let name = format!("{category}.{}", part(&member));
        let message = message_of(&member);
        let operation = message.get_field_by_name("operation").filter(|f| !f.is_list() && f.kind().as_enum().is_some());
        let mut kinds = BTreeMap::from([(0, Kind::new(&name))]);
        let operations = operation.as_ref().and_then(|f| f.kind().as_enum().cloned());
        let meanings = options.meanings(&message, operations.as_ref());
        if let Some(enumeration) = operations {
            for value in enumeration.values().filter(|value| value.number() != 0) {
                let short = enumeration::short_name(&enumeration, value.number()).expect("it is one of its values");
                kinds.entry(value.number()).or_insert_with(|| Kind::new(&format!("{name}.{short}")));
            }
        }
        Subject {
            category_number: enumeration::number(categories, &category).unwrap_or(0),
            category,
            name,
            wrapper: wrapper.clone(),
            member,
            message,
            operation,
            kinds,
            meanings,
        }
    }

    /// The payload inside an event of this subject.
    pub(super) fn payload<'a>(&self, event: &'a DynamicMessage) -> Option<&'a DynamicMessage> {
        value(value(event, &self.wrapper)?.as_message()?, &self.member)?.as_message()
    }

    /// The number in the payload's field `operation`; 0 where there is none.
    pub(super) fn operation_of(&self, payload: &DynamicMessage) -> i32 {
        self.operation.as_ref().and_then(|field| value(payload, field)?.as_enum_number()).unwrap_or(0)
    }

    /// The kind with this operation.
    pub(super) fn kind(&self, operation: i32) -> Kind {
        let known = self.kinds.get(&operation).cloned();
        known.unwrap_or_else(|| Kind::new(&format!("{}.op_{operation}", self.name)))
    }
}

/// The value of a field, where it is set.
pub(super) fn value<'a>(message: &'a DynamicMessage, field: &FieldDescriptor) -> Option<&'a Value> {
    match message.get_field(field) {
        std::borrow::Cow::Borrowed(value) => Some(value),
        std::borrow::Cow::Owned(_) => None,
    }
}

/// The name of a member of one of the two oneofs, as a part of a kind.
fn part(field: &FieldDescriptor) -> String {
    field.name().strip_suffix("_event").unwrap_or(field.name()).to_owned()
}

fn members(message: &MessageDescriptor, oneof: &str) -> Vec<FieldDescriptor> {
    let oneof: OneofDescriptor =
        message.oneofs().find(|o| o.name() == oneof).expect("events and their wrappers hold a oneof");
    let mut fields: Vec<_> = oneof.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    fields
}

fn is_member_of(field: &FieldDescriptor, oneof: &str) -> bool {
    field.containing_oneof().is_some_and(|o| o.name() == oneof)
}

fn message_of(field: &FieldDescriptor) -> MessageDescriptor {
    field.kind().as_message().cloned().expect("the members of these oneofs are messages")
}
