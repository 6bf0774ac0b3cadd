//! What the descriptors say about events, worked out once: every payload, where it hangs in `rodent.events.Event`, what it
//! and its operations are called, and what they mean. Everything else in this room asks here.
//!
//! A value: one is made of the schema that is compiled in, and another could be made of a set of descriptors that is read.
//! Always holds: whatever the schema gains appears here without a change to this file.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, LazyLock},
};

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor, OneofDescriptor, Value,
};

use super::{
    DecodeError, EventView, Filter, FilterError, Kind, KindMark, Meaning, enumeration,
    meaning::{Meanings, Options},
    scan::Tables,
};
use crate::{
    order::{Gather as _, Sorted as _},
    schema::DESCRIPTORS,
    words,
};

/// Every kind of event of a schema, and what it means. Cheap to copy.
#[derive(Clone, Debug)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

/// What a catalogue holds.
#[derive(Debug)]
pub struct Inner {
    /// `rodent.events.Event`.
    pub(super) event: MessageDescriptor,
    /// `level`, `source`, … of the event.
    pub(super) fields: EventFields,
    /// Fields of the event that hold a category's wrapper, by number.
    pub(super) wrappers: Vec<FieldDescriptor>,
    /// Names of the categories, in the order of their wrappers.
    pub(super) categories: Vec<String>,
    /// In the order of the schema.
    pub(super) subjects: Vec<Arc<Subject>>,
    kinds: Vec<Kind>,
    by_numbers: BTreeMap<(u32, u32), usize>,
    pub(super) tables: Tables,
}

impl Deref for Catalogue {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// The fields of an event that every event has.
#[derive(Debug)]
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
    /// Its number, which every event is asked for.
    pub(super) operation_number: Option<u32>,
    /// The kind of each known operation; 0 is the kind in two parts.
    pub(super) kinds: BTreeMap<i32, Kind>,
    /// What they mean.
    pub(super) meanings: Meanings,
}

