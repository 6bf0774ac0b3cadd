//! An event as a message of the stream, and back. Pure.
//!
//! ```text
//! subject              PREFIX.NODE.CATEGORY        rodent.nas-1.storage; PREFIX.NODE._seen where a node was heard of
//! body                 the event as it came
//! Nats-Msg-Id          NODE/EPOCH/LANE/SEQUENCE    NODE/IDENTIFIER of an event without a number
//! Rodent-Epoch, Rodent-Lane, Rodent-Sequence       of an event with a number
//! Rodent-Event-Id, Rodent-Kind
//! Rodent-Received      Unix milliseconds
//! Rodent-Organisation
//! ```
//!
//! What comes from outside is escaped: no node can make a subject or an identifier that is another node's.

use std::sync::Arc;

use async_nats::HeaderMap;
use ring::digest::{SHA256, digest};

use crate::{
    controller::store::{Arrival, Record},
    event::json::Place,
};

/// In place of a category: the node was heard of.
const SEEN: &str = "_seen";

/// The longest name that stands for itself; of a longer one its digest does. Far below what a server takes as headers.
const NAME_BYTES_MAX: usize = 128;

const EPOCH: &str = "Rodent-Epoch";
const LANE: &str = "Rodent-Lane";
const SEQUENCE: &str = "Rodent-Sequence";
const EVENT_ID: &str = "Rodent-Event-Id";
const KIND: &str = "Rodent-Kind";
const RECEIVED: &str = "Rodent-Received";
const ORGANISATION: &str = "Rodent-Organisation";

/// A message but for its body.
pub(super) struct Envelope {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
}

impl Envelope {
    /// Of an event, which has this place in its arrival.
    pub(super) fn of_event(prefix: &str, arrival: &Arrival, index: usize, record: &Record) -> Envelope {
        let node = name(&arrival.node);
        let mut headers = common(arrival);
        let id = match &arrival.numbering {
            Some(numbering) => {
                let (epoch, lane) = (name(numbering.epoch()), name(numbering.lane()));
                let sequence = numbering.first().saturating_add(index as u64);
                headers.insert(EPOCH, epoch.as_str());
                headers.insert(LANE, lane.as_str());
                headers.insert(SEQUENCE, sequence.to_string());
                format!("{node}/{epoch}/{lane}/{sequence}")
            }
            None => format!("{node}/{}", name(&record.id)),
        };
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        headers.insert(EVENT_ID, name(&record.id));
        headers.insert(KIND, name(record.kind.as_str()));
        Envelope { subject: format!("{prefix}.{node}.{}", name(record.kind.category())), headers }
    }

    /// Says that a node was heard of. Within the stream's window one a minute is kept.
    pub(super) fn of_seen(prefix: &str, arrival: &Arrival) -> Envelope {
        let node = name(&arrival.node);
        let mut headers = common(arrival);
        let minute = arrival.received_at.div_euclid(60_000);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("{node}/{SEEN}/{minute}"));
        Envelope { subject: format!("{prefix}.{node}.{SEEN}"), headers }
    }
}

/// Subjects of all that is of a node.
pub(super) fn subjects_of(prefix: &str, node: &str) -> String {
    format!("{prefix}.{}.*", name(node))
}

/// What a message of the stream tells besides its body.
pub(super) struct Told {
    pub(super) node: Arc<str>,
    pub(super) organisation: String,
    pub(super) received_at: i64,
    /// None where the node was only heard of.
    pub(super) event: Option<EventTold>,
}

/// What it tells of an event.
pub(super) struct EventTold {
    /// Empty without a number.
    pub(super) epoch: Arc<str>,
    pub(super) place: Option<Place>,
    pub(super) id: String,
    pub(super) kind: String,
}

impl Told {
    /// Reads a message; `None` when it is none of ours.
    pub(super) fn read(prefix: &str, subject: &str, headers: &HeaderMap) -> Option<Told> {
        let (node, category) = subject.strip_prefix(prefix)?.strip_prefix('.')?.split_once('.')?;
        let text = |header: &str| headers.get(header).map(|value| unescaped(value.as_str()));
        let received_at = headers.get(RECEIVED)?.as_str().parse().ok()?;
        let event = match category {
            SEEN => None,
            _ => {
                let sequence = headers.get(SEQUENCE).and_then(|value| value.as_str().parse().ok());
                let place = sequence.and_then(|sequence| Some(Place { lane: text(LANE)?, sequence }));
                let epoch = if place.is_some() { text(EPOCH)? } else { String::new() };
                Some(EventTold { epoch: epoch.into(), place, id: id(headers)?, kind: text(KIND)? })
            }
        };
        let organisation = text(ORGANISATION).unwrap_or_default();
        Some(Told { node: unescaped(node).into(), organisation, received_at, event })
    }
}

/// The identifier of the event in a message, as [`name`] gives it.
pub(super) fn id(headers: &HeaderMap) -> Option<String> {
    headers.get(EVENT_ID).map(|value| value.as_str().to_owned())
}

