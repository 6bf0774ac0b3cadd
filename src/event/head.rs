//! What the agent asks of every event on its way: identifier, time, level, category, what it means and what it is about.

use std::sync::Arc;

use prost_reflect::Value;

use super::{
    DecodeError, EventView, Kind, KindMark, Level, Manner, Meaning, RESERVED_PREFIX,
    catalogue::{Catalogue, Subject},
    render, scan,
};
use crate::visible::is_hidden;

/// The head of an event.
#[derive(Clone, Debug)]
pub struct Head {
    /// Identifier; empty when the event has none.
    pub id: String,
    /// Unix milliseconds; 0 when it has none.
    pub timestamp: i64,
    /// That of the kind where its emitter gave none.
    pub level: Level,
    /// As the event says; 0 when it does not.
    pub category: i32,
    /// A metadata key that only the agent may set.
    pub reserved_key: Option<String>,
    /// A metadata key with characters that nobody sees.
    pub hidden_key: Option<String>,
    /// As the event says; 0 when it does not.
    pub(super) level_number: i32,
    payload: Option<Payload>,
}

/// What an event says happened.
#[derive(Clone, Debug)]
struct Payload {
    subject: Arc<Subject>,
    operation: i32,
    /// What it is about; only where that is asked for.
    name: Option<String>,
}

impl Head {
    /// Of an encoded `rodent.events.Event`, by the compiled schema.
    ///
    /// # Errors
    /// When the bytes are not protobuf of that message.
    pub fn read(bytes: &[u8]) -> Result<Head, DecodeError> {
        let catalogue = Catalogue::compiled();
        match Head::scan(catalogue, bytes) {
            Some(head) => Ok(head),
            None => Ok(Head::of(&EventView::decode_by(catalogue, bytes)?)),
        }
    }

    /// Of an event that this program puts together: its level, its category, and its payload as it is encoded, a field of the
    /// event. The head has no more.
    pub fn of_payload(level: Level, category: i32, encoded: &[u8]) -> Head {
        let catalogue = Catalogue::compiled();
        let payload = || Head::scan(catalogue, encoded)?.payload;
        Head {
            id: String::new(),
            timestamp: 0,
            level,
            level_number: level.to_wire().into(),
            category,
            reserved_key: None,
            hidden_key: None,
            payload: payload().or_else(|| Head::of(&EventView::decode_by(catalogue, encoded).ok()?).payload),
        }
    }

    /// What an encoded event is about, as [`EventView::subject_name`] has it; empty where the bytes are no event.
    pub fn name_of(bytes: &[u8]) -> String {
        let catalogue = Catalogue::compiled();
        let scanned = || {
            let (wrapper, member, payload) = catalogue.tables.scan(bytes, RESERVED_PREFIX)?.payload?;
            name(catalogue.subject_by(wrapper, member)?, payload)
        };
        let view = || EventView::decode_by(catalogue, bytes).ok().map(|view| view.subject_name());
        scanned().or_else(view).unwrap_or_default()
    }

    /// Number of the payload's category; `None` for a payload that this version does not know.
    pub fn payload_category(&self) -> Option<i32> {
        self.payload.as_ref().map(|payload| payload.subject.category_number)
    }

    /// The name of what happened; `None` for a payload that this version does not know.
    pub fn kind(&self) -> Option<Kind> {
        self.payload.as_ref().map(|payload| payload.subject.kind(payload.operation))
    }

    /// What is said of things like this; `None` for a payload that this version does not know.
    pub(super) fn subject(&self) -> Option<&Subject> {
        self.payload.as_ref().map(|payload| &*payload.subject)
    }

    /// By which it is found among the kinds of a frame.
    pub fn kind_mark(&self) -> KindMark {
        self.payload.as_ref().map_or(KindMark::UNNAMED, |payload| payload.subject.mark(payload.operation))
    }

    /// What it means that this happened; `None` for a payload that this version does not know.
    pub fn meaning(&self) -> Option<&Meaning> {
        let Payload { subject, operation, .. } = self.payload.as_ref()?;
        Some(subject.meanings.of(*operation))
    }

