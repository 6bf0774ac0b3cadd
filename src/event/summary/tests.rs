//! What people read.

use prost::Message;
use prost_reflect::ReflectMessage as _;

use super::*;
use crate::schema::{DESCRIPTORS, Payload, events::*};

fn summary(payload: impl Payload) -> Summary {
    let event = Event { event_payload: Some(payload.into_event_payload()), source: "agent".into(), ..Event::default() };
    Summary::of(&EventView::from(&event))
}

/// Subject and fields.
fn words(payload: impl Payload) -> (String, String) {
    let Summary { subject, fields, .. } = summary(payload);
    (subject, fields)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn an_event_is_told_in_a_sentence_and_its_fields_in_words() {
    let pool = StoragePoolPayload {
        pool_name: "tank".into(),
        devices: strings(&["sda", "sdb"]),
        raid_type: "raidz2".into(),
        size_bytes: 1 << 40,
        operation: 4,
        ..Default::default()
    };
    let summary = summary(pool);
    assert_eq!(summary.subject, "tank");
    assert!(summary.text.starts_with("Pool tank "), "{}", summary.text);
    assert_eq!(summary.fields, "pool_name=tank devices=sda,sdb raid_type=raidz2 size_bytes=1.0TiB");
    let service = ServiceStatusPayload {
        service_name: "smbd.service".into(),
        status: "failed".into(),
        uptime_seconds: 93_784,
        exit_code: 2,
        ..Default::default()
    };
    let fields = "service_name=smbd.service status=failed uptime_seconds=1d2h exit_code=2";
    assert_eq!(words(service), ("smbd.service".into(), fields.into()));
}

#[test]
fn where_nothing_names_the_thing_the_source_stands() {
    let shutdown = SystemShutdownPayload { reason: "power button".into(), graceful: true, ..Default::default() };
    assert_eq!(words(shutdown), ("agent".into(), "reason=\"power button\" graceful=true".into()));
    assert_eq!(words(NetworkDnsPayload::default()), ("agent".into(), String::new()));
}

#[test]
fn what_stands_in_names_a_thing_that_has_no_name() {
    let disk = StorageDiskPayload { device_path: "/dev/sdc".into(), ..Default::default() };
    assert_eq!(words(disk.clone()).0, "/dev/sdc");
    assert_eq!(words(StorageDiskPayload { device_id: "ata-X_1".into(), ..disk }).0, "ata-X_1");
}

#[test]
fn times_maps_and_long_lists_are_readable() {
    let certificate = SecurityCertificatePayload {
        cert_id: "web".into(),
        issued_time: 1_767_225_600,
        ..SecurityCertificatePayload::default()
    };
    assert_eq!(words(certificate).1, "cert_id=web issued_time=2026-01-01T00:00:00Z");
    let startup = SystemStartupPayload {
        system_info: [("os".to_owned(), "Debian 13".to_owned()), ("cpus".to_owned(), "4".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(words(startup).1, "system_info.cpus=4 system_info.os=\"Debian 13\"");
    let user = SystemUserPayload {
        username: "u".into(),
        groups: (0..11).map(|i| format!("g{i}")).collect(),
        operation: 1,
        ..Default::default()
    };
    let user = summary(user);
    assert_eq!(user.fields, "username=u groups=g0,g1,g2,g3,g4,g5,g6,g7,+3");
    assert!(user.text.contains("g6, g7, and 3 more"), "{}", user.text);
}

#[test]
fn in_a_sentence_counts_are_grouped_and_numbers_that_count_nothing_are_not() {
    let pool = StoragePoolPayload { pool_name: "t".into(), data_errors: 12_345, operation: 1, ..Default::default() };
    let shown = |name: &str, payload: &dyn Fn() -> DynamicMessage| {
        let payload = payload();
        let field = payload.descriptor().get_field_by_name(name).expect("a field");
        shown(&field, &payload.get_field(&field), Manner::default())
    };
    let message = |event: Event| EventView::from(&event).payload().expect("a payload").clone();
    let of = |payload: event::EventPayload| message(Event { event_payload: Some(payload), ..Event::default() });
    assert_eq!(shown("data_errors", &|| of(pool.clone().into_event_payload())), "12,345");
    let service = ServiceStatusPayload { pid: 1_234_567, uptime_seconds: 93_784, ..Default::default() };
    assert_eq!(shown("pid", &|| of(service.clone().into_event_payload())), "1234567");
    let threshold = UsageThresholdPayload { current_value: 1_234_567.0, ..Default::default() };
    assert_eq!(shown("current_value", &|| of(threshold.clone().into_event_payload())), "1,234,567");
}

#[test]
fn of_a_long_name_the_middle_is_left_out_and_of_a_long_explanation_nothing() {
    let told = |pool_name: &str, reason: &str| {
        let (pool_name, reason) = (pool_name.to_owned(), reason.to_owned());
        let devices = vec![format!("disk-{}", "y".repeat(80))];
        let pool = StoragePoolPayload { pool_name, reason, devices, operation: 100, ..Default::default() };
        let event = Event { event_payload: Some(pool.into_event_payload()), ..Event::default() };
        let event = EventView::from(&event);
        let summary = Summary::put(&event, Manner { name_width: 10, ..Manner::default() });
        assert_eq!(Summary::of(&event).fields, summary.fields);
        summary.text
    };
    let why = "one of the disks of it is gone";
    assert_eq!(told(&"x".repeat(255), why), format!("Pool xxxxx…xxxx is degraded: {why}"));
    assert_eq!(told("a name of many words", "disk-0123456789"), "Pool a nam…ords is degraded: disk-…6789");
}

#[test]
fn times_in_a_sentence_are_those_of_the_clock_and_in_fields_in_utc() {
    let started = SystemStartupPayload { boot_time_seconds: 1_767_225_600, operation: 1, ..Default::default() };
    let event = Event { event_payload: Some(started.into_event_payload()), ..Event::default() };
    let event = EventView::from(&event);
    assert_eq!(Summary::of(&event).text, "Node has booted at 2026-01-01T00:00:00Z");
    let here = Summary::put(&event, Manner { times: |milliseconds| format!("<{milliseconds}>"), ..Manner::default() });
    assert_eq!(here.text, "Node has booted at <1767225600000>");
    assert_eq!(here.fields, "boot_time_seconds=2026-01-01T00:00:00Z");
}

#[test]
fn a_list_tells_once_how_many_more_there_are_whoever_left_them_out() {
    let names = |count| (0..count).map(|i| format!("g{i}")).collect::<Vec<_>>();
    let user =
        |groups, more_groups| SystemUserPayload { groups, more_groups, operation: 1, ..SystemUserPayload::default() };
    assert!(summary(user(names(100), 900)).text.ends_with("g7, and 992 more"));
    assert!(summary(user(names(3), 900)).text.ends_with("g0, g1, g2, and 900 more"));
    let disks = |mut devices: Vec<String>| {
        devices.push("and 900 more".into());
        let pool = StoragePoolPayload { faulty_devices: devices, operation: 100, ..Default::default() };
        summary(pool).text
    };
    assert!(disks(names(100)).ends_with("g7, and 992 more"));
    assert!(disks(names(2)).ends_with(": g0, g1, and 900 more"));
}

#[test]
fn an_event_cannot_write_over_the_terminal() {
    let pool = StoragePoolPayload {
        pool_name: "\u{1b}[2Jtank\n".into(),
        raid_type: "a\tb\u{202e}\u{9b}".into(),
        ..Default::default()
    };
    let summary = summary(pool);
    assert_eq!(summary.subject, "\\u{1b}[2Jtank\\n");
    assert_eq!(summary.fields, "pool_name=\\u{1b}[2Jtank\\n raid_type=a\\tb\\u{202e}\\u{9b}");
    assert!(summary.text.contains("\\u{1b}[2Jtank\\n") && !summary.text.contains('\u{1b}'), "{}", summary.text);
}

#[test]
fn a_json_document_stays_one_word_of_a_shell() {
    let transfer = DataTransferTransferPayload {
        transfer_id: "t".into(),
        transfer_info_json: r#"{"bytes": 1}"#.into(),
        ..Default::default()
    };
    assert_eq!(words(transfer).1, r#"transfer_id=t transfer_info_json='{"bytes": 1}'"#);
}

#[test]
fn redacted_values_are_masked_wherever_they_stand() {
    let bytes =
        crate::schema::wire::RegisterResponse { private_key: "KEY".into(), success: true, ..Default::default() }
            .encode_to_vec();
    let descriptor = DESCRIPTORS.get_message_by_name("rodent.RegisterResponse").expect("in the schema");
    let message = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).expect("its own encoding");
    assert_eq!(fields(&message), "success=true private_key=[redacted]");
    let key = descriptor.get_field_by_name("private_key").expect("a field");
    assert_eq!(shown(&key, &message.get_field(&key), Manner::default()), "[redacted]");
}
