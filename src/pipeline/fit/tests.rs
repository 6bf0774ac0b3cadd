//! Whatever an emitter makes fits.

use proptest::prelude::*;
use prost_reflect::{Kind, MessageDescriptor};

use super::*;
use crate::{
    event::{Level, Metadata, Summary},
    schema::{
        DESCRIPTORS, Payload,
        events::{
            Event, EventCategory, StoragePoolPayload, SystemConfigChangePayload, SystemHostPayload,
            SystemRegistrationPayload, SystemUserPayload, event::EventPayload, storage_event::EventType,
            storage_pool_payload::StoragePoolOperation,
        },
    },
};

fn event(payload: impl Payload) -> Event {
    Event {
        event_id: "0193".into(),
        level: Level::Critical.to_wire().into(),
        category: EventCategory::Storage.into(),
        source: "storage".into(),
        timestamp: 7,
        metadata: Metadata::from([("component".into(), "zfs".into()), ("action".into(), "suspended".into())]),
        event_payload: Some(payload.into_event_payload()),
    }
}

fn fitted(event: &Event) -> Event {
    let (bytes, was_cut) = fit(event.encode_to_vec());
    assert!(was_cut && bytes.len() <= EVENT_BYTES_MAX, "{} bytes", bytes.len());
    Event::decode(bytes.as_slice()).expect("an event")
}

#[test]
fn a_registration_with_a_controller_whose_name_is_far_too_long_is_told() {
    for length in [20_000, 60_000, 3_000_000] {
        let long = || "x".repeat(length);
        let payload = SystemRegistrationPayload {
            toggle_domain: long(),
            rodent_id: long(),
            organization_id: long(),
            certificate_expires: long(),
            ..Default::default()
        };
        fitted(&event(payload));
    }
}

fn pool_of(event: Event) -> StoragePoolPayload {
    let Some(EventPayload::StorageEvent(storage)) = event.event_payload else { panic!("no storage event") };
    let Some(EventType::PoolEvent(pool)) = storage.event_type else { panic!("no pool event") };
    pool
}

fn names(count: usize, length: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:0length$}")).collect()
}

#[test]
fn a_suspended_pool_of_very_many_disks_is_told_with_fewer_of_them() {
    let pool = StoragePoolPayload {
        pool_name: "big".into(),
        devices: names(100, 180),
        more_devices: 20,
        faulty_devices: names(84, 200).into_iter().chain(["and 16 more".into()]).collect(),
        reason: "One or more devices are faulted".into(),
        operation: StoragePoolOperation::Suspended.into(),
        ..Default::default()
    };
    let told = fitted(&event(pool.clone()));
    assert_eq!(told.metadata["action"], "suspended");
    let told = pool_of(told);
    assert_eq!(told.devices.len() + told.more_devices as usize, 120, "each is named or counted");
    let (last, faulty) = told.faulty_devices.split_last().expect("some");
    assert_eq!(*last, format!("and {} more", 100 - faulty.len()));
    assert_eq!(faulty, &pool.faulty_devices[..faulty.len()]);
    assert!(faulty.len() > 20 && told.devices.len() > 20, "no more goes than must");
    assert_eq!((told.pool_name, told.reason), (pool.pool_name, pool.reason));
}