fn common(arrival: &Arrival) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(RECEIVED, arrival.received_at.to_string());
    headers.insert(ORGANISATION, name(&arrival.organisation));
    headers
}

/// A text as a part of a subject, a message's identifier or a header: letters, digits, `-` and `_` as they are, every
/// other byte as `=XX`. Never empty; no two texts have the same, but for the chance of the digest.
pub(super) fn name(text: &str) -> String {
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("={byte:02X}")),
        }
    }
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let digest = digest(&SHA256, text.as_bytes());
    format!("=h{}", crate::words::hexadecimal(digest.as_ref()))
}

/// The text that [`name`] was made of; of a digest and of what is no such name, itself.
fn unescaped(name: &str) -> String {
    if name == "=" {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('=') {
        bytes.extend_from_slice(before.as_bytes());
        let Some((byte, behind)) = after.split_at_checked(2).and_then(|(hex, behind)| {
            let upper = hex.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            Some((u8::from_str_radix(hex, 16).ok().filter(|_| upper)?, behind))
        }) else {
            return name.to_owned();
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::{
        controller::store::Numbering,
        schema::{
            Payload,
            events::{Event, StoragePoolPayload},
        },
    };

    proptest! {
        #[test]
        fn names_are_safe_and_no_two_are_the_same(one in any::<String>(), two in any::<String>()) {
            let safe = name(&one);
            prop_assert!(!safe.is_empty() && safe.len() <= NAME_BYTES_MAX);
            prop_assert!(safe.bytes().all(|b| b.is_ascii_alphanumeric() || b"=-_".contains(&b)));
            prop_assert_eq!(one == two, safe == name(&two));
            if !safe.starts_with("=h") {
                prop_assert_eq!(unescaped(&safe), one);
            }
        }

        #[test]
        fn any_name_is_read(text in any::<String>()) {
            unescaped(&text);
        }
    }

    fn arrival(numbering: Option<Numbering>) -> Arrival {
        let pool = StoragePoolPayload::default().into_event_payload();
        let event = Event { event_id: "a b".into(), event_payload: Some(pool), ..Event::default() };
        Arrival {
            node: "nas.1/x".into(),
            organisation: "Ümläut".into(),
            numbering,
            records: vec![Record::read(event.encode_to_vec().into()).expect("an event")],
            received_at: 90_000,
        }
    }

    fn value(envelope: &Envelope, header: &str) -> String {
        envelope.headers.get(header).map_or_else(String::new, |value| value.as_str().to_owned())
    }

    #[test]
    fn an_event_is_named_by_node_epoch_lane_and_sequence_and_read_back() {
        let arrival = arrival(Numbering::new("e/1", "routine", 7, 7));
        let envelope = Envelope::of_event("rodent", &arrival, 0, &arrival.records[0]);
        assert_eq!(envelope.subject, "rodent.nas=2E1=2Fx.storage");
        assert_eq!(value(&envelope, "Nats-Msg-Id"), "nas=2E1=2Fx/e=2F1/routine/7");
        let told = Told::read("rodent", &envelope.subject, &envelope.headers).expect("ours");
        assert_eq!((&*told.node, told.organisation.as_str(), told.received_at), ("nas.1/x", "Ümläut", 90_000));
        let event = told.event.expect("an event");
        let place = Place { lane: "routine".into(), sequence: 7 };
        assert_eq!((&*event.epoch, event.place, event.kind.as_str()), ("e/1", Some(place), "storage.pool"));
        assert_eq!(event.id, "a=20b");
    }

    #[test]
    fn an_event_without_a_number_is_named_by_its_identifier_and_a_node_that_was_heard_of_by_the_minute() {
        let arrival = arrival(None);
        let envelope = Envelope::of_event("rodent", &arrival, 0, &arrival.records[0]);
        assert_eq!(value(&envelope, "Nats-Msg-Id"), "nas=2E1=2Fx/a=20b");
        let event = Told::read("rodent", &envelope.subject, &envelope.headers).expect("ours").event.expect("an event");
        assert_eq!((&*event.epoch, event.place), ("", None));
        let seen = Envelope::of_seen("rodent", &arrival);
        assert_eq!(
            (seen.subject.as_str(), value(&seen, "Nats-Msg-Id").as_str()),
            ("rodent.nas=2E1=2Fx._seen", "nas=2E1=2Fx/_seen/1")
        );
        assert!(Told::read("rodent", &seen.subject, &seen.headers).expect("ours").event.is_none());
    }

    #[test]
    fn messages_of_others_are_none_of_ours() {
        assert!(Told::read("rodent", "rodent.n.storage", &HeaderMap::new()).is_none());
        assert!(Told::read("rodent", "other.n.storage", &common(&arrival(None))).is_none());
        assert!(Told::read("rodent", "rodent.n.storage", &common(&arrival(None))).is_none());
    }
}