    /// What it is about, where it tells of a state or ends one; empty otherwise.
    pub fn subject_name(&self) -> &str {
        self.payload.as_ref().and_then(|payload| payload.name.as_deref()).unwrap_or_default()
    }

    /// By reflection.
    fn of(view: &EventView) -> Head {
        let payload = view.subject().zip(view.payload()).map(|(subject, payload)| {
            let operation = subject.operation_of(payload);
            let name = tells(subject, operation).then(|| view.subject_name());
            Payload { subject: Arc::clone(subject), operation, name }
        });
        Head {
            id: view.id().to_owned(),
            timestamp: view.timestamp(),
            level: view.level_or_default(),
            level_number: view.level_number(),
            category: view.category_number(),
            hidden_key: view.metadata_keys().find(|key| key.chars().any(is_hidden)).map(str::to_owned),
            reserved_key: view.metadata_keys().find(|key| key.starts_with(RESERVED_PREFIX)).map(str::to_owned),
            payload,
        }
    }

    /// From the bytes; nothing where they have to be read by reflection.
    fn scan(catalogue: &Catalogue, bytes: &[u8]) -> Option<Head> {
        let scanned = catalogue.tables.scan(bytes, RESERVED_PREFIX)?;
        let payload = match scanned.payload {
            Some(found) => Some(Payload::of(catalogue, found)?),
            None => None,
        };
        let of_kind = || {
            let meaning = payload.as_ref().map(|payload| payload.subject.meanings.of(payload.operation));
            meaning.map_or(Level::Info, |meaning| meaning.level)
        };
        let level = match scanned.level {
            0 => of_kind(),
            number => Level::from_wire(number).unwrap_or(Level::Info),
        };
        Some(Head {
            id: scanned.id.to_owned(),
            timestamp: scanned.timestamp,
            level,
            level_number: scanned.level,
            category: scanned.category,
            reserved_key: scanned.reserved_key.map(str::to_owned),
            hidden_key: scanned.hidden_key.map(str::to_owned),
            payload,
        })
    }
}

impl Payload {
    /// Of the bytes of a payload, and where they were found; nothing where they have to be read by reflection.
    fn of(catalogue: &Catalogue, (wrapper, member, bytes): (u32, u32, &[u8])) -> Option<Payload> {
        let subject = catalogue.subject_by(wrapper, member)?;
        let operation = subject.operation_number.map_or(Some(0), |number| scan::enumerator(bytes, number))?;
        let name = match tells(subject, operation) {
            true => Some(name(subject, bytes)?),
            false => None,
        };
        Some(Payload { subject: Arc::clone(subject), operation, name })
    }
}

/// Whether somebody has to know whose state it is.
fn tells(subject: &Subject, operation: i32) -> bool {
    let meaning = subject.meanings.of(operation);
    !meaning.tells.is_empty() || !meaning.ends.is_empty()
}

