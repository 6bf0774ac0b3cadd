//! Golden bytes: for each payload, what each of its fields encodes to, one line a field, in
//! `tests/fixtures/golden/KIND.hex`. A number or type that changes shows here, even in a payload that the contract
//! does not know.
//!
//! A line that is missing, because the field or the payload is new, is a failure. `RODENT_GOLDEN=write` adds missing
//! lines and leaves the others alone: nothing is ever overwritten. To alter one, remove it by hand.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write as _,
    fs,
};

use prost::Message;
use prost_reflect::DynamicMessage;
use rodent::{
    event::{EventView, json},
    schema::events::{Event, EventCategory, EventLevel},
};

use super::{Subject, path, sample, subjects};

/// The line with the event around an empty payload.
const AROUND: &str = "(event)";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn file(subject: &Subject) -> std::path::PathBuf {
    path("tests/fixtures/golden").join(format!("{}.hex", subject.name))
}

/// The lines as the schema would have them, in the order of the field numbers.
fn compiled(subject: &Subject) -> Vec<(String, String)> {
    let around = subject.event(DynamicMessage::new(subject.message.clone()));
    let mut lines = vec![(AROUND.to_owned(), hex(&around.encode_to_vec()))];
    for field in subject.message.fields() {
        let mut payload = DynamicMessage::new(subject.message.clone());
        payload.set_field(&field, sample(&field));
        lines.push((field.name().to_owned(), hex(&payload.encode_to_vec())));
    }
    lines
}

/// Field to bytes, as the file has them.
fn stored(subject: &Subject) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file(subject)).unwrap_or_default();
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let stored: BTreeMap<String, String> = lines.iter().map(|(f, b)| ((*f).to_owned(), (*b).to_owned())).collect();
    assert_eq!(stored.len(), lines.len(), "{} has a field twice", file(subject).display());
    stored
}

/// Adds the missing lines.
fn write(subject: &Subject, stored: &mut BTreeMap<String, String>) {
    let mut text = fs::read_to_string(file(subject)).unwrap_or_default();
    for (field, bytes) in compiled(subject) {
        if let Entry::Vacant(missing) = stored.entry(field) {
            let _ = writeln!(text, "{} {bytes}", missing.key());
            missing.insert(bytes);
        }
    }
    fs::write(file(subject), text).expect("the fixtures can be written");
}

#[test]
fn every_field_of_every_payload_encodes_to_its_golden_bytes() {
    let writes = std::env::var("RODENT_GOLDEN").is_ok_and(|value| value == "write");
    let mut faults = Vec::new();
    for subject in subjects() {
        let mut stored = stored(&subject);
        if writes {
            write(&subject, &mut stored);
        }
        let name = &subject.name;
        for (field, bytes) in compiled(&subject) {
            match stored.remove(&field) {
                None => faults.push(format!("{name} {field}: no golden bytes; run with RODENT_GOLDEN=write")),
                Some(golden) if golden != bytes => {
                    faults.push(format!("{name} {field}: encodes to {bytes}, and did to {golden}"));
                }
                Some(_) => {}
            }
        }
        faults.extend(stored.keys().map(|field| format!("{name} {field}: gone from the schema")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_golden_file_is_left_of_a_payload_that_is_gone() {
    let names: Vec<String> = subjects().iter().map(|subject| format!("{}.hex", subject.name)).collect();
    for entry in fs::read_dir(path("tests/fixtures/golden")).expect("the fixtures are there") {
        let name = entry.expect("a file").file_name().to_string_lossy().into_owned();
        assert!(names.contains(&name), "{name} belongs to no payload");
    }
}

/// The golden lines of a payload, put together, are the payload with every field set: through the descriptors, through
/// the generated types, and through JSON.
#[test]
fn descriptors_generated_types_and_json_encode_to_the_same_bytes() {
    for subject in subjects() {
        let (golden, payload) = (stored(&subject), subject.full());
        let joined: String = payload.fields().filter_map(|(field, _)| golden.get(field.name()).cloned()).collect();
        assert_eq!(hex(&payload.encode_to_vec()), joined, "{}", subject.name);

        let mut typed: Event = subject.event(payload).transcode_to().expect("one schema");
        typed.category = category(&subject).into();
        typed.level = EventLevel::Info.into();
        let bytes = hex(&typed.encode_to_vec());
        assert!(bytes.contains(&joined), "{}", subject.name);
        assert_eq!(hex(&EventView::from(&typed).message().encode_to_vec()), bytes, "{}", subject.name);

        typed.event_payload = subject.event(subject.shown()).transcode_to::<Event>().expect("one schema").event_payload;
        let printed = json::to_value(&EventView::from(&typed), None, None).to_string();
        let read = json::from_str(&printed).expect("what is printed is read");
        assert_eq!(read.encode_to_vec(), typed.encode_to_vec(), "{printed}");
    }
}

/// The value of the enum that is named like the first part of the kind.
fn category(subject: &Subject) -> EventCategory {
    let name = subject.name.split('.').next().unwrap_or_default().to_uppercase();
    EventCategory::from_str_name(&format!("EVENT_CATEGORY_{name}")).expect("every wrapper has its category")
}
