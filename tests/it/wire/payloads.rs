//! Every payload of the schema, walked: each has a kind, a summary, fields to filter by, and JSON there and back, without
//! a line of code that names it.

use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use rodent::event::{Catalogue, EventView, Filter, MASK, Summary, is_redacted, json};

use super::{Subject, subjects};

fn view(subject: &Subject, payload: DynamicMessage) -> EventView {
    EventView::decode(&subject.event(payload).encode_to_vec()).expect("an event")
}

#[test]
fn every_payload_and_every_operation_has_a_kind() {
    for subject in subjects() {
        let known = |name: &str| Catalogue::compiled().kinds().iter().any(|kind| kind.as_str() == name);
        assert!(known(&subject.name), "{}", subject.name);
        let Some(operation) = subject.message.get_field_by_name("operation") else { continue };
        let values = operation.kind();
        for value in values.as_enum().expect("an operation is an enum").values().filter(|v| v.number() != 0) {
            let mut payload = subject.full();
            payload.set_field(&operation, Value::EnumNumber(value.number()));
            let event = view(&subject, payload);
            let (kind, ending) = (event.kind(), value.name().to_lowercase());
            let operation = kind.as_str().strip_prefix(&format!("{}.", subject.name)).expect("in three parts");
            assert!(ending.ends_with(&format!("_{operation}")), "{kind} is made of {ending}");
            assert!(known(kind.as_str()), "{kind}");
        }
    }
}

#[test]
fn every_payload_has_a_summary_that_tells_all_its_fields() {
    for subject in subjects() {
        let text = Summary::of(&view(&subject, subject.full())).fields;
        for (field, _) in subject.full().fields().filter(|(field, _)| field.name() != "operation") {
            let told = text.contains(&format!("{}=", field.name())) || text.contains(&format!("{}.", field.name()));
            assert!(told, "{}: {text}", field.full_name());
        }
    }
}

#[test]
fn every_field_of_every_payload_can_be_filtered_by() {
    for subject in subjects() {
        let event = view(&subject, subject.full());
        for (field, value) in subject.full().fields().filter(|(field, _)| !is_redacted(field)) {
            let value = match value {
                Value::Map(map) => map.keys().map(|key| text(&key.clone().into())).collect(),
                Value::List(list) => text(&list[0]),
                value => text(value),
            };
            // Bytes and messages have no text; the fields of a message are asked for one by one.
            if value.is_empty() {
                continue;
            }
            let condition = format!("payload.{}={value}", field.name());
            let filter = Filter::parse(&[&subject.name, &condition]).unwrap_or_else(|e| panic!("{condition}: {e}"));
            assert!(filter.matches(&event), "{} {condition}", subject.name);
            let other = condition.replacen('=', "!=", 1);
            assert!(!Filter::parse(&[&other]).expect("the same condition").matches(&event), "{other}");
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) | Value::EnumNumber(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Bytes(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => String::new(),
    }
}

#[test]
fn no_redacted_field_of_any_payload_is_shown() {
    for subject in subjects() {
        let event = view(&subject, subject.full());
        let (printed, Summary { subject: name, fields: text, .. }) =
            (json::to_value(&event, None, None), Summary::of(&event));
        for field in subject.message.fields().filter(is_redacted) {
            assert_eq!(printed["payload"][field.name()], MASK, "{printed}");
            let is_masked = text.contains(&format!("{}={MASK}", field.name())) || name == MASK;
            assert!(is_masked, "{name} {text}");
            let condition = format!("payload.{}=*", field.name());
            assert!(Filter::parse(&[&condition]).is_err(), "{condition} would find out what it holds");
        }
    }
}

#[test]
fn every_payload_goes_through_json_and_needs_no_more_than_its_kind() {
    for subject in subjects() {
        let event = view(&subject, subject.shown());
        let printed = json::to_value(&event, None, None).to_string();
        let read = json::from_str(&printed).unwrap_or_else(|e| panic!("{printed}: {e}"));
        assert_eq!(EventView::from(&read).payload(), event.payload(), "{printed}");
        let empty = format!(r#"{{"kind": "{}"}}"#, subject.name);
        assert!(json::from_str(&empty).is_ok(), "{empty}");
    }
}

#[test]
fn fields_that_this_version_does_not_know_survive_the_view_and_json_in_every_payload() {
    // Field 19000 as a varint, a text, a double and a float.
    let unknown: [&[u8]; 4] = [
        &[0xc0, 0xa3, 0x09, 0x2a],
        &[0xc2, 0xa3, 0x09, 0x02, b'h', b'i'],
        &[0xc1, 0xa3, 0x09, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xc5, 0xa3, 0x09, 1, 2, 3, 4],
    ];
    for subject in subjects() {
        for unknown in unknown {
            let mut payload = subject.shown();
            payload.merge(unknown).expect("an unknown field");
            let bytes = subject.event(payload).encode_to_vec();
            let event = EventView::decode(&bytes).expect("an event");
            assert_eq!(event.message().encode_to_vec(), bytes, "{}", subject.name);
            let printed = json::to_value(&event, None, None).to_string();
            let read = json::view_from_str(&printed).expect("what is printed is read");
            assert_eq!(read.payload(), event.payload(), "{printed}");
        }
    }
}
