//! The name of what happened: `category.subject.operation`, made from the schema and from nothing else.
//!
//! - category: the field of `Event` that is set, less `_event`; subject: the field of its wrapper, likewise;
//! - operation: the value of the payload's enum `operation`, less the prefix of its zero value, in lower case. An
//!   unspecified or absent operation gives two parts, a number that the schema does not know `op_107`.
//!
//! An event of a newer schema may hold a payload that this one has no name for: `storage.event_102`, or `event_20`
//! when its category is new too. An event without any payload is `unknown`.

use std::{fmt, sync::Arc};

use prost_reflect::prost::encoding::WireType;

use super::EventView;

/// `storage.pool.scrub_started`, `system.registration`, `network.interface.op_107`. Cheap to copy.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(Arc<str>);

impl Kind {
    pub(super) fn new(name: &str) -> Kind {
        Kind(name.into())
    }

    /// The name in full.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part: `storage`.
    pub fn category(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Names what this schema has no name for, by the numbers of the fields in which it came.
pub(super) fn of_unnamed(event: &EventView) -> Kind {
    let unnamed = |message: &prost_reflect::DynamicMessage| {
        message.unknown_fields().find(|f| f.wire_type() == WireType::LengthDelimited).map(|f| f.number())
    };
    let catalogue = event.catalogue();
    for (wrapper, category) in catalogue.wrappers.iter().zip(catalogue.categories()) {
        if let Some(message) = super::catalogue::value(event.message(), wrapper).and_then(|v| v.as_message()) {
            return match unnamed(message) {
                Some(number) => Kind::new(&format!("{category}.event_{number}")),
                None => Kind::new(category),
            };
        }
    }
    unnamed(event.message()).map_or_else(|| Kind::new("unknown"), |number| Kind::new(&format!("event_{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Catalogue;
    use crate::schema::events::{
        Event, StorageEvent, StoragePoolPayload, SystemEvent, SystemRegistrationPayload, event::EventPayload,
        storage_event, system_event,
    };

    fn kind_of(payload: EventPayload) -> String {
        EventView::from(&Event { event_payload: Some(payload), ..Event::default() }).kind().to_string()
    }

    fn pool(operation: i32) -> EventPayload {
        let payload = StoragePoolPayload { operation, ..StoragePoolPayload::default() };
        EventPayload::StorageEvent(StorageEvent { event_type: Some(storage_event::EventType::PoolEvent(payload)) })
    }

    #[test]
    fn a_kind_has_three_parts_or_two_where_the_operation_is_unspecified_or_absent() {
        assert_eq!(kind_of(pool(4)), "storage.pool.scrub_started");
        assert_eq!(kind_of(pool(100)), "storage.pool.degraded");
        assert_eq!(kind_of(pool(0)), "storage.pool");
        let registration = system_event::EventType::Registration(SystemRegistrationPayload::default());
        let registration = EventPayload::SystemEvent(SystemEvent { event_type: Some(registration) });
        assert_eq!(kind_of(registration), "system.registration");
    }

    #[test]
    fn an_operation_that_the_schema_does_not_know_keeps_its_number() {
        assert_eq!(kind_of(pool(9_107)), "storage.pool.op_9107");
        assert_eq!(kind_of(pool(-1)), "storage.pool.op_-1");
    }

    #[test]
    fn a_payload_that_the_schema_does_not_know_keeps_the_number_of_its_field() {
        let kind = |bytes: &[u8]| EventView::decode(bytes).expect("protobuf").kind().to_string();
        assert_eq!(kind(&[0x5a, 0x05, 0xb2, 0x06, 0x02, 0x08, 0x01]), "storage.event_102");
        assert_eq!(kind(&[0xa2, 0x01, 0x02, 0x0a, 0x00]), "event_20");
        assert_eq!(kind(&[0x5a, 0x00]), "storage");
        assert_eq!(kind(&[]), "unknown");
    }

    #[test]
    fn every_kind_of_the_schema_is_listed_once_and_resolves() {
        assert!(Catalogue::compiled().kinds().windows(2).all(|pair| pair[0] < pair[1]));
        for kind in Catalogue::compiled().kinds() {
            let (subject, operation) = Catalogue::compiled().resolve(kind.as_str()).expect("a kind of the schema");
            assert_eq!(subject.kind(operation), *kind);
        }
        assert!(Catalogue::compiled().resolve("storage.pool.op_107").is_some_and(|(_, number)| number == 107));
        assert!(Catalogue::compiled().resolve("storage.pool.burnt").is_none());
        assert!(Catalogue::compiled().resolve("storage").is_none());
    }

    #[test]
    fn categories_stand_in_the_order_of_the_schema() {
        let names = [
            "system",
            "storage",
            "network",
            "security",
            "service",
            "identity",
            "access",
            "sharing",
            "usage",
            "data_transfer",
        ];
        assert_eq!(Catalogue::compiled().categories(), names);
    }

    #[test]
    fn the_nearest_kind_is_found_from_a_slip_or_from_its_end() {
        let near = |name| Catalogue::compiled().nearest(name).map(Kind::as_str);
        assert_eq!(near("storage.pool.craeted"), Some("storage.pool.created"));
        assert_eq!(near("Storage.Pool.Created"), Some("storage.pool.created"));
        assert_eq!(near("pool.created"), Some("storage.pool.created"));
        assert_eq!(near("weather"), None);
        assert_eq!(near(""), None);
    }
}
