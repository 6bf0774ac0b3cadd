//! The compiled descriptors against the contract (`tests/fixtures/wire`) and against `proto/additions.csv`.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind};
use rodent::{event::is_redacted, schema::DESCRIPTORS};

use super::read;

/// The packages of the contract; the local socket's is our own.
const PACKAGES: [&str; 2] = ["rodent", "rodent.events"];
/// Numbers below belong to the contract.
const OWN_NUMBER_MIN: i64 = 100;

type Row = Vec<String>;

/// Rows of a CSV file without its head.
fn rows(file: &str) -> BTreeSet<Row> {
    let text = read(file);
    let rows: Vec<Row> = text.lines().skip(1).filter(|line| !line.is_empty()).map(cells).collect();
    let count = rows.len();
    let set: BTreeSet<Row> = rows.into_iter().collect();
    assert_eq!(set.len(), count, "{file} has a row twice");
    set
}

/// Cut at commas outside quotes.
fn cells(line: &str) -> Row {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells.last_mut().expect("begins with one").push(c),
        }
    }
    cells
}

/// The rows of the contract, less the column that tells who wrote them.
fn contract(file: &str) -> BTreeSet<Row> {
    let rows = rows(file);
    assert!(!rows.is_empty(), "{file} has rows");
    rows.into_iter()
        .map(|mut row| {
            row.pop();
            row
        })
        .collect()
}

fn is_contract(package: &str) -> bool {
    PACKAGES.contains(&package)
}

/// message, number, name, type, label, oneof
fn compiled_fields() -> BTreeSet<Row> {
    let messages = DESCRIPTORS.all_messages().filter(|m| is_contract(m.package_name()) && !m.is_map_entry());
    messages
        .flat_map(|message| {
            let row = |field: FieldDescriptor| {
                let label = if field.is_list() { "repeated" } else { "" };
                let oneof = field.containing_oneof().map(|oneof| oneof.name().to_owned()).unwrap_or_default();
                let number = field.number().to_string();
                vec![message.full_name().into(), number, field.name().into(), type_name(&field), label.into(), oneof]
            };
            message.fields().map(row).collect::<Vec<_>>()
        })
        .collect()
}

fn type_name(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            format!("map<{},{}>", type_name(&key), type_name(&value))
        }
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// enum, number, name
fn compiled_values() -> BTreeSet<Row> {
    let enums = DESCRIPTORS.all_enums().filter(|e| is_contract(e.package_name()));
    enums
        .flat_map(|enumeration| {
            let owner = enumeration.full_name().to_owned();
            let values = enumeration.values();
            values.map(|v| vec![owner.clone(), v.number().to_string(), v.name().to_owned()]).collect::<Vec<_>>()
        })
        .collect()
}

/// service, method, request, response, client_streaming, server_streaming
fn compiled_methods() -> BTreeSet<Row> {
    let flag = |flag: bool| if flag { "True" } else { "False" }.to_owned();
    let services = DESCRIPTORS.services().filter(|service| is_contract(service.package_name()));
    services
        .flat_map(|service| {
            let name = service.full_name().to_owned();
            let row = |method: prost_reflect::MethodDescriptor| {
                let (input, output) = (method.input().full_name().to_owned(), method.output().full_name().to_owned());
                let streaming = (flag(method.is_client_streaming()), flag(method.is_server_streaming()));
                vec![name.clone(), method.name().to_owned(), input, output, streaming.0, streaming.1]
            };
            service.methods().map(row).collect::<Vec<_>>()
        })
        .collect()
}

fn assert_none(rows: BTreeSet<Row>, what: &str) {
    let list: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
    assert!(list.is_empty(), "{what}:\n  {}", list.join("\n  "));
}

#[test]
fn every_row_of_the_contract_is_compiled_unchanged() {
    let missing = |contract: BTreeSet<Row>, compiled: BTreeSet<Row>| &contract - &compiled;
    let fields = missing(contract("tests/fixtures/wire/fields.csv"), compiled_fields());
    assert_none(fields, "fields of the contract that are gone or altered");
    let values = missing(contract("tests/fixtures/wire/enums.csv"), compiled_values());
    assert_none(values, "enum values of the contract that are gone or altered");
}

#[test]
fn the_service_is_exactly_that_of_the_contract() {
    assert_eq!(compiled_methods(), rows("tests/fixtures/wire/services.csv"));
}

/// What is compiled and not in the contract, as `proto/additions.csv` lists it: what, owner, number, name.
fn additions() -> BTreeSet<Row> {
    let row = |what: &str, row: &Row| [&[what.to_owned()], &row[..3]].concat();
    let fields = &compiled_fields() - &contract("tests/fixtures/wire/fields.csv");
    let values = &compiled_values() - &contract("tests/fixtures/wire/enums.csv");
    fields.iter().map(|r| row("field", r)).chain(values.iter().map(|r| row("value", r))).collect()
}

#[test]
fn whatever_is_not_in_the_contract_has_a_row_in_additions_csv_and_no_row_is_stale() {
    let (listed, compiled) = (rows("proto/additions.csv"), additions());
    assert_none(&compiled - &listed, "add these rows to proto/additions.csv");
    assert_none(&listed - &compiled, "rows of proto/additions.csv that name nothing");
}

#[test]
fn additions_to_what_the_contract_has_take_numbers_from_100() {
    let fields = contract("tests/fixtures/wire/fields.csv");
    let owners: BTreeSet<String> =
        fields.union(&contract("tests/fixtures/wire/enums.csv")).map(|row| row[0].clone()).collect();
    let too_low = additions().into_iter().filter(|row| {
        let number: i64 = row[2].parse().expect("a number");
        owners.contains(&row[1]) && number < OWN_NUMBER_MIN
    });
    assert_none(too_low.collect(), "these numbers belong to the contract; take one from 100");
}

#[test]
fn the_zero_value_of_every_operation_says_that_nothing_is_said() {
    for subject in super::subjects() {
        let Some(operation) = subject.message.get_field_by_name("operation") else { continue };
        let kind = operation.kind();
        let zero = kind.as_enum().expect("an operation is an enum").default_value();
        assert!(zero.number() == 0 && zero.name().ends_with("_UNSPECIFIED"), "{}", zero.full_name());
    }
}

/// Whoever gives a field the role SECRET has to mask it on the way to the controller first (unless the controller's settings ask
/// for secrets), and lets this test look for the mask then.
#[test]
fn no_event_has_a_secret_field_while_the_uplink_sends_events_as_they_are_stored() {
    let payloads = DESCRIPTORS.all_messages().filter(|message| message.package_name() == "rodent.events");
    let fields = payloads.flat_map(|message| message.fields().collect::<Vec<_>>());
    let secret: Vec<_> = fields.filter(is_redacted).map(|field| field.full_name().to_owned()).collect();
    assert!(secret.is_empty(), "the uplink sends these in clear: {secret:?}");
}
