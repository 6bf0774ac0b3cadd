//! Events to JSON and back.

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};

use super::*;
use crate::{
    event::{Catalogue, Level, Metadata, is_redacted},
    schema::{DESCRIPTORS, Payload, events::*},
};

fn degraded() -> Event {
    let payload = StoragePoolPayload {
        pool_name: "tank".into(),
        devices: vec!["sda".into(), "sdb".into()],
        size_bytes: 9_007_199_254_740_993,
        operation: 100,
        ..Default::default()
    };
    Event {
        event_id: "0199".into(),
        level: EventLevel::Warn.into(),
        category: EventCategory::Storage.into(),
        source: "storage".into(),
        timestamp: 1_767_225_600_123,
        metadata: [("component".to_owned(), "zfs".to_owned())].into(),
        event_payload: Some(payload.into_event_payload()),
    }
}

fn wrap(payload: impl Payload) -> Event {
    Event { level: EventLevel::Info.into(), event_payload: Some(payload.into_event_payload()), ..Event::default() }
}

#[track_caller]
fn refusal(text: &str) -> String {
    from_str(text).expect_err("no event").to_string()
}

#[test]
fn an_event_prints_in_its_short_form() {
    let place = Place { lane: "routine".into(), sequence: 7 };
    let printed = to_value(&EventView::from(&degraded()), Some("nas-1"), Some(&place));
    let expected = r#"{
        "id": "0199", "time": "2026-01-01T00:00:00.123Z", "node": "nas-1", "lane": "routine", "sequence": 7,
        "kind": "storage.pool.degraded", "level": "warn", "category": "storage", "source": "storage",
            "text": "Pool tank is degraded",
        "payload": {"pool_name": "tank", "devices": ["sda", "sdb"], "size_bytes": 9007199254740993},
        "metadata": {"component": "zfs"}
    }"#;
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(expected).expect("JSON"));
    assert_eq!(from_str(&printed.to_string()).expect("what is printed is read"), degraded());
}

#[test]
fn the_short_form_needs_a_kind_alone() {
    let event = from_str(r#"{"kind": "system.host.heartbeat"}"#).expect("an event");
    let expected = SystemHostPayload { operation: 1, ..Default::default() };
    assert_eq!(event, Event { category: EventCategory::System.into(), ..wrap(expected) });
}

#[test]
fn protobuf_json_is_read_in_both_spellings() {
    let snake = r#"{"event_id": "0199", "level": "EVENT_LEVEL_WARN", "category": "EVENT_CATEGORY_STORAGE",
        "source": "storage", "timestamp": "1767225600123", "metadata": {"component": "zfs"},
        "storage_event": {"pool_event": {"pool_name": "tank", "devices": ["sda", "sdb"],
            "size_bytes": "9007199254740993", "operation": "STORAGE_POOL_OPERATION_DEGRADED"}}}"#;
    let camel = r#"{"eventId": "0199", "level": 2, "source": "storage", "timestamp": 1767225600123,
        "metadata": {"component": "zfs"}, "storageEvent": {"poolEvent": {"poolName": "tank",
            "devices": ["sda", "sdb"], "sizeBytes": "9007199254740993", "operation": 100, "raidType": null}}}"#;
    assert_eq!(from_str(snake).expect("an event"), degraded());
    assert_eq!(from_str(camel).expect("an event"), degraded());
}

/// What a library that follows protobuf's JSON mapping writes is what this one reads.
#[test]
fn protobuf_json_as_a_library_writes_it_is_read() {
    let view = EventView::from(&degraded());
    let text = serde_json::to_string(view.message()).expect("JSON");
    assert!(text.contains("\"poolName\""), "{text}");
    assert_eq!(from_str(&text).expect("an event"), degraded());
}

