//! An event decoded for looking at, through the descriptors and not through the generated types: fields that this
//! version does not know are kept.

use std::sync::Arc;

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor};

use super::{
    Kind, Level, Manner, Meaning,
    catalogue::{Catalogue, Subject, value},
    kind, summary,
};
use crate::{schema::events::Event, visible::visible};

/// An event as its readers see it.
#[derive(Clone)]
pub struct EventView {
    catalogue: Catalogue,
    message: DynamicMessage,
    subject: Option<Arc<Subject>>,
}

/// These bytes are no event.
#[derive(Debug, thiserror::Error)]
#[error("not an encoded event")]
pub struct DecodeError(#[from] prost::DecodeError);

impl EventView {
    /// Decodes `rodent.events.Event` by the compiled schema.
    ///
    /// # Errors
    /// When the bytes are not protobuf of that message.
    pub fn decode(bytes: &[u8]) -> Result<EventView, DecodeError> {
        EventView::decode_by(Catalogue::compiled(), bytes)
    }

    pub(super) fn decode_by(catalogue: &Catalogue, bytes: &[u8]) -> Result<EventView, DecodeError> {
        Ok(EventView::new(catalogue, DynamicMessage::decode(catalogue.event.clone(), bytes)?))
    }

    pub(super) fn new(catalogue: &Catalogue, message: DynamicMessage) -> EventView {
        let subject = catalogue.subject_of(&message).cloned();
        EventView { catalogue: catalogue.clone(), message, subject }
    }

    /// By which it was decoded.
    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Identifier; empty when the event has none.
    pub fn id(&self) -> &str {
        self.text(&self.catalogue.fields.id)
    }

    /// Unix milliseconds.
    pub fn timestamp(&self) -> i64 {
        value(&self.message, &self.catalogue.fields.timestamp).and_then(|v| v.as_i64()).unwrap_or(0)
    }

    /// Level; an unspecified or unknown number counts as info.
    pub fn level(&self) -> Level {
        Level::from_wire(self.level_number()).unwrap_or(Level::Info)
    }

    /// Level; that of the kind where its emitter gave none.
    pub fn level_or_default(&self) -> Level {
        match self.level_number() {
            0 => self.meaning().map_or(Level::Info, |meaning| meaning.level),
            _ => self.level(),
        }
    }

    /// The level's number on the wire.
    pub(super) fn level_number(&self) -> i32 {
        value(&self.message, &self.catalogue.fields.level).and_then(|v| v.as_enum_number()).unwrap_or(0)
    }

    /// The name of what happened. Cheap: known kinds are made once.
    pub fn kind(&self) -> Kind {
        match self.subject.as_ref().zip(self.payload()) {
            Some((subject, payload)) => subject.kind(subject.operation_of(payload)),
            None => kind::of_unnamed(self),
        }
    }

    /// What it means that this happened; `None` for a payload that this version does not know.
    pub fn meaning(&self) -> Option<&Meaning> {
        let (subject, payload) = self.subject.as_ref().zip(self.payload())?;
        Some(subject.meanings.of(subject.operation_of(payload)))
    }

    /// The category's number, as the event says; 0 when it does not.
    pub(super) fn category_number(&self) -> i32 {
        value(&self.message, &self.catalogue.fields.category).and_then(|v| v.as_enum_number()).unwrap_or(0)
    }

    /// The keys of its metadata, in no order.
    pub(super) fn metadata_keys(&self) -> impl Iterator<Item = &str> {
        let map = value(&self.message, &self.catalogue.fields.metadata).and_then(|value| value.as_map());
        map.into_iter().flat_map(|map| map.keys()).filter_map(|key| key.as_str())
    }

    /// Collector, or `local`.
    pub fn source(&self) -> &str {
        self.text(&self.catalogue.fields.source)
    }

    /// What a person does about it; empty where there is nothing to do.
    pub fn advice(&self) -> String {
        let said = self.meaning().zip(self.payload());
        said.map(|(meaning, payload)| meaning.advice_template.render(payload, Manner::default())).unwrap_or_default()
    }

    /// What happened, in a sentence without a full stop; times in it are in UTC.
    pub fn sentence(&self) -> String {
        self.sentence_put(Manner::default())
    }

    pub(super) fn sentence_put(&self, manner: Manner) -> String {
        match self.meaning().zip(self.payload()) {
            Some((meaning, payload)) => summary::sentence(meaning, payload, manner),
            None => "(no payload that this version knows)".to_owned(),
        }
    }

    /// What it is about: a pool, a unit, a user; the source where the payload does not say.
    pub fn subject_name(&self) -> String {
        let named = self.subject.as_ref().zip(self.payload());
        named
            .and_then(|(subject, payload)| summary::name(&subject.meanings, payload))
            .unwrap_or_else(|| visible(self.source()).into_owned())
    }

    /// The fields of the payload that [`EventView::subject_name`] is made of.
    pub fn naming_fields(&self) -> Vec<FieldDescriptor> {
        let named = self.subject.as_ref().zip(self.payload());
        named.map(|(subject, payload)| summary::naming(&subject.meanings, payload)).unwrap_or_default()
    }

    /// One metadata value.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let map = value(&self.message, &self.catalogue.fields.metadata)?.as_map()?;
        map.get(&prost_reflect::MapKey::String(key.to_owned()))?.as_str()
    }

    /// The payload's message (`StoragePoolPayload`, …), if one is set.
    pub fn payload(&self) -> Option<&DynamicMessage> {
        self.subject.as_ref()?.payload(&self.message)
    }

    /// The whole event.
    pub fn message(&self) -> &DynamicMessage {
        &self.message
    }

    /// The whole event, to be changed or encoded. What it encodes to holds every field that was decoded; the order of
    /// map entries is not fixed.
    pub fn into_message(self) -> DynamicMessage {
        self.message
    }

    pub(super) fn subject(&self) -> Option<&Arc<Subject>> {
        self.subject.as_ref()
    }

    fn text(&self, field: &FieldDescriptor) -> &str {
        value(&self.message, field).and_then(|v| v.as_str()).unwrap_or_default()
    }
}

/// Shows what the JSON form shows, so that redacted fields stay out of logs.
impl std::fmt::Debug for EventView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventView({})", super::json::to_value(self, None, None))
    }
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> EventView {
        EventView::decode(&event.encode_to_vec()).expect("an event decodes from its own encoding")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_this_version_does_not_know_are_kept() {
        let mut bytes = Event { event_id: "a".into(), timestamp: 5, ..Event::default() }.encode_to_vec();
        bytes.extend([0xf8, 0x07, 0x2a]); // field 127, varint 42
        let view = EventView::decode(&bytes).expect("an event");
        assert_eq!((view.id(), view.timestamp(), view.level(), view.source()), ("a", 5, Level::Info, ""));
        assert_eq!(view.into_message().encode_to_vec(), bytes);
    }

    #[test]
    fn metadata_is_found_by_key() {
        let metadata = [("component".to_owned(), "zfs".to_owned())].into();
        let view = EventView::from(&Event { metadata, ..Event::default() });
        assert_eq!(view.metadata("component"), Some("zfs"));
        assert_eq!(view.metadata("action"), None);
    }

    #[test]
    fn bytes_that_are_no_event_are_refused() {
        assert!(EventView::decode(&[0x0a, 0x05, b'x']).is_err());
        assert!(EventView::decode(&[0x0a, 0x01, 0xff]).is_err(), "an identifier is UTF-8");
    }
}