/// What a payload is about; nothing where its fields, or its event, have to be asked by reflection.
fn name(subject: &Subject, payload: &[u8]) -> Option<String> {
    let meanings = &subject.meanings;
    let of = |fields: &[prost_reflect::FieldDescriptor]| {
        let are_texts = fields.iter().all(|field| field.kind() == prost_reflect::Kind::String && !field.is_list());
        let numbers: Vec<_> = fields.iter().map(prost_reflect::FieldDescriptor::number).collect();
        let texts = if are_texts { scan::texts(payload, &numbers)? } else { return None };
        let is_set = |field: &prost_reflect::FieldDescriptor, text: &str| field.supports_presence() || !text.is_empty();
        let set = fields
            .iter()
            .zip(texts)
            .filter_map(|(field, text)| Some((field, text.filter(|text| is_set(field, text))?)));
        let shown = |(field, text): (&prost_reflect::FieldDescriptor, &str)| {
            render::shown(field, &Value::String(text.to_owned()), Manner::default())
        };
        Some(set.map(shown).collect::<Vec<_>>())
    };
    let names = of(&meanings.subject)?;
    if !names.is_empty() {
        return Some(names.join(" "));
    }
    of(&meanings.stand_ins)?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::event::json;

    fn parts(head: &Head) -> impl PartialEq + std::fmt::Debug + use<> {
        let payload = head.payload.as_ref().map(|it| (it.subject.name.clone(), it.operation, it.name.clone()));
        (
            head.id.clone(),
            head.timestamp,
            head.level,
            head.category,
            (head.reserved_key.is_some(), head.hidden_key.is_some()),
            payload,
        )
    }

    /// Both readings agree, or the scan leaves it to the other.
    fn agrees(bytes: &[u8]) -> bool {
        let catalogue = Catalogue::compiled();
        let Some(scanned) = Head::scan(catalogue, bytes) else { return false };
        let view = EventView::decode(bytes).expect("what is scanned can be decoded");
        assert_eq!(parts(&scanned), parts(&Head::of(&view)), "{bytes:02x?}");
        assert_eq!(Head::name_of(bytes), view.subject_name(), "{bytes:02x?}");
        true
    }

    fn examples() -> Vec<Vec<u8>> {
        let catalogue = Catalogue::compiled();
        let mut examples = Vec::new();
        for subject in &catalogue.subjects {
            for kind in subject.kinds.values() {
                let mut payload = serde_json::Map::new();
                for field in subject.message.fields().filter(|field| field.name() != "operation") {
                    let texts = serde_json::json!(format!("a \u{202e}{}", field.number()));
                    match field.kind() {
                        prost_reflect::Kind::String if field.is_list() => {
                            payload.insert(field.name().into(), serde_json::json!([texts, texts]))
                        }
                        prost_reflect::Kind::String => payload.insert(field.name().into(), texts),
                        prost_reflect::Kind::Double if !field.is_list() => {
                            payload.insert(field.name().into(), serde_json::json!(1.5))
                        }
                        prost_reflect::Kind::Uint64 | prost_reflect::Kind::Int64 if !field.is_list() => {
                            payload.insert(field.name().into(), serde_json::json!(77))
                        }
                        _ => None,
                    };
                }
                let text = serde_json::json!({"kind": kind.as_str(), "id": "x-1", "time": 9, "payload": payload,
                    "metadata": {"component": "c", "rodentia": "no"}});
                examples.push(json::view_from_str(&text.to_string()).expect("an event").into_message().encode_to_vec());
            }
        }
        assert!(examples.len() > 180);
        examples
    }

    #[test]
    fn every_kind_is_scanned_and_both_readings_agree() {
        let examples = examples();
        let left: Vec<_> = examples
            .iter()
            .filter(|bytes| !agrees(bytes))
            .map(|b| EventView::decode(b).expect("an event").kind().to_string())
            .collect();
        assert!(
            left.len() * 20 < examples.len(),
            "{} of {} have to be read by reflection: {left:?}",
            left.len(),
            examples.len()
        );
    }

    #[test]
    fn what_the_agent_puts_together_has_the_head_that_would_be_read_of_it() {
        use crate::schema::events::Event;

        for bytes in examples() {
            let event = Event::decode(bytes.as_slice()).expect("an event");
            let only_payload = Event { event_payload: event.event_payload, ..Event::default() }.encode_to_vec();
            let own = Head::of_payload(Level::Warn, event.category, &only_payload);
            let read = Head::read(&bytes).expect("an event");
            let payload = |head: &Head| (head.kind(), head.subject_name().to_owned(), head.payload_category());
            assert_eq!(payload(&own), payload(&read));
            assert_eq!((own.level, own.category), (Level::Warn, read.category));
        }
    }

    #[test]
    fn what_is_not_usual_is_read_by_reflection_and_what_is_no_event_is_refused() {
        let event = examples().swap_remove(0);
        let with = |more: &[u8]| [event.as_slice(), more].concat();
        assert!(agrees(&event));
        for (what, bytes) in
            [("a group", with(&[0xfb, 0x07, 0xfc, 0x07])), ("twice a payload", [event.as_slice(), &event].concat())]
        {
            assert!(Head::scan(Catalogue::compiled(), &bytes).is_none(), "{what}");
            let read = Head::read(&bytes).expect("an event");
            assert_eq!(parts(&read), parts(&Head::of(&EventView::decode(&bytes).expect("an event"))), "{what}");
        }
        for bytes in [&[0x0a, 0x05, b'x'][..], &[0x0a, 0x01, 0xff], &[0x00], &[0xff; 11]] {
            assert!(Head::read(bytes).is_err(), "{bytes:?}");
        }
        let unknown = with(&[0xf8, 0x07, 0x2a]);
        assert!(agrees(&unknown), "a field that this version does not know");
    }

    fn delimited(number: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(number, &content.to_vec(), &mut bytes);
        bytes
    }

    /// Text and what is none, and what the agent alone may say.
    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-z.]{0,8}".prop_map(String::into_bytes),
            "rodent\\.?[a-z]{0,3}".prop_map(String::into_bytes),
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..6),
            Just("\u{202e}x\u{200b}".into()),
        ]
    }

    /// One that is known or not, of the wire type that it should have or of another.
    fn any_field() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![1u32..8, Just(11), Just(100), 100u32..120, any::<u16>().prop_map(u32::from)];
        (number, 0u8..6, any::<u64>(), any_text()).prop_map(|(number, wire, value, text)| {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(u64::from(number << 3 | u32::from(wire)), &mut bytes);
            match wire {
                0 => prost::encoding::encode_varint(value, &mut bytes),
                1 => bytes.extend(value.to_le_bytes()),
                2 => {
                    prost::encoding::encode_varint(text.len() as u64, &mut bytes);
                    bytes.extend(text);
                }
                5 => bytes.extend((value as u32).to_le_bytes()),
                // A group begins or ends.
                _ => {}
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn both_readings_agree_or_both_refuse_whatever_the_bytes(
            place in 0usize..180,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            static EXAMPLES: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(examples);
            let mut bytes = EXAMPLES[place % EXAMPLES.len()].clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            agrees(&bytes);
            prop_assert_eq!(Head::read(&bytes).is_ok(), EventView::decode(&bytes).is_ok());
        }

        #[test]
        fn fields_that_nobody_knows_keys_of_any_bytes_and_names_of_any_bytes_are_read_alike(
            place in 0usize..180,
            fields in prop::collection::vec(any_field(), 0..5),
            keys in prop::collection::vec((any_text(), any_text(), 0u8..4), 0..4),
            within in prop::collection::vec(any_field(), 0..4),
            is_behind in any::<bool>(),
        ) {
            static EXAMPLES: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(examples);
            let event = &EXAMPLES[place % EXAMPLES.len()];
            let mut more: Vec<u8> = fields.concat();
            for (key, value, order) in keys {
                let (key, value) = (delimited(1, &key), delimited(2, &value));
                let entry = match order {
                    0 => [value, key].concat(),
                    1 => key,
                    2 => [key.clone(), value, key].concat(),
                    _ => [key, value].concat(),
                };
                more.extend(delimited(Catalogue::compiled().fields.metadata.number(), &entry));
            }
            let mut bytes = if is_behind { [event.as_slice(), &more].concat() } else { [more.as_slice(), event].concat() };
            agrees(&bytes);
            prop_assert_eq!(Head::read(&bytes).is_ok(), EventView::decode(&bytes).is_ok());
            // The same within a payload: the one of a pool, whose name these may be.
            let payload = within.concat();
            bytes = [more, delimited(11, &delimited(100, &payload))].concat();
            agrees(&bytes);
            prop_assert_eq!(Head::read(&bytes).is_ok(), EventView::decode(&bytes).is_ok());
        }

        #[test]
        fn nothing_that_anybody_sends_is_read_otherwise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            agrees(&bytes);
            prop_assert_eq!(Head::read(&bytes).is_ok(), EventView::decode(&bytes).is_ok());
        }
    }
}