#[test]
fn kind_and_payload_must_name_the_same_operation() {
    let agreed = from_str(r#"{"kind": "storage.pool.created", "payload": {"operation": "CREATED"}}"#);
    assert_eq!(EventView::from(&agreed.expect("an event")).kind().as_str(), "storage.pool.created");
    let only_payload = from_str(r#"{"kind": "storage.pool", "payload": {"operation": "created"}}"#);
    assert_eq!(EventView::from(&only_payload.expect("an event")).kind().as_str(), "storage.pool.created");
    assert_eq!(
        refusal(r#"{"kind": "storage.pool.created", "payload": {"operation": "deleted"}}"#),
        "the kind is \"storage.pool.created\", but the payload's operation makes it \"storage.pool.deleted\""
    );
}

#[test]
fn levels_are_names_in_any_case_and_info_by_default() {
    let level = |text: &str| from_str(&format!(r#"{{"kind": "system.host", "level": {text}}}"#)).map(|e| e.level);
    assert_eq!(level("\"WaRn\"").expect("a level"), 2);
    assert_eq!(level("\"EVENT_LEVEL_CRITICAL\"").expect("a level"), 4);
    assert_eq!(level("null").expect("the default"), 1);
    assert!(level("\"loud\"").expect_err("none").to_string().contains("trace, debug, info"));
    assert!(level("true").is_err());
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    for (text, message) in [
        ("[1]", "an event is a JSON object, such as {\"kind\": \"storage.pool.created\"}"),
        (
            "{}",
            "an event needs its \"kind\", such as \"storage.pool.created\", or a payload, such as \"storage_event\"",
        ),
        (r#"{"payload": {}}"#, "a \"payload\" needs its \"kind\", such as \"storage.pool.created\""),
        (
            r#"{"kind": "storage.pool.craeted"}"#,
            "no kind is called \"storage.pool.craeted\"; did you mean \"storage.pool.created\"?",
        ),
        (
            r#"{"kind": "system.host", "levle": "warn"}"#,
            "an event has no \"levle\" among kind, payload, id, time, level, category, source, metadata; did you mean \"level\"?",
        ),
        (
            r#"{"kind": "system.host", "payload": {"detial": "x"}}"#,
            "payload: there is no field \"detial\" among subject, detail, operation, uptime_seconds, previous_value, step_seconds, count, actor; did you mean \"detail\"?",
        ),
        (r#"{"kind": "system.host", "payload": []}"#, "payload: [] is a list, where an object is expected"),
        (
            r#"{"kind": "storage.pool", "payload": {"size_bytes": "lots"}}"#,
            "payload.size_bytes: \"lots\" is text, where a whole number from -9223372036854775808 to 9223372036854775807 is expected",
        ),
        (
            r#"{"kind": "storage.pool", "payload": {"size_bytes": 1.5}}"#,
            "payload.size_bytes: 1.5 is a number, where a whole number from -9223372036854775808 to 9223372036854775807 is expected",
        ),
        (
            r#"{"kind": "service.status", "payload": {"pid": 2147483648}}"#,
            "payload.pid: 2147483648 is a number, where a whole number from -2147483648 to 2147483647 is expected",
        ),
        (
            r#"{"kind": "storage.pool", "payload": {"devices": "sda"}}"#,
            "payload.devices: \"sda\" is text, where a list is expected",
        ),
        (
            r#"{"kind": "storage.pool", "payload": {"devices": ["sda", 1]}}"#,
            "payload.devices[1]: 1 is a number, where text is expected",
        ),
        (
            r#"{"kind": "storage.pool", "payload": {"operation": "craeted"}}"#,
            "payload.operation: there is no \"craeted\" among created, ",
        ),
        (
            r#"{"kind": "system.shutdown", "payload": {"graceful": 1}}"#,
            "payload.graceful: 1 is a number, where true or false is expected",
        ),
        (
            r#"{"kind": "usage.threshold", "payload": {"current_value": 1e39}}"#,
            "payload.current_value: 1e+39 is a number, where a number in the range of a float is expected",
        ),
        (r#"{"kind": "system.host", "metadata": {"a": 5}}"#, "metadata.a: 5 is a number, where text is expected"),
        (
            r#"{"kind": "system.host", "time": "noon"}"#,
            "time: \"noon\" is text, where a time such as \"2026-01-31T12:00:00Z\", or Unix milliseconds, is expected",
        ),
        (
            r#"{"kind": "system.host", "category": "storage"}"#,
            "category: \"storage\" does not fit; system.host belongs to \"system\"",
        ),
        (
            r#"{"kind": "system.host", "system_event": {}}"#,
            "an event has a \"kind\" with its \"payload\", or \"system_event\", not both",
        ),
        (
            r#"{"storage_event": {}, "system_event": {}}"#,
            "an event has one payload, not both \"storage_event\" and \"system_event\"",
        ),
        (r#"{"service_event": {}}"#, "service_event: the payload is missing; it is one of status_event"),
        (
            r#"{"network_event": {"route_event": {}, "dns_event": {}}}"#,
            "network_event.route_event: only one of it and dns_event can be set",
        ),
        (
            r#"{"kind": "storage.pool", "payload": {"pool_name": "a", "poolName": "b"}}"#,
            "payload.pool_name: it stands twice, as pool_name and poolName",
        ),
        (r#"{"kind": "system.host", "id": "a", "event_id": "b"}"#, "\"id\" stands twice, under two names"),
        (r#"{"kind": "system.host", "kind": "system.user"}"#, "the key \"kind\" stands twice at line 1 column 30"),
        (r#"{"kind": 5}"#, "kind: 5 is a number, where text is expected"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with(message), "{text}\n  {refusal}\n  {message}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_text() {
    let threshold = |current_value, threshold_value| {
        wrap(UsageThresholdPayload { current_value, threshold_value, ..Default::default() })
    };
    let printed = to_value(&EventView::from(&threshold(f32::INFINITY, f32::NEG_INFINITY)), None, None);
    assert_eq!(printed["payload"].to_string(), r#"{"current_value":"Infinity","threshold_value":"-Infinity"}"#);
    let printed = to_value(&EventView::from(&threshold(0.1, f32::NAN)), None, None);
    assert_eq!(printed["payload"].to_string(), r#"{"current_value":0.1,"threshold_value":"NaN"}"#);
    let read = from_str(&printed.to_string()).expect("an event");
    assert!(to_value(&EventView::from(&read), None, None)["payload"] == printed["payload"]);
}

#[test]
fn redacted_values_are_masked_and_read_back_unset() {
    let bytes =
        crate::schema::wire::RegisterResponse { private_key: "KEY".into(), success: true, ..Default::default() }
            .encode_to_vec();
    let descriptor = DESCRIPTORS.get_message_by_name("rodent.RegisterResponse").expect("in the schema");
    let message = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).expect("its own encoding");
    let printed = write::message(&message, None);
    assert_eq!(printed.to_string(), r#"{"private_key":"[redacted]","success":true}"#);
    let read = read::read_message(&descriptor, printed.as_object().expect("an object"), "x").expect("a message");
    assert!(!read.has_field_by_name("private_key") && read.has_field_by_name("success"));
}

#[test]
fn fields_that_this_version_does_not_know_survive() {
    let mut event = EventView::from(&degraded()).into_message();
    // The same event, said again with a field 900 at each of its three floors.
    event.merge([0xa0, 0x38, 0x01].as_slice()).expect("an unknown field");
    event.merge([0x5a, 0x08, 0xa0, 0x38, 0x02, 0x0a, 0x03, 0xa0, 0x38, 0x03].as_slice()).expect("two more");
    let printed = to_value(&EventView::new(Catalogue::compiled(), event.clone()), None, None).to_string();
    let read = view_from_str(&printed).expect("an event").into_message();
    assert_eq!(read, event);
    assert_eq!(from_str(&printed).expect("an event"), degraded());
}

#[test]
fn a_payload_that_this_version_does_not_know_survives() {
    for bytes in [&[0x5a, 0x05, 0xb2, 0x06, 0x02, 0x08, 0x01][..], &[0xa2, 0x01, 0x02, 0x0a, 0x00]] {
        let mut encoded = Event { level: 2, category: 2, ..Event::default() }.encode_to_vec();
        encoded.extend(bytes);
        let event = EventView::decode(&encoded).expect("an event");
        let read = view_from_str(&to_value(&event, None, None).to_string()).expect("an event");
        assert_eq!(read.message(), event.message());
        assert_eq!(read.kind(), event.kind());
    }
}

#[test]
fn unknown_fields_cannot_smuggle_in_what_has_a_name() {
    let with = |bytes: &[u8]| {
        let unknown = BASE64_STANDARD.encode(bytes);
        from_str(&format!(r#"{{"kind": "system.host", "unknown_fields": "{unknown}"}}"#))
    };
    let smuggled = Event { source: "agent".into(), ..Event::default() }.encode_to_vec();
    assert!(with(&smuggled).expect_err("refused").to_string().contains("write them in clear"));
    // storage_event { field 900: 1 }, beside a payload of system.host
    assert!(with(&[0x5a, 0x03, 0xa0, 0x38, 0x01]).expect_err("refused").to_string().contains("another kind"));
    assert!(with(&[0x0a]).is_err());
    assert!(from_str(r#"{"kind": "system.host", "unknown_fields": "%"}"#).is_err());
}

#[test]
fn pairs_make_an_event() {
    let pairs = |kind: &str, pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        from_pairs(kind, Some(Level::Warn), &pairs, Metadata::from([("component".to_owned(), "zfs".to_owned())]))
    };
    let fields = [("pool_name", "tank"), ("devices", "sda"), ("devices", "sdb"), ("sizeBytes", "9007199254740993")];
    let event = pairs("storage.pool.degraded", &fields).expect("an event");
    assert_eq!(event, Event { event_id: String::new(), source: String::new(), timestamp: 0, ..degraded() });
    let startup = pairs("system.startup.started", &[("system_info.os.name", "Debian = 13"), ("version", "")]);
    let printed = to_value(&EventView::from(&startup.expect("an event")), None, None);
    assert_eq!(printed["payload"].to_string(), r#"{"system_info":{"os.name":"Debian = 13"}}"#);
    assert!(pairs("system.shutdown.shutdown", &[("graceful", "true")]).is_ok());
    let words = [("pool_name", "tank"), ("size_bytes", "1.5TiB"), ("duration_seconds", "2h")];
    let words = to_value(&EventView::from(&pairs("storage.pool.created", &words).expect("an event")), None, None);
    assert_eq!(
        (&words["payload"]["size_bytes"], &words["payload"]["duration_seconds"]),
        (&(3u64 << 39).into(), &7200.into())
    );
    let time = pairs("security.certificate.expired", &[("expiry_time", "2026-11-05")]).expect("an event");
    assert_eq!(to_value(&EventView::from(&time), None, None)["payload"]["expiry_time"], 1_793_836_800);

    let refusal = |kind, fields: &[_]| pairs(kind, fields).expect_err("no event").to_string();
    assert!(refusal("storage.pol", &[]).contains("did you mean \"storage.pool\"?"));
    assert!(refusal("storage.pool", &[("pol_name", "x")]).contains("did you mean \"pool_name\"?"));
    assert_eq!(
        refusal("storage.pool", &[("pool_name", "a"), ("pool_name", "b")]),
        "payload.pool_name: it is given twice, and holds one value"
    );
    assert_eq!(
        refusal("storage.pool", &[("pool_name.x", "a")]),
        "payload.pool_name: it holds a plain value and has no \"x\""
    );
    assert!(refusal("system.startup", &[("system_info", "x")]).contains("field.key=value"));
    assert!(refusal("system.startup", &[("system_info.a", "x"), ("system_info.a", "y")]).contains("given twice"));
    assert!(refusal("system.shutdown", &[("graceful", "yes")]).contains("true or false"));
    assert!(refusal("storage.pool.created", &[("operation", "deleted")]).contains("storage.pool.deleted"));
}

#[test]
fn words_that_do_not_say_what_happened_make_no_event_and_are_told_what_would() {
    let pairs = |kind: &str, fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        from_pairs(kind, None, &fields, Metadata::new())
    };
    let refusal = pairs("storage.pool", &[("pool_name", "tank")]).expect_err("no event").to_string();
    let begins = "storage.pool does not say what happened; write one of storage.pool.created, storage.pool.deleted, ";
    assert!(refusal.starts_with(begins), "{refusal}");
    assert!(pairs("storage.pool", &[("operation", "created")]).is_ok(), "a field says it");
    assert!(pairs("system.registration", &[]).is_ok(), "it has no operations");
    assert!(from_str(r#"{"kind": "storage.pool"}"#).is_ok(), "what was stored so is taken as it is");
}

const EDGES: [f32; 6] = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, f32::MAX];

/// Any value that the field can hold.
fn any_value(kind: &Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Value::I32).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => any::<i64>().prop_map(Value::I64).boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Value::U32).boxed(),
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(Value::U64).boxed(),
        // Every bit pattern; of the many that are no number JSON knows one.
        Kind::Float => prop_oneof![any::<u32>().prop_map(f32::from_bits), proptest::sample::select(&EDGES[..])]
            .prop_map(|f| Value::F32(if f.is_nan() { f32::NAN } else { f }))
            .boxed(),
        Kind::Double => {
            prop_oneof![any::<u64>().prop_map(f64::from_bits), proptest::sample::select(&EDGES[..]).prop_map(f64::from)]
                .prop_map(|f| Value::F64(if f.is_nan() { f64::NAN } else { f }))
                .boxed()
        }
        Kind::String => any::<String>().prop_map(Value::String).boxed(),
        Kind::Bytes => any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())).boxed(),
        Kind::Enum(enumeration) => {
            let known: Vec<i32> = enumeration.values().map(|value| value.number()).collect();
            prop_oneof![proptest::sample::select(known), any::<i32>()].prop_map(Value::EnumNumber).boxed()
        }
        Kind::Message(message) => any_message(message.fields().collect())
            .prop_map({
                let message = message.clone();
                move |fields| Value::Message(filled(DynamicMessage::new(message.clone()), fields))
            })
            .boxed(),
    }
}

fn any_field(field: FieldDescriptor) -> BoxedStrategy<Option<(FieldDescriptor, Value)>> {
    let value = if field.is_map() {
        let entry = field.kind().as_message().cloned().expect("a map is made of entries");
        let key = any_value(&entry.map_entry_key_field().kind());
        let entries = (key, any_value(&entry.map_entry_value_field().kind()));
        proptest::collection::vec(entries, 0..4)
            .prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| (key.into_map_key().expect("a key"), value));
                Value::Map(entries.collect())
            })
            .boxed()
    } else if field.is_list() {
        proptest::collection::vec(any_value(&field.kind()), 0..4).prop_map(Value::List).boxed()
    } else {
        any_value(&field.kind())
    };
    proptest::option::weighted(0.7, value).prop_map(move |value| Some((field.clone(), value?))).boxed()
}

fn any_message(fields: Vec<FieldDescriptor>) -> BoxedStrategy<Vec<Option<(FieldDescriptor, Value)>>> {
    // Redacted ones do not come back.
    fields.into_iter().filter(|field| !is_redacted(field)).map(any_field).collect::<Vec<_>>().boxed()
}

fn filled(mut message: DynamicMessage, fields: Vec<Option<(FieldDescriptor, Value)>>) -> DynamicMessage {
    for (field, value) in fields.into_iter().flatten() {
        message.set_field(&field, value);
    }
    message
}

/// An event of any subject, its category the right one.
fn any_event() -> BoxedStrategy<Event> {
    let fields = &Catalogue::compiled().fields;
    let stamps: Vec<_> = [&fields.id, &fields.level, &fields.source, &fields.timestamp, &fields.metadata]
        .map(|field| any_field(field.clone()))
        .into();
    let subjects = proptest::sample::select((0..Catalogue::compiled().subjects.len()).collect::<Vec<_>>());
    let payload = subjects
        .prop_flat_map(|i| (Just(i), any_message(Catalogue::compiled().subjects[i].message.fields().collect())));
    (stamps, payload)
        .prop_map(|(stamps, (i, payload))| {
            let subject = &Catalogue::compiled().subjects[i];
            let payload = filled(DynamicMessage::new(subject.message.clone()), payload);
            let mut wrapper = DynamicMessage::new(subject.member.parent_message().clone());
            wrapper.set_field(&subject.member, Value::Message(payload));
            let mut event = filled(DynamicMessage::new(Catalogue::compiled().event.clone()), stamps);
            event.set_field(&subject.wrapper, Value::Message(wrapper));
            event.set_field(&Catalogue::compiled().fields.category, Value::EnumNumber(subject.category_number));
            event.transcode_to().expect("one schema")
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back_as_the_same_event(event in any_event()) {
        let printed = to_value(&EventView::from(&event), Some("n"), None).to_string();
        let read = from_str(&printed).map_err(|e| TestCaseError::fail(format!("{e}: {printed}")))?;
        prop_assert_eq!(read.encode_to_vec(), event.encode_to_vec(), "{}", printed);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = from_str(&text);
    }

    #[test]
    fn no_damage_to_an_event_makes_a_reader_panic(event in any_event(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = event.encode_to_vec();
        if let Some(i) = at.checked_rem(bytes.len()) {
            bytes[i] = byte;
        }
        if let Ok(event) = EventView::decode(&bytes) {
            let _ = crate::event::Summary::of(&event);
            let _ = from_str(&to_value(&event, None, None).to_string());
        }
    }

    #[test]
    fn every_event_has_a_summary_in_one_line(event in any_event()) {
        let summary = crate::event::Summary::of(&EventView::from(&event));
        let line = format!("{} {}", summary.subject, summary.text);
        prop_assert!(!line.chars().any(char::is_control), "{}", line);
    }
}

#[test]
fn what_the_agent_noted_of_the_sender_is_printed_apart_and_not_taken_from_the_next_one() {
    let metadata = [("rodent.uid", "1000"), ("ticket", "7")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let event = Event { metadata: metadata.into(), ..degraded() };
    let printed = to_value(&EventView::from(&event), None, None);
    assert_eq!(printed["origin"], serde_json::json!({"uid": "1000"}));
    assert_eq!(printed["metadata"], serde_json::json!({"ticket": "7"}));
    let read = from_str(&printed.to_string()).expect("what is printed is accepted");
    assert_eq!(read.metadata, [("ticket".to_owned(), "7".to_owned())].into());
}
