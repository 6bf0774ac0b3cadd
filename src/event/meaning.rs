//! What an event means, as the schema says it (`proto/meaning.proto`): which fields play which part, the level of an
//! operation, its sentence, the states that it tells of, and what a person does about it.
//!
//! Given the descriptors once, when the catalogue is made; asked for every event. Always holds: a text that the schema
//! has is one that can be rendered, and a payload that says nothing about itself still has a meaning.

use std::collections::BTreeMap;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
};

use super::{
    Level,
    role::{Role, roles},
    sentence::Template,
};
use crate::order::Sorted as _;
use crate::schema::meaning as wire;

/// What it means that an operation happened.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// Of an event whose emitter gives none.
    pub level: Level,
    /// The sentence, as the schema has it.
    pub text: String,
    /// The state of the subject that it tells of; empty when it tells of none.
    pub tells: String,
    /// The states of the subject that are over with it.
    pub ends: Vec<String>,
    /// What a person does about it; empty where there is nothing to do.
    pub advice: String,
    pub(super) template: Template,
    pub(super) advice_template: Template,
}

/// What a payload's operations mean, and its fields.
#[derive(Debug)]
pub(super) struct Meanings {
    by_operation: BTreeMap<i32, Meaning>,
    /// Of an operation that is unspecified or not known.
    otherwise: Meaning,
    /// Fields that name the thing, in order.
    pub(super) subject: Vec<FieldDescriptor>,
    /// Fields that name it where none of those is set.
    pub(super) stand_ins: Vec<FieldDescriptor>,
}

/// The options of a schema, looked up once.
#[derive(Debug)]
pub(super) struct Options {
    means: ExtensionDescriptor,
    payload_means: ExtensionDescriptor,
}

impl Options {
    /// `None` when the schema does not have them.
    pub(super) fn of(pool: &DescriptorPool) -> Option<Options> {
        let find = |name: &str| pool.get_extension_by_name(name);
        Some(Options { means: find("rodent.meaning.means")?, payload_means: find("rodent.meaning.payload_means")? })
    }

    /// What the schema says of a payload whose operations are these.
    pub(super) fn meanings(&self, payload: &MessageDescriptor, operations: Option<&EnumDescriptor>) -> Meanings {
        let mut by_operation = BTreeMap::new();
        for value in operations.into_iter().flat_map(EnumDescriptor::values) {
            if let Some(meaning) = meaning(&value.options(), &self.means) {
                by_operation.insert(value.number(), meaning);
            }
        }
        let mut fields: Vec<_> = payload.fields().collect();
        fields.order_by_key(FieldDescriptor::number);
        let roles: Vec<_> = fields.iter().map(|field| (field, roles(field))).collect();
        let playing = |role: Role| -> Vec<FieldDescriptor> {
            roles.iter().filter(|(_, roles)| roles.contains(&role)).map(|(field, _)| (*field).clone()).collect()
        };
        Meanings {
            by_operation,
            otherwise: meaning(&payload.options(), &self.payload_means).unwrap_or_else(Meaning::unsaid),
            subject: playing(Role::Subject),
            stand_ins: playing(Role::StandIn),
        }
    }
}

impl Meanings {
    pub(super) fn of(&self, operation: i32) -> &Meaning {
        self.by_operation.get(&operation).unwrap_or(&self.otherwise)
    }

    /// Of an operation that is unspecified or not known.
    pub(super) fn otherwise(&self) -> &Meaning {
        &self.otherwise
    }

    /// Of every operation, and of those that are not known.
    pub(super) fn all(&self) -> impl Iterator<Item = &Meaning> {
        self.by_operation.values().chain([&self.otherwise])
    }
}

impl Meaning {
    /// Of a payload that says nothing about itself.
    fn unsaid() -> Meaning {
        Meaning::from(wire::Meaning::default())
    }
}

impl From<wire::Meaning> for Meaning {
    fn from(meaning: wire::Meaning) -> Meaning {
        let wire::Meaning { level, text, tells, ends, advice, .. } = meaning;
        let level = Level::from_wire(level).unwrap_or(Level::Info);
        let (template, advice_template) = (Template::parse(&text), Template::parse(&advice));
        Meaning { level, template, text, tells, ends, advice, advice_template }
    }
}

fn meaning(options: &DynamicMessage, extension: &ExtensionDescriptor) -> Option<Meaning> {
    let set = options.has_extension(extension);
    let said = options.get_extension(extension);
    let said = said.as_message().filter(|_| set)?.transcode_to::<wire::Meaning>().ok()?;
    Some(said.into())
}