#[test]
fn the_longest_list_is_cut_and_a_short_one_is_not() {
    let user = SystemUserPayload {
        username: "u".into(),
        groups: names(5000, 10),
        changed: vec!["shell".into(), "password".into()],
        ..Default::default()
    };
    let event = fitted(&event(user));
    assert!(format!("{event:?}").contains(r#"changed: ["shell", "password"]"#));
}

#[test]
fn a_long_text_is_cut_between_characters_and_says_that_it_goes_on() {
    let detail = "ü".repeat(40_000);
    let host = SystemHostPayload { subject: "nas".into(), detail, operation: 2, ..Default::default() };
    let event = fitted(&event(host));
    let summary = Summary::of(&EventView::from(&event));
    assert!(summary.text.starts_with("Inventory of nas: üüü") && summary.text.ends_with("ü…"));
    assert!(event.encoded_len() > EVENT_BYTES_MAX / 2, "no more goes than must");
}

#[test]
fn lists_go_before_texts_and_the_name_of_the_thing_goes_last() {
    let config = SystemConfigChangePayload {
        config_section: "s".repeat(3 * EVENT_BYTES_MAX),
        changed_keys: names(500, 400),
        controller: "c".repeat(300),
        ..Default::default()
    };
    let short = SystemConfigChangePayload { config_section: "events".into(), ..config.clone() };
    let told = format!("{:?}", fitted(&event(short)));
    assert!(told.contains(&"c".repeat(300)) && told.contains("\"events\"") && told.contains(" more\""));
    let told = fitted(&event(config));
    let subject = Summary::of(&EventView::from(&told)).subject;
    assert!(subject.starts_with("sss") && subject.ends_with('…'), "{subject}");
}

#[test]
fn very_many_words_beside_the_payload_go_and_those_that_are_asked_for_stay() {
    let host = SystemHostPayload { subject: "nas".into(), operation: 1, ..Default::default() };
    let mut event = event(host);
    event.metadata.extend((0..20_000).map(|number| (format!("key{number}"), "v".repeat(300))));
    event.metadata.insert("rodent.uid".into(), "0".into());
    let told = fitted(&event).metadata;
    assert_eq!((&*told["component"], &*told["action"], &*told["rodent.uid"]), ("zfs", "suspended", "0"));
}

/// Every payload of the schema.
fn payloads() -> Vec<(String, String, MessageDescriptor)> {
    let event = DESCRIPTORS.get_message_by_name("rodent.events.Event").expect("in the schema");
    let wrappers = event.fields().filter(|field| field.containing_oneof().is_some());
    let of_wrapper = |wrapper: FieldDescriptor| {
        let Kind::Message(category) = wrapper.kind() else { panic!("a message") };
        let member = move |member: FieldDescriptor| {
            let Kind::Message(payload) = member.kind() else { panic!("a message") };
            (wrapper.name().to_owned(), member.name().to_owned(), payload)
        };
        category.fields().map(member).collect::<Vec<_>>()
    };
    wrappers.flat_map(of_wrapper).collect()
}

/// A value of a field, with texts and lists as long as the dice say.
fn value(field: &FieldDescriptor, dice: &mut impl FnMut() -> usize) -> Value {
    let number = dice();
    let scalar = |length: usize| match field.kind() {
        Kind::String => Value::String("aü".repeat(length)),
        Kind::Enum(values) => {
            Value::EnumNumber(values.values().nth(number % values.values().len()).expect("one of them").number())
        }
        kind => Value::default_value(&kind),
    };
    match field {
        field if field.is_map() => Value::default_value_for_field(field),
        field if field.is_list() => Value::List((0..number / 50).map(|_| scalar(dice() / 100)).collect()),
        _ => scalar(number / 2),
    }
}

fn in_event(wrapper: &str, member: &str, payload: &DynamicMessage) -> Event {
    let mut event = DynamicMessage::new(DESCRIPTORS.get_message_by_name("rodent.events.Event").expect("in the schema"));
    let field = event.descriptor().get_field_by_name(wrapper).expect("a wrapper");
    let mut category = DynamicMessage::new(field.kind().as_message().expect("a message").clone());
    category.set_field_by_name(member, Value::Message(payload.clone()));
    event.set_field(&field, Value::Message(category));
    Event::decode(event.encode_to_vec().as_slice()).expect("an event")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_emitted_fits_and_is_the_same_event_of_the_same_thing(
        place in 0_usize..1000, lengths in prop::collection::vec(0_usize..20_000, 1..30), note in 0_usize..30_000,
    ) {
        let payloads = payloads();
        let (wrapper, member, message) = &payloads[place % payloads.len()];
        let mut rolled = lengths.into_iter().cycle();
        let mut dice = || rolled.next().unwrap_or_default();
        let mut payload = DynamicMessage::new(message.clone());
        for field in message.fields() {
            let value = value(&field, &mut dice);
            payload.set_field(&field, value);
        }
        // Names of things are short.
        for field in EventView::from(&in_event(wrapper, member, &payload)).naming_fields() {
            let value = value(&field, &mut || 100);
            payload.set_field(&field, value);
        }
        let mut event = in_event(wrapper, member, &payload);
        event.level = Level::Critical.to_wire().into();
        (event.event_id, event.source) = ("0193".into(), "storage".into());
        event.metadata = Metadata::from([("component".into(), "zfs".into()), ("note".into(), "n".repeat(note))]);
        let (bytes, was_cut) = fit(event.encode_to_vec());
        prop_assert!(bytes.len() <= EVENT_BYTES_MAX, "{} bytes", bytes.len());
        prop_assert_eq!(was_cut, event.encoded_len() > EVENT_BYTES_MAX);
        if !was_cut {
            prop_assert_eq!(&bytes, &event.encode_to_vec());
        }
        prop_assert!(Event::decode(bytes.as_slice()).is_ok());
        let (before, after) = (EventView::from(&event), EventView::decode(&bytes).unwrap());
        prop_assert_eq!(after.kind(), before.kind());
        prop_assert_eq!((after.level(), after.id(), after.source()), (before.level(), before.id(), before.source()));
        prop_assert_eq!(after.subject_name(), before.subject_name());
        prop_assert_eq!(after.metadata("component"), Some("zfs"));
    }
}
