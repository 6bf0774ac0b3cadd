//! What events are told apart by when they are counted: their level, their kind, a field of their payload, in one word each.

use super::{Catalogue, EventView, Filter, filter::FieldPath};
use crate::visible::visible;

/// Longer values are cut: they name nothing any more. Characters.
const VALUE_CHARACTERS_MAX: usize = 128;

/// Stands where something was cut.
const CUT: char = '…';

/// Something of an event.
#[derive(Clone, Debug)]
pub struct Label {
    name: String,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Level,
    Category,
    Kind,
    Source,
    Metadata(String),
    Field(FieldPath),
}

impl Label {
    /// As a filter names it: `level`, `category`, `kind`, `source`, `meta.KEY`, or a field of the payload, of the events that a
    /// filter takes.
    ///
    /// # Errors
    /// When none of them has it, it has no value in one word, or it is not to be shown.
    pub fn parse(text: &str, events: &Filter) -> Result<Label, String> {
        let of = match text {
            "level" => Of::Level,
            "category" => Of::Category,
            "kind" => Of::Kind,
            "source" => Of::Source,
            "id" => return Err("`id` is another one with each event".to_owned()),
            _ => match text.strip_prefix("meta.") {
                Some("") => return Err("`meta.` is followed by a key of the metadata".to_owned()),
                Some(key) => Of::Metadata(key.to_owned()),
                None => Of::Field(FieldPath::single(Catalogue::compiled(), text, |kind| events.takes_kind(kind))?),
            },
        };
        let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
        let name = text.strip_prefix("payload.").unwrap_or(text).chars().map(plain).collect();
        Ok(Label { name, of })
    }

    /// Letters, digits and `_`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the event has of it; empty where it has nothing.
    pub fn value(&self, event: &EventView) -> String {
        let value = match &self.of {
            Of::Level => return event.level_or_default().name().to_owned(),
            Of::Category => return event.kind().category().to_owned(),
            Of::Kind => return event.kind().as_str().to_owned(),
            Of::Source => event.source().to_owned(),
            Of::Metadata(key) => event.metadata(key).unwrap_or_default().to_owned(),
            Of::Field(path) => event.payload().map(|payload| path.text(payload)).unwrap_or_default(),
        };
        let shown = visible(&value);
        match shown.char_indices().nth(VALUE_CHARACTERS_MAX) {
            None => shown.into_owned(),
            Some(_) => shown.chars().take(VALUE_CHARACTERS_MAX - 1).chain([CUT]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{
        Payload as _,
        events::{Event, EventLevel, StoragePoolPayload, storage_pool_payload::StoragePoolOperation as Operation},
    };

    fn all() -> Filter {
        Filter::default()
    }

    #[test]
    fn an_event_is_told_apart_by_what_it_has() {
        let payload = StoragePoolPayload {
            pool_name: "tank\u{202e}".to_owned(),
            size_bytes: 7,
            operation: Operation::Created.into(),
            ..StoragePoolPayload::default()
        };
        let event = EventView::from(&Event {
            level: EventLevel::Warn.into(),
            source: "storage".to_owned(),
            metadata: [("ticket.no".to_owned(), "x".repeat(200))].into(),
            event_payload: Some(payload.into_event_payload()),
            ..Event::default()
        });
        let of = |text: &str| {
            let label = Label::parse(text, &all()).unwrap_or_else(|error| panic!("{error}"));
            (label.name().to_owned(), label.value(&event))
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(of("level"), pair("level", "warn"));
        assert_eq!(of("category"), pair("category", "storage"));
        assert_eq!(of("kind"), pair("kind", "storage.pool.created"));
        assert_eq!(of("source"), pair("source", "storage"));
        assert_eq!(of("pool_name"), pair("pool_name", "tank\\u{202e}"));
        assert_eq!(of("payload.size_bytes"), pair("size_bytes", "7"));
        assert_eq!(of("operation"), pair("operation", "created"));
        assert_eq!(of("service_name").1, "", "another payload has it");
        let (name, cut) = of("meta.ticket.no");
        assert_eq!((name.as_str(), cut.chars().count(), cut.ends_with('…')), ("meta_ticket_no", 128, true));
    }

    #[test]
    fn what_no_event_has_or_is_no_word_is_refused_with_what_would_be_right() {
        let pools = Filter::parse(&["storage.pool.*"]).expect("a filter");
        for (text, events, says) in [
            ("pool_nam", &all(), "did you mean \"pool_name\"?"),
            ("service_name", &pools, "no event of these has a field service_name"),
            ("id", &all(), "another one with each event"),
            ("meta.", &all(), "a key of the metadata"),
        ] {
            let error = Label::parse(text, events).expect_err("refused");
            assert!(error.contains(says), "{error}");
        }
    }
}
