//! What people read.

use prost::Message;

use super::*;
use crate::schema::{DESCRIPTORS, Payload, events::*};

fn summary(payload: impl Payload) -> (String, String) {
    let event = Event { event_payload: Some(payload.into_event_payload()), source: "agent".into(), ..Event::default() };
    let Summary { subject, text } = Summary::of(&EventView::from(&event));
    (subject, text)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_subject_is_the_name_of_the_thing_and_the_text_is_the_rest() {
    let pool = StoragePoolPayload {
        pool_name: "tank".into(),
        devices: strings(&["sda", "sdb"]),
        raid_type: "raidz2".into(),
        size_bytes: 1 << 40,
        operation: 4,
        ..Default::default()
    };
    assert_eq!(summary(pool), ("tank".into(), "devices=sda,sdb raid_type=raidz2 size_bytes=1.0TiB".into()));
    let service = ServiceStatusPayload {
        service_name: "smbd.service".into(),
        status: "failed".into(),
        uptime_seconds: 93_784,
        exit_code: 2,
        ..Default::default()
    };
    assert_eq!(summary(service), ("smbd.service".into(), "status=failed uptime_seconds=1d2h exit_code=2".into()));
}

#[test]
fn where_nothing_names_the_thing_the_source_stands() {
    let shutdown = SystemShutdownPayload { reason: "power button".into(), graceful: true, ..Default::default() };
    assert_eq!(summary(shutdown), ("agent".into(), "reason=\"power button\" graceful=true".into()));
    assert_eq!(summary(NetworkDnsPayload::default()), ("agent".into(), String::new()));
}

#[test]
fn a_later_name_stands_in_for_an_empty_first_one() {
    let login = SecurityAuthPayload { method: "password".into(), source_ip: "10.0.0.9".into(), ..Default::default() };
    assert_eq!(summary(login), ("10.0.0.9".into(), "method=password".into()));
}

#[test]
fn detail_is_prose() {
    let host = SystemHostPayload { subject: "nas-1".into(), detail: "up for 3 days".into(), operation: 1 };
    assert_eq!(summary(host), ("nas-1".into(), "up for 3 days".into()));
}

#[test]
fn times_maps_and_long_lists_are_readable() {
    let certificate = SecurityCertificatePayload {
        cert_id: "web".into(),
        issued_time: 1_767_225_600,
        ..SecurityCertificatePayload::default()
    };
    assert_eq!(summary(certificate).1, "issued_time=2026-01-01T00:00:00Z");
    let startup = SystemStartupPayload {
        rodent_id: "n".into(),
        system_info: [("os".to_owned(), "Debian 13".to_owned()), ("cpus".to_owned(), "4".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(summary(startup).1, "system_info.cpus=4 system_info.os=\"Debian 13\"");
    let user = SystemUserPayload {
        username: "u".into(),
        groups: (0..11).map(|i| format!("g{i}")).collect(),
        ..Default::default()
    };
    assert_eq!(summary(user).1, "groups=g0,g1,g2,g3,g4,g5,g6,g7,+3");
}

#[test]
fn an_event_cannot_write_over_the_terminal() {
    let pool = StoragePoolPayload {
        pool_name: "\u{1b}[2Jtank\n".into(),
        raid_type: "a\tb\u{202e}\u{9b}".into(),
        ..Default::default()
    };
    assert_eq!(summary(pool), ("\\u{1b}[2Jtank\\n".into(), "raid_type=a\\tb\\u{202e}\\u{9b}".into()));
}

#[test]
fn a_json_document_stays_one_word_of_a_shell() {
    let transfer = DataTransferTransferPayload {
        transfer_id: "t".into(),
        transfer_info_json: r#"{"bytes": 1}"#.into(),
        ..Default::default()
    };
    assert_eq!(summary(transfer).1, r#"transfer_info_json='{"bytes": 1}'"#);
}

#[test]
fn redacted_values_are_masked_in_subject_and_text() {
    let bytes =
        crate::schema::wire::RegisterResponse { private_key: "KEY".into(), success: true, ..Default::default() }
            .encode_to_vec();
    let descriptor = DESCRIPTORS.get_message_by_name("rodent.RegisterResponse").expect("in the schema");
    let message = DynamicMessage::decode(descriptor, bytes.as_slice()).expect("its own encoding");
    let Summary { subject, text } = Summary::of_payload(&message, "x");
    assert_eq!((subject.as_str(), text.as_str()), ("x", "success=true private_key=[redacted]"));
}

#[test]
fn what_this_version_does_not_know_is_mentioned() {
    let event = EventView::decode(&[0x5a, 0x05, 0xb2, 0x06, 0x02, 0x08, 0x01]).expect("an event");
    assert_eq!(Summary::of(&event).text, "(no payload that this version knows)");
    // storage_event { pool_event { pool_name: "t", field 900: 1 } }
    let event = EventView::decode(&[0x5a, 0x08, 0x0a, 0x06, 0x0a, 0x01, b't', 0xa0, 0x38, 0x01]).expect("an event");
    let Summary { subject, text } = Summary::of(&event);
    assert_eq!((subject.as_str(), text.as_str()), ("t", "(and 1 that this version does not know)"));
}
