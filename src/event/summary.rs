//! An event for people: what it is about, what happened in one sentence, and its fields in words.
//!
//! The subject is what the schema says names the thing; where that is not set, the event's source. The sentence is the
//! schema's; an event that has none is told by its fields.

use prost_reflect::{DynamicMessage, FieldDescriptor};

use super::{
    EventView, Manner, Meaning,
    meaning::Meanings,
    render::{fields, shown},
};

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What it is about: a pool, a unit, a user; or the source.
    pub subject: String,
    /// What happened, in a sentence without a full stop.
    pub text: String,
    /// The fields that are set, in `field=value` words.
    pub fields: String,
}

impl Summary {
    /// Describes an event, with times in UTC.
    pub fn of(event: &EventView) -> Summary {
        Summary::put(event, Manner::default())
    }

    /// The same, with the sentence in a manner.
    pub fn put(event: &EventView, manner: Manner) -> Summary {
        let fields = event.payload().map(fields).unwrap_or_default();
        Summary { subject: event.subject_name(), text: event.sentence_put(manner), fields }
    }
}

/// What happened, where a payload says so; else its fields.
pub(super) fn sentence(meaning: &Meaning, payload: &DynamicMessage, manner: Manner) -> String {
    match meaning.template.is_empty() {
        true => fields(payload),
        false => meaning.template.render(payload, manner),
    }
}

/// What a payload is about, if it says so.
pub(super) fn name(meanings: &Meanings, payload: &DynamicMessage) -> Option<String> {
    let naming = naming(meanings, payload);
    let names: Vec<_> = naming.iter().map(|field| shown(field, &payload.get_field(field), Manner::default())).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// The fields that say what a payload is about.
pub(super) fn naming(meanings: &Meanings, payload: &DynamicMessage) -> Vec<FieldDescriptor> {
    let set = |field: &&FieldDescriptor| payload.has_field(field);
    let names: Vec<_> = meanings.subject.iter().filter(set).cloned().collect();
    if names.is_empty() { meanings.stand_ins.iter().find(set).cloned().into_iter().collect() } else { names }
}

#[cfg(test)]
mod tests;