#[cfg(test)]
mod tests {
    use prost_reflect::Value;

    use super::*;
    use crate::event::{
        Manner,
        catalogue::{Catalogue, Subject},
        summary,
    };

    /// A sentence has this much room beside time and level on a terminal of 80 columns.
    const ROOM: usize = 52;

    /// Every meaning of a payload with the name of its kind, that of an unspecified operation too.
    fn meanings(subject: &Subject) -> Vec<(String, &Meaning)> {
        subject.kinds.iter().map(|(number, kind)| (kind.to_string(), subject.meanings.of(*number))).collect()
    }

    /// As the schema has it, with what only the schema needs.
    fn said(subject: &Subject) -> Vec<(String, wire::Meaning)> {
        let options = Options::of(subject.message.parent_pool()).expect("the schema has them");
        let operations = subject.operation.as_ref().and_then(|field| field.kind().as_enum().cloned());
        let values: Vec<_> = operations.iter().flat_map(EnumDescriptor::values).filter(|v| v.number() != 0).collect();
        let decode = |options: DynamicMessage, extension| {
            options.get_extension(extension).as_message().expect("a message").transcode_to().expect("a meaning")
        };
        let of_payload = decode(subject.message.options(), &options.payload_means);
        let of_values = values.iter().map(|v| (v.name().to_owned(), decode(v.options(), &options.means)));
        of_values.chain([(subject.name.clone(), of_payload)]).collect()
    }

    #[test]
    fn every_operation_of_every_payload_has_a_level_a_sentence_and_either_a_state_or_nothing_that_lasts() {
        for subject in &Catalogue::compiled().subjects {
            for (name, meaning) in said(subject) {
                assert!(meaning.level != 0 && !meaning.text.is_empty(), "{name} has no level or no text");
                let lasts = !meaning.tells.is_empty() || !meaning.ends.is_empty();
                assert!(lasts != meaning.nothing_lasts, "{name}: a state, or nothing that lasts");
            }
            let names = subject.meanings.subject.len() + subject.meanings.stand_ins.len();
            assert!(names > 0, "nothing names what {} is about", subject.name);
        }
    }

    #[test]
    fn every_place_of_a_sentence_is_a_field_of_its_payload_and_no_name_of_a_field_is_read() {
        for subject in &Catalogue::compiled().subjects {
            for (kind, meaning) in meanings(subject) {
                for name in meaning.template.fields().chain(meaning.advice_template.fields()) {
                    assert!(subject.message.get_field_by_name(name).is_some(), "{kind}: no field {name}");
                }
                let read = meaning.template.render(&DynamicMessage::new(subject.message.clone()), Manner::default());
                assert!(!read.contains(['_', '{', '}', '[', ']']), "{kind}: {read}");
                assert!(!read.ends_with('.') && !read.contains("  "), "{kind}: {read}");
            }
        }
    }

    #[test]
    fn every_state_that_is_told_as_bad_is_ended_by_some_operation() {
        for subject in &Catalogue::compiled().subjects {
            let all = meanings(subject);
            for (kind, meaning) in all.iter().filter(|(_, its)| !its.tells.is_empty() && its.level >= Level::Warn) {
                let ends = |its: &Meaning| {
                    its.ends.contains(&meaning.tells) || (its.tells == meaning.tells && its.level < Level::Warn)
                };
                assert!(all.iter().any(|(_, its)| ends(its)), "{kind}: nothing ends {}", meaning.tells);
            }
        }
    }

    #[test]
    fn a_sentence_says_what_it_is_about_before_a_terminal_of_80_columns_ends() {
        let name = "a-name-of-20-letters";
        for subject in &Catalogue::compiled().subjects {
            let Some(field) = subject.meanings.subject.iter().find(|field| field.kind() == prost_reflect::Kind::String)
            else {
                continue;
            };
            let mut payload = DynamicMessage::new(subject.message.clone());
            let value = Value::String(name.to_owned());
            payload.set_field(field, if field.is_list() { Value::List(vec![value]) } else { value });
            let about = summary::name(&subject.meanings, &payload).expect("it is named");
            for (kind, meaning) in meanings(subject) {
                let told = meaning.template.render(&payload, Manner::default());
                // The node itself needs no name.
                let is_node = subject.name.starts_with("system.");
                let end = told.find(&about).map(|at| at + about.len());
                assert!(end.map_or(is_node, |end| end <= ROOM), "{kind}: {told}");
            }
        }
    }
}