impl Catalogue {
    /// Of the schema that is compiled in.
    pub fn compiled() -> &'static Catalogue {
        static COMPILED: LazyLock<Catalogue> =
            LazyLock::new(|| Catalogue::of(&DESCRIPTORS).expect("the compiled schema has events"));
        &COMPILED
    }

    /// Of a schema; `None` when it has no `rodent.events.Event` with the fields that every event has, or says nothing in the
    /// words of `rodent.meaning`.
    pub fn of(pool: &DescriptorPool) -> Option<Catalogue> {
        let event = pool.get_message_by_name("rodent.events.Event")?;
        let (fields, options) = (EventFields::of(&event)?, Options::of(pool)?);
        let categories = fields.category.kind().as_enum().cloned()?;
        let wrappers = members(&event, "event_payload")?;
        let mut subjects = Vec::new();
        for wrapper in &wrappers {
            for member in members(&message_of(wrapper)?, "event_type")? {
                subjects.push(Arc::new(Subject::of(&categories, &options, wrapper, member)?));
            }
        }
        let mut kinds: Vec<Kind> = subjects.iter().flat_map(|subject| subject.kinds.values().cloned()).collect();
        kinds.order_by(Ord::cmp);
        kinds.dedup();
        let numbers = |subject: &Arc<Subject>| (subject.wrapper.number(), subject.member.number());
        let by_numbers = subjects.iter().enumerate().map(|(place, subject)| (numbers(subject), place)).gather();
        let categories = wrappers.iter().map(part).collect();
        let EventFields { id, level, category, timestamp, metadata, .. } = &fields;
        let tables = Tables::of(&event, [id, level, category, timestamp, metadata]);
        let inner = Inner { event, fields, wrappers, categories, subjects, kinds, by_numbers, tables };
        Some(Catalogue { inner: Arc::new(inner) })
    }

    /// Decodes `rodent.events.Event`.
    ///
    /// # Errors
    /// When the bytes are not protobuf of that message.
    pub fn view(&self, bytes: &[u8]) -> Result<EventView, DecodeError> {
        EventView::decode_by(self, bytes)
    }

    /// As [`Filter::parse`], over the kinds and fields of this catalogue.
    ///
    /// # Errors
    /// When a condition is not understood, or nothing can meet it.
    pub fn filter<S: AsRef<str>>(&self, conditions: &[S]) -> Result<Filter, FilterError> {
        Filter::parse_by(self, conditions)
    }

    /// Every kind that the schema can name, sorted; those in two parts too.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Whether some kind tells of a state of this name, or ends it.
    pub fn is_state(&self, name: &str) -> bool {
        let mut meanings = self.subjects.iter().flat_map(|subject| subject.meanings.all());
        !name.is_empty()
            && meanings.any(|meaning| meaning.tells == name || meaning.ends.iter().any(|ended| ended == name))
    }

    /// Marks of which an event has one whose kind and meaning matter; of operations that this schema has no name for, too.
    pub fn marks(&self, matters: impl Fn(&Kind, &Meaning) -> bool) -> Vec<KindMark> {
        let mut marks = Vec::new();
        for subject in &self.subjects {
            if matters(&subject.kind(0), subject.meanings.otherwise()) {
                marks.push(subject.mark_of_all());
                continue;
            }
            let all = subject.kinds.iter();
            let mattering = all.filter(|(operation, kind)| matters(kind, subject.meanings.of(**operation)));
            marks.extend(mattering.map(|(operation, _)| subject.mark(*operation)));
        }
        marks
    }

    /// Stands for which kinds tell of which states of which things, at which level. Texts do not count.
    pub fn meanings_digest(&self) -> u64 {
        let mut said = String::new();
        for subject in &self.subjects {
            let Subject { name, kinds, meanings, .. } = &**subject;
            let naming = |fields: &[FieldDescriptor]| fields.iter().map(FieldDescriptor::number).collect::<Vec<_>>();
            said.push_str(&format!("{name} {:?} {:?}\n", naming(&meanings.subject), naming(&meanings.stand_ins)));
            for (number, kind) in kinds {
                let Meaning { level, tells, ends, .. } = meanings.of(*number);
                said.push_str(&format!("{number} {kind} {level} {tells:?} {ends:?}\n"));
            }
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, said.as_bytes());
        digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Names of all categories: `system`, `storage`, … in the order of their numbers.
    pub fn categories(&self) -> &[String] {
        &self.inner.categories
    }

    /// The kind that is spelt most like this one, if any is near; `pool.created` is near too.
    pub fn nearest(&self, name: &str) -> Option<&Kind> {
        let name = name.to_lowercase();
        let ending = format!(".{name}");
        let by_ending = self.kinds.iter().find(|kind| !name.is_empty() && kind.as_str().ends_with(&ending));
        by_ending.or_else(|| {
            let nearest = words::nearest(&name, self.kinds.iter().map(Kind::as_str))?;
            self.kinds.iter().find(|kind| kind.as_str() == nearest)
        })
    }

    /// The subject whose payload is set in this event.
    pub(super) fn subject_of(&self, event: &DynamicMessage) -> Option<&Arc<Subject>> {
        let (wrapper, value) = event.fields().find(|(f, _)| is_member_of(f, "event_payload"))?;
        let (member, _) = value.as_message()?.fields().find(|(f, _)| is_member_of(f, "event_type"))?;
        self.subject_by(wrapper.number(), member.number())
    }

    /// The subject whose payload these fields hold: of the event, and of the wrapper in it.
    pub(super) fn subject_by(&self, wrapper: u32, member: u32) -> Option<&Arc<Subject>> {
        self.subjects.get(*self.by_numbers.get(&(wrapper, member))?)
    }

    /// Subject and operation that a kind names; `op_107` names the number 107.
    pub(super) fn resolve(&self, kind: &str) -> Option<(&Arc<Subject>, i32)> {
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
    fn subject(&self, name: &str) -> Option<&Arc<Subject>> {
        self.subjects.iter().find(|subject| subject.name == name)
    }
}

impl EventFields {
    fn of(event: &MessageDescriptor) -> Option<EventFields> {
        let field = |name: &str| event.get_field_by_name(name);
        Some(EventFields {
            id: field("event_id")?,
            level: field("level")?,
            category: field("category")?,
            source: field("source")?,
            timestamp: field("timestamp")?,
            metadata: field("metadata")?,
        })
    }
}

impl Subject {
    fn of(
        categories: &EnumDescriptor,
        options: &Options,
        wrapper: &FieldDescriptor,
        member: FieldDescriptor,
    ) -> Option<Subject> {
        let category = part(wrapper);
        let name = format!("{category}.{}", part(&member));
        let message = message_of(&member)?;
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
        Some(Subject {
            category_number: enumeration::number(categories, &category).unwrap_or(0),
            category,
            name,
            wrapper: wrapper.clone(),
            member,
            message,
            operation_number: operation.as_ref().map(FieldDescriptor::number),
            operation,
            kinds,
            meanings,
        })
    }

    /// The payload inside an event of this subject.
    pub(super) fn payload<'a>(&self, event: &'a DynamicMessage) -> Option<&'a DynamicMessage> {
        value(value(event, &self.wrapper)?.as_message()?, &self.member)?.as_message()
    }

    /// The number in the payload's field `operation`; 0 where there is none.
    pub(super) fn operation_of(&self, payload: &DynamicMessage) -> i32 {
        self.operation.as_ref().and_then(|field| value(payload, field)?.as_enum_number()).unwrap_or(0)
    }

    /// By which a kind with this operation is found among many.
    pub(super) fn mark(&self, operation: i32) -> KindMark {
        KindMark::of(self.wrapper.number(), self.member.number(), operation)
    }

    /// By which a kind of this subject is found among many, whatever the operation.
    pub(super) fn mark_of_all(&self) -> KindMark {
        KindMark::of_subject(self.wrapper.number(), self.member.number())
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

fn members(message: &MessageDescriptor, oneof: &str) -> Option<Vec<FieldDescriptor>> {
    let oneof: OneofDescriptor = message.oneofs().find(|o| o.name() == oneof)?;
    let mut fields: Vec<_> = oneof.fields().collect();
    fields.order_by_key(FieldDescriptor::number);
    Some(fields)
}

fn is_member_of(field: &FieldDescriptor, oneof: &str) -> bool {
    field.containing_oneof().is_some_and(|o| o.name() == oneof)
}

fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    field.kind().as_message().cloned()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        event::{Summary, json},
        schema::{Payload as _, events},
    };

    /// The compiled schema, in which pools are called silos.
    fn silos() -> Catalogue {
        let mut bytes = DESCRIPTORS.encode_to_vec();
        for (old, new) in [("pool_event", "silo_event"), ("Pool {pool_name}", "Silo {pool_name}")] {
            let places: Vec<_> = bytes
                .windows(old.len())
                .enumerate()
                .filter(|(_, part)| *part == old.as_bytes())
                .map(|(at, _)| at)
                .collect();
            assert!(!places.is_empty(), "{old} is in the schema");
            places.into_iter().for_each(|at| bytes[at..at + new.len()].copy_from_slice(new.as_bytes()));
        }
        Catalogue::of(&DescriptorPool::decode(bytes.as_slice()).expect("a set of descriptors")).expect("it has events")
    }

    #[test]
    fn kinds_filters_json_and_sentences_are_those_of_the_catalogue_that_an_event_is_seen_by() {
        let payload = events::StoragePoolPayload { pool_name: "north".into(), operation: 1, ..Default::default() };
        let event = events::Event { event_payload: Some(payload.into_event_payload()), ..Default::default() };
        let (compiled, silos) = (Catalogue::compiled(), silos());
        for (catalogue, kind, other, text) in [
            (compiled, "storage.pool.created", "storage.silo", "Pool north was created"),
            (&silos, "storage.silo.created", "storage.pool", "Silo north was created"),
        ] {
            let view = catalogue.view(&event.encode_to_vec()).expect("an event");
            assert_eq!((view.kind().as_str(), Summary::of(&view).text.as_str()), (kind, text));
            assert_eq!(json::to_value(&view, None, None)["kind"], kind);
            let filter = catalogue.filter(&[kind, "pool_name=north"]).expect("a filter");
            assert!(filter.matches(&view));
            assert!(catalogue.filter(&[other]).is_err(), "{other} is no kind of this catalogue");
            assert!(catalogue.describe(kind).is_some() && catalogue.describe(other).is_none());
            assert_eq!(catalogue.nearest(&format!("{other}.created")).map(Kind::as_str), Some(kind));
        }
    }

    #[test]
    fn a_schema_without_events_or_without_meanings_makes_no_catalogue() {
        assert!(Catalogue::of(&DescriptorPool::new()).is_none());
        assert!(Catalogue::of(&DescriptorPool::global()).is_none());
    }
}
